# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.storage_mirror: this server's part in the mirror of volumes, by the program that keeps it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_mirror
short_description: Bring a storage server to its part in the mirror of volumes
version_added: 0.1.0
description:
  - The program C(updraft-mirror) of the role C(storage_mirror) does the work, and keeps by itself to what was decided
    when a server starts again. This module asks it, and hands on what it says.
  - What could make two servers write is refused, with the reason.
options:
  state:
    description:
      - V(status) only looks. V(converged) brings the server to the part that it has, and gives it its first one.
      - V(demoted) ends serving and offers this server's disks to the other; V(promoted) takes serving over from it.
      - V(alone) serves without the other.
      - V(rejoined) makes a server that returned the other leg. V(healed), on the one that serves, takes it in.
    type: str
    choices: [status, converged, demoted, promoted, alone, rejoined, healed]
    default: status
  generation:
    description: How often serving has moved, with this move. Needed by V(promoted), V(alone) and V(rejoined).
    type: int
  planned:
    description: For V(promoted), that the other server was demoted before.
    type: bool
    default: false
  peer_is_off:
    description: For V(promoted), that the other server is proven off.
    type: bool
    default: false
  accept_loss:
    description: For V(promoted), that writes may be lost which the other server had acknowledged alone.
    type: bool
    default: false
  wait:
    description: Seconds to wait for the other server (its demotion, for V(promoted)), or for the copy to end.
    type: int
    default: 0
attributes:
  check_mode:
    description: Says what would be done.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: storage_mirror | Take the part that this server has
  updraft.cloud.storage_mirror:
    state: converged
    wait: 120
"""

RETURN = r"""
mirror:
  description: What the program says, as C(updraft-mirror status) has it.
  type: dict
  returned: success
actions:
  description: What was done, or would be done.
  type: list
  elements: str
  returned: success
"""

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PROGRAM = "/usr/local/sbin/updraft-mirror"
VERBS = {
    "status": "status",
    "converged": "converge",
    "demoted": "demote",
    "promoted": "promote",
    "alone": "serve",
    "rejoined": "rejoin",
    "healed": "heal",
}
WAITING = ("converged", "promoted", "healed")
REFUSED = 2


def command(given: dict[str, Any], *, check: bool) -> list[str]:
    """The program's command line for the module's parameters."""
    state = given["state"]
    words = [PROGRAM, VERBS[state]]
    if state == "alone":
        words.append("--alone")
    if given["generation"] is not None and state in ("promoted", "alone", "rejoined"):
        words += ["--generation", str(given["generation"])]
    if state == "promoted":
        words += [f"--{name.replace('_', '-')}" for name in ("planned", "peer_is_off", "accept_loss") if given[name]]
    if state in WAITING and given["wait"]:
        words += ["--wait", str(given["wait"])]
    if check and state == "converged":
        words.append("--check")
    return words


def main() -> None:
    """Ask the program."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": list(VERBS), "default": "status"},
            "generation": {"type": "int"},
            "planned": {"type": "bool", "default": False},
            "peer_is_off": {"type": "bool", "default": False},
            "accept_loss": {"type": "bool", "default": False},
            "wait": {"type": "int", "default": 0},
        },
        required_if=[("state", state, ["generation"]) for state in ("promoted", "alone", "rejoined")],
        supports_check_mode=True,
    )
    if not os.access(PROGRAM, os.X_OK):
        if module.check_mode:
            module.exit_json(changed=True, mirror={}, actions=["install the mirror, and take the first part in it"])
        module.fail_json(msg=f"{PROGRAM} is not there: the role storage_mirror installs it")
    state = module.params["state"]
    if module.check_mode and state not in ("status", "converged"):
        module.exit_json(changed=True, mirror={}, actions=[f"updraft-mirror {VERBS[state]}"])
    code, out, error = module.run_command(command(module.params, check=module.check_mode))
    try:
        answer = json.loads(out)
    except ValueError:
        module.fail_json(msg=f"updraft-mirror said nothing that can be read: {error.strip() or out.strip()}", rc=code)
    if code:
        module.fail_json(
            msg=str(answer.get("refused") or answer.get("failed") or error.strip()), mirror=answer, rc=code
        )
    actions = list(answer.get("changed", []))
    module.exit_json(changed=bool(actions), mirror=answer, actions=actions)


if __name__ == "__main__":
    main()
