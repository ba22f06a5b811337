# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions of the iSCSI initiator (open-iscsi): which targets this machine is logged in to, and with what.

A record says how to log in to one portal of a target; Debian 13 keeps it in
/var/lib/iscsi/nodes/TARGET/ADDRESS,PORT,GROUP/default. `iscsiadm` makes it, and the fields that are wanted are written
into the file here: a password never stands on a command line. What runs is read from sysfs.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError, call, settle
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import plan as compare

NODES = Path("/var/lib/iscsi/nodes")
SESSIONS = Path("/sys/class/iscsi_session")
BY_PATH = Path("/dev/disk/by-path")
PORT = 3260
#: The group of portals which LIO's targets have here.
GROUP = 1
LIMIT_SECONDS = 60
#: Fields of a record that are never shown.
SECRETS = ("node.session.auth.password", "node.session.auth.password_in")
LOGGED_IN = "LOGGED_IN"
RECOVERY = "node.session.timeo.replacement_timeout"


class SessionsError(DisksError):
    """A wish contradicts itself, or a target cannot be reached; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that the kernel has. `state` is sysfs's: LOGGED_IN, FAILED, FREE. Devices by LUN, as the kernel's."""

    number: int
    target: str
    address: str
    port: int
    state: str
    recovery_seconds: int = 0
    devices: Mapping[int, str] = field(default_factory=dict)

    @property
    def portal(self) -> str:
        """Where it is logged in, as `address:port`."""
        return portal_of(self.address, self.port)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A target to be logged in to, through each of its portals (`address:port`), with the fields of its records."""

    target: str
    portals: tuple[str, ...]
    fields: Mapping[str, str]


def wanted_sessions(items: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """Return the wishes of a list, as `wanted_session`. Raises SessionsError with every problem of the list."""
    problems, wishes = [], []
    for item in items:
        try:
            wishes.append(wanted_session(item))
        except SessionsError as error:
            problems.append(str(error))
    names = [item["target"] for item in items]
    problems += [f"the target {name} is in the list twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if problems:
        raise SessionsError("; ".join(problems))
    return wishes


def wanted_session(item: Mapping[str, Any]) -> Wanted:
    """Return the wish from {target, portals, user, password, mutual_user, mutual_password, settings, startup}.

    A portal is `address` or `address:port`; only target and portals must be there. Raises SessionsError when the wish
    contradicts itself.
    """
    target = item["target"]
    for user, password in (("user", "password"), ("mutual_user", "mutual_password")):
        if bool(item.get(user)) != bool(item.get(password)):
            raise SessionsError(f"{target}: CHAP needs both {user} and {password}")
    if item.get("mutual_user") and not item.get("user"):
        raise SessionsError(f"{target}: mutual CHAP comes on top of CHAP: give user and password too")
    if item.get("password") and item["password"] == item.get("mutual_password"):
        raise SessionsError(f"{target}: initiators refuse mutual CHAP with the same password in both directions")
    portals = tuple(portal_of(*split_portal(portal)) for portal in item["portals"])
    if not portals or len(set(portals)) < len(portals):
        raise SessionsError(f"{target}: give each portal once, and one at least")
    fields = _record_fields(item)
    bad = [key for key, value in fields.items() if "\n" in value or value != value.strip()]
    if bad:
        raise SessionsError(f"{target}: a value of {', '.join(bad)} has a line end or blanks around it")
    return Wanted(target, portals, fields)


def _record_fields(item: Mapping[str, Any]) -> dict[str, str]:
    startup = item.get("startup") or "manual"
    return {
        "node.startup": startup,
        "node.conn[0].startup": startup,
        "node.session.auth.authmethod": "CHAP" if item.get("user") else "None",
        "node.session.auth.username": item.get("user") or "",
        "node.session.auth.password": item.get("password") or "",
        "node.session.auth.username_in": item.get("mutual_user") or "",
        "node.session.auth.password_in": item.get("mutual_password") or "",
        **{key: str(value) for key, value in (item.get("settings") or {}).items()},
    }


def portal_of(address: str, port: int) -> str:
    """Return a portal as text; an address of IPv6 stands in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def split_portal(portal: str) -> tuple[str, int]:
    """Return address and port."""
    found = re.fullmatch(r"\[([^]]+)\](?::(\d+))?|([^:]+)(?::(\d+))?", portal)
    if not found:
        raise SessionsError(f"{portal} is no portal: write address:port, or [address]:port for IPv6")
    return found.group(1) or found.group(3), int(found.group(2) or found.group(4) or PORT)


def key_of(target: str, portal: str) -> str:
    """Return the name under which a record or a session is compared."""
    return f"{target} at {portal}"


def parse_record(text: str) -> dict[str, str]:
    """Read a record."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def merge_record(text: str, fields: Mapping[str, str]) -> str:
    """Return the record with these fields; an empty value takes the field out, as iscsiadm has it."""
    lines = text.splitlines()
    kept = [line for line in lines if "=" not in line or line.split("=", 1)[0].strip() not in fields]
    new = [f"{key} = {value}" for key, value in fields.items() if value]
    end = next((number for number, line in enumerate(kept) if line.startswith("# END RECORD")), len(kept))
    return "\n".join([*kept[:end], *new, *kept[end:]]) + "\n"


def record_path(target: str, portal: str) -> Path:
    """Return where the record of this portal is."""
    address, port = split_portal(portal)
    return NODES / target / f"{address},{port},{GROUP}" / "default"


def read_records() -> dict[str, dict[str, Any]]:
    """Return all records by `key_of`, each with its target and portal."""
    found = {}
    for path in sorted(NODES.glob("*/*,*,*/default")):
        address, port, _ = path.parent.name.rsplit(",", 2)
        target, portal = path.parent.parent.name, portal_of(address, int(port))
        found[key_of(target, portal)] = {"target": target, "portal": portal, **parse_record(path.read_text())}
    return found


def sessions() -> list[Session]:
    """Return all sessions that the kernel has."""
    found = [_session(path) for path in sorted(SESSIONS.glob("session*"))]
    return [session for session in found if session is not None]


def _session(path: Path) -> Session | None:
    target = _text(path / "targetname")
    connection = next((path / "device").glob("connection*/iscsi_connection/connection*"), None)
    if not target or connection is None:
        return None
    # The address that was asked for; the other one is where a target sent the initiator on to.
    address = _text(connection / "persistent_address") or _text(connection / "address")
    port = _text(connection / "persistent_port") or _text(connection / "port")
    recovery = _text(path / "recovery_tmo")
    devices = {
        int(block.parent.parent.name.rsplit(":", 1)[1]): f"/dev/{block.name}"
        for block in (path / "device").glob("target*/*:*:*:*/block/*")
    }
    return Session(
        number=int(path.name.removeprefix("session")),
        target=target,
        address=address,
        port=int(port) if port.isdigit() else PORT,
        state=_text(path / "state"),
        recovery_seconds=int(recovery) if recovery.lstrip("-").isdigit() else 0,
        devices=dict(sorted(devices.items())),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def plan(
    wanted: Sequence[Wanted], records: Mapping[str, Mapping[str, Any]], live: Sequence[Session], prefix: str
) -> list[Action]:
    """Return the steps: records, logins, the timeout of sessions that live, and what goes.

    What starts with `prefix` and is not wanted is logged out and its records are removed; an empty prefix removes none.
    A session that lives is never dropped for the sake of its record: the other fields hold from its next login on.
    """
    desired = {key_of(item.target, portal): item for item in wanted for portal in item.portals}

    def unwanted(_: str, fields: Mapping[str, Any]) -> bool:
        return bool(prefix) and str(fields["target"]).startswith(prefix)

    fields = {key: item.fields for key, item in desired.items()}
    # A record does not have the fields that are empty.
    found = {key: {**dict.fromkeys(fields.get(key, {}), ""), **record} for key, record in records.items()}
    changes = compare(fields, found, what="record", purge=unwanted)
    there = {key_of(session.target, session.portal): session for session in live}
    gone = [
        Action("delete", "session", key, {"state": session.state})
        for key, session in there.items()
        if key not in desired and unwanted(key, {"target": session.target})
    ]
    logins: list[Action] = []
    for key, item in desired.items():
        session, seconds = there.get(key), item.fields.get(RECOVERY)
        if session is None:
            logins.append(Action("create", "session", key))
        elif seconds is not None and str(session.recovery_seconds) != seconds:
            before = {"recovery_tmo": str(session.recovery_seconds)}
            logins.append(Action("update", "session", key, before, {"recovery_tmo": seconds}))
    removed = [action for action in changes if action.kind == "delete"]
    return [*gone, *removed, *(action for action in changes if action.kind != "delete"), *logins]


def apply(action: Action, wanted: Sequence[Wanted]) -> None:
    """Carry out an action."""
    target, _, portal = action.name.partition(" at ")
    if action.what == "record":
        if action.kind == "delete":
            forget(target, portal)
            return
        write_record(target, portal, next(item.fields for item in wanted if item.target == target))
    elif action.kind == "create":
        log_in_at(target, portal)
        settle()
    elif action.kind == "update":
        for session in sessions():
            if key_of(session.target, session.portal) == action.name:
                seconds = (action.after or {})["recovery_tmo"]
                (SESSIONS / f"session{session.number}" / "recovery_tmo").write_text(seconds)
    else:
        logout(target, portal)
        settle()


def write_record(target: str, portal: str, fields: Mapping[str, str]) -> bool:
    """Make the record of a portal have these fields; return whether that changed anything."""
    path = record_path(target, portal)
    if not path.exists():
        # It starts from what /etc/iscsi/iscsid.conf says: fields that a record lacks count as zero.
        call(["iscsiadm", "-m", "node", "-o", "new", "-T", target, "-p", f"{portal},{GROUP}"], LIMIT_SECONDS)
    text = path.read_text()
    found = parse_record(text)
    if all(found.get(key, "") == value for key, value in fields.items()) and path.stat().st_mode & 0o077 == 0:
        return False
    # Not beside it: whatever lies there is a record to iscsiadm.
    new = NODES.parent / ".record.new"
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        os.fchmod(handle.fileno(), 0o600)
        handle.write(merge_record(text, fields))
        handle.flush()
        os.fsync(handle.fileno())
    new.rename(path)
    return True


def forget(target: str, portal: str) -> None:
    """Remove the record of a portal."""
    call(["iscsiadm", "-m", "node", "-T", target, "-p", portal, "-o", "delete"], LIMIT_SECONDS)


def log_in_at(target: str, portal: str) -> None:
    """Log in through one portal, of which there is a record. No error if that was done."""
    if any(session.target == target and session.portal == portal for session in sessions()):
        return
    call(["iscsiadm", "-m", "node", "-T", target, "-p", portal, "--login"], LIMIT_SECONDS)


def login(session: Wanted, *, luns: int = 0, wait: float = 15) -> dict[int, str]:
    """Log in to a target through all its portals; return its devices by LUN, those of the first portal.

    It waits `wait` seconds at most until there are as many devices as `luns`. Raises DisksError with what iscsiadm
    said, or when they do not come.
    """
    for portal in session.portals:
        write_record(session.target, portal, session.fields)
        log_in_at(session.target, portal)
    portal = session.portals[0]
    until = time.monotonic() + wait
    while True:
        state, devices = state_of(session.target, portal), devices_of(session.target, portal)
        if state == LOGGED_IN and len(devices) >= luns:
            return devices
        if time.monotonic() > until:
            raise SessionsError(
                f"{session.target} at {portal} is {state or 'gone'} and gave {len(devices)} of {luns} LUNs"
                f" within {wait:.0f} s"
            )
        time.sleep(0.1)


def state_of(target: str, portal: str) -> str:
    """Return the state of a session, empty when there is none."""
    return next((found.state for found in sessions() if found.target == target and found.portal == portal), "")


def devices_of(target: str, portal: str) -> dict[int, str]:
    """Return the devices of a session by LUN, by their names that do not change where udev has made these."""
    found = [session for session in sessions() if session.target == target and session.portal == portal]
    return {lun: _stable(found[0], lun, device) for lun, device in found[0].devices.items()} if found else {}


def _stable(session: Session, lun: int, device: str) -> str:
    path = stable_path(session.target, session.portal, lun)
    return path if os.path.realpath(path) == device else device


def stable_path(target: str, portal: str, lun: int) -> str:
    """Return the name which udev gives to a LUN."""
    address, port = split_portal(portal)
    return str(BY_PATH / f"ip-{address}:{port}-iscsi-{target}-lun-{lun}")


def logout(target: str, portal: str = "") -> bool:
    """Log out of a target, through all its portals or one; False when there was no session."""
    found = [session for session in sessions() if session.target == target and portal in ("", session.portal)]
    for session in found:
        call(["iscsiadm", "-m", "session", "-r", str(session.number), "--logout"], LIMIT_SECONDS)
    return bool(found)


def block_devices(wanted: Collection[Wanted]) -> dict[str, dict[str, dict[str, str]]]:
    """Return the devices of each target that is wanted: by target, portal and LUN."""
    return {
        item.target: {
            portal: {str(lun): path for lun, path in devices_of(item.target, portal).items()} for portal in item.portals
        }
        for item in wanted
    }
