# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk holds, and whether it may be taken: never one that is in use or holds something which nobody gave up.

Volume groups and arrays are made of disks which are blank (an empty physical volume counts as blank) or which the
operator has named as to be wiped.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The signature that a member of an array has.
RAID_MEMBER = "linux_raid_member"


class DisksError(RuntimeError):
    """What is wanted of the disks cannot be done; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Disk:
    """What was found on a disk: signatures as words, partitions, where it is mounted or used.

    `group` is the volume group which it belongs to, `array` says in words of which array it is a member.
    """

    path: str
    exists: bool = True
    size_bytes: int = 0
    read_only: bool = False
    signatures: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    in_use: tuple[str, ...] = ()
    is_volume: bool = False
    group: str = ""
    array: str = ""


def gibibytes(size: int) -> str:
    """Return a size for people."""
    return f"{size / (1 << 30):.1f} GiB"


def holds(disk: Disk) -> list[str]:
    """Return in words what a disk holds; empty for a blank one."""
    found = [f"partitions {', '.join(disk.partitions)}"] if disk.partitions else []
    if disk.group:
        found.append(f"a physical volume of the volume group {disk.group}")
    if disk.array:
        found.append(f"a member of the array {disk.array}")
    told = {name for name, said in (("LVM2_member", disk.is_volume), (RAID_MEMBER, bool(disk.array))) if said}
    return found + [f"a signature of {name}" for name in disk.signatures if name not in told]


def refusal(disk: Disk, wipe: Iterable[str], known: Sequence[str], override: str) -> str:
    """Return why this disk cannot be taken, with the cure; empty if it can.

    `wipe` are the disks whose content may be destroyed, `override` is the name of the input that says so, `known` are
    the disks of the machine, for the message.
    """
    if not disk.exists:
        return f"{disk.path} is not there. Disks of this machine: {', '.join(known) or 'none'}"
    if disk.in_use:
        return (
            f"{disk.path} ({gibibytes(disk.size_bytes)}) is in use: {', '.join(disk.in_use)}."
            f" A disk in use is never taken, not even with {override}"
        )
    if disk.read_only:
        return f"{disk.path} ({gibibytes(disk.size_bytes)}) is read-only"
    content = holds(disk)
    if content and disk.path not in wipe:
        return (
            f"{disk.path} ({gibibytes(disk.size_bytes)}) is not blank: it holds {' and '.join(content)}."
            f" If all of it may be destroyed, say so once: {override}: [{disk.path}]"
        )
    return ""


def parse_owners(volumes: str) -> dict[str, str]:
    """Read `pvs` in JSON (pv_name, vg_name): the volume group of each physical volume, empty for none."""
    return {os.path.realpath(row["pv_name"]): row["vg_name"] for row in json.loads(volumes)["report"][0]["pv"]}


def parse_disk(path: str, tree: str, signatures: str, owner: Mapping[str, str]) -> Disk:
    """Read `lsblk` of one disk with all that is on it, and `wipefs`, both in JSON."""
    top = json.loads(tree)["blockdevices"][0]
    parts = [node for node in _nodes(top.get("children") or []) if node["type"] == "part"]
    real = os.path.realpath(path)
    used = [
        f"{node['path']} is mounted at {where}"
        for node in _nodes([top])
        for where in node["mountpoints"] or []
        if where
    ]
    stacked = [node for node in _nodes(top.get("children") or []) if node["type"] != "part"]
    used += [f"{node['path']} ({node['type']}) is active on it" for node in stacked]
    found = json.loads(signatures).get("signatures") or [] if signatures.strip() else []
    return Disk(
        path=path,
        size_bytes=int(top["size"]),
        read_only=bool(top["ro"]),
        signatures=tuple(dict.fromkeys(item["type"] for item in found)),
        partitions=tuple(node["path"] for node in parts),
        in_use=tuple(used),
        is_volume=real in owner,
        group=owner.get(real, ""),
    )


def _nodes(items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for item in items:
        yield item
        yield from _nodes(item.get("children") or [])


def call(command: Sequence[str], limit: float = 300) -> str:
    """Run a command, for `limit` seconds at most, and return its output. Raises DisksError with what it said."""
    environment = {**os.environ, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, env=environment)
    except FileNotFoundError:
        raise DisksError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise DisksError(f"{' '.join(command)}: no answer after {limit:.0f} s") from None
    if done.returncode != 0:
        raise DisksError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def settle() -> None:
    """Wait until udev has seen what was changed."""
    call(["udevadm", "settle", "--timeout=30"])


def wait_for(path: str | Path, *, there: bool = True, seconds: float = 30) -> None:
    """Wait until udev has made a name, or has removed it: only that, and not for all that it has to do (`settle`).

    After so many seconds it returns as well; who needs the name fails then, and says of what.
    """
    end = time.monotonic() + seconds
    while os.path.lexists(path) != there and time.monotonic() < end:
        time.sleep(0.05)


def known_disks() -> list[str]:
    """Return every disk of the machine."""
    return call(["lsblk", "--noheadings", "--nodeps", "--paths", "--output", "NAME"]).split()


def has_lvm() -> bool:
    """Say whether LVM's tools are installed."""
    return os.access("/usr/sbin/vgcreate", os.X_OK)


def read_owners() -> dict[str, str]:
    """Return the volume group of each physical volume; nothing where LVM is not installed."""
    return parse_owners(call(["pvs", "--reportformat", "json", "-o", "pv_name,vg_name"])) if has_lvm() else {}


def look(path: str, owner: Mapping[str, str]) -> Disk:
    """Look at a disk; `owner` as from `read_owners`."""
    if not os.path.exists(path):
        return Disk(path, exists=False)
    columns = "PATH,TYPE,SIZE,RO,MOUNTPOINTS"
    tree = call(["lsblk", "--json", "--bytes", "--output", columns, path])
    return parse_disk(path, tree, call(["wipefs", "--json", "--no-act", path]), owner)


def wipe_commands(disk: Disk) -> list[list[str]]:
    """Return the commands that make a disk blank, partitions first."""
    return [["wipefs", "--all", "--quiet", path] for path in (*disk.partitions, disk.path)]


def wipe(disk: Disk, volumes: Iterable[str]) -> None:
    """Make a disk blank. Its volume group goes with it when nothing else is in it.

    `volumes` are all physical volumes of that group. Raises DisksError when it has others.
    """
    if disk.group:
        own = os.path.realpath(disk.path)
        others = [path for path in volumes if os.path.realpath(path) != own]
        if others:
            raise DisksError(
                f"its volume group {disk.group} has other disks too: {', '.join(others)}; take it out by hand"
            )
        call(["vgremove", "--yes", "--force", "--quiet", disk.group])
    for command in wipe_commands(disk):
        call(command)
    if disk.partitions:
        call(["blockdev", "--rereadpt", disk.path])
