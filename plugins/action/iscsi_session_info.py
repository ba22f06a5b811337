# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask `updraft-iscsi-losses` on a machine that uses volumes, and hand on what it says."""

from __future__ import annotations

from typing import Any

from ansible_collections.updraft.cloud.plugins.plugin_utils.programs import Absent, ProgramAction

PROGRAM = "/usr/local/sbin/updraft-iscsi-losses"
SPEC: dict[str, dict[str, Any]] = {
    "portals": {"type": "list", "elements": "str", "required": True},
    "wait": {"type": "float", "default": 0.0},
}


class ActionModule(ProgramAction):
    """All of updraft.cloud.iscsi_session_info; see the module for what it does."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask, and hand on."""
        super().run(tmp, task_vars or {})
        given = self.given(SPEC)
        try:
            code, answer = self.ask([PROGRAM, "--wait", str(given["wait"]), *given["portals"]])
        except Absent:
            return {"failed": True, "msg": f"{PROGRAM} is not there: the role iscsi_initiator installs it"}
        if code:
            return {"failed": True, "msg": str(answer.get("failed") or f"it ended with {code}")}
        return {"changed": False, **answer}
