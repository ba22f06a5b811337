# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a machine and compare it with what is wanted."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.updraft.cloud.plugins.plugin_utils.preflight import compare


class ActionModule(ActionBase):
    """The controller's half of updraft.cloud.preflight; see the module for what it does."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read over there, compare here."""
        variables = task_vars or {}
        super().run(tmp, variables)
        wanted = self._task.args.get("wanted")
        if not isinstance(wanted, dict):
            raise AnsibleActionFail("wanted: give the inputs of the role preflight as a dictionary")
        before = time.time()
        result: dict[str, Any] = self._execute_module(task_vars=variables)
        after = time.time()
        facts = result.get("facts")
        if result.get("failed") or not facts:
            return result
        # Somewhere between sending and answer it looked at its clock: nothing within that is an offset.
        there = float(facts["time"])
        offset = there - after if there > after else there - before if there < before else 0.0
        host = str(variables["inventory_hostname"])
        if facts.get("virtualization"):
            result["ansible_facts"] = {"preflight_virtualization": facts["virtualization"]}
        result["lines"] = [line.plain() for line in compare(host, facts, wanted, offset)]
        return result
