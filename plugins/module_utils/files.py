# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.files does on the target: compare a list of files, validate it, write it.

The list arrives rendered. Nothing is replaced before every command that validates has passed, and
each file is replaced by a rename, so that a reader sees the old text or the new one. A run that was
cut leaves at most a hidden temporary file, which the next run removes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fnmatch
import grp
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.files_diff import describe

VALIDATE_SECONDS = 120
# Python has no call for syncfs(2).
LIBC = ctypes.CDLL(None, use_errno=True)


class FilesError(Exception):
    """Something in the list cannot be done; the text says what and how to cure it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of the list. `mode` is a number; None for mode, owner or group keeps what is there."""

    path: str
    state: str = "file"
    content: bytes = b""
    target: str = ""
    owner: str | None = None
    group: str | None = None
    mode: int | None = None
    validate: str | None = None
    sensitive: bool | None = None
    purge: tuple[str, ...] = ()
    recurse: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path now. `kind` is absent, file, directory, link or other."""

    kind: str
    mode: int = 0
    uid: int = -1
    gid: int = -1
    content: bytes = b""
    target: str = ""
    empty: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be done to one path, and why: `reasons` holds content, mode, owner, group, type, absent."""

    entry: Entry
    found: Found
    reasons: tuple[str, ...]
    uid: int | None = None
    gid: int | None = None


@dataclass(slots=True)
class Plan:
    """All changes in the order of the list, and what could not be looked up yet (check mode only)."""

    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [change.entry.path for change in self.changes]


def look(path: str) -> Found:
    """Read what is at `path`, without following a link."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Found("absent")
    mode, owners = stat.S_IMODE(info.st_mode), (info.st_uid, info.st_gid)
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as stream:
            return Found("file", mode, *owners, content=stream.read())
    if stat.S_ISLNK(info.st_mode):
        return Found("link", mode, *owners, target=os.readlink(path))
    if stat.S_ISDIR(info.st_mode):
        return Found("directory", mode, *owners, empty=not os.listdir(path))
    return Found("other", mode, *owners)


def look_directory(path: str) -> Found:
    """Like `look`, but a link to a directory counts as the directory."""
    found = look(path)
    if found.kind == "link" and os.path.isdir(path):
        info = os.stat(path)
        return Found("directory", stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
    return found


def identity(name: str | None, kind: str) -> int | None:
    """The number of a user or group. Raises KeyError when it does not exist."""
    if name is None:
        return None
    if name.isdigit():
        return int(name)
    return pwd.getpwnam(name).pw_uid if kind == "owner" else grp.getgrnam(name).gr_gid


def plan(entries: Sequence[Entry], *, check: bool) -> Plan:
    """Compare the list with the machine.

    Raises FilesError with all problems at once. With `check`, an owner or group that does not exist yet is
    noted and counted as a change; otherwise it is a problem.
    """
    result, problems = Plan(), []
    for entry in with_purged(entries):
        try:
            change = compare(entry, check=check, notes=result.notes)
        except FilesError as error:
            problems.append(str(error))
            continue
        if change:
            result.changes.append(change)
    if problems:
        raise FilesError("\n".join(problems))
    return result


def with_purged(entries: Sequence[Entry]) -> Iterator[Entry]:
    """The list, and after it one absent entry for each file that a `purge` pattern finds undeclared."""
    yield from entries
    declared = {entry.path for entry in entries}
    for entry in entries:
        if not entry.purge or not os.path.isdir(entry.path):
            continue
        for name in sorted(os.listdir(entry.path)):
            path = os.path.join(entry.path, name)
            wanted = any(fnmatch.fnmatchcase(name, pattern) for pattern in entry.purge)
            if wanted and path not in declared and (os.path.islink(path) or not os.path.isdir(path)):
                yield Entry(path, "absent", sensitive=entry.sensitive)


def compare(entry: Entry, *, check: bool, notes: list[str]) -> Change | None:
    """The change that one entry needs, or None. Raises FilesError."""
    if entry.state == "absent":
        return _compare_absent(entry)
    if entry.state == "link":
        return _compare_link(entry)
    return _compare_kept(entry, check=check, notes=notes)


def _compare_absent(entry: Entry) -> Change | None:
    found = look(entry.path)
    if found.kind == "absent":
        return None
    if found.kind == "directory" and not found.empty and not entry.recurse:
        raise FilesError(f"{entry.path}: is a directory which holds something; set recurse to remove it all")
    return Change(entry, found, ("absent",))


def _compare_link(entry: Entry) -> Change | None:
    found = look(entry.path)
    if found.kind == "link" and found.target == entry.target:
        return None
    if found.kind in ("directory", "other"):
        raise FilesError(f"{entry.path}: is a {_called(found)}, no link can replace it; remove it first")
    return Change(entry, found, ("content",) if found.kind in ("link", "absent") else ("type",))


def _compare_kept(entry: Entry, *, check: bool, notes: list[str]) -> Change | None:
    found = look_directory(entry.path) if entry.state == "directory" else look(entry.path)
    replaceable = ("absent", "directory") if entry.state == "directory" else ("absent", "file", "link")
    if found.kind not in replaceable:
        raise FilesError(f"{entry.path}: is a {_called(found)}, not a {entry.state}; remove it first")
    reasons = []
    if found.kind != entry.state:
        reasons.append("content" if found.kind == "absent" else "type")
    elif entry.state == "file" and found.content != entry.content:
        reasons.append("content")
    present = found.kind == entry.state
    if present and entry.mode is not None and entry.mode != found.mode:
        reasons.append("mode")
    numbers: dict[str, int | None] = {}
    for kind, name, now in (("owner", entry.owner, found.uid), ("group", entry.group, found.gid)):
        try:
            numbers[kind] = identity(name, kind)
        except KeyError:
            if not check:
                cure = "create it, or install its package, before this task"
                raise FilesError(f"{entry.path}: {kind} {name} does not exist on this machine; {cure}") from None
            notes.append(f"{entry.path}: {kind} {name} does not exist yet")
            numbers[kind] = -1
        if present and numbers[kind] is not None and numbers[kind] != now:
            reasons.append(kind)
    if not reasons:
        return None
    return Change(entry, found, tuple(reasons), numbers["owner"], numbers["group"])


def _called(found: Found) -> str:
    return "special file" if found.kind == "other" else found.kind


def validate(entries: Sequence[Entry], changes: Sequence[Change], commands: Sequence[str]) -> list[str]:
    """Run the validating commands on copies of the new files; return one text for each that fails.

    All files of the list are laid out under one private directory. `%s` in an entry's own command is its copy
    there; in the commands for the whole list it is that directory, in which `%s/etc/x.conf` is the new file.
    """
    renewed = {change.entry.path for change in changes if {"content", "type"} & set(change.reasons)}
    files = [entry for entry in entries if entry.state == "file"]
    own = [entry for entry in files if entry.validate and entry.path in renewed]
    if not own and not (commands and renewed):
        return []
    failures = []
    with tempfile.TemporaryDirectory(prefix="updraft-files-") as root:
        for entry in files:
            copy = root + entry.path
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            with open(copy, "wb") as stream:
                stream.write(entry.content)
        for entry in own:
            failures += _run_validation(str(entry.validate), root + entry.path, entry.path)
        for command in commands:
            failures += _run_validation(command, root, "the files together")
    return failures


def _run_validation(command: str, path: str, subject: str) -> list[str]:
    words = [word.replace("%s", path) for word in shlex.split(command)]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            words, capture_output=True, timeout=VALIDATE_SECONDS, env=environment, check=False, text=True
        )
    except FileNotFoundError:
        return [f"{subject}: cannot be validated, {words[0]} is not installed"]
    except subprocess.TimeoutExpired:
        return [f"{subject}: `{command}` did not end within {VALIDATE_SECONDS} s"]
    if done.returncode == 0:
        return []
    said = "\n".join(part for part in (done.stdout.strip(), done.stderr.strip()) if part)
    return [f"{subject}: refused by `{command}` (exit code {done.returncode})\n{said}".rstrip()]


def temporary(path: str) -> str:
    """Where the new text of `path` waits for its rename: hidden, and the same at every run."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name[:240]}.updraft")


def sweep(entries: Iterable[Entry]) -> None:
    """Remove what a run that was cut may have left."""
    for entry in entries:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(temporary(entry.path))


def apply(changes: Sequence[Change]) -> None:
    """Carry out a plan: directories, then all new texts beside their files, then the renames, then removals.

    Raises FilesError if a text cannot be written; then no file has been replaced.
    """
    before = os.umask(0o022)
    try:
        for change in changes:
            if change.entry.state == "directory":
                _apply_directory(change)
        ready = _write_all([c for c in changes if c.entry.state in ("file", "link")])
        for change in ready:
            _put_in_place(change)
        _settle(change.entry.path for change in ready)
        for change in changes:
            if change.entry.state == "file" and change not in ready:
                _set_attributes(change.entry.path, change)
        for change in reversed(changes):
            if change.entry.state == "absent":
                _remove(change)
    finally:
        os.umask(before)


def _apply_directory(change: Change) -> None:
    path, mode = change.entry.path, change.entry.mode
    if change.found.kind == "absent":
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, 0o700)
        change = replace(change, entry=replace(change.entry, mode=0o755 if mode is None else mode))
    _set_attributes(path, change)


def _set_attributes(where: str | int, change: Change) -> None:
    if change.uid is not None or change.gid is not None:
        os.chown(where, -1 if change.uid is None else change.uid, -1 if change.gid is None else change.gid)
    if change.entry.mode is not None:
        os.chmod(where, change.entry.mode)


def _write_all(changes: Sequence[Change]) -> list[Change]:
    """Write the new text of each change to its temporary file; all or none."""
    ready: list[Change] = []
    try:
        for change in changes:
            if change.entry.state == "link" or {"content", "type"} & set(change.reasons):
                ready.append(change)
                _write(change)
        _settle(change.entry.path for change in ready)
    except OSError as error:
        sweep(change.entry for change in ready)
        raise FilesError(f"{ready[-1].entry.path}: cannot be written, nothing was replaced: {error}") from error
    return ready


def _write(change: Change) -> None:
    entry, found = change.entry, change.found
    waiting = temporary(entry.path)
    os.makedirs(os.path.dirname(entry.path), exist_ok=True)
    if entry.state == "link":
        os.symlink(entry.target, waiting)
        return
    handle = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as stream:
        stream.write(entry.content)
        stream.flush()
        kept = found.kind == "file"
        mode = entry.mode if entry.mode is not None else found.mode if kept else 0o644
        uid = change.uid if change.uid is not None else found.uid if kept else None
        gid = change.gid if change.gid is not None else found.gid if kept else None
        _set_attributes(stream.fileno(), replace(change, entry=replace(entry, mode=mode), uid=uid, gid=gid))


def _put_in_place(change: Change) -> None:
    waiting, path = temporary(change.entry.path), change.entry.path
    try:
        os.rename(waiting, path)
    except OSError as error:
        if error.errno != errno.EBUSY or change.entry.state != "file":
            raise
        # A container engine mounts /etc/hosts and the like; a mount point can only be written through.
        shutil.copyfile(waiting, path)
        _set_attributes(path, change)
        os.unlink(waiting)


def _settle(paths: Iterable[str]) -> None:
    """Have all that was written beside these paths on its disk: one wait for each file system, not for each file."""
    folders = {os.stat(folder).st_dev: folder for folder in {os.path.dirname(path) for path in paths}}
    for folder in folders.values():
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if LIBC.syncfs(handle):
                raise OSError(ctypes.get_errno(), "cannot be brought to its disk", folder)
        finally:
            os.close(handle)


def _remove(change: Change) -> None:
    path = change.entry.path
    if change.found.kind == "directory":
        shutil.rmtree(path)
    else:
        os.unlink(path)


def reconcile(entries: Sequence[Entry], commands: Sequence[str], *, check: bool, diff: bool) -> dict[str, Any]:
    """Make the machine hold the list; with `check`, only tell. Raises FilesError."""
    if not check:
        sweep(entries)
    todo = plan(entries, check=check)
    refused = validate(entries, todo.changes, commands)
    if refused and not check:
        raise FilesError("Nothing was written.\n" + "\n".join(refused))
    if not check:
        apply(todo.changes)
    result: dict[str, Any] = {
        "changed": bool(todo.changes),
        "changed_paths": todo.paths,
        "changes": {change.entry.path: list(change.reasons) for change in todo.changes},
        "warnings": [*todo.notes, *refused],
    }
    if diff:
        result["diff"] = [describe(change) for change in todo.changes]
    return result
