# SPDX-License-Identifier: GPL-3.0-or-later
"""A small record on a block device, in two slots written in turn: a write that was cut leaves the older one.

A slot is: magic, sequence, length, SHA-256 of sequence and body, and the body in JSON. The one with the higher
sequence whose checksum is right counts.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Mapping
from typing import Any

MAGIC = b"UPDRAFT1"
HEAD = struct.Struct(">8sQQ32s")
#: Alignment that O_DIRECT asks for at most.
BLOCK = 4096


class SlotError(RuntimeError):
    """The record does not fit."""


def pack(sequence: int, body: Mapping[str, Any], size: int) -> bytes:
    """Return the content of a slot, padded to whole blocks. Raises SlotError where it is larger than `size`."""
    text = json.dumps(body, sort_keys=True).encode()
    data = HEAD.pack(MAGIC, sequence, len(text), _checksum(sequence, text)) + text
    if len(data) > size:
        raise SlotError(f"the record has {len(data)} bytes, and its place {size}")
    return data + b"\0" * (-len(data) % BLOCK)


def unpack(data: bytes) -> tuple[int, dict[str, Any]] | None:
    """Return sequence and body of a slot; None for one that was never written, or not to its end."""
    if len(data) < HEAD.size:
        return None
    magic, sequence, length, checksum = HEAD.unpack_from(data)
    text = data[HEAD.size : HEAD.size + length]
    if magic != MAGIC or len(text) != length or _checksum(sequence, text) != checksum:
        return None
    body = json.loads(text)
    return (sequence, body) if isinstance(body, dict) else None


def _checksum(sequence: int, text: bytes) -> bytes:
    return hashlib.sha256(sequence.to_bytes(8, "big") + text).digest()


class Slots:
    """Two slots of `size` bytes each from `offset` on a device or file.

    `direct` goes past the page cache: the other server sees what is written at once, and what it wrote is seen.
    """

    def __init__(self, path: str, *, offset: int = 0, size: int, direct: bool = True) -> None:
        """Describe the place; nothing is opened yet."""
        if offset % BLOCK or size % BLOCK:
            raise SlotError(f"offset and size of a slot are multiples of {BLOCK}")
        self.path = path
        self.offset = offset
        self.size = size
        self._flags = os.O_DIRECT if direct else 0

    def read(self) -> tuple[int, dict[str, Any]] | None:
        """Return sequence and body of the newest whole record, or None. Raises OSError."""
        found = [slot for slot in self._both() if slot is not None]
        return max(found, key=lambda slot: slot[0]) if found else None

    def write(self, body: Mapping[str, Any]) -> int:
        """Write the next record over the older slot, and wait until it is down. Return its sequence."""
        both = self._both()
        sequences = [slot[0] if slot is not None else 0 for slot in both]
        place = 0 if sequences[0] <= sequences[1] else 1
        sequence = max(sequences) + 1
        data = pack(sequence, body, self.size)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_DSYNC | os.O_CLOEXEC | self._flags)
        try:
            with mmap.mmap(-1, len(data)) as aligned:
                aligned.write(data)
                written = os.pwritev(descriptor, [aligned], self.offset + place * self.size)
            if written != len(data):
                raise OSError(f"{self.path}: {written} of {len(data)} bytes were written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return sequence

    def _both(self) -> list[tuple[int, dict[str, Any]] | None]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | self._flags)
        try:
            return [unpack(self._read(descriptor, self.offset + place * self.size)) for place in (0, 1)]
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int, start: int) -> bytes:
        """Read one block, and the rest of the slot only where the record is longer."""
        first = _pread(descriptor, BLOCK, start)
        if len(first) < HEAD.size:
            return first
        magic, _, length, _ = HEAD.unpack_from(first)
        needed = HEAD.size + length
        if magic != MAGIC or needed <= BLOCK or needed > self.size:
            return first
        return _pread(descriptor, needed + -needed % BLOCK, start)


def _pread(descriptor: int, length: int, start: int) -> bytes:
    with mmap.mmap(-1, length) as aligned:
        count = os.preadv(descriptor, [aligned], start)
        return aligned[:count]
