# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.attendance: wait until every host has reported for service, and take new ones into the cell."""

from __future__ import annotations

DOCUMENTATION = r"""
module: attendance
short_description: Wait until hosts serve a cloud, and map new compute hosts
version_added: 0.1.0
description:
  - Waits until each host of the lists has reported freshly as a compute service, as a volume or backup service, or
    with its network controller.
  - A compute host that reports and is in no cell yet is mapped by C(nova-manage cell_v2 discover_hosts), which needs
    to run on the control node.
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
  computes:
    description: Hosts awaited as compute services.
    type: list
    elements: str
    default: []
  volumes:
    description: Hosts awaited as volume services.
    type: list
    elements: str
    default: []
  backups:
    description: Hosts awaited as backup services.
    type: list
    elements: str
    default: []
  networks:
    description: Hosts whose network controller is awaited.
    type: list
    elements: str
    default: []
  machines:
    description: For a name in the lists that is no machine, the machines of which one bears it; their journals tell
      why it does not come.
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for all of them together.
    type: int
    default: 600
notes:
  - In check mode it looks once and tells who would be awaited.
author: The Updraft developers
"""

EXAMPLES = r"""
- name: join | Wait for all hosts
  updraft.cloud.attendance:
    url: https://api.example.org:5000/v3
    password: "{{ admin_password }}"
    computes: [node1]
"""

RETURN = r"""
mapped:
  description: Compute hosts that were taken into the cell.
  type: list
  elements: str
  returned: always
missing:
  description: Who did not come, each with C(host), C(unit) and C(reason).
  type: list
  elements: dict
  returned: always
"""

import datetime
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.attendance import (
    UNITS,
    Missing,
    journals,
    missing,
    missing_agents,
    unmapped,
)
from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import Api, ApiError

DISCOVER = ["runuser", "--user", "nova", "--", "nova-manage", "cell_v2", "discover_hosts"]


def absent(api: Api, given: dict[str, Any]) -> list[Missing]:
    """Return who is still awaited."""
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    result: list[Missing] = []
    if given["computes"]:
        reports = api.get("compute", "/os-services?binary=nova-compute")["services"]
        result += missing("compute", given["computes"], reports, now)
    for kind in ("volume", "backup"):
        if given[f"{kind}s"]:
            reports = api.get("block-storage", f"/os-services?binary={UNITS[kind]}")["services"]
            result += missing(kind, given[f"{kind}s"], reports, now)
    if given["networks"]:
        result += missing_agents(given["networks"], api.get("network", "/agents")["agents"])
    return result


def outside_cells(api: Api, computes: list[str]) -> list[str]:
    """Return the compute hosts that are in no cell."""
    return unmapped(computes, api.get("compute", "/os-hypervisors/detail")["hypervisors"]) if computes else []


def wait(module: AnsibleModule, given: dict[str, Any]) -> list[str]:
    """Wait for everybody; return the hosts that were mapped. Ends the module when the time is up."""
    end = time.monotonic() + given["timeout"]
    mapped: list[str] = []
    while True:
        problem, awaited = "", []
        try:
            api = Api(given["url"], given["username"], given["password"], given["username"], given["region"])
            awaited = absent(api, given)
            here = [host for host in given["computes"] if host not in {item.host for item in awaited}]
            new = outside_cells(api, here)
            if new:
                module.run_command(DISCOVER, check_rc=True)
                mapped += [host for host in new if host not in mapped]
                awaited += [Missing(host, "cell", "it is in no cell yet") for host in outside_cells(api, new)]
            if not awaited:
                return mapped
        except ApiError as error:
            problem = str(error)
        if time.monotonic() > end:
            who = "; ".join(str(item) for item in awaited) or problem
            found = journals(awaited, given["machines"])
            module.fail_json(msg=f"not in service after {given['timeout']} s: {who}", missing=found, mapped=mapped)
        time.sleep(3)


def look(given: dict[str, Any]) -> list[str]:
    """Return the compute hosts that a real run would have to map."""
    try:
        api = Api(given["url"], given["username"], given["password"], given["username"], given["region"])
        return outside_cells(api, given["computes"])
    except ApiError:
        return list(given["computes"])


def main() -> None:
    """Wait, or in check mode look."""
    hosts = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "username": {"type": "str", "default": "admin"},
            "password": {"type": "str", "required": True, "no_log": True},
            "region": {"type": "str", "default": "RegionOne"},
            "computes": hosts,
            "volumes": hosts,
            "backups": hosts,
            "networks": hosts,
            "machines": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    mapped = look(module.params) if module.check_mode else wait(module, module.params)
    module.exit_json(changed=bool(mapped), mapped=mapped, missing=[])


if __name__ == "__main__":
    main()
