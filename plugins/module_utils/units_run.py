# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out what `units` planned: systemctl, the wait for readiness, and the report of a failure."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import units, units_ready
from ansible_collections.updraft.cloud.plugins.module_utils.units import Status, Step, Unit

TAIL_LINES = 25
SETTLE_SECONDS = 1.0
CALL_SECONDS = 90
#: Where a unit has an old init script beside it, systemctl would have that enabled, too: by a program that lets systemd
#: read all its units again. See ENVIRONMENT.md of systemd.
WITHOUT_SYSV = {"SYSTEMCTL_SKIP_SYSV": "1"}


class UnitsError(Exception):
    """A unit that is not as wanted; the text names it and shows what it said. `failed` are their names."""

    def __init__(self, text: str, failed: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.failed = list(failed)


def call(*words: str, seconds: float = CALL_SECONDS) -> tuple[int, str, str]:
    """Run a command; a missing one gives exit code 127."""
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **WITHOUT_SYSV},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            errors="replace",
        )
    except FileNotFoundError:
        return 127, "", f"{words[0]} is not installed"
    except subprocess.TimeoutExpired:
        return 124, "", f"`{' '.join(words)}` did not end within {seconds:.0f} s"
    return done.returncode, done.stdout, done.stderr.strip()


def systemctl(*words: str, seconds: float = CALL_SECONDS) -> None:
    """Run systemctl. Raises UnitsError with what it said."""
    code, _out, error = call("systemctl", *words, seconds=seconds)
    if code:
        raise UnitsError(f"`systemctl {' '.join(words)}` gave {code}: {error}")


def show(names: Sequence[str]) -> dict[str, Status] | None:
    """What systemd says of all units, in one call; None where systemd does not run."""
    code, out, _error = call("systemctl", "show", f"--property={units.PROPERTIES}", "--", *names)
    if code:
        return None
    return units.parse_show(out, names)


def result_of(
    given: Sequence[Mapping[str, Any]], *, timeout: float, coming: Sequence[str], check: bool, diff: bool
) -> dict[str, Any]:
    """What a task's list of units comes to: changed, units, and with `diff` their diff.

    `coming` are paths which would change, in check mode. Raises ValueError for a unit that makes no sense, UnitsError.
    """
    steps = reconcile([Unit.of(unit) for unit in given], timeout=timeout, coming=coming, check=check)
    result: dict[str, Any] = {
        "changed": any(step.operations for step in steps),
        "units": {step.unit.name: summary(step) for step in steps},
    }
    if diff:
        result["diff"] = diff_of(steps)
    return result


def reconcile(wanted: Sequence[Unit], *, timeout: float, coming: Sequence[str], check: bool) -> list[Step]:
    """Bring all units to their state; with `check`, only tell. Raises UnitsError."""
    names = [unit.name for unit in wanted]
    statuses = show([*names, *triggered(names)])
    if statuses is None and not check:
        raise UnitsError("systemd does not run on this machine, so no unit can be started")
    stale = False
    if statuses is not None and not check:
        statuses, stale = _read_new(wanted, statuses)
    stamps, steps = {}, []
    for unit in wanted:
        status = (statuses or {}).get(unit.name, Status())
        before = units.read_stamp(unit.name)
        stamps[unit.name] = units.stamp_of(unit, before)
        steps.append(units.plan(unit, status, stamps[unit.name], before, coming if check else ()))
    if not check:
        act(steps, stale=stale)
        # Where nothing was done, what systemd said a moment ago is good for the first look.
        is_settled = not any(step.operations for step in steps)
        await_all(steps, stamps, timeout, statuses if is_settled else None)
    return steps


def triggered(names: Sequence[str]) -> list[str]:
    """Return the services that these units start by themselves and that are not among them.

    Nobody starts such a service, but systemd has to know its definition as it is now.
    """
    starts = [stem for name in names for stem, _, kind in [name.rpartition(".")] if kind in ("path", "timer", "socket")]
    return [f"{stem}.service" for stem in starts if f"{stem}.service" not in names]


def _read_new(wanted: Sequence[Unit], statuses: dict[str, Status]) -> tuple[dict[str, Status], bool]:
    """What systemd says once it has read the units that it did not know, and whether it has old definitions of others.

    Raises UnitsError for units that do not exist.
    """
    if any(not status.exists and units.definition(name) for name, status in statuses.items()):
        systemctl("daemon-reload")
        statuses = show(list(statuses)) or statuses
    missing = [u.name for u in wanted if u.state != "stopped" and not statuses[u.name].exists]
    if missing:
        text = "no such unit on this machine (is its package installed?): " + ", ".join(missing)
        raise UnitsError(text, missing)
    stale = any(status.stale for status in statuses.values())
    # Whether what it has to read again asks for a restart is said by the stamps.
    return {name: replace(status, stale=False) for name, status in statuses.items()}, stale


def summary(step: Step) -> dict[str, Any]:
    """What the result says of one unit."""
    return {"operations": list(step.operations), "reason": step.reason}


def act(steps: Sequence[Step], *, stale: bool = False) -> None:
    """Do all operations; starts are queued at once, so that units start side by side.

    stale: systemd has old definitions. It reads all of them again once, which takes seconds on a slow machine.
    """

    def having(operation: str) -> list[str]:
        return [step.unit.name for step in steps if operation in step.operations]

    if having("stop"):
        systemctl("stop", "--no-block", *having("stop"))
    for operation in ("unmask", "disable", "enable", "mask"):
        if having(operation):
            systemctl(operation, "--quiet", "--no-reload", *having(operation))
            stale = True
    if stale:
        systemctl("daemon-reload")
    for operation in ("start", "restart"):
        if having(operation):
            call("systemctl", "reset-failed", *having(operation))
            systemctl(operation, "--no-block", *having(operation))
    for name in having("reload"):
        systemctl("reload", name)


def await_all(
    steps: Sequence[Step],
    stamps: Mapping[str, Mapping[str, Any]],
    timeout: float,
    known: Mapping[str, Status] | None = None,
) -> None:
    """Wait until each unit is as wanted, and stamp it. Raises UnitsError when one failed or the time is over.

    `known` is what systemd said already, for the first look.
    """
    watch = Watch(steps, known)
    deadline = time.monotonic() + timeout
    pause = 0.1
    while watch.waiting:
        looked = time.monotonic()
        for unit in watch.look():
            # One that is kept and does not run now will read what is there when somebody starts it.
            if unit.state != "stopped":
                units.write_stamp(unit.name, stamps[unit.name])
            else:
                units.drop_stamp(unit.name)
        if watch.failed or (watch.waiting and time.monotonic() >= deadline):
            raise failure(watch, timeout)
        if watch.waiting:
            # Where looking is slow, it would take the processor from what is awaited.
            took = time.monotonic() - looked
            time.sleep(pause)
            pause = min(max(min(pause * 1.5, 1.0), 4 * took), 5.0)


class Watch:
    """The units that are not yet as wanted, and what is known of each."""

    def __init__(self, steps: Sequence[Step], known: Mapping[str, Status] | None = None) -> None:
        self._known = known
        self.waiting: dict[str, Step] = {step.unit.name: step for step in steps}
        self.failed: dict[str, str] = {}
        self.seen: dict[str, str] = {}
        self._steady: dict[str, tuple[float, int]] = {}

    def look(self) -> list[Unit]:
        """Look once at all that are waiting; return those which are as wanted now."""
        statuses, self._known = self._known or show(list(self.waiting)), None
        if statuses is None:
            # A machine that is very busy does not answer in time; the wait has its own limit.
            self.seen.update(dict.fromkeys(self.waiting, "systemd did not answer"))
            return []
        candidates = [step for step in self.waiting.values() if self._stands(step, statuses[step.unit.name])]
        done = []
        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = pool.map(lambda step: units_ready.probe(step.unit.ready), candidates)
        for step, problem in zip(candidates, answers, strict=True):
            if problem and step.unit.state != "stopped" and not _is_left(step, statuses[step.unit.name]):
                self.seen[step.unit.name] = problem
            else:
                del self.waiting[step.unit.name]
                done.append(step.unit)
        return done

    def _stands(self, step: Step, status: Status) -> bool:
        """Whether systemd has it where it should be; notes what it sees, and a failure."""
        unit = step.unit
        self.seen[unit.name] = f"{status.active} ({status.sub})"
        if unit.state == "stopped":
            return not status.running and not status.job
        if status.job:
            self.seen[unit.name] += ", its job is waiting or running"
            return False
        if _is_left(step, status):
            return True
        if status.active in ("active", "reloading", "refreshing"):
            return self._is_steady(step, status)
        if status.active == "failed":
            self.failed[unit.name] = f"failed (result: {status.result})"
        elif status.active == "inactive":
            if status.runs_once and status.result == "success":
                return True
            why = "it ended by itself, or a condition or requirement of its unit file does not hold"
            self.failed[unit.name] = f"inactive: {why}"
        return False

    def _is_steady(self, step: Step, status: Status) -> bool:
        """A process which reports nothing counts as started once it has lived for a moment."""
        is_silent = status.type in ("simple", "exec", "idle") and not step.unit.ready
        if not is_silent or not {"start", "restart"} & set(step.operations):
            return True
        now = time.monotonic()
        since, restarts = self._steady.get(step.unit.name, (now, status.restarts))
        if restarts != status.restarts:
            since, restarts = now, status.restarts
        self._steady[step.unit.name] = (since, restarts)
        return now - since >= SETTLE_SECONDS


def _is_left(step: Step, status: Status) -> bool:
    """Whether it stands still because somebody else has it so."""
    restarted = {"restart", "reload"} & set(step.operations)
    return step.unit.state == "kept" and status.active in (("inactive",) if restarted else ("inactive", "failed"))


def failure(watch: Watch, timeout: float) -> UnitsError:
    """The error which names each unit, what it waited for, and what the unit itself said."""
    names = list(watch.failed) or list(watch.waiting)
    texts = []
    for name in names:
        unit = watch.waiting[name].unit
        if name in watch.failed:
            texts.append(f"{name}: {watch.failed[name]}")
        else:
            wanted = "it to stop" if unit.state == "stopped" else units_ready.describe(unit.ready)
            last = watch.seen.get(name, "nothing")
            texts.append(f"{name}: waited {timeout:.0f} s for {wanted}; last seen: {last}")
        texts += said_by(unit)
    return UnitsError("\n".join(texts), names)


def said_by(unit: Unit) -> list[str]:
    """The ends of the unit's journal and of its log files."""
    texts = []
    for name, text in (("journal", journal(unit.name)), *((path, tail(path)) for path in unit.logs)):
        texts.append(f"--- {unit.name}, last {TAIL_LINES} lines of {name}:\n{text or '(nothing)'}")
    return texts


def journal(name: str) -> str:
    """The last lines that a unit wrote to the journal."""
    code, out, error = call("journalctl", "-u", name, "-n", str(TAIL_LINES), "--no-pager", "--no-hostname", "-q")
    return (out if code == 0 else error).strip("\n")


def tail(path: str) -> str:
    """The last lines of a file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return "".join(deque(stream, maxlen=TAIL_LINES)).strip("\n")
    except OSError as error:
        return f"({error.strerror})"


def diff_of(steps: Sequence[Step]) -> dict[str, str]:
    """Ansible's diff: one line for each unit which something is done to."""
    lines = []
    for step in steps:
        if step.operations:
            why = f" ({step.reason})" if step.reason else ""
            lines.append(f"{step.unit.name}: {', '.join(step.operations)}{why}\n")
    return {"prepared": "".join(lines)}
