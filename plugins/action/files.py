# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a list of files on the controller and hand all of it to the module in one round trip."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.updraft.cloud.plugins.module_utils.files_payload import pack
from ansible_collections.updraft.cloud.plugins.plugin_utils.rendering import (
    ARGUMENT_SPEC,
    REQUIRED_BY,
    SERVICE,
    Renderer,
    problems_of,
    unit_problems,
)


class ActionModule(ActionBase):
    """The controller's half of updraft.cloud.files; see the module for what it does."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render, send, and return what the module says."""
        variables = task_vars or {}
        super().run(tmp, variables)
        checked = ArgumentSpecValidator(ARGUMENT_SPEC, required_by=REQUIRED_BY).validate(dict(self._task.args))
        arguments: dict[str, Any] = checked.validated_parameters
        wrong = [f"wrong argument: {text}" for text in checked.error_messages]
        problems = wrong or [*problems_of(arguments["files"]), *unit_problems(arguments["units"])]
        if problems:
            raise AnsibleActionFail("\n".join(problems))
        renderer = Renderer(self._templar, self._loader, variables, self._find_needle)
        rendered = [renderer.render(entry) for entry in arguments["files"]]
        payload = pack(rendered, arguments["validate"], {key: arguments[key] for key in SERVICE})
        result: dict[str, Any] = self._execute_module(
            module_name="updraft.cloud.files", module_args={"payload": payload}, task_vars=variables
        )
        return result
