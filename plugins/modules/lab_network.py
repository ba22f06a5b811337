# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.lab_network: the networks of the lab."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_network
short_description: Make or remove the network namespace and the bridges of the lab
version_added: 0.1.0
description:
  - Each network of the model becomes a bridge in a namespace of the lab's own; the computer's network is left alone.
  - A namespace of the same name which this lab has not made is refused.
options:
  site:
    description:
      - "The lab: C(cloud) of the model, C(nodes) (each machine's C(cloud_node) by name), and the directories C(state)
        (this lab's own) and C(cache) (the images of all labs on the computer)."
    type: dict
    required: true
  state:
    description: Whether the networks are there. Remove the machines first.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Make the networks
  updraft.cloud.lab_network:
    site: "{{ lab_site }}"
"""

RETURN = r"""
commands:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.lab_network import absent, present
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import LabError, parse_site


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    try:
        site = parse_site(module.params["site"])
        work = present if module.params["state"] == "present" else absent
        commands = work(site, check=module.check_mode)
    except LabError as error:
        module.fail_json(msg=str(error))
    result: dict[str, Any] = {"commands": commands}
    module.exit_json(changed=bool(commands), **result)


if __name__ == "__main__":
    main()
