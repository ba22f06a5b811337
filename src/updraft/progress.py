# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is doing, from the events that ansible-runner gives. Pure: no clock and no output of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

NoteKind = Literal["play", "changed", "failed", "ignored", "unreachable", "slow", "retry", "diff", "text"]

#: Seconds after which a task that changed nothing is worth a line of its own.
SLOW = 10.0


@dataclass(slots=True)
class Counts:
    """How many tasks of one host ended in which way. `changed` are among the `ok`."""

    ok: int = 0
    changed: int = 0
    failed: int = 0
    unreachable: int = 0
    skipped: int = 0

    def add(self, other: Counts) -> None:
        """Add another stage's counts."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True, slots=True)
class Running:
    """A task that a host works on now, and when it began (seconds of the caller's clock)."""

    host: str
    task: str
    since: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person watching the run wants to see once."""

    kind: NoteKind
    host: str = ""
    text: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that failed, with its message in full."""

    host: str
    task: str
    message: str


@dataclass(slots=True)
class Progress:
    """The state of one playbook's run."""

    hosts: dict[str, Counts] = field(default_factory=dict)
    running: dict[tuple[str, str], Running] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    play: str = ""
    finished: bool = False

    def handle(self, event: Mapping[str, Any], now: float) -> list[Note]:
        """Take in one event of ansible-runner at time `now`; what there is to show for it."""
        name = str(event.get("event", ""))
        data: Mapping[str, Any] = event.get("event_data") or {}
        if name == "playbook_on_play_start":
            self.play = str(data.get("play", ""))
            return [Note("play", text=self.play)]
        if name == "playbook_on_stats":
            self._settle(data)
            return []
        if name == "runner_on_file_diff":
            return [Note("diff", str(data.get("host", "")), str(event.get("stdout", "")))]
        if name == "verbose" and str(event.get("stdout", "")).startswith(("ERROR", "[ERROR]", "fatal:")):
            return [Note("text", text=str(event["stdout"]))]
        if name.startswith("runner_") and data.get("host"):
            return self._task(name, data, now)
        return []

    def waiting(self) -> list[Running]:
        """The tasks that run now, the longest first."""
        tasks = list(self.running.values())  # at once: the run goes on in another thread
        return sorted(tasks, key=lambda task: task.since)

    def _task(self, name: str, data: Mapping[str, Any], now: float) -> list[Note]:
        host, task = str(data["host"]), task_name(data)
        counts = self.hosts.setdefault(host, Counts())
        key = (host, str(data.get("task_uuid", "")))
        if name == "runner_on_start":
            self.running[key] = Running(host, task, now)
            return []
        result: Mapping[str, Any] = data.get("res") or {}
        if name == "runner_retry":
            tried, of = result.get("attempts", "?"), result.get("retries", "?")
            return [Note("retry", host, f"{task} (try {tried} of {of})")]
        if name.startswith(("runner_item_", "runner_on_async")):
            return []
        began = self.running.pop(key, None)
        seconds = now - began.since if began else None
        return self._ended(name, data, counts, Note("text", host, task, seconds))

    def _ended(self, name: str, data: Mapping[str, Any], counts: Counts, note: Note) -> list[Note]:
        """Count a task's end; what is worth a line: changes, failures, and what took long."""
        result: Mapping[str, Any] = data.get("res") or {}
        kind: NoteKind | None = None
        if name == "runner_on_ok":
            counts.ok += 1
            if result.get("changed"):
                counts.changed += 1
                kind = "changed"
            elif (note.seconds or 0) >= SLOW:
                kind = "slow"
            elif isinstance(said := said_by(data), str):
                return [Note("text", note.host, said)]
        elif name == "runner_on_skipped":
            counts.skipped += 1
        elif name == "runner_on_failed" and data.get("ignore_errors"):
            counts.ok += 1
            kind = "ignored"
        elif name in ("runner_on_failed", "runner_on_unreachable"):
            kind = "failed" if name == "runner_on_failed" else "unreachable"
            setattr(counts, kind, getattr(counts, kind) + 1)
            self.failures.append(Failure(note.host, note.text, failure_text(result)))
        return [Note(kind, note.host, note.text, note.seconds)] if kind else []

    def _settle(self, data: Mapping[str, Any]) -> None:
        """Ansible's own counts at the end are the ones that hold: they know what was rescued."""
        self.finished = True
        self.running.clear()
        theirs = {
            "ok": "ok",
            "changed": "changed",
            "failed": "failures",
            "unreachable": "dark",
            "skipped": "skipped",
        }
        for host in data.get("processed", {}):
            self.hosts[host] = Counts(**{ours: int(data.get(key, {}).get(host, 0)) for ours, key in theirs.items()})
        self.failures = [
            failure
            for failure in self.failures
            if failure.host not in self.hosts or self.hosts[failure.host].failed or self.hosts[failure.host].unreachable
        ]


def task_name(data: Mapping[str, Any]) -> str:
    """A task's name with its role before it, once: `database | Start MariaDB`."""
    task = str(data.get("task") or data.get("task_action") or "a task")
    role = str(data.get("role") or "").rpartition(".")[2]
    return task if not role or " | " in task else f"{role} | {task}"


def said_by(data: Mapping[str, Any]) -> Any:
    """What a task says whose only purpose that is; None for another one."""
    says = str(data.get("task_action", "")).rpartition(".")[2] == "debug"
    return (data.get("res") or {}).get("msg") if says else None


def failure_text(result: Mapping[str, Any]) -> str:
    """The message of a failed task in full, with the failed items of a loop and what a command printed."""
    if result.get("censored"):
        return str(result["censored"])
    parts = [str(result["msg"])] if result.get("msg") else []
    for item in result.get("results") or []:
        if isinstance(item, Mapping) and (item.get("failed") or item.get("unreachable")):
            label = item.get("_ansible_item_label", item.get("item", ""))
            parts.append(f"{label}: {failure_text(item)}")
    for stream in ("stderr", "stdout", "module_stderr", "module_stdout"):
        text = str(result.get(stream) or "").strip()
        if text and text not in parts:
            parts.append(f"{stream}:\n{text}")
    return "\n".join(parts) or "no message"
