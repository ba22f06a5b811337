# SPDX-License-Identifier: GPL-3.0-or-later
"""What the consoles of a lab's machines tell when a run failed: a kernel that gave up, a machine that started again."""

from __future__ import annotations

import re
from pathlib import Path

from updraft.site import Site

#: How the kernel begins to say that it is lost, and how many lines of it are shown.
PANIC = re.compile(r"Kernel panic|\bOops:|\bBUG: |general protection fault|Out of memory:")
LINES, BEFORE = 30, 4
#: What a machine that boots by network says first.
STARTED = "Open Source Network Boot Firmware"


def told(site: Site, since: float) -> list[str]:
    """Return what to show of each machine whose kernel gave up, or which started more than once, since a time."""
    lines: list[str] = []
    for console in sorted(site.state.glob("machines/*/console.log")):
        if console.stat().st_mtime >= since:
            lines += _of(console.parent.name, console)
    return lines


def _of(name: str, console: Path) -> list[str]:
    text = console.read_text(errors="replace").replace("\r", "")
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if PANIC.search(line)), None)
    if first is not None:
        shown = lines[max(0, first - BEFORE) : first + LINES]
        return [f"{name}: its kernel complained ({console}):", *(f"  {line}" for line in shown)]
    starts = text.count(STARTED)
    if starts > 1:
        return [f"{name}: started {starts} times since it was switched on ({console})"]
    return []
