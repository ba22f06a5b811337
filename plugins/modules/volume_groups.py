# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.volume_groups: all volume groups of a machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: volume_groups
short_description: Make volume groups and thin pools, and take no disk that holds something
version_added: 0.1.0
description:
  - Takes the whole list, looks at the disks, and makes or extends what is missing. Nothing is ever removed.
  - A disk that holds anything (partitions, a file system, a volume group that was not made here) is refused, with
    what was found and how to override. Disks in use are refused always. All refusals come at once, before anything is
    changed.
options:
  volume_groups:
    description: The groups.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The group's name.
        type: str
        required: true
      disks:
        description: Its disks, best by C(/dev/disk/by-id) where names may change.
        type: list
        elements: path
        required: true
      thin_pool:
        description: Name of a thin pool over most of the group. Without it there is none.
        type: str
  wipe:
    description: Disks whose content may be destroyed. Those which are in their group already are left alone.
    type: list
    elements: path
    default: []
notes:
  - In check mode the plan is complete also where LVM is not installed yet.
author: The Updraft developers
"""

EXAMPLES = r"""
- name: volumes | Make the volume groups
  updraft.cloud.volume_groups:
    volume_groups:
      - {name: cinder-volumes, disks: [/dev/sdb], thin_pool: cinder-volumes-pool}
"""

RETURN = r"""
actions:
  description: What was done, or would be done, in order.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, run
from ansible_collections.updraft.cloud.plugins.module_utils.volume_groups import Group, apply, plan, read


def main() -> None:
    """Plan and apply."""
    group = {
        "name": {"type": "str", "required": True},
        "disks": {"type": "list", "elements": "path", "required": True},
        "thin_pool": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            "volume_groups": {"type": "list", "elements": "dict", "required": True, "options": group},
            "wipe": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = [
        Group(item["name"], tuple(item["disks"]), item["thin_pool"] or "") for item in module.params["volume_groups"]
    ]
    try:
        found = read(wanted)
        actions = plan(wanted, found, module.params["wipe"])
    except DisksError as error:
        module.fail_json(msg=str(error))

    def carry_out(action: Action) -> None:
        apply(action, found)

    run(module, actions, carry_out)


if __name__ == "__main__":
    main()
