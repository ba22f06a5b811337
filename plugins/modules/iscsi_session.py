# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.iscsi_session: the iSCSI targets which this machine is logged in to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: iscsi_session
short_description: Log in to iSCSI targets with open-iscsi
version_added: 0.3.0
description:
  - Takes the whole list of targets, compares it with the records of open-iscsi and with the kernel's sessions, and
    writes, logs in and logs out what differs.
  - Passwords are written into the records, which only root can read. They never stand on a command line.
  - A session that lives is never dropped because its record changed. Its replacement timeout is set at once, the rest
    holds from its next login on.
  - Targets that do not start with O(prefix) and are not in the list are left alone.
options:
  sessions:
    description: The targets to be logged in to.
    type: list
    elements: dict
    required: true
    suboptions:
      target:
        description: The target's name.
        type: str
        required: true
      portals:
        description: Where it listens, as V(address) or V(address:port). There is one session for each.
        type: list
        elements: str
        required: true
      user:
        description: CHAP user with which this machine proves itself.
        type: str
      password:
        description: Its password.
        type: str
      mutual_user:
        description: User with which the target proves itself.
        type: str
      mutual_password:
        description: Its password, another than O(sessions[].password).
        type: str
      settings:
        description: Further fields of the record, as C(node.session.timeo.replacement_timeout).
        type: dict
        default: {}
      startup:
        description: Whether open-iscsi logs in by itself when the machine starts.
        type: str
        choices: [manual, automatic]
        default: manual
  prefix:
    description: Targets whose name starts so are logged out and forgotten when they are not in the list.
    type: str
    default: ""
author: The Updraft developers
"""

EXAMPLES = r"""
- name: storage_mirror | Log in to the other leg
  updraft.cloud.iscsi_session:
    prefix: "iqn.2026-11.org.example:updraft.leg."
    sessions:
      - target: "iqn.2026-11.org.example:updraft.leg.storage2"
        portals: [10.0.1.22]
        user: updraft
        password: "{{ chap }}"
        settings: {node.session.timeo.replacement_timeout: 3}
"""

RETURN = r"""
actions:
  description: What was done, or would be done, in order.
  type: list
  elements: str
  returned: always
devices:
  description: The block devices, by target, portal and LUN.
  type: dict
  returned: always
  sample: {"iqn.x:leg": {"10.0.1.22:3260": {"0": "/dev/disk/by-path/ip-10.0.1.22:3260-iscsi-iqn.x:leg-lun-0"}}}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_sessions import (
    SECRETS,
    apply,
    block_devices,
    plan,
    read_records,
    sessions,
    wanted_sessions,
)
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_usage import refusals
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, run

SESSION = {
    "target": {"type": "str", "required": True},
    "portals": {"type": "list", "elements": "str", "required": True},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "mutual_user": {"type": "str"},
    "mutual_password": {"type": "str", "no_log": True},
    "settings": {"type": "dict", "default": {}},
    "startup": {"type": "str", "choices": ["manual", "automatic"], "default": "manual"},
}


def main() -> None:
    """Plan and apply."""
    module = AnsibleModule(
        argument_spec={
            "sessions": {"type": "list", "elements": "dict", "required": True, "options": SESSION},
            "prefix": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        wanted = wanted_sessions(module.params["sessions"])
    except DisksError as error:
        module.fail_json(msg=str(error))
    live = sessions()
    actions = plan(wanted, read_records(), live, module.params["prefix"])
    if problems := refusals(actions, live):
        module.fail_json(msg="; ".join(problems))
    devices = block_devices(wanted)

    def carry_out(action: Action) -> None:
        apply(action, wanted)
        devices.update(block_devices(wanted))

    run(module, actions, carry_out, hidden=SECRETS, devices=devices)


if __name__ == "__main__":
    main()
