# SPDX-License-Identifier: GPL-3.0-or-later
"""What the consoles of a lab's machines tell when a run failed: a kernel that gave up, a start, what was said last."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from updraft.site import Site

#: How the kernel begins to say that it is lost, and how many lines of it are shown; how many of one that is silent.
PANIC = re.compile(r"Kernel panic|\bOops:|\bBUG: |general protection fault|Out of memory:")
LINES, BEFORE, LAST = 30, 4, 15
#: What a machine that boots by network says first.
STARTED = "Open Source Network Boot Firmware"


def told(site: Site, since: float, silent: Collection[str] = ()) -> list[str]:
    """Return what to show of each machine whose kernel gave up, or which started more than once, since a time.

    Of the `silent` ones, those that could not be reached, what they said last is shown whatever that was.
    """
    shown: list[str] = []
    for console in sorted(site.state.glob("machines/*/console.log")):
        name, is_new = console.parent.name, console.stat().st_mtime >= since
        if not is_new and name not in silent:
            continue
        lines = console.read_text(errors="replace").replace("\r", "").splitlines()
        found = _complaint(name, console, lines) if is_new else []
        if not found and name in silent:
            head = f"{name} could not be reached; its console ends with ({console}):"
            found = [head, *(f"  {line}" for line in lines[-LAST:])]
        shown += found
    return shown


def _complaint(name: str, console: Path, lines: Sequence[str]) -> list[str]:
    first = next((number for number, line in enumerate(lines) if PANIC.search(line)), None)
    if first is not None:
        shown = lines[max(0, first - BEFORE) : first + LINES]
        return [f"{name}: its kernel complained ({console}):", *(f"  {line}" for line in shown)]
    starts = sum(line.count(STARTED) for line in lines)
    if starts > 1:
        return [f"{name}: started {starts} times since it was switched on ({console})"]
    return []
