# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions that ask a program of Updraft's which a role has put on the machine, and that answers in JSON.

A module of Ansible's would be copied to the machine and compiled there each time, which takes longer than the program;
while serving of the volumes moves, everybody who uses them waits for that.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

#: What a shell says of a program that is not there, and of one that cannot be run.
ABSENT = (126, 127)
#: Programs do not read it. Without any, ssh makes a terminal, on which what a program tells people stands between what
#: it answers, and which ends the program when the connection is lost.
NO_TERMINAL = b"\n"


class Absent(Exception):
    """The program is not on the machine."""


class ProgramAction(ActionBase):
    """An action that asks a program."""

    _supports_check_mode = True

    def given(self, spec: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The task's arguments by a spec, and `more` rules, as AnsibleModule has them. Raises AnsibleActionFail."""
        checked = ArgumentSpecValidator(dict(spec), **more).validate(dict(self._task.args))
        if checked.error_messages:
            raise AnsibleActionFail("\n".join(checked.error_messages))
        found: dict[str, Any] = checked.validated_parameters
        return found

    def ask(self, words: Sequence[str]) -> tuple[int, dict[str, Any]]:
        """Run a program; its exit code and what it says.

        Raises Absent; AnsibleActionFail where that is no JSON; AnsibleConnectionFailure, which Ansible tells as such.
        """
        done: dict[str, Any] = self._low_level_execute_command(  # type: ignore[no-untyped-call]
            shlex.join(words), in_data=NO_TERMINAL
        )
        if done["rc"] in ABSENT:
            raise Absent(words[0])
        try:
            answer: dict[str, Any] = json.loads(done["stdout"])
        except ValueError:
            text = (done["stderr"] or done["stdout"]).strip()
            raise AnsibleActionFail(
                f"{words[0]} said nothing that can be read (exit code {done['rc']}): {text}"
            ) from None
        return int(done["rc"]), answer
