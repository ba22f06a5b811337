# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes files that are on disk when they are written down, and looks later whether they are there. Runs on a node.

files.py write FOLDER LOG     until SIGTERM
files.py check FOLDER LOG     prints {"files": N, "wrong": N, "first": "..."}
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import threading
from pathlib import Path

#: So many files at most; the oldest go.
KEPT = 300
#: Between two files, see places.py.
SECONDS = 1.0


def write(folder: Path, log: Path) -> None:
    """Write one after the other; in the log stands only what fsync has acknowledged, and first what goes."""
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())
    number, chance = 0, random.Random()
    with log.open("w") as lines:
        while not ending.wait(SECONDS):
            content = chance.randbytes(chance.randrange(1, 1 << 16))
            path = folder / f"file{number}"
            with path.open("wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            _sync(folder)
            print(path.name, hashlib.sha256(content).hexdigest(), file=lines, flush=True)
            old = number - KEPT
            if old >= 0:
                print(f"file{old}", "gone", file=lines, flush=True)
                (folder / f"file{old}").unlink()
            number += 1


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(folder: Path, log: Path) -> dict[str, object]:
    """Compare each file of the log that has not gone."""
    wanted: dict[str, str] = dict(line.split() for line in log.read_text().splitlines())
    total = len(wanted)
    kept = {name: digest for name, digest in wanted.items() if digest != "gone"}
    wrong = [name for name, digest in kept.items() if _digest(folder / name) != digest]
    return {"written": total, "files": len(kept), "wrong": len(wrong), "first": wrong[:1]}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error)


if __name__ == "__main__":
    what, where, name = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if what == "write":
        write(where, name)
    else:
        print(json.dumps(check(where, name)))
