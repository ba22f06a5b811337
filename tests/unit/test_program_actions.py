# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions that ask a program on the machine: its words, and what becomes of its answer."""

from __future__ import annotations

import json
import shlex
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.updraft.cloud.plugins.action import iscsi_session_info, storage_mirror
from ansible_collections.updraft.cloud.plugins.module_utils import iscsi_losses_cli
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_losses import Loss
from ansible_collections.updraft.cloud.plugins.plugin_utils.programs import ProgramAction

MIRROR, LOSSES = storage_mirror.PROGRAM, iscsi_session_info.PROGRAM
ABSENT = (127, "", "sh: 1: not found")


class Asked:
    """A task of an action, and a machine whose shell answers what a test says."""

    def __init__(self, action: type[ProgramAction], monkeypatch: pytest.MonkeyPatch) -> None:
        self.words: list[list[str]] = []
        self.answer: tuple[int, str, str] = (0, "{}", "")
        self.action = action.__new__(action)
        monkeypatch.setattr(ProgramAction.__base__, "run", lambda *_words: {})
        monkeypatch.setattr(self.action, "_low_level_execute_command", self._shell, raising=False)

    def _shell(self, command: str, in_data: bytes) -> dict[str, Any]:
        assert in_data, "ssh makes a terminal where a command gets no input"
        self.words.append(shlex.split(command))
        code, out, error = self.answer
        return {"rc": code, "stdout": out, "stderr": error}

    def run(self, *, check: bool = False, **given: Any) -> dict[str, Any]:
        self.action._task = SimpleNamespace(check_mode=check, args=given)
        return self.action.run()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(storage_mirror.ActionModule, monkeypatch)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(iscsi_session_info.ActionModule, monkeypatch)


class TestStorageMirror:
    """updraft.cloud.storage_mirror."""

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({}, "status"),
            ({"state": "converged", "wait": 60}, "converge --wait 60"),
            ({"state": "demoted", "generation": 4, "planned": True, "wait": 9}, "demote"),
            (
                {"state": "promoted", "generation": "4", "planned": "yes", "wait": 9},
                "promote --generation 4 --planned --wait 9",
            ),
            (
                {"state": "promoted", "generation": 4, "peer_is_off": True, "accept_loss": True},
                "promote --generation 4 --peer-is-off --accept-loss",
            ),
            ({"state": "alone", "generation": 4}, "serve --alone --generation 4"),
        ],
    )
    def test_its_words(self, mirror: Asked, given: dict[str, Any], words: str) -> None:
        mirror.run(**given)
        assert mirror.words == [[MIRROR, *words.split()]]

    def test_what_was_done_is_a_change(self, mirror: Asked) -> None:
        mirror.answer = (0, json.dumps({"role": "leg", "changed": ["demote"]}), "")
        found = mirror.run(state="demoted")
        assert found == {"changed": True, "mirror": {"role": "leg", "changed": ["demote"]}, "actions": ["demote"]}
        mirror.answer = (0, '{"role": "leg", "changed": []}', "")
        assert not mirror.run(state="demoted")["changed"]

    @pytest.mark.parametrize("key", ["refused", "failed"])
    def test_the_reason_is_the_message(self, mirror: Asked, key: str) -> None:
        mirror.answer = (2, json.dumps({key: "the peer answers to ARP", "changed": []}), "said to the journal")
        found = mirror.run(state="promoted", generation=4)
        assert (found["failed"], found["msg"], found["rc"]) == (True, "the peer answers to ARP", 2)

    def test_a_number_has_to_be_given(self, mirror: Asked) -> None:
        with pytest.raises(AnsibleActionFail, match="state is promoted but all of the following are missing: gener"):
            mirror.run(state="promoted")
        with pytest.raises(AnsibleActionFail, match="value of state must be one of: status, converged"):
            mirror.run(state="serving")
        assert mirror.words == []

    def test_check_mode_asks_only_what_changes_nothing(self, mirror: Asked) -> None:
        mirror.run(check=True, state="converged", wait=60)
        assert mirror.words == [[MIRROR, "converge", "--wait", "60", "--check"]]
        found = mirror.run(check=True, state="demoted")
        assert (found["changed"], found["actions"], len(mirror.words)) == (True, ["updraft-mirror demote"], 1)

    def test_without_the_program(self, mirror: Asked) -> None:
        mirror.answer = ABSENT
        found = mirror.run(state="converged")
        assert (found["failed"], found["msg"]) == (True, f"{MIRROR} is not there: the role storage_mirror installs it")
        assert mirror.run(check=True, state="converged")["changed"], "a run would install it"

    def test_an_answer_that_cannot_be_read_is_shown(self, mirror: Asked) -> None:
        mirror.answer = (1, "", "Traceback: no such file\n")
        with pytest.raises(AnsibleActionFail, match=r"nothing that can be read \(exit code 1\): Traceback: no such"):
            mirror.run()


class TestSessionInfo:
    """updraft.cloud.iscsi_session_info, and the program that it asks."""

    def test_its_words_and_its_answer(self, losses: Asked) -> None:
        losses.answer = (0, '{"losses": [], "began": 1.0, "ended": 2.0}', "")
        found = losses.run(portals=["10.0.1.9", "[fd00::9]:3260"], wait=20)
        assert losses.words == [[LOSSES, "--wait", "20.0", "10.0.1.9", "[fd00::9]:3260"]]
        assert found == {"changed": False, "losses": [], "began": 1.0, "ended": 2.0}

    def test_one_that_cannot_tell_says_why(self, losses: Asked) -> None:
        losses.answer = (1, '{"failed": "the journal cannot be read: it is gone"}', "")
        assert losses.run(portals=[]) == {"failed": True, "msg": "the journal cannot be read: it is gone"}
        losses.answer = ABSENT
        assert losses.run(portals=[])["msg"] == f"{LOSSES} is not there: the role iscsi_initiator installs it"

    def test_the_program(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        def ask(addresses: set[str], seconds: float, _look: object) -> list[Loss]:
            assert (addresses, seconds) == ({"10.0.1.9"}, 20.0)
            return [Loss("iqn.x:web", "10.0.1.9:3260", "FAILED", False, 1000.25)]

        monkeypatch.setattr(iscsi_losses_cli, "ask", ask)
        assert iscsi_losses_cli.main(["--wait", "20", "10.0.1.9:3260"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["losses"] == [
            {"target": "iqn.x:web", "portal": "10.0.1.9:3260", "state": "FAILED", "served": False, "until": 1000.25}
        ]
        assert told["began"] <= told["ended"]

    def test_the_program_fails(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        def ask(*_given: object) -> list[Loss]:
            raise DisksError("the journal cannot be read: it is gone")

        monkeypatch.setattr(iscsi_losses_cli, "ask", ask)
        assert iscsi_losses_cli.main(["10.0.1.9"]) == 1
        assert json.loads(capsys.readouterr().out) == {"failed": "the journal cannot be read: it is gone"}
        assert iscsi_losses_cli.main([]) == 0, "nothing to look at"
