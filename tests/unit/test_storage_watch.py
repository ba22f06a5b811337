# SPDX-License-Identifier: GPL-3.0-or-later
"""`./updraft storage --watch`: when it moves serving, and what does not end it. Nothing is asked, nothing is moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_storage import leg, serves

from updraft import commands, storage, storage_watch
from updraft.records import Record
from updraft.report import StageResult
from updraft.runner import INTERRUPTED, Session
from updraft.site import Refusal, Site
from updraft.storage_watch import INTERVAL, PAUSE, lost

WHOLE: dict[str, Any] = {"storage1": serves(), "storage2": leg()}
GONE: dict[str, Any] = {"storage1": None, "storage2": leg(connected=False)}
Look = dict[str, Any] | Exception


class Over(Exception):
    """The looks are at their end."""


class World:
    """In place of the cloud: what each look finds, what each move returns, and what was done."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self.codes: list[int | Exception] = []
        self.did: list[str | float] = []

    def ask(self, _site: Site, _typed: list[str], *, raw: bool, quiet: bool) -> dict[str, Any]:
        assert quiet
        assert not raw
        if not self.looks:
            raise Over
        found = self.looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def run(self, _site: Site, playbook: Path, arguments: list[str], _typed: list[str], *, raw: bool) -> int:
        assert not raw
        assert (playbook.name, arguments) == ("storage_failover.yml", [])
        self.did.append("move")
        code = self.codes.pop(0)
        if isinstance(code, Exception):
            raise code
        return code


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str | float]]:
    def start(looks: list[Look], *codes: int | Exception) -> list[str | float]:
        world = World()
        world.looks, world.codes = looks, list(codes)
        monkeypatch.setattr(storage, "ask", world.ask)
        monkeypatch.setattr(commands, "run", world.run)
        with pytest.raises(Over):
            storage_watch.watch(site(tmp_path), ["storage"], raw=False, sleep=world.did.append)
        return world.did

    return start


def site(folder: Path, failover: str = "by_itself") -> Site:
    mirror = {"legs": ["storage1", "storage2"], "address": "10.0.1.9", "failover": failover}
    return Site(folder, {"name": "lab", "volumes": {"mirror": mirror}}, folder)


class TestLost:
    """Who is lost without anybody's word."""

    def test_one_that_its_leg_has_lost(self) -> None:
        assert lost(GONE) == "storage1"

    def test_not_beside_a_leg_that_was_started_anew(self) -> None:
        # The power of both was gone: the other one is only slower, and serves when it is there.
        assert lost({"storage1": None, "storage2": leg(connected=False, complete=False)}) is None


class TestWatch:
    """Look after look."""

    def test_a_whole_mirror_is_left_alone(self, watch: Callable[..., list[str | float]]) -> None:
        assert watch([WHOLE, WHOLE, WHOLE]) == [INTERVAL] * 3

    def test_two_looks_in_a_row_and_it_is_moved_once(self, watch: Callable[..., list[str | float]]) -> None:
        after = {"storage1": None, "storage2": serves()}
        assert watch([WHOLE, GONE, GONE, after, after], 0) == [
            INTERVAL, INTERVAL, "move", 0.0, INTERVAL, INTERVAL, INTERVAL
        ]  # fmt: skip

    def test_one_look_is_none(self, watch: Callable[..., list[str | float]]) -> None:
        assert watch([GONE, WHOLE, GONE, WHOLE]) == [INTERVAL] * 4

    def test_neither_are_two_of_two_servers(self, watch: Callable[..., list[str | float]]) -> None:
        assert watch([GONE, {"storage1": leg(connected=False), "storage2": None}]) == [INTERVAL] * 2

    def test_a_refusal_is_tried_again_later(self, watch: Callable[..., list[str | float]]) -> None:
        assert watch([GONE] * 4, 2, 0) == [INTERVAL, "move", PAUSE, INTERVAL, INTERVAL, "move", 0.0, INTERVAL]

    def test_it_goes_on_beside_other_commands(
        self, watch: Callable[..., list[str | float]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        busy = Refusal("another run (process 7) works on site 'lab': wait for it, or end it")
        assert watch([GONE, busy, GONE, GONE], busy) == [INTERVAL, INTERVAL, INTERVAL, "move", PAUSE, INTERVAL]
        said = capsys.readouterr().out
        assert "not looked at: another run (process 7)" in said
        assert "not moved: another run (process 7)" in said

    def test_what_changes_is_told_once(
        self, watch: Callable[..., list[str | float]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        watch([WHOLE, WHOLE, GONE, WHOLE])
        said = [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]
        assert said[0] == said[2] == "the mirror is whole"
        assert said[1].startswith("storage1 does not answer; nobody serves the volumes")
        assert len(said) == 3


def test_who_ends_a_move_ends_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.looks, world.codes = [GONE, GONE], [INTERRUPTED]
    monkeypatch.setattr(storage, "ask", world.ask)
    monkeypatch.setattr(commands, "run", world.run)
    with pytest.raises(KeyboardInterrupt):
        storage_watch.watch(site(tmp_path), [], raw=False, sleep=world.did.append)


def test_a_site_that_is_moved_by_hand_is_not_watched(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="this site moves its storage by hand"):
        storage_watch.watch(site(tmp_path, "by_hand"), [], raw=False)


def test_who_ends_a_look_ends_it_all_and_looks_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched, records = site(tmp_path), tmp_path / ".updraft" / "lab" / "artifacts"

    def asked(session: Session) -> tuple[StageResult, dict[str, Any] | None]:
        assert isinstance(session.record, Record)
        assert session.record.folder.is_dir()
        return StageResult("storage", "ok"), WHOLE

    monkeypatch.setattr(storage, "asked", asked)
    assert storage.ask(watched, [], raw=False, quiet=True) == WHOLE
    assert list(records.iterdir()) == []
    assert storage.ask(watched, [], raw=False) == WHOLE
    assert len(list(records.iterdir())) == 1

    def ended(session: Session) -> tuple[StageResult, None]:
        session.interrupted = True
        return StageResult("storage", "interrupted", code=INTERRUPTED), None

    monkeypatch.setattr(storage, "asked", ended)
    with pytest.raises(KeyboardInterrupt):
        storage.ask(watched, [], raw=False, quiet=True)
    assert len(list(records.iterdir())) == 1
