# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.guarded does on the target: settings that undo themselves unless the controller confirms them.

The former files are kept under /var/lib/updraft/guard/<name>/pending before anything is written. A timer, and after
a power cut a unit at boot, brings them back; confirming takes the folder away first, by one rename, so that exactly
one of the two wins. A run which was cut leaves the folder: the next run keeps its oldest copies and starts again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import files
from ansible_collections.updraft.cloud.plugins.module_utils.exclusive import exclusive
from ansible_collections.updraft.cloud.plugins.module_utils.files_diff import describe
from ansible_collections.updraft.cloud.plugins.module_utils.guard_scripts import (
    MARKS,
    Guard,
    apply_script,
    boot_files,
    return_script,
    waiting_script,
)


class GuardError(Exception):
    """The settings could not be applied or confirmed; the text says why and what happens now."""


class Late(GuardError):
    """The former settings had come back before the new ones were confirmed."""


@dataclass(slots=True)
class Todo:
    """Why something has to be done: `changes` to files, and reasons beside them."""

    plan: files.Plan
    reasons: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.plan.changes or self.reasons)


def digest_of(entries: Sequence[files.Entry]) -> str:
    """One number for all that is wanted of the files."""
    told = [
        (e.path, e.state, e.content.decode("latin-1"), e.target, e.mode) for e in sorted(entries, key=lambda e: e.path)
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def missing_links(wanted: Sequence[Mapping[str, Any]], actual: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the interfaces lack, in words. `actual` is the output of `ip -json address`."""
    found = {link["ifname"]: link for link in actual}
    lacking = []
    for link in wanted:
        name = link["name"]
        if name not in found:
            lacking.append(f"{name}: there is no such interface")
            continue
        have = {f"{a['local']}/{a['prefixlen']}" for a in found[name].get("addr_info", []) if "local" in a}
        lacking += [
            f"{name}: has no address {address}" for address in link.get("addresses") or [] if address not in have
        ]
        mtu = link.get("mtu")
        if mtu and int(found[name]["mtu"]) != int(mtu):
            lacking.append(f"{name}: MTU is {found[name]['mtu']}, not {mtu}")
        if "UP" not in found[name].get("flags", []):
            lacking.append(f"{name}: is down")
    return lacking


def find_todo(guard: Guard, entries: Sequence[files.Entry], *, check: bool) -> Todo:
    """Compare files and what is in effect with what is wanted; changes nothing."""
    todo = Todo(files.plan(entries, check=check))
    if os.path.isdir(guard.pending) or os.path.isdir(os.path.join(guard.home, "returning")):
        todo.reasons.append("an earlier run was cut before its settings were confirmed")
    confirmed = _read_json(guard.stamp)
    if confirmed.get("files") != digest_of(entries):
        todo.reasons.append("these settings have not been confirmed yet")
    elif guard.observe and confirmed.get("observed") != observe(guard):
        todo.reasons.append("what is in effect is not what was confirmed: " + shlex.join(guard.observe))
    todo.reasons += missing_links(guard.links, read_links())
    return todo


def start(guard: Guard, entries: Sequence[files.Entry], *, check: bool, diff: bool) -> dict[str, Any]:
    """Write the files and begin to apply them, with the way back armed. The result is the module's.

    Raises GuardError, FilesError; then nothing has been changed.
    """
    if not check:
        _settle(guard)
    todo = find_todo(guard, entries, check=check)
    result: dict[str, Any] = {"changed": bool(todo), "changed_paths": todo.plan.paths, "reasons": todo.reasons}
    result["warnings"] = list(todo.plan.notes)
    if diff:
        result["diff"] = [describe(change) for change in todo.plan.changes]
        if todo and not todo.plan.changes:
            result["diff"] = [{"prepared": f"{guard.name}: applied again, {'; '.join(todo.reasons)}\n"}]
    refused = files.validate(entries, todo.plan.changes, [])
    if check or not todo:
        result["warnings"] += refused
        return result
    if refused:
        raise GuardError("Nothing was changed.\n" + "\n".join(refused))
    if not os.path.isdir("/run/systemd/system"):
        raise GuardError("systemd does not run here, so there is no way back: nothing was changed")
    files.sweep(entries)
    arm(guard, todo.plan.changes)
    files.apply(todo.plan.changes)
    _run(["systemctl", "reset-failed", f"{guard.apply_unit}.service"], check=False)
    # Not a child of this connection: what it does may end this connection.
    _run(["systemd-run", "--quiet", f"--unit={guard.apply_unit}", "/bin/sh", f"{guard.home}/apply.sh"])
    return result


def arm(guard: Guard, changes: Sequence[files.Change]) -> None:
    """Keep the former files and start the timer that brings them back. Nothing else is changed."""
    manifest, script = os.path.join(guard.home, "manifest.json"), os.path.join(guard.home, "return.sh")
    marker = os.path.join(guard.pending, "armed")
    kept: dict[str, dict[str, Any]] = {}
    if os.path.exists(marker):
        kept = _read_json(manifest)
    else:
        # A script of an earlier time must never meet this time's copies.
        _unlink(script)
        shutil.rmtree(guard.pending, ignore_errors=True)
    os.makedirs(guard.pending, mode=0o700, exist_ok=True)
    for change in changes:
        path = change.entry.path
        if path not in kept:
            kept[path] = {"kind": change.found.kind, "copy": str(len(kept))}
            if change.found.kind in ("file", "link"):
                _run(["cp", "-a", path, os.path.join(guard.pending, kept[path]["copy"])])
    _write(manifest, json.dumps(kept))
    _write(script, return_script(guard, kept))
    _write(os.path.join(guard.home, "apply.sh"), apply_script(guard))
    for path, text in boot_files(guard).items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if text.startswith("-> "):
            if not os.path.islink(path):
                os.symlink(text[3:], path)
        else:
            _write(path, text)
    for mark in MARKS:
        _unlink(os.path.join(guard.pending, mark))
    _write(marker, "")
    _run(["sync"])
    timer = [
        "systemd-run",
        "--quiet",
        f"--unit={guard.unit}",
        f"--on-active={guard.seconds}",
        "--timer-property=AccuracySec=1s",
    ]
    _run([*timer, "/bin/sh", script])


def confirm(guard: Guard, entries: Sequence[files.Entry]) -> dict[str, Any]:
    """Over a connection that was made after all was applied: take the way back away.

    Raises Late if the former settings have come back already, and GuardError if the new ones could not be applied; then
    the former ones are back. One at a time: a lost connection may have left an earlier try at it.
    """
    with exclusive("confirm", guard.seconds * 2, guard.home):
        if os.path.isdir(guard.pending) and (trouble := _await_applied(guard) or _await_links(guard)):
            said = _journal(f"{guard.apply_unit}.service")
            _stop(guard)
            _run(["/bin/sh", f"{guard.home}/return.sh"], check=False)
            raise GuardError(f"{trouble}\nThe former settings of {guard.name} are back.\n{said}".rstrip())
        _keep(guard, digest_of(entries))
        _stop(guard)
    return {"changed": True, "confirmed": True}


def _keep(guard: Guard, digest: str) -> None:
    """Take the way back away, unless it has been gone already. The rename decides between this and the timer."""
    confirmed = os.path.join(guard.home, "confirmed")
    shutil.rmtree(confirmed, ignore_errors=True)
    before = _read_json(guard.stamp)
    _write(guard.stamp, json.dumps({"files": digest, "observed": observe(guard)}))
    try:
        os.rename(guard.pending, confirmed)
    except FileNotFoundError:
        # Known already: this is the second try of a confirmation whose answer was lost.
        if before.get("files") != digest:
            _write(guard.stamp, json.dumps(before))
            raise Late(
                f"With the new settings of {guard.name} no new connection came within {guard.seconds} s of this "
                "machine's clock: the former settings are back, and the machine answers again.\n"
                + _journal(f"{guard.unit}.service", f"{guard.unit}.timer", f"{guard.unit}-boot.service")
            ) from None
    for path in [
        *boot_files(guard),
        *(os.path.join(guard.home, name) for name in ("return.sh", "apply.sh", "manifest.json")),
    ]:
        _unlink(path)
    shutil.rmtree(confirmed, ignore_errors=True)


def observe(guard: Guard) -> str:
    """A number for what is in effect; empty if that cannot be told."""
    if not guard.observe:
        return ""
    try:
        done = subprocess.run(list(guard.observe), capture_output=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return hashlib.sha256(done.stdout).hexdigest() if done.returncode == 0 else ""


def read_links() -> list[dict[str, Any]]:
    """The interfaces of this machine as `ip -json address` tells them; empty without iproute2."""
    try:
        done = subprocess.run(["ip", "-json", "address"], capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        return []
    return [link for link in json.loads(done.stdout or b"[]") if link]


def _await_applied(guard: Guard) -> str:
    """Wait for the script that applies, which has ended as a rule; empty, or what went wrong."""
    _run(["/bin/sh", "-c", waiting_script(guard)], seconds=guard.seconds * 2)
    applied, failed = (os.path.exists(os.path.join(guard.pending, mark)) for mark in MARKS)
    if applied or not os.path.isdir(guard.pending):
        return ""
    if failed:
        return f"The new settings of {guard.name} could not be applied."
    return f"Applying the new settings of {guard.name} did not end within {guard.seconds} s."


def _await_links(guard: Guard) -> str:
    end = time.monotonic() + guard.seconds / 2
    lacking = missing_links(guard.links, read_links())
    while lacking and time.monotonic() < end:
        time.sleep(0.5)
        lacking = missing_links(guard.links, read_links())
    return "After applying the new settings:\n" + "\n".join(lacking) if lacking else ""


def _settle(guard: Guard) -> None:
    """Stop the clock of an earlier run. A return which has begun ends first: its copies are the confirmed state."""
    returning = os.path.join(guard.home, "returning")
    if os.path.isdir(guard.pending) or os.path.isdir(returning):
        _stop(guard)
    if os.path.isdir(returning):
        _run(["/bin/sh", f"{guard.home}/return.sh"], check=False)


def _stop(guard: Guard) -> None:
    timer, *services = (f"{guard.unit}.timer", f"{guard.unit}.service", f"{guard.apply_unit}.service")
    # The timer first, lest it starts again what is stopped.
    _run(["systemctl", "stop", timer], check=False)
    _run(["systemctl", "stop", *services], check=False)
    _run(["systemctl", "reset-failed", timer, *services], check=False)


def _journal(*units: str) -> str:
    """The last that units said, by the clock that does not jump."""
    words = ["journalctl", "--no-pager", "--lines=25", "--output=short-monotonic"]
    return _run([*words, *(f"--unit={unit}" for unit in units)], check=False)


def _run(command: Sequence[str], *, check: bool = True, seconds: float = 120) -> str:
    done = subprocess.run(list(command), capture_output=True, text=True, timeout=seconds, check=False)
    if check and done.returncode:
        raise GuardError(f"`{shlex.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write(path: str, text: str) -> None:
    waiting = f"{path}.updraft-new"
    with open(waiting, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(waiting, 0o644)
    os.rename(waiting, path)


def _unlink(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
