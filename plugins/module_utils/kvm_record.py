# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of whether KVM is usable on this machine. `kvm` makes it; preflight reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

#: In a folder which is emptied at each start.
RECORD = "/run/updraft/kvm.json"


@dataclass(frozen=True, slots=True)
class Answer:
    """`usable`, why, and how long the guest took from power-on to its own program, in seconds."""

    usable: bool
    reason: str
    seconds: float = 0.0

    @property
    def virtualization(self) -> str:
        """What nova calls the kind of its guests: kvm or qemu."""
        return "kvm" if self.usable else "qemu"


def read_cache(path: Path, key: str) -> Answer | None:
    """Return the answer on record for this kernel, or None."""
    try:
        record: Mapping[str, object] = json.loads(path.read_text())
        if record["key"] != key:
            return None
        return Answer(bool(record["usable"]), str(record["reason"]), float(str(record["seconds"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_cache(path: Path, key: str, answer: Answer) -> None:
    """Put the answer on record; the folder is in /run, so the record ends with the machine's uptime."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"key": key, **asdict(answer)}))
    fresh.rename(path)
