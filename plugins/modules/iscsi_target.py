# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.iscsi_target: all iSCSI targets of a machine that Updraft owns."""

from __future__ import annotations

DOCUMENTATION = r"""
module: iscsi_target
short_description: Serve block devices by iSCSI with LIO
version_added: 0.1.0
description:
  - Takes the whole list of targets with their portals, LUNs and initiators, compares it with the kernel, applies the
    difference in one process and saves it for the next start.
  - Targets that do not start with O(prefix) and are not in the list, such as those of the volume service, are left
    alone.
options:
  targets:
    description: The targets.
    type: list
    elements: dict
    required: true
    suboptions:
      iqn:
        description: The target's name.
        type: str
        required: true
      portals:
        description: Where it listens.
        type: list
        elements: dict
        required: true
        suboptions:
          address:
            description: An address of this machine.
            type: str
            required: true
          port:
            description: TCP port.
            type: int
            default: 3260
      luns:
        description: Its block devices; the first is LUN 0.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the backstore, unique on the machine.
            type: str
            required: true
          device:
            description: Path of the block device.
            type: path
            required: true
          read_only:
            description: Whether it is served without the right to write.
            type: bool
            default: false
      acls:
        description: The initiators which may log in; each sees all LUNs.
        type: list
        elements: dict
        default: []
        suboptions:
          initiator:
            description: The initiator's name.
            type: str
            required: true
          user:
            description: CHAP user with which the initiator proves itself.
            type: str
          password:
            description: Its password, 12 to 16 characters for the sake of all initiators.
            type: str
          mutual_user:
            description: User with which the target proves itself to the initiator.
            type: str
          mutual_password:
            description: Its password, another than O(targets[].acls[].password).
            type: str
  prefix:
    description: Targets whose name starts so are Updraft's, and removed when they are not in the list.
    type: str
    default: ""
author: The Updraft developers
"""

EXAMPLES = r"""
- name: iscsi_target | Serve the disks
  updraft.cloud.iscsi_target:
    prefix: "iqn.2026-11.org.example:updraft."
    targets:
      - iqn: "iqn.2026-11.org.example:updraft.storage2"
        portals: [{address: 10.0.1.20}]
        luns: [{name: leg, device: /dev/sdb}]
        acls: [{initiator: "iqn.2026-11.org.example:storage1", user: updraft, password: "{{ chap }}"}]
"""

RETURN = r"""
actions:
  description: What was done, or would be done, in order.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_targets import SECRETS, TargetsError, desired, plan
from ansible_collections.updraft.cloud.plugins.module_utils.lio import Lio, LioError
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, run

PORTAL = {"address": {"type": "str", "required": True}, "port": {"type": "int", "default": 3260}}
LUN = {
    "name": {"type": "str", "required": True},
    "device": {"type": "path", "required": True},
    "read_only": {"type": "bool", "default": False},
}
ACL = {
    "initiator": {"type": "str", "required": True},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "mutual_user": {"type": "str"},
    "mutual_password": {"type": "str", "no_log": True},
}


def _list(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "options": options, **more}


def main() -> None:
    """Plan and apply."""
    target = {
        "iqn": {"type": "str", "required": True},
        "portals": _list(PORTAL, required=True),
        "luns": _list(LUN, default=[]),
        "acls": _list(ACL, default=[]),
    }
    module = AnsibleModule(
        argument_spec={"targets": _list(target, required=True), "prefix": {"type": "str", "default": ""}},
        supports_check_mode=True,
    )
    try:
        wanted = desired(module.params["targets"])
        lio = Lio(load=not module.check_mode)
    except (TargetsError, LioError) as error:
        module.fail_json(msg=str(error))
    actions = plan(wanted, lio.read(), module.params["prefix"])
    if not actions and (unsaved := lio.unsaved(set(wanted))):
        actions = [Action("update", "saved configuration", ", ".join(unsaved))]

    def carry_out(action: Action) -> None:
        lio.apply(action, wanted)
        lio.save()

    run(module, actions, carry_out, hidden=SECRETS)


if __name__ == "__main__":
    main()
