# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.lab_machine: the machines of the lab."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_machine
short_description: Start, stop or remove the machines of the lab
version_added: 0.1.0
description:
  - Containers run under podman and runc, virtual machines under QEMU, with KVM where a stock guest really starts
    under it. A machine that runs is left alone.
  - Makes the keys of the lab, with C(known_hosts) and C(ssh_config) in the lab's state directory, and waits until each
    machine lets us in over SSH; when one does not, its console is shown.
options:
  site:
    description:
      - "The lab: C(cloud) of the model, C(nodes) (each machine's C(cloud_node) by name), and the directories C(state)
        (this lab's own) and C(cache) (the images of all labs on the computer)."
    type: dict
    required: true
  state:
    description:
      - V(started) starts what does not run and waits for it; V(stopped) shuts down and keeps the disks;
        V(absent) removes every machine that this lab has made, with its disks and keys; V(status) only looks.
    type: str
    choices: [started, stopped, absent, status]
    default: started
  power:
    description:
      - Instead of O(state), for bare machines, which have no system and boot by network. V(on) switches on what is off
        and V(reset) cuts the power first; both wait for the code on the console. V(off) cuts the power.
    type: str
    choices: ["on", "off", reset]
  names:
    description: Which bare machines O(power) is for; by default all that are not spare.
    type: list
    elements: str
    default: []
  timeout:
    description: How many seconds a machine may take until it lets us in.
    type: int
    default: 300
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Start the machines
  updraft.cloud.lab_machine:
    site: "{{ lab_site }}"
    timeout: 300

- name: Switch on what boots by network
  updraft.cloud.lab_machine:
    site: "{{ lab_site }}"
    power: "on"
"""

RETURN = r"""
seconds:
  description: How long each machine took until it let us in.
  returned: when O(state=started)
  type: dict
codes:
  description: The code on the console of each bare machine.
  returned: when O(power) is V(on) or V(reset)
  type: dict
machines:
  description: What there is of each machine.
  returned: when O(state=status)
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import lab_machine
from ansible_collections.updraft.cloud.plugins.module_utils.lab_host import alone
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import LabError, Site, parse_site


def work(site: Site, options: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do what the options ask for; returns the module's result."""
    state, limit = options["state"], options["timeout"]
    if options["power"]:
        with alone(site):
            return lab_machine.powered(site, options["names"], options["power"], limit=limit, check=check)
    if state == "status":
        return {"changed": False, "machines": lab_machine.status(site)}
    with alone(site):
        if state == "started":
            return lab_machine.started(site, limit=limit, check=check)
        return (lab_machine.stopped if state == "stopped" else lab_machine.absent)(site, check=check)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped", "absent", "status"], "default": "started"},
            "power": {"type": "str", "choices": ["on", "off", "reset"]},
            "names": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    try:
        site = parse_site(module.params["site"])
        result = work(site, module.params, module.check_mode)
    except LabError as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
