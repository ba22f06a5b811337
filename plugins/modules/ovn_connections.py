# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.ovn_connections: on which addresses OVN's databases listen."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ovn_connections
short_description: Addresses that OVN's databases listen on
version_added: 0.1.0
description:
  - Makes the databases on this machine listen exactly as said, each change in one transaction. A
    connection which is not in the list is closed.
options:
  northbound:
    description: Connections of the northbound database, such as C(pssl:6641:10.0.0.1).
    type: list
    elements: str
    default: []
  southbound:
    description: Connections of the southbound database.
    type: list
    elements: str
    default: []
  inactivity_probe:
    description: Milliseconds of silence after which a client is probed; 0 is never.
    type: int
    default: 60000
  timeout:
    description: Seconds that a transaction may take.
    type: int
    default: 30
attributes:
  check_mode:
    description: Tells the plan; the whole of it where there are no databases yet.
    support: full
  diff_mode:
    description: One element for each connection.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: ovn | Open the databases
  updraft.cloud.ovn_connections:
    northbound: ["pssl:6641:10.77.0.10"]
    southbound: ["pssl:6642:10.77.0.10"]
"""

RETURN = r"""
actions:
  description: What was done, or would be done.
  returned: success
  type: list
  elements: str
  sample: ["create connection of the northbound database pssl:6641:10.77.0.10"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import ovn
from ansible_collections.updraft.cloud.plugins.module_utils.ovsdb import OvsdbError, call
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, result_of

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "northbound": {"type": "list", "elements": "str", "default": []},
    "southbound": {"type": "list", "elements": "str", "default": []},
    "inactivity_probe": {"type": "int", "default": 60000},
    "timeout": {"type": "int", "default": 30},
}


def main() -> None:
    """For each database: read, plan, apply."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    actions: list[Action] = []
    for database in ovn.DATABASES:
        try:
            actions += reconcile(module, database)
        except OvsdbError as error:
            module.fail_json(
                msg=f"the {database} database: {error}; see journalctl -u 'ovn-ovsdb-server-*'", changed=bool(actions)
            )
    module.exit_json(**result_of(actions, diff=module._diff))


def reconcile(module: AnsibleModule, database: str) -> list[Action]:
    """Bring one database to its connections, or in check mode only plan it."""
    program, _ = ovn.DATABASES[database]
    targets, probe = module.params[database], module.params["inactivity_probe"]
    timeout = module.params["timeout"]
    found: dict[str, dict[str, Any]] = {}
    try:
        found = ovn.found_connections(call(program, *ovn.READ, timeout=timeout))
    except OvsdbError:
        if not module.check_mode:
            raise
    actions = ovn.plan_connections(database, targets, probe, found)
    if actions and not module.check_mode:
        call(program, *ovn.arguments_of(database, targets, probe), timeout=timeout)
    return actions


if __name__ == "__main__":
    main()
