# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what preflight found on all hosts, and fail once."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.updraft.cloud.plugins.plugin_utils.preflight import Line, table, twins, unreachable


class ActionModule(ActionBase):
    """All of updraft.cloud.preflight_table; see the module for what it does."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Collect, show, judge."""
        super().run(tmp, task_vars or {})
        results = self._task.args.get("results")
        if not isinstance(results, dict):
            raise AnsibleActionFail("results: give each host's result of updraft.cloud.preflight")
        lines: list[Line] = []
        facts: dict[str, Any] = {}
        for host, result in results.items():
            if result.get("facts"):
                facts[host] = result["facts"]
                lines += [Line(**line) for line in result.get("lines", [])]
            else:
                lines.append(unreachable(host, str(result.get("msg", ""))))
        lines += twins(facts)
        if not lines:
            return {"changed": False}
        hosts = len({line.host for line in lines})
        head = f"{len(lines)} {'thing does' if len(lines) == 1 else 'things do'} not fit on {hosts} of {len(results)}"
        # The table alone, so that nothing is shown twice.
        return {"failed": True, "msg": f"{head} machines. Nothing was changed.\n\n{table(lines)}"}
