# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.volume_content: checksums of volumes where they are served."""

from __future__ import annotations

DOCUMENTATION = r"""
module: volume_content
short_description: Tell the checksums of volumes, on the machine that serves them
version_added: 0.3.0
description:
  - Reads the devices of volumes of the volume service as a whole. Volumes that are not on this machine are left out.
  - With I(mark) the last MiB of one of them is overwritten before, so that its content is another one. That is for
    volumes of a proof; one that somebody uses is refused.
options:
  group:
    description: The volume group.
    type: str
    required: true
  volumes:
    description: Ids of the volumes.
    type: list
    elements: str
    required: true
  mark:
    description: A text from which the new content of the last MiB follows. Without it nothing is written.
    type: str
  marked:
    description: Id of the volume that I(mark) is written to.
    type: str
author: The Updraft developers
"""

EXAMPLES = r"""
- name: volumes | Read the content
  updraft.cloud.volume_content:
    group: cinder-volumes
    volumes: [7d0c1f5e-4f7c-4b4e-9b3e-0c1d2e3f4a5b]
"""

RETURN = r"""
checksums:
  description: SHA-256 by the volume's id.
  type: dict
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import volume_content as content


def main() -> None:
    """Write where asked, and read."""
    module = AnsibleModule(
        argument_spec={
            "group": {"type": "str", "required": True},
            "volumes": {"type": "list", "elements": "str", "required": True},
            "mark": {"type": "str"},
            "marked": {"type": "str"},
        },
        required_by={"mark": ("marked",)},
        supports_check_mode=True,
    )
    options = module.params
    path = content.device(options["group"], options["marked"] or "")
    writes = bool(options["mark"]) and os.path.exists(path)
    try:
        if writes and not module.check_mode:
            content.mark(path, options["mark"])
        found = content.checksums(options["group"], options["volumes"])
    except (content.InUseError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=writes, checksums=found)


if __name__ == "__main__":
    main()
