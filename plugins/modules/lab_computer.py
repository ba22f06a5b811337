# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.lab_computer: whether this computer can carry the lab."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_computer
short_description: Refuse a computer that cannot carry the lab, before anything is changed
version_added: 0.1.0
description:
  - Compares processor, system, memory, disk, kernel and networks of this computer with what the lab takes.
  - Fails with one table of all reasons and their cures. What the kernel can do is tried, in namespaces that end with
    the trial.
options:
  site:
    description:
      - "The lab: C(cloud) of the model, C(nodes) (each machine's C(cloud_node) by name), and the directories C(state)
        (this lab's own) and C(cache) (the images of all labs on the computer)."
    type: dict
    required: true
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Look at the computer
  updraft.cloud.lab_computer:
    site: "{{ lab_site }}"
"""

RETURN = r"""
reasons:
  description: What speaks against the lab, each with C(what), C(found), C(needed) and C(cure).
  returned: always
  type: list
  elements: dict
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.lab_computer import judge, look, needs, table
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import LabError, parse_site


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec={"site": {"type": "dict", "required": True}}, supports_check_mode=True)
    try:
        site = parse_site(module.params["site"])
        reasons = judge(look(site), needs(site))
    except LabError as error:
        module.fail_json(msg=str(error))
    result: dict[str, Any] = {"reasons": [asdict(reason) for reason in reasons]}
    if reasons:
        module.fail_json(msg=table(reasons), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
