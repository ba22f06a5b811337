# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.drain: take the instances from a compute node, and the node from the cloud."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drain
short_description: Take the instances from a compute node, and the node from the cloud
version_added: 0.2.0
description:
  - V(drained) closes the node to new instances and moves those away that it has, running ones without a stop where
    that is possible, others by a cold migration; from a node that is down they are evacuated. Fails, and names them,
    if some are left.
  - V(absent) takes the node from nova and neutron. It must be drained, and its services should be stopped.
  - Runs on the control node.
options:
  host:
    description: The node, as nova knows it.
    type: str
    required: true
  state:
    description: How far to go.
    type: str
    choices: [drained, absent]
    default: drained
  force:
    description: Go on although instances are left. They stay on the node and are lost with it.
    type: bool
    default: false
  url:
    description: Address of the identity service, with its version.
    type: str
    required: true
  username:
    description: An administrator, who has a project of the same name.
    type: str
    default: admin
  password:
    description: Password of the administrator.
    type: str
    required: true
  region:
    description: The region.
    type: str
    default: RegionOne
  timeout:
    description: Seconds for all instances to leave.
    type: int
    default: 900
attributes:
  check_mode:
    description: Tells what is there; nothing moves.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Take the instances from node2
  updraft.cloud.drain:
    host: node2
    url: https://api.cloud.example.org:5000/v3
    password: "{{ cloud_secrets.admin_password }}"
"""

RETURN = r"""
moved:
  description: Instances that left.
  returned: success
  type: list
  elements: str
left:
  description: Instances that are still there.
  returned: always
  type: list
  elements: str
removed:
  description: What was taken from nova and neutron.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.draining import (
    drain,
    remove,
    servers_of,
    service_of,
    told,
)
from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import Api, ApiError


def look(api: Api, host: str, state: str) -> dict[str, Any]:
    """What a real run would do."""
    service, left = service_of(api, host), [str(server["name"]) for server in servers_of(api, host)]
    there = service is not None and (state == "absent" or service["status"] != "disabled" or bool(left))
    return {"changed": there, "moved": [], "left": left, "removed": []}


def work(module: AnsibleModule, api: Api, given: dict[str, Any]) -> dict[str, Any]:
    """Drain, and remove if that is wanted. Ends the module when instances are left."""
    before = service_of(api, given["host"])
    moved, left, reasons = drain(api, given["host"], given["timeout"], ApiError)
    names = [str(server["name"]) for server in left]
    if left and not given["force"]:
        module.fail_json(
            msg=f"{given['host']} still has {told(left, reasons)}. Stop or move them, or retire it with --force: "
            "what is on it then is lost. It takes no new instances meanwhile.",
            left=names,
            moved=moved,
        )
    removed = remove(api, given["host"], left=bool(left)) if given["state"] == "absent" else []
    closed = before is not None and before["status"] != "disabled"
    return {"changed": bool(moved or removed or closed), "moved": moved, "left": names, "removed": removed}


def main() -> None:
    """Drain, or look."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["drained", "absent"], "default": "drained"},
            "force": {"type": "bool", "default": False},
            "url": {"type": "str", "required": True},
            "username": {"type": "str", "default": "admin"},
            "password": {"type": "str", "required": True, "no_log": True},
            "region": {"type": "str", "default": "RegionOne"},
            "timeout": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        api = Api(given["url"], given["username"], given["password"], given["username"], given["region"])
        result = look(api, given["host"], given["state"]) if module.check_mode else work(module, api, given)
    except ApiError as error:
        module.fail_json(msg=f"{given['host']}: {error}", left=[])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
