# SPDX-License-Identifier: GPL-3.0-or-later
"""How the lab's code runs commands on this computer, and how it knows what of it is its own."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import LabError, Site

NAMESPACES = Path("/run/netns")


def run(command: Sequence[str], *, limit: float = 60, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command and return what it said; LabError with its message when it fails or takes longer than `limit` s."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=limit, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed on this computer") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(command)}` was not done after {limit:.0f} s") from error
    if check and result.returncode:
        message = (result.stderr or result.stdout).strip()
        raise LabError(f"`{' '.join(command)}` ended with {result.returncode}: {message}")
    return result


def run_json(command: Sequence[str]) -> Any:
    """Run a command that prints JSON and return the data; an empty list when it prints nothing."""
    output = run(command).stdout.strip()
    return json.loads(output) if output else []


def namespace_exists(name: str) -> bool:
    """Say whether the computer has a network namespace of this name."""
    return (NAMESPACES / name).exists()


def owner(site: Site) -> str | None:
    """Return the state directory of the lab which made the namespace; None when none of Updraft's did."""
    try:
        return (site.runtime / "owner").read_text().strip()
    except (FileNotFoundError, PermissionError):
        return None


def claim(site: Site) -> None:
    """Write down that this lab makes the namespace, before it makes it; refuse when it is another's."""
    refuse_foreign(site)
    site.runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
    (site.runtime / "owner").write_text(f"{site.state}\n")


def refuse_foreign(site: Site) -> None:
    """Raise LabError when the namespace of the lab is there and was not made by it."""
    reason = foreign(site)
    if reason:
        raise LabError(reason)


def foreign(site: Site) -> str | None:
    """Return why the namespace is not this lab's; None when it is free or its own."""
    made_by = owner(site)
    if made_by == str(site.state):
        return None
    if made_by:
        if not Path(made_by).exists():
            return None
        return f"the namespace {site.namespace} belongs to the lab whose state is in {made_by}"
    if namespace_exists(site.namespace):
        return f"a network namespace {site.namespace} is there which no lab of Updraft has made"
    return None


@contextmanager
def alone(site: Site, limit: float = 600) -> Iterator[None]:
    """Keep other runs from this lab's machines: one whose Ansible was killed may still be at work on them."""
    site.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (site.state / "machines.lock").open("w") as handle:

        def free() -> bool:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not wait_until(free, limit):
            raise LabError(
                f"another run has been at work on the machines of this lab for {limit:.0f} s; see its output"
            )
        yield


def process_with(pid_file: Path, mark: str) -> int | None:
    """Return the process id in the file when that process runs and has `mark` among its arguments, else None."""
    try:
        pid = int(pid_file.read_text().strip())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if mark.encode() in arguments else None


def kill(pid: int, limit: float = 10) -> None:
    """End a process at once and wait until it has gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        # Readable when the last of its threads has gone, and with it what they held: files, ports of bridges.
        select.select([handle], [], [], limit)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def wait_until(condition: Any, limit: float, interval: float = 0.2) -> bool:
    """Ask until the condition holds or `limit` seconds are over; return whether it held."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(interval)
    return True
