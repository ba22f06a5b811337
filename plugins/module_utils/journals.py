# SPDX-License-Identifier: GPL-3.0-or-later
"""What services complained of lately: from the journal and from their own log files."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

#: A line of an OpenStack log: time, process, level.
LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d+ (?:\d+ )?([A-Z]+) ")
#: Levels that explain a failure. TRACE carries the lines of a traceback.
BAD = frozenset({"ERROR", "CRITICAL", "TRACE"})
COMPLAINT = re.compile(r"\b(ERROR|CRITICAL|Traceback|Failed|error:)")
NOISE = "in _after_fork"
TAIL_BYTES = 512 << 10


def complaints(lines: Iterable[str], since: dt.datetime) -> list[str]:
    """Return the lines of a log which are errors and not older than `since` (the log's own, local time).

    A line without a time belongs to the line before it.
    """
    found, keep = [], False
    for line in lines:
        match = LINE.match(line)
        if match:
            when = dt.datetime.fromisoformat(match[1])
            keep = match[2] in BAD and when >= since.replace(microsecond=0)
        if keep:
            found.append(line.rstrip())
    return found


def tail(path: Path) -> list[str]:
    """Return the last lines of a file."""
    with path.open("rb") as handle:
        handle.seek(0, 2)
        handle.seek(max(0, handle.tell() - TAIL_BYTES))
        return handle.read().decode(errors="replace").splitlines()


def journal(units: Sequence[str], seconds: int) -> dict[str, list[str]]:
    """Return errors in the journal by unit, and the ends of units that failed; units may be patterns."""
    if not units:
        return {}
    command = ["journalctl", "--no-pager", "--quiet", "--output", "json", "--since", f"-{seconds}s"]
    command += [f"--unit={unit}" for unit in units]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return by_unit(done.stdout.splitlines())


def by_unit(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return the messages of `journalctl --output json` by unit: errors by priority or by their own words.

    A traceback is kept to its last line, which says what happened; those which eventlet makes at each fork say nothing.
    """
    found: dict[str, list[str]] = {}
    inside: dict[str, int] = {}
    for line in lines:
        entry = json.loads(line)
        message = entry.get("MESSAGE")
        if not isinstance(message, str):
            continue
        unit = str(entry.get("UNIT") or entry.get("_SYSTEMD_UNIT") or "systemd")
        texts = found.setdefault(unit, [])
        if message.startswith("Traceback"):
            inside[unit] = len(texts)
        if unit in inside or int(entry.get("PRIORITY", 6)) <= 3 or COMPLAINT.search(message):
            texts.append(message)
        if unit in inside and not message.startswith((" ", "Traceback")):
            block = slice(inside.pop(unit), None)
            if any(NOISE in text for text in texts[block]):
                del texts[block]
    return found


def read(
    units: Sequence[str], logs: Sequence[str], seconds: int, lines: int, root: Path = Path("/")
) -> dict[str, list[str]]:
    """Return the last `lines` complaints of each unit and each log file (patterns), by its name."""
    since = dt.datetime.now() - dt.timedelta(seconds=seconds)
    found = journal(units, seconds)
    for pattern in logs:
        for path in sorted(root.glob(pattern.lstrip("/"))):
            found[str(path)] = complaints(tail(path), since)
    return {name: texts[-lines:] for name, texts in found.items() if texts}
