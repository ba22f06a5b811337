# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a drill: what runs, and what runs after something went wrong. No playbook is run here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_drill import CLOUD, load, statuses

from updraft import drill, storage
from updraft.display import make_display
from updraft.records import Record
from updraft.report import StageResult
from updraft.runner import INTERRUPTED, Session, Stage
from updraft.site import Refusal, Site

HEALTHY = [
    "clean",
    "load",
    "leg",
    "path",
    "failover",
    "whole",
    "back",
    "whole",
    "measure",
    "clean",
]


class Cloud:
    """In place of Ansible: remembers the stages, answers each, and fails those which are to fail."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ran: list[str] = []
        self.extra: list[dict[str, Any]] = []
        self.limits: list[str] = []
        self.fails: set[str] = set()
        self.leftovers = False
        self.session: Session | None = None
        self.interrupt_in = ""

    def run(self, session: Session, stage: Stage) -> StageResult:
        self.ran.append(stage.name)
        given = json.loads(stage.arguments[1])
        self.extra.append(given)
        self.limits.append(stage.arguments[3] if "--limit" in stage.arguments else "")
        if stage.name == self.interrupt_in:
            session.interrupted = True
            return StageResult(stage.name, "interrupted", code=INTERRUPTED)
        if stage.name in self.fails:
            return StageResult(stage.name, "failed", reason="no", code=2)
        answers = {"load": {"asked": 90.0, "node": 91.0, "answered": 92.0}, "measure": load()}
        if stage.name in answers:
            Path(given["drill_record"]).write_text(json.dumps(answers[stage.name]))
        result = StageResult(stage.name, "ok")
        if self.leftovers and len(self.ran) == 1:
            from updraft.progress import Counts

            result.hosts = {"storage2": Counts(ok=1, changed=1)}
        return result


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    mirror = {"legs": ["storage1", "storage2"], "address": "10.0.1.9"}
    site = Site(tmp_path, {"name": "lab", "volumes": {"mirror": mirror}}, tmp_path)
    site.make_state()
    fake = Cloud(site)
    monkeypatch.setattr(drill, "run_stage", fake.run)
    monkeypatch.setattr(drill, "ALONE_SECONDS", 0)
    monkeypatch.setattr(storage, "asked", lambda session: (StageResult("storage", "ok"), statuses()))
    yield fake


def hold(cloud: Cloud) -> int:
    """Hold a drill."""
    session = Session(cloud.site, make_display(), Record(cloud.site.state, []))
    return drill._hold(drill.Drill(session), CLOUD, None)[0]


def written(cloud: Cloud) -> dict[str, Any]:
    """drill.json."""
    found: dict[str, Any] = json.loads((cloud.site.state / "drill.json").read_text())
    return found


def test_all_of_it_in_order(cloud: Cloud) -> None:
    assert hold(cloud) == 0
    assert cloud.ran == HEALTHY
    assert [step["kind"] for step in written(cloud)["steps"]] == ["leg", "path", "failover", "back", "end"]
    assert (cloud.site.state / "drill.svg").read_text().startswith("<svg")
    moves = [given["storage_to"] for given in cloud.extra if "storage_to" in given]
    assert moves == ["storage2", "storage1"]


def test_clocks_that_may_agree_do() -> None:
    assert drill.ahead(10.0, 12.0, 14.0) == 0.0
    assert drill.ahead(10.0, 52.0, 14.0) == 40.0


def test_what_was_left_is_healed_first(cloud: Cloud) -> None:
    cloud.leftovers = True
    assert hold(cloud) == 0
    assert cloud.ran == ["clean", "heal", *HEALTHY[1:]]


@pytest.mark.parametrize("stage", ["leg", "path", "failover", "back"])
def test_a_step_that_fails_ends_it_and_is_healed(cloud: Cloud, stage: str) -> None:
    cloud.fails = {stage}
    assert hold(cloud) == 1
    assert cloud.ran[-5:] == [stage, "restore", "heal", "measure", "clean"]
    found = written(cloud)
    assert (found["result"], found["problems"], found["steps"][-1]["ok"]) == ("failed", [f"{stage}: no"], False)
    assert found["load"]["written"] == 18000
    assert cloud.limits[-4:] == ["storage", "", "", ""]


def test_interrupted_it_is_healed_all_the_same(cloud: Cloud) -> None:
    cloud.interrupt_in = "leg"
    assert hold(cloud) == INTERRUPTED
    assert cloud.ran == ["clean", "load", "leg", "restore", "heal", "clean"]
    assert written(cloud)["problems"] == ["interrupted"]


def test_what_could_not_be_healed_is_told(cloud: Cloud) -> None:
    cloud.fails = {"leg", "heal"}
    assert hold(cloud) == 1
    assert written(cloud)["problems"][-1] == "heal, after the drill: no"


def test_not_begun_when_it_is_not_healthy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {**statuses(), "storage2": None}
    monkeypatch.setattr(storage, "asked", lambda session: (StageResult("storage", "ok"), answer))
    with pytest.raises(Refusal, match="storage2 does not answer"):
        hold(cloud)
    assert cloud.ran == ["clean"]
    assert not (cloud.site.state / "drill.json").exists()


def test_not_begun_while_something_is_left(cloud: Cloud) -> None:
    cloud.fails = {"clean"}
    with pytest.raises(Refusal, match="could not be removed: no"):
        hold(cloud)
