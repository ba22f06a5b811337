# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.tenancy: all that tenants find in a cloud."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tenancy
short_description: Reconcile flavors, images, networks, projects and aggregates
version_added: 0.1.0
description:
  - Compares the whole wish with the cloud by its APIs and makes what is missing or differs. What nobody wants stays,
    because tenants make things too.
  - Each project gets a user who is its member, its limits, a network with a subnet and a router to the external
    network, all of the project's name, and lets ICMP and SSH into its first security group.
  - Each pool becomes a host aggregate and an availability zone of the same name.
  - Images whose file is not on this machine yet are returned in RV(lacking) and the rest is done.
options:
  url:
    description: Address of the identity service, with its version.
    type: str
    required: true
  username:
    description: An administrator.
    type: str
    default: admin
  password:
    description: The administrator's password.
    type: str
    required: true
  region:
    description: The region.
    type: str
    default: RegionOne
  flavors:
    description: By name; C(vcpus), C(memory_mib), C(disk_gib), C(properties).
    type: dict
    default: {}
  images:
    description:
      - A list with C(name), C(content) (what identifies the content), C(format), C(path) of the file,
        C(min_disk_gib), C(min_memory_mib), C(properties).
      - With C(parts), the file is a tar archive of C(kernel), C(ramdisk) and C(disk), and two more images are made for
        the first two.
    type: list
    elements: dict
    default: []
  provider:
    description: The external network; C(name), C(physical), C(mtu), C(cidr), C(gateway), and C(first) and C(last) of
      the floating addresses.
    type: dict
  projects:
    description: By name; C(user), C(network), C(dns), C(quota).
    type: dict
    default: {}
  passwords:
    description: Of the projects' users, by project.
    type: dict
    default: {}
  pools:
    description: The names of the hosts of each pool.
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for services that do not answer.
    type: int
    default: 120
notes:
  - In check mode a service that does not answer counts as empty, so that the plan is complete on a cloud which is not
    there yet.
author: The Updraft developers
"""

EXAMPLES = r"""
- name: join | Make what tenants find
  updraft.cloud.tenancy:
    url: https://api.example.org:5000/v3
    password: "{{ admin_password }}"
    flavors: {small: {vcpus: 1, memory_mib: 1024, disk_gib: 10}}
"""

RETURN = r"""
actions:
  description: What was done, or would be done, in order.
  type: list
  elements: str
  returned: always
lacking:
  description: Images which were not made because their file is not there.
  type: list
  elements: str
  returned: always
"""

import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import AbsentError, Api, ApiError
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, result_of
from ansible_collections.updraft.cloud.plugins.module_utils.tenancy import Kind, desired, whole_plan
from ansible_collections.updraft.cloud.plugins.module_utils.tenancy_apply import Applier
from ansible_collections.updraft.cloud.plugins.module_utils.tenancy_read import Reader, State


def look(given: Mapping[str, Any], wanted: Mapping[str, Kind], *, tolerant: bool) -> tuple[Api | None, State]:
    """Log in and read everything; wait for services that do not answer, unless `tolerant`."""
    end = time.monotonic() + given["timeout"]
    while True:
        try:
            api = Api(given["url"], given["username"], given["password"], given["username"], given["region"])
            reader = Reader(api, given["url"], wanted, given["passwords"])
            return api, reader.read(tolerant=tolerant)
        except AbsentError:
            if tolerant:
                return None, State()
            if time.monotonic() > end:
                raise
            time.sleep(2)


def main() -> None:
    """Plan and apply."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "username": {"type": "str", "default": "admin"},
            "password": {"type": "str", "required": True, "no_log": True},
            "region": {"type": "str", "default": "RegionOne"},
            "flavors": {"type": "dict", "default": {}},
            "images": {"type": "list", "elements": "dict", "default": []},
            "provider": {"type": "dict"},
            "projects": {"type": "dict", "default": {}},
            "passwords": {"type": "dict", "default": {}, "no_log": True},
            "pools": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    given = module.params
    wanted = desired(given)
    try:
        api, state = look(given, wanted, tolerant=module.check_mode)
    except ApiError as error:
        module.fail_json(msg=str(error))
    actions = whole_plan(wanted, state.kinds)
    if module.check_mode or api is None:
        module.exit_json(**result_of(actions, diff=module._diff), lacking=[])
    files = {item["name"]: item["path"] for item in given["images"]}
    applier = Applier(api, state, wanted, given["passwords"], files)
    done: list[Action] = []
    for action in actions:
        try:
            applier.apply(action)
        except (ApiError, KeyError, OSError) as error:
            text = f"cannot {action}: {error} ({len(done)} of {len(actions)} actions were done)"
            module.fail_json(msg=text, changed=bool(done))
        if action.name not in applier.lacking:
            done.append(action)
    module.exit_json(**result_of(done, diff=module._diff), lacking=applier.lacking)


if __name__ == "__main__":
    main()
