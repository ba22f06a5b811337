# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask `updraft-mirror` on a storage server, and hand on what it says."""

from __future__ import annotations

from typing import Any

from ansible_collections.updraft.cloud.plugins.plugin_utils.programs import Absent, ProgramAction

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
NUMBERED = ("promoted", "alone", "rejoined")
SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": list(VERBS), "default": "status"},
    "generation": {"type": "int"},
    "planned": {"type": "bool", "default": False},
    "peer_is_off": {"type": "bool", "default": False},
    "accept_loss": {"type": "bool", "default": False},
    "wait": {"type": "int", "default": 0},
}


def command(given: dict[str, Any], *, check: bool) -> list[str]:
    """The program's command line for the task's arguments."""
    state = given["state"]
    words = [PROGRAM, VERBS[state]]
    if state == "alone":
        words.append("--alone")
    if given["generation"] is not None and state in NUMBERED:
        words += ["--generation", str(given["generation"])]
    if state == "promoted":
        words += [f"--{name.replace('_', '-')}" for name in ("planned", "peer_is_off", "accept_loss") if given[name]]
    if state in WAITING and given["wait"]:
        words += ["--wait", str(given["wait"])]
    if check and state == "converged":
        words.append("--check")
    return words


class ActionModule(ProgramAction):
    """All of updraft.cloud.storage_mirror; see the module for what it does."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask, and hand on."""
        super().run(tmp, task_vars or {})
        given = self.given(SPEC, required_if=[("state", state, ["generation"]) for state in NUMBERED])
        state, check = given["state"], bool(self._task.check_mode)
        if check and state not in ("status", "converged"):
            return {"changed": True, "mirror": {}, "actions": [f"updraft-mirror {VERBS[state]}"]}
        try:
            code, answer = self.ask(command(given, check=check))
        except Absent:
            if check:
                return {"changed": True, "mirror": {}, "actions": ["install the mirror, and take the first part in it"]}
            return {"failed": True, "msg": f"{PROGRAM} is not there: the role storage_mirror installs it"}
        if code:
            why = str(answer.get("refused") or answer.get("failed") or f"it ended with {code}")
            return {"failed": True, "msg": why, "mirror": answer, "rc": code}
        actions = list(answer.get("changed", []))
        return {"changed": bool(actions), "mirror": answer, "actions": actions}
