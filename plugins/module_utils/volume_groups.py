# SPDX-License-Identifier: GPL-3.0-or-later
"""Volume groups of LVM: what is wanted against what lies on the disks, without ever taking a disk that holds something.

The group carries the tag `updraft`: that is how a later run knows its own. A disk is taken when it is blank (an empty
physical volume counts as blank) or when the operator has named it in `wipe`. A disk in use is never taken.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

TAG = "updraft"
#: Part of the group which the thin pool takes; the rest is for its metadata to grow and to be repaired.
POOL_EXTENTS = "95%VG"


class VolumesError(RuntimeError):
    """The wish cannot be fulfilled; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Disk:
    """What was found on a disk: signatures as words, partitions, where it is mounted or used, its volume group."""

    path: str
    exists: bool = True
    size_bytes: int = 0
    read_only: bool = False
    signatures: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    in_use: tuple[str, ...] = ()
    is_volume: bool = False
    group: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A volume group as wanted or as found. `thin_pool` is its pool's name, empty for none."""

    name: str
    disks: tuple[str, ...]
    thin_pool: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What is on the machine."""

    disks: Mapping[str, Disk] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    #: Every disk of the machine, for messages.
    known: Sequence[str] = ()


def gibibytes(size: int) -> str:
    """Return a size for people."""
    return f"{size / (1 << 30):.1f} GiB"


def holds(disk: Disk) -> list[str]:
    """Return in words what a disk holds; empty for a blank one."""
    found = [f"partitions {', '.join(disk.partitions)}"] if disk.partitions else []
    if disk.group:
        found.append(f"a physical volume of the volume group {disk.group}")
    found += [f"a signature of {name}" for name in disk.signatures if not (disk.is_volume and name == "LVM2_member")]
    return found


def refusal(disk: Disk, group: str, wipe: Iterable[str], known: Sequence[str]) -> str:
    """Return why this disk cannot become a part of the group, with the cure; empty if it can."""
    if not disk.exists:
        return f"{disk.path} is not there. Disks of this machine: {', '.join(known) or 'none'}"
    if disk.in_use:
        return (
            f"{disk.path} ({gibibytes(disk.size_bytes)}) is in use: {', '.join(disk.in_use)}."
            " A disk in use is never taken, not even with volumes_wipe"
        )
    if disk.read_only:
        return f"{disk.path} ({gibibytes(disk.size_bytes)}) is read-only"
    content = holds(disk)
    if content and disk.path not in wipe:
        return (
            f"{disk.path} ({gibibytes(disk.size_bytes)}) is not blank: it holds {' and '.join(content)}."
            f" If all of it may be destroyed, say so once: volumes_wipe: [{disk.path}]"
        )
    return ""


def refusals(wanted: Sequence[Group], found: Found, wipe: Sequence[str]) -> list[str]:
    """Return everything that speaks against the wish, one text for each disk or group."""
    problems = []
    for group in wanted:
        there = found.groups.get(group.name)
        if there is not None and TAG not in there.tags:
            problems.append(
                f"the volume group {group.name} is there, but Updraft did not make it (it has no tag '{TAG}')."
                f" To hand it over as it is: vgchange --addtag {TAG} {group.name}"
            )
            continue
        for path in group.disks:
            disk = found.disks[path]
            if disk.group != group.name and (problem := refusal(disk, group.name, wipe, found.known)):
                problems.append(problem)
    return problems


def plan(wanted: Sequence[Group], found: Found, wipe: Sequence[str]) -> list[Action]:
    """Return the steps from what is there to what is wanted. Raises VolumesError with all refusals."""
    problems = refusals(wanted, found, wipe)
    if problems:
        raise VolumesError("; ".join(problems))
    actions: list[Action] = []
    for group in wanted:
        there = found.groups.get(group.name)
        new = [path for path in group.disks if found.disks[path].group != group.name]
        for path in new:
            content = holds(found.disks[path])
            if content:
                actions.append(Action("delete", "content of disk", path, {"holds": content}))
        if there is None:
            actions.append(Action("create", "volume group", group.name, None, {"disks": list(group.disks)}))
        elif new:
            before, after = {"disks": list(there.disks)}, {"disks": [*there.disks, *new]}
            actions.append(Action("update", "volume group", group.name, before, after))
        if group.thin_pool and (there is None or there.thin_pool != group.thin_pool):
            actions.append(
                Action("create", "thin pool", f"{group.name}/{group.thin_pool}", None, {"size": POOL_EXTENTS})
            )
    return actions


def commands(action: Action, partitions: Sequence[str] = ()) -> list[list[str]]:
    """Return the commands that carry out an action."""
    if action.what == "content of disk":
        return [["wipefs", "--all", "--quiet", path] for path in (*partitions, action.name)]
    if action.what == "thin pool":
        group, _, pool = action.name.partition("/")
        start = ["lvcreate", "--yes", "--quiet", "--type", "thin-pool", "--extents", POOL_EXTENTS]
        return [[*start, "--name", pool, group]]
    disks = list((action.after or {})["disks"])
    if action.kind == "create":
        return [["vgcreate", "--quiet", "--addtag", TAG, action.name, *disks]]
    before = set((action.before or {})["disks"])
    return [["vgextend", "--quiet", action.name, *(path for path in disks if path not in before)]]


def parse_groups(volumes: str, logical: str) -> tuple[dict[str, Group], dict[str, str]]:
    """Read `pvs` and `lvs` in JSON. Return the groups, and the group of each physical volume (empty for none).

    `volumes` has pv_name, vg_name and vg_tags; `logical` has vg_name, lv_name and segtype.
    """
    rows = json.loads(volumes)["report"][0]["pv"]
    owner = {os.path.realpath(row["pv_name"]): row["vg_name"] for row in rows}
    pools = {
        row["vg_name"]: row["lv_name"]
        for row in json.loads(logical)["report"][0]["lv"]
        if row["segtype"] == "thin-pool"
    }
    groups: dict[str, Group] = {}
    for row in rows:
        name = row["vg_name"]
        if not name:
            continue
        members = (*groups[name].disks, row["pv_name"]) if name in groups else (row["pv_name"],)
        tags = tuple(tag for tag in row["vg_tags"].split(",") if tag)
        groups[name] = Group(name, members, pools.get(name, ""), tags)
    return groups, owner


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
    mine = owner.get(real, "")
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
        group=mine,
    )


def _nodes(items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for item in items:
        yield item
        yield from _nodes(item.get("children") or [])


def call(command: Sequence[str]) -> str:
    """Run a command and return its output. Raises VolumesError with what it said."""
    environment = {**os.environ, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    if done.returncode != 0:
        raise VolumesError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def read(wanted: Sequence[Group]) -> Found:
    """Look at the machine. Without LVM there are no groups, and the disks are looked at all the same."""
    groups: dict[str, Group] = {}
    owner: dict[str, str] = {}
    if has_lvm():
        report = ["--reportformat", "json"]
        volumes = call(["pvs", *report, "-o", "pv_name,vg_name,vg_tags"])
        logical = call(["lvs", *report, "-o", "vg_name,lv_name,segtype"])
        groups, owner = parse_groups(volumes, logical)
    known = call(["lsblk", "--noheadings", "--nodeps", "--paths", "--output", "NAME"]).split()
    disks = {path: _look(path, owner) for group in wanted for path in group.disks}
    return Found(disks, groups, known)


def has_lvm() -> bool:
    """Say whether LVM's tools are installed."""
    return os.access("/usr/sbin/vgcreate", os.X_OK)


def _look(path: str, owner: Mapping[str, str]) -> Disk:
    if not os.path.exists(path):
        return Disk(path, exists=False)
    columns = "PATH,TYPE,SIZE,RO,MOUNTPOINTS"
    tree = call(["lsblk", "--json", "--bytes", "--output", columns, path])
    return parse_disk(path, tree, call(["wipefs", "--json", "--no-act", path]), owner)


def apply(action: Action, found: Found) -> None:
    """Carry out an action. A wiped disk's own volume group goes with it when nothing else is in it."""
    partitions: Sequence[str] = ()
    if action.what == "content of disk":
        disk = found.disks[action.name]
        partitions = disk.partitions
        if disk.group:
            others = [
                path for path in found.groups[disk.group].disks if os.path.realpath(path) != os.path.realpath(disk.path)
            ]
            if others:
                raise VolumesError(
                    f"its volume group {disk.group} has other disks too: {', '.join(others)}; take it out by hand"
                )
            call(["vgremove", "--yes", "--force", "--quiet", disk.group])
    for command in commands(action, partitions):
        call(command)
    if partitions:
        call(["blockdev", "--rereadpt", action.name])
    if action.what != "content of disk":
        call(["udevadm", "settle", "--timeout=30"])
