# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.files with units: real files, and a systemd which only answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import units, units_run
from ansible_collections.updraft.cloud.plugins.module_utils.files import Entry, FilesError
from ansible_collections.updraft.cloud.plugins.module_utils.files_payload import Payload
from ansible_collections.updraft.cloud.plugins.module_utils.files_service import ServiceError, carry_out
from ansible_collections.updraft.cloud.plugins.plugin_utils.rendering import unit_problems


class Systemd:
    """Answers for a.service, which runs; `after` is its state once something was done to it."""

    def __init__(self, after: str = "active") -> None:
        self.active = "active"
        self.after = after
        self.done: list[str] = []
        self.looks = 0

    def call(self, *words: str, seconds: float = 0) -> tuple[int, str, str]:
        if words[0] == "journalctl":
            return 0, "a: cannot read its settings\n", ""
        if words[1] == "show":
            self.looks += 1
            shown = f"LoadState=loaded\nActiveState={self.active}\nSubState=x\nUnitFileState=enabled\nType=notify\n"
            return 0, shown + "Result=exit-code\n", ""
        if words[1] != "reset-failed":
            self.done.append(words[1])
            self.active = self.after
        return 0, "", ""


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Systemd:
    machine = Systemd()
    monkeypatch.setattr(units_run, "call", machine.call)
    for function in (units.read_stamp, units.write_stamp, units.drop_stamp):
        changed = (*(function.__defaults__ or ())[:-1], str(tmp_path / "stamps"))
        monkeypatch.setattr(function, "__defaults__", changed)
    return machine


def run(
    root: Path, text: str = "1", *, validate: str | None = None, check: bool = False, **more: Any
) -> dict[str, Any]:
    entries = [Entry(f"{root}/a.conf", content=text.encode(), validate=validate)]
    service = {"units": [{"name": "a", "depends": [f"{root}/a.conf", f"{root}/other"]}], "timeout": 1, **more}
    return carry_out(Payload(entries, [], service), check=check, diff=True)


def test_what_is_written_is_what_the_unit_restarts_for(tmp_path: Path, systemd: Systemd) -> None:
    first = run(tmp_path)
    assert first["changed_paths"] == [f"{tmp_path}/a.conf"]
    assert first["units"]["a.service"]["operations"] == ["restart"]
    second = run(tmp_path)
    assert (second["changed"], second["diff"]) == (False, [])
    assert second["units"] == {"a.service": {"operations": [], "reason": ""}}
    third = run(tmp_path, "2")
    assert third["changed"] is True
    assert third["units"]["a.service"]["reason"] == f"changed: {tmp_path}/a.conf"
    assert third["diff"][-1] == {"prepared": f"a.service: restart (changed: {tmp_path}/a.conf)\n"}
    assert systemd.done == ["restart", "restart"]


def test_where_nothing_differs_systemd_is_asked_once(tmp_path: Path, systemd: Systemd) -> None:
    run(tmp_path)
    systemd.looks = 0
    run(tmp_path)
    assert systemd.looks == 1


def test_a_unit_is_changed_where_the_files_are_not(tmp_path: Path, systemd: Systemd) -> None:
    run(tmp_path)
    systemd.active = "inactive"
    result = run(tmp_path)
    assert (result["changed"], result["changed_paths"]) == (True, [])
    assert systemd.done[-1] == "start"


def test_a_refused_file_leaves_the_units_alone(tmp_path: Path, systemd: Systemd) -> None:
    run(tmp_path)
    systemd.looks, systemd.done = 0, []
    with pytest.raises(FilesError, match="Nothing was written"):
        run(tmp_path, "2", validate="false %s")
    assert (systemd.looks, systemd.done) == (0, [])
    assert (tmp_path / "a.conf").read_text() == "1"


def test_a_unit_that_fails_is_told_with_what_was_written(tmp_path: Path, systemd: Systemd) -> None:
    run(tmp_path)
    systemd.after = "failed"
    with pytest.raises(ServiceError, match=r"(?s)a.service: failed.*journal:\na: cannot read its settings") as caught:
        run(tmp_path, "2")
    assert (tmp_path / "a.conf").read_text() == "2"
    assert caught.value.result["changed"] is True
    assert caught.value.result["changed_paths"] == [f"{tmp_path}/a.conf"]
    assert caught.value.result["failed_units"] == ["a.service"]
    # The next run finds the files as they should be, and still sees that the unit is not.
    systemd.after = "active"
    assert run(tmp_path, "2")["units"]["a.service"]["operations"] == ["start"]


def test_check_mode_tells_both_and_touches_nothing(tmp_path: Path, systemd: Systemd) -> None:
    run(tmp_path)
    systemd.done = []
    told = run(tmp_path, "2", check=True)
    assert told["units"]["a.service"]["operations"] == ["restart"]
    assert len(told["diff"]) == 2
    assert (systemd.done, (tmp_path / "a.conf").read_text()) == ([], "1")


def test_check_mode_counts_what_earlier_tasks_would_change(tmp_path: Path, systemd: Systemd) -> None:
    run(tmp_path)
    assert run(tmp_path, changed_paths=[f"{tmp_path}/other"])["changed"] is False
    told = run(tmp_path, check=True, changed_paths=[f"{tmp_path}/other"])
    assert told["units"]["a.service"]["operations"] == ["restart"]


def test_units_that_make_no_sense_are_refused_before_anything_is_sent() -> None:
    assert unit_problems(None) == []
    assert unit_problems([{"name": "a"}, {"name": "a.timer"}]) == []
    assert unit_problems([{"name": "a"}, {"name": "a.service"}]) == ["a.service: is in the list of units twice"]
    (problem,) = unit_problems([{"name": "a", "masked": True}])
    assert "a masked unit cannot be started" in problem
