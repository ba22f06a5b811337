# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts: whom they pick, the canary, the limit of failures, what is taken up, and what is told meanwhile."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import draining
from ansible_collections.updraft.cloud.plugins.module_utils.registrar_client import RegistrarError, Unreachable
from updraft.display import PlainDisplay
from updraft.progress import Counts, Failure, Progress
from updraft.records import new_record
from updraft.report import StageResult
from updraft.rollout import Rollout, State, Teller, batches, load, percent, waiting, watch
from updraft.runner import Session, Stage
from updraft.site import Refusal, Site, find_joining


class FakeRegistrar:
    """States by name, and what was told."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.keys = dict.fromkeys(states, "key")
        self.told: list[tuple[str, str, int | None]] = []
        self.down = False

    def hosts(self, state: str | None = None) -> list[dict[str, Any]]:
        if self.down:
            raise Unreachable("nobody answers")
        found = [{"name": name, "state": one, "host_key": self.keys[name]} for name, one in self.states.items()]
        return [host for host in found if state in (None, host["state"])]

    def progress(self, name: str, stage: str, status: str, percent: int | None = None, message: str = "") -> None:
        if self.down:
            raise RegistrarError("nobody answers")
        self.told.append((name, status, percent))


class Fake:
    """A rollout whose playbook puts machines in service, but for those that fail."""

    def __init__(self, folder: Path, **states: str) -> None:
        site = Site(folder / "inventories" / "rack", {"name": "rack"}, folder)
        site.make_state()
        self.registrar = FakeRegistrar(**states)
        self.out = io.StringIO()
        record = new_record(site.state / "artifacts", ["rollout"], None, [])
        self.session = Session(site, PlainDisplay(self.out), record)
        self.failing: set[str] = set()
        self.batches: list[list[str]] = []
        self.later: list[list[str]] = []
        self.cut = False

    def made(self, size: int = 2, failures: int = 1) -> Rollout:
        return Rollout(self.session, self.registrar, size, failures, self.run)  # type: ignore[arg-type]

    def run(self, _session: Session, stage: Stage) -> StageResult:
        words = json.loads(stage.arguments[1])
        names = words["rollout_hosts"].split(":")
        self.batches.append(names)
        self.later.append(words["rollout_later"])
        if self.cut:
            self.session.interrupted = True
            return StageResult("rollout", "interrupted", code=130)
        failed = [Failure(name, "host | Install", "no packages") for name in names if name in self.failing]
        for name in set(names) - self.failing:
            self.registrar.states[name] = "in_service"
        counts = {name: Counts(ok=40, skipped=2) for name in names}
        return StageResult("rollout", "failed" if failed else "ok", hosts=counts, failures=failed)


def test_only_those_that_are_approved_and_not_in_service_wait() -> None:
    states = ("seen", "approved", "ready", "in_service", "away", "retired")

    assert waiting([{"name": state, "state": state} for state in states]) == ["approved", "ready"]


@pytest.mark.parametrize(
    ("names", "canary", "expected"),
    [
        ("a", True, ["a"]),
        ("abcde", True, ["a", "bc", "de"]),
        ("abcde", False, ["ab", "cd", "e"]),
        ("", True, []),
    ],
)
def test_batches(names: str, canary: bool, expected: list[str]) -> None:
    assert ["".join(batch) for batch in batches(list(names), 2, canary=canary)] == expected


def test_a_canary_first_then_batches(tmp_path: Path) -> None:
    fake = Fake(tmp_path, node1="in_service", node2="ready", node3="ready", node4="approved", node5="seen")

    assert fake.made().once()

    assert fake.batches == [["node2"], ["node3", "node4"]]
    assert fake.later == [["node3", "node4"], []]  # the join must not wait for them yet
    assert ("node4", "ok", 100) in fake.registrar.told
    state = load(fake.session.site)
    assert (state.done, state.failed, state.ended, state.tasks) == (["node2", "node3", "node4"], {}, True, 42)
    assert fake.made().once()
    assert len(fake.batches) == 2
    assert "no machine waits" in fake.out.getvalue()


def test_a_canary_that_fails_ends_it(tmp_path: Path) -> None:
    fake = Fake(tmp_path, node2="ready", node3="ready")
    fake.failing = {"node2"}

    assert not fake.made(failures=5).once()

    assert fake.batches == [["node2"]]
    assert ("node2", "failed", None) in fake.registrar.told
    assert "stopped" in fake.out.getvalue()
    assert "node2: host | Install: no packages" in fake.out.getvalue()


def test_the_limit_of_failures(tmp_path: Path) -> None:
    fake = Fake(tmp_path, **{f"node{number}": "ready" for number in range(1, 8)})
    fake.failing = {"node2", "node4"}

    assert not fake.made(failures=1).once()

    assert fake.batches == [["node1"], ["node2", "node3"], ["node4", "node5"]]
    assert fake.registrar.states["node5"] == "in_service"
    assert fake.registrar.states["node6"] == "ready"


def test_one_that_was_cut_is_taken_up(tmp_path: Path) -> None:
    fake = Fake(tmp_path, **{f"node{number}": "ready" for number in range(1, 6)})
    first = fake.made()
    original, count = fake.run, iter(range(9))

    def cut(session: Session, stage: Stage) -> StageResult:
        fake.cut = next(count) == 1
        return original(session, stage)

    first.run = cut
    assert not first.once()
    assert load(fake.session.site).batch == ["node2", "node3"]
    fake.cut = fake.session.interrupted = False

    assert fake.made().once()

    assert fake.batches == [["node1"], ["node2", "node3"], ["node2", "node3"], ["node4", "node5"]]
    assert "taken up where it was cut, at node2, node3" in fake.out.getvalue()


def test_a_record_that_makes_no_sense_is_none(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    (fake.session.site.state / "rollout.json").write_text('{"unknown": 1}')

    assert load(fake.session.site) == State()


def test_watching_takes_those_that_come_back_and_leaves_those_that_failed(tmp_path: Path) -> None:
    fake = Fake(tmp_path, node1="in_service", node2="ready")
    fake.failing = {"node2"}
    seconds = iter(range(1000))

    def sleep(_seconds: float) -> None:
        now = next(seconds)
        if now == 10:
            fake.registrar.down = True
        if now == 20:
            fake.registrar.down = False
            fake.registrar.states["node1"] = "ready"  # it came back with its token
        if now == 30:
            fake.failing = set()
            fake.registrar.keys["node2"] = "another key"  # started again
        if now == 45:
            fake.session.interrupted = True

    assert watch(fake.made(), sleep=sleep)

    assert fake.batches == [["node2"], ["node1"], ["node2"]]
    assert fake.out.getvalue().count("nobody answers; asking again") == 1


def test_watching_with_a_single_machine_that_fails_is_no_canary(tmp_path: Path) -> None:
    fake = Fake(tmp_path, node2="ready")
    fake.failing = {"node2"}

    assert not fake.made(failures=0).once()
    assert fake.made(failures=1).once()


def test_progress_is_told_now_and_then_and_never_in_the_way() -> None:
    now, registrar = [0.0], FakeRegistrar(node2="ready")
    teller = Teller(registrar, ["node2"], 40, lambda: now[0])  # type: ignore[arg-type]
    progress = Progress()
    progress.hosts["node2"] = Counts(ok=10)

    for second in range(10):
        now[0] = float(second)
        teller(progress)
    assert registrar.told == [("node2", "running", 25)]  # again only when there is something new

    registrar.down, progress.hosts["node2"] = True, Counts(ok=20)
    now[0] = 20.0
    teller(progress)  # no exception
    registrar.down = False
    now[0] = 30.0
    teller(progress)
    assert len(registrar.told) == 1
    now[0] = 60.0
    teller(progress)
    assert registrar.told[-1] == ("node2", "running", 50)
    assert percent(Counts(ok=100), 40) == 99


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, more in (("rack", "provisioning: {}\n"), ("lab", "provisioning: {}\n"), ("plain", "")):
        (tmp_path / "inventories" / name).mkdir(parents=True)
        (tmp_path / "inventories" / name / "cloud.yml").write_text(f"name: {name}\n{more}")
    return tmp_path


def test_the_site_that_is_meant(root: Path) -> None:
    assert find_joining("rack", root).name == "rack"
    assert find_joining(None, root).name == "lab"
    with pytest.raises(Refusal, match="no machine registers at site 'plain'"):
        find_joining("plain", root)
    (root / "inventories/lab/cloud.yml").unlink()
    assert find_joining(None, root).name == "rack"
    (root / "inventories/rack/cloud.yml").write_text("name: rack\n")
    with pytest.raises(Refusal, match="say which site with -i INVENTORY"):
        find_joining(None, root)


class FakeCloud:
    """Nova with instances that leave as they are asked to."""

    def __init__(self, *, up: bool = True, **servers: str) -> None:
        self.up, self.servers, self.asked = up, dict(servers), list[str]()
        self.service: dict[str, Any] = {"id": "s", "status": "enabled", "state": "up" if up else "down"}
        self.stuck: set[str] = set()

    def get(self, service: str, path: str) -> Any:
        if path.startswith("/os-services"):
            return {"services": [self.service]}
        if path.startswith("/agents"):
            return {"agents": [{"id": "a", "agent_type": "OVN Controller agent"}]}
        if path.startswith("/servers/detail"):
            return {"servers": [{"id": name, "name": name, "status": status} for name, status in self.servers.items()]}
        return {"server": {"status": "VERIFY_RESIZE" if f"{path.split('/')[-1]} migrate" in self.asked else "ACTIVE"}}

    def post(self, service: str, path: str, body: Any) -> Any:
        name, kind = path.split("/")[2], next(iter(body))
        self.asked.append(f"{name} {kind}")
        if name in self.stuck or (kind == "os-migrateLive" and name == "cold"):
            raise RuntimeError(f"no valid host for {name}")
        self.servers.pop(name, None)

    def put(self, service: str, path: str, body: Any = None) -> Any:
        self.service.update(body)

    def delete(self, service: str, path: str) -> None:
        self.asked.append(f"delete {path}")


def drained(cloud: FakeCloud) -> tuple[list[str], list[dict[str, Any]], dict[str, str]]:
    return draining.drain(cloud, "node2", 60, RuntimeError, sleep=lambda _seconds: None)


def test_a_node_is_closed_and_drained() -> None:
    cloud = FakeCloud(live="ACTIVE", cold="ACTIVE", off="SHUTOFF")

    moved, left, _ = drained(cloud)

    assert (moved, left) == (["cold", "live", "off"], [])
    assert cloud.service["status"] == "disabled"
    assert cloud.asked[:4] == ["live os-migrateLive", "cold os-migrateLive", "cold migrate", "off migrate"]
    assert {"cold confirmResize", "off confirmResize"} <= set(cloud.asked)
    assert draining.remove(cloud, "node2") == ["nova-compute", "OVN Controller agent"]


def test_what_cannot_leave_is_named_with_its_reason() -> None:
    cloud = FakeCloud(stays="ACTIVE", rescued="RESCUE")
    cloud.stuck = {"stays"}

    _, left, reasons = drained(cloud)

    text = draining.told(left, reasons)
    assert "stays (active: no valid host for stays)" in text
    assert "rescued (rescue: it cannot be moved in this state)" in text


def test_from_a_node_that_is_down_instances_are_evacuated() -> None:
    cloud = FakeCloud(up=False, lost="ACTIVE")

    moved, left, _ = drained(cloud)

    assert (moved, left, cloud.asked[0]) == (["lost"], [], "lost evacuate")
