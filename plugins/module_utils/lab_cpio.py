# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives for the kernel's initial RAM disk (cpio, `newc`), made in memory. Pure.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive or of a machine; a directory when `content` is None."""

    path: str  # absolute, as in the machine
    content: bytes | None
    mode: int = 0o644


def archive(entries: Iterable[Entry]) -> bytes:
    """Return the archive of these files, with the directories above them, owned by root."""
    wanted: dict[str, Entry] = {}
    for entry in entries:
        for parent in reversed(PurePosixPath(entry.path).parents):
            path = str(parent).lstrip("/")
            if path:
                wanted.setdefault(path, Entry(path, None, 0o755))
        wanted[entry.path.strip("/")] = entry
    body = b"".join(_record(number, path, wanted[path]) for number, path in enumerate(sorted(wanted), 1))
    body += _record(0, "TRAILER!!!", Entry("", b"", 0))
    return body + b"\0" * (-len(body) % 512)


def _record(number: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    data = entry.content or b""
    kind = stat.S_IFDIR if entry.content is None else stat.S_IFREG
    mode = 0 if path == "TRAILER!!!" else entry.mode | kind
    links = 2 if entry.content is None else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    start = header + name
    start += b"\0" * (-len(start) % 4)
    return start + data + b"\0" * (-len(data) % 4)
