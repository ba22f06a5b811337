# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees while a run goes on: plain lines for a log, a live table for a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from updraft.progress import Counts, Failure, Note, Progress, Running

#: Seconds after which a running task gets a "still" line, and again each time it has doubled.
STILL = 20.0

WORDS: Mapping[str, str] = {
    "changed": "changed",
    "failed": "FAILED",
    "ignored": "failed, which is allowed",
    "unreachable": "UNREACHABLE",
    "slow": "ok",
    "retry": "again",
}


class Display(Protocol):
    """Where a run tells what it does."""

    def line(self, text: str) -> None:
        """Say something that is no task's."""

    def stage(self, title: str) -> None:
        """A stage begins."""

    def note(self, note: Note) -> None:
        """Something happened that is worth a line."""

    def tick(self, progress: Progress, now: float) -> None:
        """A second has gone by."""

    def done(self, title: str, progress: Progress) -> None:
        """The stage ended."""

    def close(self) -> None:
        """Nothing more comes."""


def duration(seconds: float) -> str:
    """Seconds as a person says them: `8 s`, `3 min 05 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def note_text(note: Note) -> str:
    """One line (a diff: several) for a note."""
    if note.kind == "play":
        return f"play: {note.text}"
    if note.kind in ("diff", "text"):
        return note.text.strip("\r\n").replace("\r\n", "\n")
    took = f" ({duration(note.seconds)})" if note.seconds is not None and note.seconds >= 1 else ""
    return f"{note.host}: {note.text}: {WORDS[note.kind]}{took}"


def waiting_text(waiting: Sequence[Running], now: float) -> str:
    """What is being waited for, the longest first: `node1, node2: ovn | Start the host's part (24 s)`.

    Hosts that are at the same task stand together, with the longest time of them.
    """
    tasks: dict[str, list[Running]] = {}
    for one in waiting:
        tasks.setdefault(one.task, []).append(one)
    texts = [
        f"{', '.join(one.host for one in group)}: {task} ({duration(now - min(one.since for one in group))})"
        for task, group in tasks.items()
    ]
    return "; ".join(texts) or "nothing"


class PlainDisplay:
    """Lines with the seconds since the start before them; nothing is ever overwritten."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._began = time.monotonic()
        self._told: dict[Running, float] = {}

    def line(self, text: str) -> None:
        # Nobody listens any more: the run goes on, and its end is in the report.
        with contextlib.suppress(BrokenPipeError):
            print(text, file=self._stream, flush=True)

    def stage(self, title: str) -> None:
        self._said(f"== {title}")

    def note(self, note: Note) -> None:
        self._said(note_text(note))

    def tick(self, progress: Progress, now: float) -> None:
        waiting = progress.waiting()
        due = [task for task in waiting if now - task.since >= self._told.get(task, STILL)]
        if due:
            # Others at the same task come along, so that hosts side by side give one line, not one each.
            names = {task.task for task in due}
            due = [task for task in waiting if task.task in names and now - task.since >= STILL / 2]
            self._said(f"still {waiting_text(due, now)}")
            self._told.update({task: 2 * (now - task.since) for task in due})
        self._told = {task: seconds for task, seconds in self._told.items() if task in waiting}

    def done(self, title: str, progress: Progress) -> None:
        self._said(f"== {title}")

    def close(self) -> None:
        pass

    def _said(self, text: str) -> None:
        self.line(f"[{time.monotonic() - self._began:6.0f} s] {text}")


class LiveDisplay:
    """A table of the hosts and their tasks at the foot of the terminal; lines scroll above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        self._began = time.monotonic()
        self._title = ""

    def line(self, text: str) -> None:
        self._console.print(escape(text))

    def stage(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def note(self, note: Note) -> None:
        colours = {"changed": "yellow", "failed": "bold red", "unreachable": "bold red", "play": "bold"}
        colour = colours.get(note.kind, "dim")
        self._console.print(f"[{colour}]{escape(note_text(note))}[/]")

    def tick(self, progress: Progress, now: float) -> None:
        if self._live:
            self._live.update(Group(*self._rows(progress, now)), refresh=True)

    def done(self, title: str, progress: Progress) -> None:
        self.close()
        bad = any(counts.failed or counts.unreachable for counts in progress.hosts.values())
        self._console.print(f"[bold {'red' if bad else 'green'}]{escape(title)}[/]")

    def close(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _rows(self, progress: Progress, now: float) -> list[str | Table]:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for column in ("host", "ok", "changed", "now", ""):
            table.add_column(column, justify="right" if column in ("ok", "changed") else "left")
        running: dict[str, list[Running]] = {}
        for task in progress.waiting():
            running.setdefault(task.host, []).append(task)
        for host in sorted({*progress.hosts, *running}):
            counts = progress.hosts.get(host, Counts())
            tasks = running.get(host, [])
            slow = any(now - task.since > STILL for task in tasks)
            table.add_row(
                f"[red]{escape(host)}[/]" if counts.failed or counts.unreachable else escape(host),
                str(counts.ok),
                str(counts.changed),
                escape("; ".join(task.task for task in tasks)) or "[dim]-[/]",
                f"[{'yellow' if slow else 'dim'}]{duration(now - tasks[0].since)}[/]" if tasks else "",
            )
        return [f"[bold]{escape(self._title)}[/]  {duration(time.monotonic() - self._began)}", table]


def make_display(stream: TextIO | None = None) -> PlainDisplay | LiveDisplay:
    """The live display on a terminal, plain lines everywhere else."""
    stream = stream or sys.stdout
    return LiveDisplay(Console(file=stream, highlight=False)) if stream.isatty() else PlainDisplay(stream)


def recap(hosts: Mapping[str, Counts], failures: Sequence[Failure]) -> str:
    """The end of a run: each host's counts, then every failure with its message in full."""
    width = max([len(host) for host in hosts] + [4])
    lines = [f"{'host':{width}}    ok  changed  failed  unreachable"]
    lines += [
        f"{host:{width}} {counts.ok:5}  {counts.changed:7}  {counts.failed:6}  {counts.unreachable:11}"
        for host, counts in sorted(hosts.items())
    ]
    if not hosts:
        lines = ["no host was contacted"]
    for failure in failures:
        lines += [
            "",
            f"{failure.host}: {failure.task}:",
            *(f"  {text}" for text in failure.message.splitlines()),
        ]
    return "\n".join(lines)
