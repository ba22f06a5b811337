# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.units does on the target: bring systemd units to their state, side by side.

Decisions come from what is there. A stamp holds the content that a unit had when it was last started here; where
the content differs now, the unit is restarted. A stamp is written only once the unit is ready, so a run that was
cut restarts the unit again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STAMPS = "/var/lib/updraft/units"
UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
RUNNING = ("active", "reloading", "refreshing", "activating", "deactivating")
SETTLED_FILES = ("enabled", "static", "alias", "indirect", "generated", "transient")
READY_SPEC: dict[str, dict[str, Any]] = {
    "tcp": {"type": "str"},
    "http": {"type": "str"},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "ca": {"type": "path"},
    "command": {"type": "list", "elements": "str"},
    "path": {"type": "path"},
}
# What a task may say of a unit.
UNIT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["started", "stopped", "kept"], "default": "started"},
    "enabled": {"type": "bool"},
    "masked": {"type": "bool", "default": False},
    "depends": {"type": "list", "elements": "path", "default": []},
    "reload": {"type": "bool", "default": False},
    "ready": {"type": "dict", "options": READY_SPEC},
    "logs": {"type": "list", "elements": "path", "default": []},
}


@dataclass(frozen=True, slots=True)
class Unit:
    """What one unit is to be. `enabled` is None where that stays as it is.

    A unit that is `kept` is started and stopped by somebody else. Where it runs, it runs with what is configured.
    """

    name: str
    state: str = "started"
    enabled: bool | None = True
    masked: bool = False
    depends: tuple[str, ...] = ()
    reload: bool = False
    ready: Mapping[str, Any] = field(default_factory=dict)
    logs: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Unit:
        """From one element of the module's list. Without `enabled`, a started unit is enabled.

        Raises ValueError.
        """
        started = given.get("state", "started") == "started"
        enabled = given.get("enabled")
        ready = {key: value for key, value in (given.get("ready") or {}).items() if value}
        if "http" not in ready:
            ready.pop("status", None)
        if given.get("masked") and given.get("state", "started") != "stopped":
            raise ValueError(f"{given['name']}: a masked unit cannot be started; set state to stopped")
        return cls(
            name=with_suffix(given["name"]),
            state=given.get("state") or "started",
            enabled=started if enabled is None else enabled,
            masked=bool(given.get("masked")),
            depends=tuple(given.get("depends") or ()),
            reload=bool(given.get("reload")),
            ready=ready,
            logs=tuple(given.get("logs") or ()),
        )


@dataclass(frozen=True, slots=True)
class Status:
    """What systemd says of a unit."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    file: str = ""
    type: str = ""
    result: str = "success"
    remains: bool = False
    job: bool = False
    stale: bool = False
    restarts: int = 0

    @property
    def exists(self) -> bool:
        return self.load not in ("not-found", "")

    @property
    def running(self) -> bool:
        return self.active in RUNNING

    @property
    def runs_once(self) -> bool:
        """A oneshot which is inactive again once it has done its work."""
        return self.type == "oneshot" and not self.remains


@dataclass(frozen=True, slots=True)
class Step:
    """What has to be done to one unit: `operations` of mask, unmask, enable, disable, stop, start, restart, reload."""

    unit: Unit
    operations: tuple[str, ...]
    reason: str = ""


def with_suffix(name: str) -> str:
    """systemd's own rule: a name without a type is a service."""
    kinds = ("service", "socket", "timer", "path", "mount", "automount", "target", "slice", "swap", "scope")
    return name if name.rpartition(".")[2] in kinds else f"{name}.service"


PROPERTIES = "LoadState,ActiveState,SubState,UnitFileState,Type,Result,RemainAfterExit,Job,NeedDaemonReload,NRestarts"


def parse_show(text: str, names: Sequence[str]) -> dict[str, Status]:
    """Read `systemctl show`: one paragraph for each name, in their order."""
    paragraphs = [block for block in text.strip("\n").split("\n\n") if block.strip()]
    if len(paragraphs) != len(names):
        raise ValueError(f"systemctl show answered for {len(paragraphs)} units of {len(names)}")
    result = {}
    for name, block in zip(names, paragraphs, strict=True):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        result[name] = Status(
            load=values.get("LoadState", ""),
            active=values.get("ActiveState", ""),
            sub=values.get("SubState", ""),
            file=values.get("UnitFileState", ""),
            type=values.get("Type", ""),
            result=values.get("Result", "success"),
            remains=values.get("RemainAfterExit") == "yes",
            job=values.get("Job", "0") not in ("", "0"),
            stale=values.get("NeedDaemonReload") == "yes",
            restarts=int(values.get("NRestarts") or 0),
        )
    return result


def definition(name: str, root: str = "") -> list[str]:
    """The files which define a unit, found as systemd does: the first unit file, and all drop-ins by name."""
    names = [name]
    if "@" in name:
        prefix, _, rest = name.partition("@")
        names.append(f"{prefix}@.{rest.rpartition('.')[2]}")
    files: list[str] = []
    for candidate in names:
        paths = [f"{folder}/{candidate}" for folder in UNIT_FOLDERS if os.path.exists(root + f"{folder}/{candidate}")]
        if paths:
            files.append(paths[0])
            break
    drop_ins: dict[str, str] = {}
    for candidate in names:
        for folder in UNIT_FOLDERS:
            path = f"{folder}/{candidate}.d"
            if os.path.isdir(root + path):
                for entry in sorted(os.listdir(root + path)):
                    if entry.endswith(".conf") and not entry.startswith("."):
                        drop_ins.setdefault(entry, f"{path}/{entry}")
    return files + [drop_ins[entry] for entry in sorted(drop_ins)]


def defines(path: str, name: str) -> bool:
    """Whether a path is a unit file or drop-in of the unit, there or not."""
    folder = os.path.dirname(path)
    if folder in UNIT_FOLDERS:
        return os.path.basename(path) == name
    return os.path.dirname(folder) in UNIT_FOLDERS and os.path.basename(folder) == f"{name}.d"


def fingerprints(paths: Iterable[str], root: str = "") -> dict[str, str]:
    """SHA-256 of each file; directories with all that is in them, hidden names and backups left out."""
    result: dict[str, str] = {}
    for path in paths:
        if not os.path.isdir(root + path):
            result[path] = _fingerprint(root + path)
            continue
        for folder, folders, files in os.walk(root + path):
            folders[:] = sorted(name for name in folders if not _passed_over(name))
            for name in sorted(files):
                if not _passed_over(name):
                    full = os.path.join(folder, name)
                    result[full[len(root) :]] = _fingerprint(full)
    return result


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith(("~", ".dpkg-dist", ".dpkg-old", ".ucf-dist"))


def _fingerprint(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return "absent"
    except OSError as error:
        return f"unreadable: {error.strerror}"


def stamp_of(unit: Unit, before: Mapping[str, Any] | None = None, root: str = "") -> dict[str, dict[str, str]]:
    """What the unit would read if it started now: its own definition, and what it depends on.

    `before` is the stamp that it has. What that says of paths which this list does not name stays: the unit can be in
    lists of several roles, each with what that role writes.
    """
    old = (before or {}).get("depends") or {}
    others = {path: content for path, content in old.items() if not depends_on(unit, path)}
    return {
        "definition": fingerprints(definition(unit.name, root), root),
        "depends": others | fingerprints(unit.depends, root),
    }


def depends_on(unit: Unit, path: str) -> bool:
    """Whether a path is, or lies in, what the unit depends on."""
    return any(path == one or path.startswith(f"{one}/") for one in unit.depends)


def read_stamp(name: str, folder: str = STAMPS) -> dict[str, Any] | None:
    """The stamp of a unit; None if there is none that can be read."""
    try:
        with open(f"{folder}/{name}.json", encoding="utf-8") as stream:
            stamp = json.load(stream)
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def write_stamp(name: str, stamp: Mapping[str, Any], folder: str = STAMPS) -> None:
    """Keep the stamp of a unit, atomically."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    waiting = f"{folder}/.{name}.new"
    with open(waiting, "w", encoding="utf-8") as stream:
        json.dump(stamp, stream, indent=1, sort_keys=True)
    os.replace(waiting, f"{folder}/{name}.json")


def drop_stamp(name: str, folder: str = STAMPS) -> None:
    """Forget a unit which was stopped."""
    try:
        os.unlink(f"{folder}/{name}.json")
    except FileNotFoundError:
        return


def differing(now: Mapping[str, Any], before: Mapping[str, Any] | None, part: str) -> list[str]:
    """Paths of one part of a stamp whose content is not what it was."""
    old = (before or {}).get(part) or {}
    new = now[part]
    return sorted(path for path in {*old, *new} if old.get(path) != new.get(path))


def plan(
    unit: Unit,
    status: Status,
    now: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    coming: Sequence[str] = (),
) -> Step:
    """What one unit needs. `now` and `before` are stamps; `coming` are paths which will still change (check mode)."""
    operations, reason = _plan_file(unit, status), ""
    if unit.state == "stopped":
        if status.running:
            operations.append("stop")
            reason = f"is {status.active}"
    elif unit.state == "started" or (status.running and status.active != "deactivating"):
        operation, reason = _plan_start(unit, status, now, before, coming)
        if operation:
            operations.append(operation)
    return Step(unit, tuple(operations), reason)


def _plan_file(unit: Unit, status: Status) -> list[str]:
    is_masked = status.file.startswith("masked") or status.load == "masked"
    if unit.masked:
        return [] if is_masked else ["mask"]
    operations = []
    if is_masked and (unit.state == "started" or unit.enabled):
        operations.append("unmask")
    is_without_file = status.exists and not status.file
    if unit.enabled and status.file not in SETTLED_FILES and not is_without_file:
        operations.append("enable")
    if unit.enabled is False and status.file in ("enabled", "enabled-runtime"):
        operations.append("disable")
    return operations


def _plan_start(
    unit: Unit,
    status: Status,
    now: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    coming: Sequence[str],
) -> tuple[str, str]:
    """The operation which makes the unit run with what is configured, and the reason; empty if none."""
    redefined = differing(now, before, "definition") + [path for path in coming if defines(path, unit.name)]
    changed = differing(now, before, "depends") + [path for path in coming if depends_on(unit, path)]
    done = status.runs_once and status.active == "inactive" and status.result == "success" and before is not None
    if (not status.running or status.active == "deactivating") and not done:
        return "start", "is not there yet" if not status.exists else f"is {status.active}"
    if before is None:
        return "restart", "was never started from here"
    if status.stale or redefined:
        return "restart", f"its definition changed: {', '.join(redefined) or 'daemon-reload is due'}"
    if not changed:
        return "", ""
    return "reload" if unit.reload else "restart", f"changed: {', '.join(dict.fromkeys(changed))}"
