# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of guarded settings: the scripts are really run, on files in a temporary folder."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.action import guarded
from ansible_collections.updraft.cloud.plugins.module_utils import files
from ansible_collections.updraft.cloud.plugins.module_utils.guard import Late, _keep, digest_of, missing_links
from ansible_collections.updraft.cloud.plugins.module_utils.guard_scripts import (
    Guard,
    apply_script,
    boot_files,
    return_script,
    waiting_script,
)

ETH0 = {"ifname": "eth0", "mtu": 1500, "flags": ["UP"], "addr_info": [{"local": "10.0.0.5", "prefixlen": 24}]}


def guard_in(folder: Path, **more: tuple[tuple[str, ...], ...]) -> Guard:
    guard = Guard("network", base=str(folder / "guard"), units=str(folder / "units"), **more)
    Path(guard.pending).mkdir(parents=True)
    (folder / "units" / "sysinit.target.wants").mkdir(parents=True)
    return guard


def bring_back(guard: Guard, kept: dict[str, dict[str, str]], *arguments: str) -> None:
    script = Path(guard.home) / "return.sh"
    script.write_text(return_script(guard, kept))
    subprocess.run(["/bin/sh", str(script), *arguments], check=True, capture_output=True)


def test_former_files_links_and_absences_come_back(tmp_path: Path) -> None:
    guard = guard_in(tmp_path, restore=(("touch", str(tmp_path / "ran")),))
    old, link, new = tmp_path / "old", tmp_path / "link", tmp_path / "new one"
    (Path(guard.pending) / "0").write_text("former")
    (Path(guard.pending) / "1").symlink_to("/former/target")
    for path in (old, link, new):
        path.write_text("changed")
    bring_back(
        guard,
        {
            str(old): {"kind": "file", "copy": "0"},
            str(link): {"kind": "link", "copy": "1"},
            str(new): {"kind": "absent", "copy": "2"},
        },
    )
    assert old.read_text() == "former"
    assert str(link.readlink()) == "/former/target"
    assert not new.exists()
    assert (tmp_path / "ran").exists()
    assert not Path(guard.pending).exists() and not (Path(guard.home) / "returning").exists()


def test_a_return_that_was_cut_in_its_middle_goes_on(tmp_path: Path) -> None:
    guard = guard_in(tmp_path, restore=(("true",),))
    old = tmp_path / "old"
    old.write_text("changed")
    (Path(guard.pending) / "0").write_text("former")
    Path(guard.pending).rename(Path(guard.home) / "returning")
    bring_back(guard, {str(old): {"kind": "file", "copy": "0"}})
    assert old.read_text() == "former"


def test_after_the_confirmation_nothing_comes_back(tmp_path: Path) -> None:
    guard = guard_in(tmp_path, restore=(("touch", str(tmp_path / "ran")),))
    old = tmp_path / "old"
    old.write_text("confirmed")
    (Path(guard.pending) / "0").write_text("former")
    Path(guard.pending).rename(Path(guard.home) / "confirmed")
    bring_back(guard, {str(old): {"kind": "file", "copy": "0"}})
    assert old.read_text() == "confirmed"
    assert not (tmp_path / "ran").exists()


def test_at_boot_files_come_back_and_no_command_runs(tmp_path: Path) -> None:
    guard = guard_in(tmp_path, restore=(("touch", str(tmp_path / "ran")),))
    unit = Path(next(iter(boot_files(guard))))
    unit.write_text("unit")
    bring_back(guard, {str(tmp_path / "new"): {"kind": "absent", "copy": "0"}}, "boot")
    assert not (tmp_path / "ran").exists()
    assert not unit.exists()


@pytest.mark.parametrize(("command", "mark"), [("true", "applied"), ("false", "failed")])
def test_whoever_waits_learns_whether_every_command_succeeded(tmp_path: Path, command: str, mark: str) -> None:
    guard = guard_in(tmp_path, apply=((command,), ("true",)))
    with subprocess.Popen(["/bin/sh", "-c", waiting_script(guard)]) as waits:
        assert waits.poll() is None
        subprocess.run(["/bin/sh", "-c", apply_script(guard).replace("sleep 1", "")], check=False)
        assert waits.wait(timeout=30) == 0
    assert [one.name for one in Path(guard.pending).iterdir()] == [mark]


def test_nobody_waits_for_settings_that_have_come_back(tmp_path: Path) -> None:
    guard = guard_in(tmp_path)
    Path(guard.pending).rmdir()
    subprocess.run(["/bin/sh", "-c", waiting_script(guard)], check=True, timeout=30)


def test_links_are_missed_in_words() -> None:
    wanted = [{"name": "eth0", "addresses": ["10.0.0.5/24", "10.0.0.6/24"], "mtu": 9000}, {"name": "eth1"}]
    assert missing_links(wanted, [ETH0]) == [
        "eth0: has no address 10.0.0.6/24",
        "eth0: MTU is 1500, not 9000",
        "eth1: there is no such interface",
    ]
    assert missing_links([{"name": "eth0", "addresses": ["10.0.0.5/24"], "mtu": 1500}], [ETH0]) == []


def test_the_number_of_the_files_does_not_depend_on_their_order() -> None:
    one, two = files.Entry("/a", content=b"1"), files.Entry("/b", content=b"2")
    assert digest_of([one, two]) == digest_of([two, one]) != digest_of([one])


def test_a_confirmation_whose_answer_was_lost_can_be_given_again(tmp_path: Path) -> None:
    guard = guard_in(tmp_path)
    _keep(guard, "new")
    _keep(guard, "new")
    assert not Path(guard.pending).exists()


def test_a_confirmation_that_comes_too_late_confirms_nothing(tmp_path: Path) -> None:
    guard = guard_in(tmp_path, restore=(("true",),))
    bring_back(guard, {})
    with pytest.raises(Late, match="no new connection came within 240 s of this machine's clock"):
        _keep(guard, "new")
    with pytest.raises(Late):
        _keep(guard, "new")


class Scripted(guarded.ActionModule):  # type: ignore[misc]
    """The controller's half with a machine that answers what a test says."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers, self.steps = list(answers), []
        self._task = SimpleNamespace(check_mode=False)
        self._connection = SimpleNamespace(reset=lambda: None)

    def _arguments(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"name": "firewall", "seconds": 240}

    def _execute(self, arguments: dict[str, Any], step: str, variables: dict[str, Any]) -> dict[str, Any]:
        self.steps.append(step)
        return self.answers.pop(0)

    def _low_level_execute_command(self, cmd: str) -> dict[str, Any]:
        assert "/var/lib/updraft/guard/firewall/pending" in cmd
        self.steps.append("wait")
        return {"rc": 0}


STARTED = {"changed": True, "changed_paths": ["/a"]}
TOO_LATE = {"failed": True, "late": True, "msg": "the former settings are back"}
ROUND = ["start", "wait", "confirm"]


@pytest.fixture(autouse=True)
def no_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded.ActionBase, "run", lambda *_words: {})


def test_a_machine_whose_clock_leapt_gets_its_settings_once_more() -> None:
    action = Scripted(STARTED, TOO_LATE, STARTED, {"changed": True, "confirmed": True})
    assert action.run() == {**STARTED, "confirmed": True}
    assert action.steps == ROUND * 2


def test_a_machine_that_was_late_twice_is_a_failure() -> None:
    action = Scripted(*[STARTED, TOO_LATE] * 2)
    result = action.run()
    assert result["failed"] and action.steps == ROUND * 2


def test_settings_that_cut_the_connection_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0, 241.0, 250.0])
    monkeypatch.setattr(guarded.time, "monotonic", lambda: next(clock))
    action = Scripted(STARTED, TOO_LATE)
    assert action.run()["failed"] and action.steps == ROUND
