# SPDX-License-Identifier: GPL-3.0-or-later
"""The diff of updraft.cloud.files: text as text, attributes as lines, secrets only as numbers of lines."""

from __future__ import annotations

import difflib
import grp
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.updraft.cloud.plugins.module_utils.files import Change

MOST_BYTES = 256 * 1024


def describe(change: Change) -> dict[str, str]:
    """One element of Ansible's `diff` list for one change."""
    entry, found = change.entry, change.found
    header = f"{entry.path} ({', '.join(change.reasons)})"
    if {"content", "type", "absent"} & set(change.reasons) and entry.state != "directory":
        old, new = _text(found.content), _text(entry.content)
        if entry.state in ("file", "absent") and is_sensitive(change):
            return {"prepared": f"{header}: {_numbers(found.content, entry.content)}\n"}
        if old is None or new is None:
            sizes = f"{len(found.content)} -> {len(entry.content)} bytes, not shown"
            return {"prepared": f"{header}: {sizes}\n"}
        before = f"-> {found.target}\n" if found.kind == "link" else old
        after = f"-> {entry.target}\n" if entry.state == "link" else new
        if found.kind == "directory":
            before = "a directory\n"
    else:
        before, after = _attributes_before(change), _attributes_after(change)
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def is_sensitive(change: Change) -> bool:
    """Whether the text is kept out of the diff: as declared, else when not everybody may read the file."""
    entry, found = change.entry, change.found
    if entry.sensitive is not None:
        return entry.sensitive
    modes = [mode for mode in (entry.mode, found.mode if found.kind == "file" else None) if mode is not None]
    return any(not mode & 0o004 for mode in modes)


def _text(content: bytes) -> str | None:
    if len(content) > MOST_BYTES or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _numbers(old: bytes, new: bytes) -> str:
    """How much differs, without a word of it."""
    gone = come = 0
    matcher = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal":
            gone, come = gone + i2 - i1, come + j2 - j1
    return f"content differs and is not shown, it is sensitive ({gone} lines go, {come} lines come)"


def _attributes_before(change: Change) -> str:
    found = change.found
    if found.kind == "absent":
        return ""
    return _lines(change.entry.state, found.mode, _name(found.uid, "owner"), _name(found.gid, "group"))


def _attributes_after(change: Change) -> str:
    entry, found = change.entry, change.found
    mode = found.mode if entry.mode is None else entry.mode
    if entry.mode is None and found.kind == "absent":
        mode = 0o755
    owner = entry.owner or _name(found.uid, "owner")
    group = entry.group or _name(found.gid, "group")
    return _lines(entry.state, mode, owner, group)


def _lines(state: str, mode: int, owner: str, group: str) -> str:
    return f"{state}\nmode {mode:04o}\nowner {owner}\ngroup {group}\n"


def _name(number: int, kind: str) -> str:
    if number < 0:
        return "root"
    try:
        return pwd.getpwuid(number).pw_name if kind == "owner" else grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
