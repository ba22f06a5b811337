# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs playbooks through ansible-runner, with progress, a watchdog and a record of what was run."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from ansible_runner.interface import init_runner

from updraft.display import Display, duration, waiting_text
from updraft.progress import Progress
from updraft.records import Record
from updraft.report import StageResult, Status
from updraft.site import Site
from updraft.watchdog import Watchdog

#: Exit codes of a run that Ansible did not end by itself.
HUNG, INTERRUPTED = 124, 130

#: In the environment of every ansible-playbook that is started here: which site it works on.
MARKER = "UPDRAFT_SITE_STATE"


@dataclass(frozen=True, slots=True)
class Stage:
    """One playbook of a run. `warn` and `limit` are seconds without any task beginning or ending."""

    name: str
    playbook: Path
    arguments: tuple[str, ...] = ()
    hosts: str = ""  # as the person is told of them
    warn: float = 120.0
    limit: float = 1200.0
    environment: Mapping[str, str] = field(default_factory=dict)
    tell: Callable[[Progress], None] | None = None  # called every second or so while it runs


@dataclass(slots=True)
class Session:
    """What one command of a person works with: the site, the display, the signals that came in."""

    site: Site
    display: Display
    record: Record
    raw: bool = False  # show Ansible's own output in place of the progress
    interrupted: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Turn INT, TERM and HUP into an orderly end of the playbook that runs."""

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            self.interrupted = True

        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_stage(session: Session, stage: Stage) -> StageResult:
    """Run one playbook to its end, or until it hangs or the person interrupts; never raises for a failure."""
    site, display = session.site, session.display
    end_orphans(site.state)
    progress = Progress()
    watchdog = Watchdog(stage.warn, stage.limit, heard=time.monotonic())
    artifacts = session.record.attempt(stage.name)
    where = f" on {stage.hosts}" if stage.hosts else ""
    display.stage(f"{stage.name}: {_shown(stage.playbook, site.root)}{where}")
    began = time.monotonic()
    hung = threading.Event()
    ended = threading.Event()

    def take(event: Mapping[str, Any]) -> bool:
        now = time.monotonic()
        watchdog.touch(now)
        for note in progress.handle(event, now):
            if not session.raw:
                display.note(note)
        return True  # keep the event in the artifacts

    def watch() -> None:
        while not ended.wait(1.0):
            now = time.monotonic()
            verdict = watchdog.check(now)
            if verdict != "fine":
                silence = duration(watchdog.silence(now))
                text = f"{stage.name}: nothing ended for {silence}; waiting for {waiting_text(progress.waiting(), now)}"
                display.line(f"{text}: this is taken for a hang, and ended" if verdict == "expired" else text)
            if verdict == "expired":
                hung.set()
                return
            if not session.raw:
                display.tick(progress, now)
            if stage.tell is not None:
                stage.tell(progress)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        code = _play(session, stage, artifacts, take, lambda: hung.is_set() or session.interrupted)
    finally:
        ended.set()
        watcher.join()
    end_orphans(site.state)
    status, code = _verdict(code, hung=hung.is_set(), interrupted=session.interrupted)
    seconds = time.monotonic() - began
    changed = sum(counts.changed for counts in progress.hosts.values())
    display.done(f"{stage.name}: {status} in {duration(seconds)}, changed={changed}", progress)
    return StageResult(
        stage.name,
        status,
        seconds,
        playbook=_shown(stage.playbook, site.root),
        artifacts=str(artifacts),
        reason=_reason(status, stage, progress, artifacts),
        hosts=progress.hosts,
        failures=progress.failures,
        code=code,
    )


def _play(session: Session, stage: Stage, artifacts: Path, take: Any, cancel: Any) -> int:
    """Start ansible-playbook under ansible-runner, and wait for it. Its exit code."""
    site = session.site
    environment = {
        "ANSIBLE_CONFIG": str(site.root / "ansible.cfg"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner would switch it off
        "ANSIBLE_NOCOLOR": "1",
        MARKER: str(site.state),
        **session.environment,
        **stage.environment,
    }
    artifacts.mkdir(mode=0o700)
    runner = init_runner(
        # A folder of its own: ansible-runner keeps the environment there, and would give it to the next stage too.
        private_data_dir=str(artifacts),
        artifact_dir=str(artifacts.parent),
        ident=artifacts.name,
        project_dir=str(site.root),
        playbook=str(stage.playbook),
        inventory=str(site.inventory),
        cmdline=_command_line(stage.arguments),
        envvars=environment,
        settings={"pexpect_timeout": 1, "suppress_ansible_output": not session.raw},
        event_handler=take,
        cancel_callback=cancel,
        quiet=not session.raw,
    )
    runner.run()
    return int(runner.rc if runner.rc is not None else 1)


def _command_line(arguments: Sequence[str]) -> str | None:
    """Arguments as ansible-runner takes them: one text, which it splits as a shell would."""
    return shlex.join(arguments) or None


def _verdict(code: int, *, hung: bool, interrupted: bool) -> tuple[Status, int]:
    """What became of a stage, and its exit code."""
    if interrupted:
        return "interrupted", INTERRUPTED
    if hung:
        return "hung", HUNG
    return ("ok", 0) if code == 0 else ("failed", code)


def _reason(status: Status, stage: Stage, progress: Progress, artifacts: Path) -> str | None:
    """Why a stage ended badly when no task says so: what Ansible itself printed last."""
    if status == "hung":
        return f"nothing ended for {duration(stage.limit)}"
    if status != "failed" or progress.failures:
        return None
    output = artifacts / "stdout"
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines() if output.is_file() else []
    return "\n".join(line for line in lines[-25:] if line.strip()) or "ansible-playbook failed and printed nothing"


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def end_orphans(state: Path, grace: float = 5.0) -> list[int]:
    """End every ansible-playbook of this site that lives on, as after a SIGKILL of its parent.

    Such a process would go on changing the hosts beside the new run. Only called while the site's
    lock is held, so no other run can own it. Returns the ids of what was ended.
    """
    found = orphans(state)
    for number in found:
        _signal(number, signal.SIGTERM)
    limit = time.monotonic() + grace
    while time.monotonic() < limit and any(Path("/proc", str(number)).exists() for number in found):
        time.sleep(0.1)
    for number in orphans(state):
        _signal(number, signal.SIGKILL)
    return found


def orphans(state: Path, proc: Path = Path("/proc")) -> list[int]:
    """The processes which run ansible-playbook for this site (machines that it started do not count)."""
    wanted = f"{MARKER}={state}".encode()
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = entry.joinpath("cmdline").read_bytes().split(b"\0")
            ours = any(Path(os.fsdecode(word)).name == "ansible-playbook" for word in words[:3])
            if ours and wanted in entry.joinpath("environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _signal(number: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, what)
