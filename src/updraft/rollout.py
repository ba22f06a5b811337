# SPDX-License-Identifier: GPL-3.0-or-later
"""`rollout`: makes approved machines nodes of the cloud, a canary first, then batch by batch.

What was done is written to .updraft/<site>/rollout.json after every batch, so that a rollout which was cut
is taken up by the next one: what is in service is left out, and the limit of failures goes on counting.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.registrar_client import Registrar, RegistrarError
from updraft import hosts
from updraft.progress import Counts, Progress
from updraft.report import StageResult, read_json, write_private
from updraft.runner import Session, Stage, run_stage
from updraft.site import Refusal, Site

RECORD = "rollout.json"

#: Seconds between two looks for machines, and between two words about one to the registrar.
LOOK, TELL = 5.0, 3.0

#: Tasks of a machine's first convergence, until one has been counted.
TASKS = 60

WANTED = ("approved", "ready")


@dataclass(slots=True)
class State:
    """What is on record about the rollouts of a site. failed: why, by name; tasks: of a whole convergence."""

    began: str = ""
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    batch: list[str] = field(default_factory=list)  # begun and not ended
    tasks: int = TASKS
    ended: bool = True

    def save(self, site: Site) -> None:
        """Put it in place in one step."""
        write_private(site.state / RECORD, json.dumps(asdict(self), indent=2) + "\n")


def load(site: Site) -> State:
    """What is on record; a new one where nothing is, or nothing that can be read."""
    found = read_json(site.state / RECORD) or {}
    try:
        return State(**found)
    except TypeError:
        return State()


def waiting(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The machines to roll out, by name: approved and awake, not yet in service."""
    return sorted(str(host["name"]) for host in found if host.get("state") in WANTED)


def batches(names: Sequence[str], size: int, *, canary: bool) -> list[list[str]]:
    """One machine alone first, then so many at a time."""
    first = 1 if canary and len(names) > 1 else 0
    rest = names[first:]
    parts = [list(rest[start : start + size]) for start in range(0, len(rest), size)]
    return [list(names[:first]), *parts] if first else parts


@dataclass(slots=True)
class Teller:
    """Tells the registrar how far each machine is, without ever holding up the run."""

    client: Registrar
    names: Sequence[str]
    tasks: int = TASKS
    clock: Callable[[], float] = time.monotonic
    _next: float = 0.0
    _told: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __call__(self, progress: Progress) -> None:
        """Tell what is new, every few seconds; after a failure leave the registrar alone for longer."""
        if self.clock() < self._next:
            return
        self._next = self.clock() + TELL
        for name in self.names:
            counts = progress.hosts.get(name, Counts())
            now = (stage_of(progress, name), percent(counts, self.tasks))
            if self._told.get(name) != now and not self.say(name, now[0], "running", now[1]):
                self._next = self.clock() + 10 * TELL
                return
            self._told[name] = now

    def say(self, name: str, stage: str, status: str, done: int | None = None, message: str = "") -> bool:
        """Tell one thing; whether it was heard."""
        try:
            self.client.progress(name, stage[:64] or "rollout", status, done, message[:2000])
        except RegistrarError:
            return False
        return True


def stage_of(progress: Progress, name: str) -> str:
    """What is being done with a machine: the task it is at, else the play."""
    task = next((task.task for task in progress.waiting() if task.host == name), "")
    return "".join(letter for letter in task or progress.play if letter.isprintable())


def percent(counts: Counts, tasks: int) -> int:
    """How far a machine is, from the tasks that ended; never done before the end."""
    ended = counts.ok + counts.skipped + counts.failed + counts.unreachable
    return min(100 * ended // max(tasks, 1), 99)


@dataclass(slots=True)
class Rollout:
    """One command. run: runs a stage (for tests)."""

    session: Session
    client: Registrar
    size: int = 5
    most_failures: int = 1
    run: Callable[[Session, Stage], StageResult] = run_stage
    results: list[StageResult] = field(default_factory=list)
    given_up: dict[str, str] = field(default_factory=dict)  # host keys of those that failed, by name

    def waiting(self) -> list[str]:
        """Who waits, but for those that failed under this command and have not started again since."""
        found = {str(host["name"]): host for host in self.client.hosts() if host.get("state") in WANTED}
        return [name for name in waiting(list(found.values())) if self.given_up.get(name) != found[name]["host_key"]]

    def once(self) -> bool:
        """Roll out all that wait now; False when the limit of failures was reached or the person interrupted."""
        site, display = self.session.site, self.session.display
        names = self.waiting()
        state = load(site)
        if not names:
            display.line("rollout: no machine waits")
            return True
        if state.ended:
            state = State(datetime.now(UTC).isoformat(timespec="seconds"), tasks=state.tasks, ended=False)
        elif state.batch:
            display.line(f"rollout: taken up where it was cut, at {', '.join(state.batch)}")
        # A machine that failed in the rollout that is taken up comes after those that were not tried.
        names.sort(key=lambda name: name in state.failed)
        canary = not state.done
        for number, batch in enumerate(parts := batches(names, self.size, canary=canary), 1):
            what = "canary" if canary and number == 1 and len(parts) > 1 else f"batch {number} of {len(parts)}"
            later = [name for part in parts[number:] for name in part]
            if not self._batch(state, what, batch, later):
                return False
        state.ended = True
        state.save(site)
        return True

    def _batch(self, state: State, what: str, batch: list[str], later: list[str]) -> bool:
        """Converge one batch; whether to go on."""
        site, display = self.session.site, self.session.display
        state.batch = batch
        state.save(site)
        display.line(f"rollout: {what}: {', '.join(batch)}")
        result = self._play(state, batch, [*later, *(name for name in state.failed if name not in batch)])
        self.results.append(result)
        if result.status == "interrupted":
            return False
        self._count(state, batch, result)
        # A canary that fails is warning enough; the next rollout begins to count anew.
        state.ended = len(state.failed) > (0 if what == "canary" else self.most_failures)
        state.save(site)
        if state.ended:
            names = ", ".join(f"{name} ({why.splitlines()[0]})" for name, why in state.failed.items())
            display.line(f"rollout: stopped, at most {self.most_failures} may fail: {names}")
        return not state.ended

    def _count(self, state: State, batch: list[str], result: StageResult) -> None:
        """Note who of a batch came into service, and tell it."""
        found = {str(host["name"]): host for host in self.client.hosts() if host.get("name")}
        teller = Teller(self.client, batch)
        for name in batch:
            host = found.get(name, {})
            if host.get("state") == "in_service":
                state.failed.pop(name, None)
                state.done.append(name)
                state.tasks = max(_ended(result.hosts.get(name)), 1)
                teller.say(name, "in service", "ok", 100)
            else:
                why = reason(result, name)
                state.failed[name], self.given_up[name] = why, str(host.get("host_key"))
                teller.say(name, "failed", "failed", None, why)
        state.batch = []

    def _play(self, state: State, batch: list[str], later: list[str]) -> StageResult:
        words = {"rollout_hosts": ":".join(batch), "rollout_later": later}
        stage = Stage(
            "rollout",
            hosts.playbook(self.session.site, "rollout"),
            ("--extra-vars", json.dumps(words)),
            hosts=", ".join(batch),
            tell=Teller(self.client, batch, state.tasks),
        )
        return self.run(self.session, stage)


def _ended(counts: Counts | None) -> int:
    return counts.ok + counts.skipped + counts.failed + counts.unreachable if counts else 0


def reason(result: StageResult, name: str) -> str:
    """Why a machine did not come into service: its own failure, else the first of the run."""
    own = next((failure for failure in result.failures if failure.host == name), None)
    failure = own or next(iter(result.failures), None)
    if failure is not None:
        return f"{failure.host}: {failure.task}: {failure.message}"
    return result.reason or f"the run ended ({result.status}) and it is not in service"


def watch(rollout: Rollout, *, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Roll out whoever is approved or comes back, until the person interrupts; False when failures ended it."""
    session, told = rollout.session, ""
    session.display.line("rollout: watching for approved machines; end it with Ctrl-C")
    while not session.interrupted:
        try:
            if rollout.waiting():
                with session.site.lock():  # others may work on the site while nobody waits
                    if not rollout.once():
                        return session.interrupted
            told = ""
        except (RegistrarError, Refusal) as error:
            if told != str(error):
                session.display.line(f"rollout: {error}; asking again")
                told = str(error)
        for _ in range(int(LOOK)):
            if session.interrupted:
                break
            sleep(1.0)
    return True
