# SPDX-License-Identifier: GPL-3.0-or-later
"""Volume groups of LVM: what is wanted against what lies on the disks, without ever taking a disk that holds something.

The group carries the tag `updraft`: that is how a later run knows its own. A disk is taken when it is blank (an empty
physical volume counts as blank) or when the operator has named it in `wipe`. A disk in use is never taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.updraft.cloud.plugins.module_utils.disks import (
    Disk,
    DisksError,
    call,
    has_lvm,
    holds,
    known_disks,
    look,
    parse_owners,
    refusal,
    settle,
    wipe,
)
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

TAG = "updraft"
#: Part of the group which the thin pool takes; the rest is for its metadata to grow and to be repaired.
POOL_EXTENTS = "95%VG"
#: The same for a pool that grows by itself, by the rules of a profile of LVM.
GROWING_EXTENTS = "60%VG"
#: What a pool does that is full: it has writes wait. (lvcreate takes no --errorwhenfull for a pool.)
WAITS = "activation/error_when_full=0"
#: What is given back goes to the pool alone. Half of a mirror may not know how to discard, and both would differ.
KEPT = ["--discards", "nopassdown"]
#: The input which says that a disk's content may be destroyed.
OVERRIDE = "volumes_wipe"


class VolumesError(DisksError):
    """The wish cannot be fulfilled; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Group:
    """A volume group as wanted or as found. `thin_pool` is its pool's name, empty for none.

    `profile` names the profile of LVM (/etc/lvm/profile) by which a new pool grows; empty for one that does not.
    """

    name: str
    disks: tuple[str, ...]
    thin_pool: str = ""
    tags: tuple[str, ...] = ()
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What is on the machine."""

    disks: Mapping[str, Disk] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    #: Every disk of the machine, for messages.
    known: Sequence[str] = ()


def refusals(wanted: Sequence[Group], found: Found, wipeable: Sequence[str]) -> list[str]:
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
            if disk.group != group.name and (problem := refusal(disk, wipeable, found.known, OVERRIDE)):
                problems.append(problem)
    return problems


def plan(wanted: Sequence[Group], found: Found, wipeable: Sequence[str]) -> list[Action]:
    """Return the steps from what is there to what is wanted. Raises VolumesError with all refusals."""
    problems = refusals(wanted, found, wipeable)
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
            size = GROWING_EXTENTS if group.profile else POOL_EXTENTS
            fields = {"size": size, "profile": group.profile}
            actions.append(Action("create", "thin pool", f"{group.name}/{group.thin_pool}", None, fields))
    return actions


def commands(action: Action) -> list[list[str]]:
    """Return the commands that carry out an action on a group or a pool."""
    if action.what == "thin pool":
        group, _, pool = action.name.partition("/")
        after = action.after or {}
        start = ["lvcreate", "--yes", "--quiet", "--type", "thin-pool", "--extents", after["size"]]
        # One that grows is one whose writes wait when it cannot: whatever lvm.conf says, they do not fail.
        profile = ["--metadataprofile", after["profile"], "--config", WAITS, *KEPT] if after["profile"] else []
        return [[*start, *profile, "--name", pool, group]]
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
    return groups, parse_owners(volumes)


def read(wanted: Sequence[Group]) -> Found:
    """Look at the machine. Without LVM there are no groups, and the disks are looked at all the same."""
    groups: dict[str, Group] = {}
    owner: dict[str, str] = {}
    if has_lvm():
        report = ["--reportformat", "json"]
        volumes = call(["pvs", *report, "-o", "pv_name,vg_name,vg_tags"])
        logical = call(["lvs", *report, "-o", "vg_name,lv_name,segtype"])
        groups, owner = parse_groups(volumes, logical)
    disks = {path: look(path, owner) for group in wanted for path in group.disks}
    return Found(disks, groups, known_disks())


def apply(action: Action, found: Found) -> None:
    """Carry out an action."""
    if action.what == "content of disk":
        disk = found.disks[action.name]
        wipe(disk, found.groups[disk.group].disks if disk.group else ())
        return
    for command in commands(action):
        call(command)
    settle()
