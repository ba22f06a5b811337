# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.listening: what listens, against what is declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: listening
short_description: Compare what listens on a machine with the declared ports
version_added: 0.1.0
description:
  - Reads the machine's sockets and fails if something listens that no entry declares, or if nothing
    listens where an entry says so. Loopback does not count. Changes nothing.
  - Sockets of UDP in the range which the kernel gives to clients are left out. Only the machine's own
    network namespace is looked at.
options:
  ports:
    description:
      - The declared ports, each with C(name), C(port) (a number or C(first-last)), C(protocol),
        C(address), C(process) and C(optional) (nothing need listen).
    type: list
    elements: dict
    required: true
  processes:
    description: Fail also if another program listens than the one declared.
    type: bool
    default: true
  seconds:
    description: How long to wait until all fits.
    type: int
    default: 10
attributes:
  check_mode:
    description: Only reads.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Ports | Compare what listens with the ledger
  updraft.cloud.listening:
    ports: "{{ cloud_node.ports }}"
"""

RETURN = r"""
listeners:
  description: All sockets that wait, each with C(protocol), C(port), C(address) and C(process).
  returned: with -v
  type: list
  elements: dict
undeclared:
  description: Those which no entry declares.
  returned: with -v
  type: list
  elements: dict
silent:
  description: Entries where nothing listens.
  returned: with -v
  type: list
  elements: dict
other:
  description: Those where another program listens than declared.
  returned: with -v
  type: list
  elements: dict
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.sockets import Verdict, look


def main() -> None:
    """Read, compare, tell."""
    module = AnsibleModule(
        argument_spec={
            "ports": {"type": "list", "elements": "dict", "required": True},
            "processes": {"type": "bool", "default": True},
            "seconds": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    found, verdict = look(module.params["ports"], module.params["seconds"])
    result: dict[str, Any] = {"changed": False}
    if module._verbosity:
        result |= {"listeners": [asdict(one) for one in found], **asdict(verdict)}
    wrong = words(verdict, processes=module.params["processes"])
    if wrong:
        module.fail_json(msg="\n".join(wrong), **result)
    module.exit_json(**result)


def words(verdict: Verdict, *, processes: bool) -> list[str]:
    """What is wrong, one line each, with what to do."""
    lines = [
        f"{one['process']} listens on {one['address']}:{one['port']}/{one['protocol']}, which no role declares: "
        "declare it in the role's meta/footprint.yml, or let it listen on 127.0.0.1."
        for one in verdict.undeclared
    ]
    lines += [
        f"{one['process']} should listen on {one['address']}:{one['port']}/{one['protocol']} ({one['name']}), "
        "but nothing does: look at its unit, or mark the port as optional."
        for one in verdict.silent
    ]
    if processes:
        lines += [
            f"{one['process']} listens on {one['address']}:{one['port']}/{one['protocol']} ({one['name']}), "
            f"which is declared for {one['declared']}."
            for one in verdict.other
        ]
    return lines


if __name__ == "__main__":
    main()
