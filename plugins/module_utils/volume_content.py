# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a volume, read from its device: for proofs that copies have the same content. Under a folder of devices,
so that it can be tested on files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

BLOCK = 1 << 20


class InUseError(RuntimeError):
    """A device that somebody uses is not written to."""


def device(group: str, volume: str, root: str = "") -> str:
    """Return where a volume of the volume service is, on the machine that serves it."""
    return f"{root}/dev/{group}/volume-{volume}"


def checksum(path: str) -> str:
    """Return the SHA-256 of a whole device, and read it from the disk, not from what the kernel remembers."""
    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := stream.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def checksums(group: str, volumes: Iterable[str], root: str = "") -> dict[str, str]:
    """Return the checksums of those volumes that are on this machine, by their ids."""
    return {volume: checksum(path) for volume in volumes if os.path.exists(path := device(group, volume, root))}


def mark(path: str, text: str) -> None:
    """Overwrite the last block of a device, beyond what an image has written, with bytes that follow from a text.

    Raises InUseError where somebody uses the device.
    """
    try:
        # On a device, exclusive means that nobody else has it: no filesystem, no target.
        descriptor = os.open(path, os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise InUseError(f"{path} is in use, and is not written to: {error.strerror}") from error
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        os.lseek(descriptor, size - BLOCK, os.SEEK_SET)
        os.write(descriptor, hashlib.shake_256(text.encode()).digest(BLOCK))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
