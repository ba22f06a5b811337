# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of files, and of what runs on them, from the controller to the target: one text."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.files import Entry


@dataclass(frozen=True, slots=True)
class Payload:
    """A task, rendered. `service` is what runs on the files: units, timeout and changed_paths as the task says them."""

    entries: list[Entry]
    validate: list[str]
    service: dict[str, Any]


def pack(
    entries: Iterable[Mapping[str, Any]], validate: Sequence[str], service: Mapping[str, Any] | None = None
) -> str:
    """Encode rendered entries (content as bytes) and the rest of a task for the way to the target."""
    rendered = [{**item, "content": base64.b64encode(item.get("content") or b"").decode()} for item in entries]
    text = json.dumps({"files": rendered, "validate": list(validate), "service": dict(service or {})})
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode()


def unpack(payload: str) -> Payload:
    """Undo `pack`. Raises ValueError on anything else."""
    data = json.loads(zlib.decompress(base64.b64decode(payload)))
    entries = []
    for item in data["files"]:
        item["content"] = base64.b64decode(item["content"])
        item["purge"] = tuple(item.get("purge") or ())
        entries.append(Entry(**item))
    return Payload(entries, data["validate"], data["service"])
