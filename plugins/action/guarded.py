# SPDX-License-Identifier: GPL-3.0-or-later
"""Change guarded settings, come back over a new connection, and confirm them."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.updraft.cloud.plugins.module_utils.files_payload import pack
from ansible_collections.updraft.cloud.plugins.module_utils.guard_scripts import Guard, waiting_script
from ansible_collections.updraft.cloud.plugins.plugin_utils.rendering import ENTRY_SPEC, Renderer, problems_of

SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "files": {"type": "list", "elements": "dict", "required": True, "options": ENTRY_SPEC},
    "apply": {"type": "list", "elements": "list", "required": True},
    "restore": {"type": "list", "elements": "list", "default": []},
    "observe": {"type": "list", "elements": "str", "default": []},
    "links": {"type": "list", "elements": "dict", "default": []},
    "seconds": {"type": "int", "default": 240},
}
PAUSE = 2.0
display = Display()


class ActionModule(ActionBase):
    """The controller's half of updraft.cloud.guarded; see the module for what it does."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin on the target; if something changed there, reconnect and confirm."""
        variables = task_vars or {}
        super().run(tmp, variables)
        arguments = self._arguments(variables)
        began = time.monotonic()
        done = self._change(arguments, variables)
        # By this computer's clock its time was not over: the machine's clock made a leap, as when it was paused.
        if done.get("late") and time.monotonic() - began < arguments["seconds"]:
            display.warning(f"{variables.get('inventory_hostname')}: {done['msg']}\nThat was too early: once more.")
            done = {**self._change(arguments, variables), "changed": True}
        return done

    def _change(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Begin on the target, and if something changed there, confirm it."""
        started: dict[str, Any] = self._execute(arguments, "start", variables)
        if started.get("failed") or not started.get("changed") or self._task.check_mode:
            return started
        return {**started, **self._confirm(arguments, variables), "changed": True}

    def _arguments(self, variables: dict[str, Any]) -> dict[str, Any]:
        checked = ArgumentSpecValidator(SPEC).validate(dict(self._task.args))
        arguments: dict[str, Any] = checked.validated_parameters
        problems = checked.error_messages or problems_of(arguments["files"])
        if problems:
            raise AnsibleActionFail("\n".join(problems))
        renderer = Renderer(self._templar, self._loader, variables, self._find_needle)
        arguments["payload"] = pack([renderer.render(entry) for entry in arguments.pop("files")], [])
        return arguments

    def _execute(self, arguments: dict[str, Any], step: str, variables: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="updraft.cloud.guarded", module_args={**arguments, "step": step}, task_vars=variables
        )
        return result

    def _confirm(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Wait until all is applied, then confirm that over a connection which is newer than that."""
        end = time.monotonic() + arguments["seconds"] + 60
        self._await_applied(arguments, end)
        self._reset()
        return self._persist(arguments, variables, end)

    def _await_applied(self, arguments: dict[str, Any], end: float) -> None:
        """Wait for it by the connection that is there, or by new ones where it is gone."""
        command = waiting_script(Guard(arguments["name"], seconds=arguments["seconds"]))
        while time.monotonic() < end:
            with contextlib.suppress(AnsibleConnectionFailure):
                self._low_level_execute_command(command)  # type: ignore[no-untyped-call]
                return
            time.sleep(PAUSE)
            self._reset()

    def _persist(self, arguments: dict[str, Any], variables: dict[str, Any], end: float) -> dict[str, Any]:
        """Confirm, over ever newer connections, until the machine has surely returned."""
        name, seconds = arguments["name"], arguments["seconds"]
        host, trouble = variables.get("inventory_hostname", "the machine"), "no answer"
        while time.monotonic() < end:
            try:
                result = self._execute(arguments, "confirm", variables)
            except AnsibleConnectionFailure as error:
                trouble = str(error)
            else:
                if not result.get("unreachable"):
                    return result
                trouble = str(result.get("msg", trouble))
            display.vv(f"{host}: waiting for a new connection to confirm {name}: {trouble}")
            time.sleep(PAUSE)
            self._reset()
        return {
            "failed": True,
            "msg": f"{host} could not be reached over a new connection after {name} was changed: {trouble}\n"
            f"It has returned to its former settings by itself after {seconds} s, or will at its next boot.",
        }

    def _reset(self) -> None:
        with contextlib.suppress(AnsibleConnectionFailure, OSError):
            self._connection.reset()
