# SPDX-License-Identifier: GPL-3.0-or-later
"""One at a time: a run that was cut on the controller goes on for a while on the machine."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

FOLDER = "/run/updraft"


class BusyError(Exception):
    """Somebody else holds the lock for too long; the text says which."""


@contextmanager
def exclusive(name: str, timeout: float, folder: str = FOLDER) -> Iterator[int]:
    """Hold the machine's lock of this name; wait at most `timeout` seconds for it.

    Gives the lock's file descriptor. A child process that inherits it holds the lock too, even when its
    parent was killed. Raises BusyError.
    """
    os.makedirs(folder, mode=0o755, exist_ok=True)
    path = f"{folder}/{name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, timeout)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: str, timeout: float) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                text = f"an earlier run is still at work here after {timeout:g} s (it holds {path})"
                raise BusyError(text) from None
            time.sleep(0.5)
