# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes to one new place of a volume after the other, as a virtual machine does (direct, each write kept), and checks.

It runs on the machine that has the volume: `places.py write DEVICE LOG`, later `places.py check DEVICE LOG`. Each place
is in a chunk of its own of the thin pool, so that each write needs a change of the pool's map, which a server that
dies takes with it unless it was written down first. At the end of the volume it begins again, with higher numbers.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
import threading
from pathlib import Path

BLOCK, CHUNK = 4096, 1 << 16
#: The beginning of the volume is the load's, see mirror_lab.py.
BEGIN = 64 << 20
#: Between two writes: an emulated machine that has more to do leaves no processor to the one that starts.
SECONDS = 0.3


def content(number: int) -> bytes:
    """A block that tells its number all over."""
    return f"{number:015d}\n".encode() * (BLOCK // 16)


def places(device: str) -> int:
    """How many there are."""
    with Path(device).open("rb") as handle:
        return (handle.seek(0, os.SEEK_END) - BEGIN) // CHUNK


def write(device: str, log: Path) -> None:
    """Write until SIGTERM; in the log stands only what was acknowledged."""
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())
    count, number, block = places(device), 0, mmap.mmap(-1, BLOCK)
    descriptor = os.open(device, os.O_WRONLY | os.O_DIRECT | os.O_DSYNC)
    with log.open("w") as lines:
        while not ending.wait(SECONDS):
            block[:] = content(number)
            os.pwrite(descriptor, block, BEGIN + number % count * CHUNK)
            print(number, file=lines, flush=True)
            number += 1


def check(device: str, log: Path) -> dict[str, object]:
    """Read each place that was acknowledged."""
    count, block = places(device), mmap.mmap(-1, BLOCK)
    numbers = [int(line) for line in log.read_text().split()]
    newest = {number % count: number for number in numbers}
    descriptor = os.open(device, os.O_RDONLY | os.O_DIRECT)
    wrong = []
    for place, number in newest.items():
        os.preadv(descriptor, [block], BEGIN + place * CHUNK)
        if block[:] != content(number):
            wrong.append([number, block[:16].decode("latin-1")])
    os.close(descriptor)
    return {"written": len(numbers), "places": len(newest), "wrong": len(wrong), "first": wrong[:3]}


if __name__ == "__main__":
    what, where, name = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if what == "write":
        write(where, name)
    else:
        print(json.dumps(check(where, name)))
