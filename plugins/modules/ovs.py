# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.ovs: bridges, ports and settings of Open vSwitch."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ovs
short_description: Bridges, ports and settings of Open vSwitch, in one transaction
version_added: 0.1.0
description:
  - Compares what is wanted with the switch's database and makes all changes in one transaction.
  - What is not named stays, since ovn-controller and nova put bridges, ports and keys there themselves.
  - Waits for ovs-vswitchd to carry it out, if it runs. Settings which it reads at its start can so be
    made before it.
options:
  external_ids:
    description: Keys of the switch's external-ids; a key without a value is removed.
    type: dict
    default: {}
  other_config:
    description: Keys of the switch's other_config; a key without a value is removed.
    type: dict
    default: {}
  managers:
    description: All connections by which the database is served or serves. Not given, they stay.
    type: list
    elements: str
  bridges:
    description: Bridges that are to be there.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      datapath_type:
        description: C(system) for the kernel's, C(netdev) for that in userspace.
        type: str
        choices: [system, netdev]
      fail_mode:
        description: What it does without a controller.
        type: str
        choices: [standalone, secure]
      ports:
        description:
          - Interfaces that are to be in it. One that carries an address is refused, because the address
            would be lost.
        type: list
        elements: str
        default: []
      external_ids:
        description: Keys of its external-ids.
        type: dict
        default: {}
      other_config:
        description: Keys of its other_config.
        type: dict
        default: {}
  timeout:
    description: Seconds that a transaction may take.
    type: int
    default: 60
attributes:
  check_mode:
    description: Tells the plan; the whole of it where there is no switch yet.
    support: full
  diff_mode:
    description: One element for each bridge and group of settings.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: ovn | Configure the switch
  updraft.cloud.ovs:
    external_ids: {ovn-remote: "ssl:10.77.0.10:6642", ovn-cms-options: null}
    managers: ["ptcp:6640:127.0.0.1"]
    bridges:
      - {name: br-ex, ports: [eth2]}
"""

RETURN = r"""
actions:
  description: What was done, or would be done.
  returned: success
  type: list
  elements: str
  sample: [create bridge br-ex]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import ovs
from ansible_collections.updraft.cloud.plugins.module_utils.ovsdb import OvsdbError, call, transaction
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import result_of

BRIDGE = {
    "name": {"type": "str", "required": True},
    "datapath_type": {"type": "str", "choices": ["system", "netdev"]},
    "fail_mode": {"type": "str", "choices": ["standalone", "secure"]},
    "ports": {"type": "list", "elements": "str", "default": []},
    "external_ids": {"type": "dict", "default": {}},
    "other_config": {"type": "dict", "default": {}},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "external_ids": {"type": "dict", "default": {}},
    "other_config": {"type": "dict", "default": {}},
    "managers": {"type": "list", "elements": "str"},
    "bridges": {"type": "list", "elements": "dict", "default": [], "options": BRIDGE},
    "timeout": {"type": "int", "default": 60},
}


def texts(settings: dict[str, Any]) -> dict[str, str | None]:
    """The database knows texts only: numbers and truth values as it writes them."""
    written = {True: "true", False: "false"}
    return {
        key: None if value is None else written[value] if isinstance(value, bool) else str(value)
        for key, value in settings.items()
    }


def wanted_state(params: dict[str, Any]) -> dict[str, Any]:
    """The module's arguments as plan_switch takes them."""
    maps = ("external_ids", "other_config")
    return {
        **{key: texts(params[key]) for key in maps},
        "managers": params["managers"],
        "bridges": [{**bridge, **{key: texts(bridge[key]) for key in maps}} for bridge in params["bridges"]],
    }


def main() -> None:
    """Read what is there, plan, apply."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    timeout = module.params["timeout"]
    found = ovs.EMPTY
    try:
        found = ovs.found_state(call("ovs-vsctl", "--format=json", *ovs.READ, timeout=timeout))
    except OvsdbError as error:
        if not module.check_mode:
            module.fail_json(msg=f"Open vSwitch cannot be asked: {error}; see journalctl -u ovsdb-server")
    actions = ovs.plan_switch(wanted_state(module.params), found)
    for name, addresses in ovs.addresses_of(ovs.read_links(), ovs.new_ports(actions)).items():
        module.fail_json(
            msg=f"{name} has the address {', '.join(addresses)}, which it would lose as a port of a bridge;"
            f" name another interface, or take the address from it first"
        )
    if actions and not module.check_mode:
        wait = () if ovs.switch_runs() else ("--no-wait",)
        try:
            call("ovs-vsctl", *wait, *transaction(ovs.commands_of(actions)), timeout=timeout)
        except OvsdbError as error:
            module.fail_json(msg=f"Open vSwitch did not take the changes: {error}")
    module.exit_json(**result_of(actions, diff=module._diff))


if __name__ == "__main__":
    main()
