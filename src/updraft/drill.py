# SPDX-License-Identifier: GPL-3.0-or-later
"""`./updraft drill storage`: loses a leg, a path and the serving of the volumes on purpose, under checked load.

Whatever was cut heals by itself after CUT_SECONDS, and is healed at the end of a drill however that comes; what one
left that was killed, the next removes first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from updraft import storage
from updraft.commands import check_model, close, model, session_of
from updraft.drill_picture import picture
from updraft.drill_report import Outcome, Step, report, words
from updraft.records import new_record
from updraft.report import StageResult, read_json, write_private
from updraft.runner import INTERRUPTED, Session, Stage, run_stage
from updraft.site import Refusal, Site

PICTURE = "drill.svg"
RECORD = "drill-step.json"
#: Seconds after which a cut ends by itself, and for which the load goes on alone.
CUT_SECONDS, ALONE_SECONDS = 600, 10
#: MiB of each of the two areas of the canary, and writes a second: enough to time a pause, and few enough that emulated
#: machines, which need 10 ms of a processor for each, have time for what is drilled.
MIB, RATE = 8, 30
HEAL_SECONDS = 3600


class Broken(Exception):
    """A step failed: the drill goes no further."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who takes part."""

    node: str
    serving: str
    leg: str
    paths: int


def plan(site: Site, cloud: Mapping[str, Any], statuses: storage.Statuses, node: str | None) -> Plan:
    """Choose who takes part. Raises Refusal when the storage is not healthy, or nobody could write to it."""
    troubles = storage.problems(statuses)
    if troubles:
        raise Refusal(f"the storage of '{site.name}' is not healthy, and a drill would make it worse: {troubles[0]}")
    if site.cloud["volumes"]["mirror"].get("canary_gib", 1) == 0:
        raise Refusal("this site has no canary: write volumes: {mirror: {canary_gib: 1}}, and run playbooks/site.yml")
    nodes = [name for name, one in cloud["nodes"].items() if "compute" in one["roles"]]
    if node is not None and node not in nodes:
        raise Refusal(f"'{node}' is no compute node: there are {', '.join(nodes) or 'none'}")
    if not nodes:
        raise Refusal("no node has the role compute: nobody could write to the canary")
    serving = next(name for name, status in statuses.items() if status and status["role"] == "serving")
    leg = next(name for name in statuses if name != serving)
    chosen = node or nodes[0]
    networks = [name for name in ("storage", "storage2") if name in cloud["nodes"][chosen]["addresses"]]
    served = len((statuses[serving] or {})["addresses"])
    return Plan(chosen, serving, leg, min(len(networks), served))


class Drill:
    """One drill of a site which is locked."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.site = session.site
        self.results: list[StageResult] = []
        self.steps: list[Step] = []
        self.shift = 0.0

    def stage(self, name: str, playbook: str, limit: str = "", **given: Any) -> StageResult:
        """Run a playbook, whatever comes of it; `limit`: on some of its hosts."""
        record = self.site.state / RECORD
        record.unlink(missing_ok=True)
        extra = {f"drill_{key}": value for key, value in given.items() if not key.startswith("storage_")}
        extra |= {key: value for key, value in given.items() if key.startswith("storage_")}
        extra |= {"drill_record": str(record), "drill_seconds": CUT_SECONDS, "drill_pause": ALONE_SECONDS}
        file = self.site.root / "playbooks" / playbook
        arguments = ["--extra-vars", json.dumps(extra), *(["--limit", limit] if limit else [])]
        result = run_stage(self.session, Stage(name, file, tuple(arguments)))
        self.results.append(result)
        return result

    def must(self, name: str, playbook: str, **given: Any) -> Mapping[str, Any]:
        """Run a playbook, and return what it recorded. Raises Broken."""
        result = self.stage(name, playbook, **given)
        if result.status != "ok":
            raise Broken(f"{name}: {why(result)}")
        return read_json(self.site.state / RECORD) or {}

    def step(self, kind: str, text: str, playbook: str, **given: Any) -> None:
        """Do something on purpose, and write down when. Raises Broken."""
        step = Step(kind, text, time.time())
        self.steps.append(step)
        try:
            step.counts = self.must(kind, playbook, **given)
            step.ok = True
        finally:
            step.ended = time.time()

    def clean(self) -> None:
        """Remove what an interrupted drill left, and make whole what it left in two parts. Raises Broken."""
        result = self.stage("clean", "storage_drill_clean.yml")
        if result.status != "ok":
            raise Broken(f"what a drill left could not be removed: {why(result)}")
        if result.changed:
            self.session.display.line("the last drill did not come to its end: the mirror is healed first")
            self.must("heal", "storage_heal.yml", storage_heal_seconds=HEAL_SECONDS)

    def exercise(self, found: Plan) -> Mapping[str, Any]:
        """The whole of it, in order; returns what the load was. Raises Broken."""
        clock = self.must("load", "storage_drill_load.yml", node=found.node, mib=MIB, rate=RATE)
        self.shift = ahead(float(clock["asked"]), float(clock["node"]), float(clock["answered"]))
        time.sleep(ALONE_SECONDS)
        sides = {"node": found.node, "serving": found.serving, "leg": found.leg}
        self.step("leg", f"{found.leg} cut off, and healed", "storage_drill_leg.yml", **sides)
        if found.paths > 1:
            self.step("path", f"one of {found.paths} paths cut off", "storage_drill_path.yml", **sides)
        over, back = "storage_failover.yml", {"storage_to": found.serving}
        self.step("failover", f"serving moved to {found.leg}", over, storage_to=found.leg)
        self._whole()
        self.step("back", f"serving moved back to {found.serving}", over, **back)
        self._whole()
        self.steps.append(Step("end", "everything compared once more", time.time()))
        load = self.must("measure", "storage_drill_end.yml", node=found.node)
        self.steps[-1].ended, self.steps[-1].ok = time.time(), True
        return load

    def _whole(self) -> None:
        self.must("whole", "storage_heal.yml", storage_heal_seconds=HEAL_SECONDS)

    def restore(self, node: str) -> tuple[list[str], Mapping[str, Any] | None]:
        """Bring everything to what it was, also when the person wants to end.

        Returns what could not be done, and what the load of a drill that broke was, as far as it can be told.
        """
        measured = not self.session.interrupted
        self.session.interrupted = False
        problems: list[str] = []
        load: Mapping[str, Any] | None = None
        if not all(step.ok for step in self.steps):
            # The load goes on meanwhile: it tells whether anything was lost.
            self._try(problems, "restore", "storage_drill_clean.yml", limit="storage")
            self._try(problems, "heal", "storage_heal.yml", storage_heal_seconds=HEAL_SECONDS)
            if measured and not problems and self._try([], "measure", "storage_drill_end.yml", node=node):
                load = read_json(self.site.state / RECORD)
        self._try(problems, "clean", "storage_drill_clean.yml")
        return problems, load

    def _try(self, problems: list[str], name: str, playbook: str, **given: Any) -> bool:
        """Run a playbook, note why where that failed, and go on."""
        result = self.stage(name, playbook, **given)
        if result.status != "ok":
            problems.append(f"{name}, after the drill: {why(result)}")
            return False
        away = [host for host, counts in result.hosts.items() if counts.unreachable]
        if away:
            problems.append(f"{name}, after the drill: {', '.join(away)} did not answer; the next drill sees to that")
        return not away


def ahead(asked: float, node: float, answered: float) -> float:
    """The seconds by which the node's clock is ahead: none as long as its time lies between question and answer."""
    return 0.0 if asked <= node <= answered else node - (asked + answered) / 2


def why(result: StageResult) -> str:
    """A failed stage's reason in a line."""
    if result.failures:
        return f"{result.failures[0].host}: {result.failures[0].message}".strip()
    return (result.reason or result.status).strip().splitlines()[-1]


def run(site: Site, typed: list[str], *, node: str | None, raw: bool) -> int:
    """Hold the drill: 0 nothing was lost, 1 something was or it failed. Raises Refusal."""
    storage.legs(site)
    if check_model(site, quiet=True):
        raise Refusal(f"{site.cloud_file} has to be put right first: see above")
    cloud = model(site)
    with site.lock():
        record = new_record(site.state / "artifacts", typed, None, [])
        with session_of(site, record, raw=raw) as session:
            drill = Drill(session)
            code, lines = _hold(drill, cloud, node)
        close(site, record, [result for result in drill.results if result.status != "ok"])
    print("\n".join(lines))
    return code


def _hold(drill: Drill, cloud: Mapping[str, Any], node: str | None) -> tuple[int, Sequence[str]]:
    session, site, started = drill.session, drill.site, time.time()
    try:
        drill.clean()
        _result, statuses = storage.asked(session)
        if session.interrupted:
            return INTERRUPTED, ["interrupted before anything was done"]
        if statuses is None:
            raise Refusal("the storage servers could not be asked")
        found = plan(site, cloud, statuses, node)
    except Broken as error:
        if session.interrupted:
            return INTERRUPTED, ["interrupted before anything was done"]
        raise Refusal(str(error)) from None
    load: Mapping[str, Any] | None = None
    problems: list[str] = []
    interrupted = False
    try:
        load = drill.exercise(found)
    except Broken as error:
        interrupted = session.interrupted
        problems.append("interrupted" if interrupted else str(error))
    finally:
        # Also when this program itself is wrong somewhere.
        more, late = drill.restore(found.node)
        problems, load = [*problems, *more], load or late
    outcome = Outcome(
        site.name, found.node, found.serving, started, time.time(), drill.steps, load, drill.shift, problems
    )
    made = report(outcome)
    write_private(site.state / storage.DRILL, json.dumps(made, indent=2) + "\n")
    latency = load["latency"] if load else []
    write_private(site.state / PICTURE, picture(made, latency, drill.shift))
    ending = ["", *words(made), "", f"  report   {site.state / storage.DRILL}", f"  picture  {site.state / PICTURE}"]
    if interrupted:
        return INTERRUPTED, ending
    return (0 if made["result"] == "passed" else 1), ending
