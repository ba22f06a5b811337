# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays of Linux software RAID (md): what is wanted against what lies on the disks and what runs, and the steps.

A disk that holds anything is never taken, unless it is a member of the wanted array already (told by the UUID) or the
operator has named it in `wipe`. An array is never started without all of its members unless that is asked for: the one
that is missing may be in use elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.updraft.cloud.plugins.module_utils import disks, md_arrays
from ansible_collections.updraft.cloud.plugins.module_utils.disks import Disk
from ansible_collections.updraft.cloud.plugins.module_utils.md_state import (
    Array,
    MdError,
    Member,
    arrays,
    conflict,
    examine,
    member_of,
    went_on_without,
)
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

OVERRIDE = "wipe"


@dataclass(frozen=True, slots=True)
class WantedDevice:
    """A member as wanted. `write_mostly`: read only when no other can be; `failfast`: given up at the first error."""

    path: str
    write_mostly: bool = False
    failfast: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """An array as wanted."""

    name: str
    uuid: str
    devices: tuple[WantedDevice, ...]
    level: int = 1
    stopped: bool = False
    run_degraded: bool = False

    @property
    def paths(self) -> list[str]:
        """Its devices."""
        return [device.path for device in self.devices]


@dataclass(frozen=True, slots=True)
class Found:
    """What is on the machine. `members` has what the superblock of each wanted device says."""

    disks: Mapping[str, Disk] = field(default_factory=dict)
    members: Mapping[str, Member | None] = field(default_factory=dict)
    arrays: Sequence[Array] = ()
    #: Every disk of the machine, for messages.
    known: Sequence[str] = ()

    def running(self, wanted: Wanted) -> Array | None:
        """Return the wanted array if it runs."""
        return next((array for array in self.arrays if array.uuid == wanted.uuid and array.active), None)

    def ours(self, wanted: Wanted) -> list[Member]:
        """Return those of the wanted devices that are members of the wanted array."""
        found = [self.members.get(path) for path in wanted.paths]
        return [member for member in found if member is not None and member.uuid == wanted.uuid]


def missing(wanted: Sequence[Wanted], found: Found) -> dict[str, list[str]]:
    """Return for each array that is wanted the devices which are not there."""
    absent = {
        array.name: [path for path in array.paths if not found.disks[path].exists]
        for array in wanted
        if not array.stopped
    }
    return {name: paths for name, paths in absent.items() if paths}


def refusals(wanted: Sequence[Wanted], found: Found, wipe: Sequence[str], override: str = OVERRIDE) -> list[str]:
    """Return everything that speaks against the wish, one text for each disk or array."""
    problems = _contradictions(wanted)
    if problems:
        return problems
    for array in wanted:
        if array.stopped:
            continue
        running = found.running(array)
        problems += _against_running(array, running, found) if running else _against_start(array, found)
        for path in _to_take(array, found):
            disk = found.disks[path]
            # An array that runs goes on without a disk that is not there.
            is_needed = disk.exists or _is_new(array, found)
            if is_needed and (problem := disks.refusal(disk, wipe, found.known, override)):
                problems.append(problem)
    return problems


def _contradictions(wanted: Sequence[Wanted]) -> list[str]:
    problems = []
    for what, values in (
        ("array", [array.name for array in wanted]),
        ("UUID", [array.uuid for array in wanted]),
        ("device", [path for array in wanted for path in array.paths]),
    ):
        twice = dict.fromkeys(value for value in values if values.count(value) > 1)
        problems += [f"the {what} {value} is in the list twice" for value in twice]
    return problems


def _against_running(wanted: Wanted, running: Array, found: Found) -> list[str]:
    problems = []
    if running.level != f"raid{wanted.level}" or running.raid_devices != len(wanted.devices):
        problems.append(
            f"the array {wanted.name} runs as {running.level} of {running.raid_devices} devices; wanted is"
            f" raid{wanted.level} of {len(wanted.devices)}. That is not changed here: see mdadm --grow"
        )
    problems += [
        f"{member.device} is a member of the array {wanted.name} which has gone on without those that run now: it may"
        f" hold writes that they lack. If these do not count, blank it: wipefs --all {member.device}"
        for member in found.ours(wanted)
        if not member_of(running, member.device) and went_on_without(member, running)
    ]
    expected = {member.kernel for path in wanted.paths if (member := member_of(running, path))}
    others = [device for device in running.devices if device.kernel not in expected]
    problems += [
        f"the array {wanted.name} has another member, {device.path} ({device.state}). To take it out: mdadm"
        f" {running.path} --fail {device.path} --remove {device.path}"
        for device in others
        if device.path and device.state != "faulty"
    ]
    return problems


def _against_start(wanted: Wanted, found: Found) -> list[str]:
    same_name = [array for array in found.arrays if array.name == wanted.name and array.uuid != wanted.uuid]
    problems = [
        f"an array {array.name} is there, but it is another: {array.path} has the UUID {array.uuid}, wanted is"
        f" {wanted.uuid}"
        for array in same_name
    ]
    members = found.ours(wanted)
    if members and (problem := conflict(members)):
        return [*problems, f"the array {wanted.name}: {problem}"]
    if members and len(members) < len(wanted.devices) and not wanted.run_degraded:
        there = {member.device for member in members}
        lacking = ", ".join(f"{path} {_lacks(path, found)}" for path in wanted.paths if path not in there)
        problems.append(
            f"the array {wanted.name} has only {len(members)} of {len(wanted.devices)} members: {lacking}. It is not"
            " started without all of them, because the others may be in use elsewhere. If they are not:"
            " run_degraded: true"
        )
    return problems


def _lacks(path: str, found: Found) -> str:
    return "is no member of it" if found.disks[path].exists else "is not there"


def _is_new(wanted: Wanted, found: Found) -> bool:
    return found.running(wanted) is None and not found.ours(wanted)


def _to_take(wanted: Wanted, found: Found) -> list[str]:
    """Return the wanted devices that are neither in the array nor on their superblock's word members of it."""
    running = found.running(wanted)
    known = {member.device for member in found.ours(wanted)}
    return [path for path in wanted.paths if path not in known and not (running and member_of(running, path))]


def plan(wanted: Sequence[Wanted], found: Found, wipe: Sequence[str], override: str = OVERRIDE) -> list[Action]:
    """Return the steps from what is there to what is wanted. Raises MdError with all refusals."""
    problems = refusals(wanted, found, wipe, override)
    if problems:
        raise MdError("; ".join(problems))
    actions: list[Action] = []
    for array in wanted:
        running = found.running(array)
        if array.stopped:
            if any(other.uuid == array.uuid for other in found.arrays):
                actions.append(Action("update", "array", array.name, {"running": True}, {"running": False}))
            continue
        for path in _to_take(array, found):
            content = disks.holds(found.disks[path])
            if content:
                actions.append(Action("delete", "content of disk", path, {"holds": content}))
        actions += _mend(array, running, found) if running else _start(array, found)
    return actions


def _start(wanted: Wanted, found: Found) -> list[Action]:
    members = found.ours(wanted)
    if not members:
        fields = {"uuid": wanted.uuid, "level": f"raid{wanted.level}", "devices": wanted.paths, "bitmap": "internal"}
        return [Action("create", "array", wanted.name, None, fields), *_flags(wanted, {})]
    devices = [member.device for member in members]
    after = {"running": True, "devices": devices}
    flags = {member.device: (member.write_mostly, member.failfast) for member in members}
    rest = [path for path in wanted.paths if path not in flags and found.disks[path].exists]
    return [
        Action("update", "array", wanted.name, {"running": False}, after),
        *(_take(wanted, path, "full") for path in rest),
        *_flags(replace(wanted, devices=tuple(d for d in wanted.devices if d.path in {*flags, *rest})), flags),
    ]


def _mend(wanted: Wanted, running: Array, found: Found) -> list[Action]:
    actions: list[Action] = []
    flags: dict[str, tuple[bool, bool]] = {}
    failed = [device.kernel for device in running.devices if device.state == "faulty" or not device.path]
    if failed:
        actions.append(Action("delete", "failed members", wanted.name, {"devices": failed}))
    for path in wanted.paths:
        device, member = member_of(running, path), found.members.get(path)
        if device and device.kernel not in failed:
            flags[path] = (device.write_mostly, device.failfast)
        elif found.disks[path].exists:
            ours = member is not None and member.uuid == wanted.uuid
            flags[path] = (member.write_mostly, member.failfast) if member is not None and ours else (False, False)
            actions.append(_take(wanted, path, "what changed" if ours else "full"))
    there = replace(wanted, devices=tuple(device for device in wanted.devices if device.path in flags))
    return [*actions, *_flags(there, flags)]


def _take(wanted: Wanted, path: str, copied: str) -> Action:
    return Action("create", "member", f"{wanted.name} {path}", None, {"copied": copied})


def _flags(wanted: Wanted, found: Mapping[str, tuple[bool, bool]]) -> list[Action]:
    actions = []
    for device in wanted.devices:
        before = found.get(device.path, (False, False))
        after = (device.write_mostly, device.failfast)
        if before != after:
            names = ("write_mostly", "failfast")
            fields = [dict(zip(names, values, strict=True)) for values in (before, after)]
            actions.append(Action("update", "member", f"{wanted.name} {device.path}", *fields))
    return actions


def read(wanted: Sequence[Wanted]) -> Found:
    """Look at the machine. Without mdadm, in check mode, there are no arrays."""
    owner = disks.read_owners()
    paths = [path for array in wanted for path in array.paths]
    members = {path: _examine(path) for path in paths}
    looked = {path: _named(disks.look(path, owner), members[path]) for path in paths}
    return Found(looked, members, arrays(), disks.known_disks())


def _examine(path: str) -> Member | None:
    return examine(path) if os.path.exists(path) and has_mdadm() else None


def has_mdadm() -> bool:
    """Say whether mdadm is installed."""
    return os.access("/usr/sbin/mdadm", os.X_OK)


def _named(disk: Disk, member: Member | None) -> Disk:
    return disk if member is None else replace(disk, array=f"{member.name} ({member.uuid})")


def apply(action: Action, wanted: Sequence[Wanted], found: Found) -> None:
    """Carry out an action."""
    if action.what == "content of disk":
        owner = disks.read_owners()
        disk = found.disks[action.name]
        disks.wipe(disk, [path for path, group in owner.items() if group == disk.group])
        return
    name, _, path = action.name.partition(" ")
    array = next(item for item in wanted if item.name == name)
    after = action.after or {}
    if action.what == "failed members":
        md_arrays.remove_failed(name)
    elif action.what == "member" and action.kind == "update":
        md_arrays.set_flags(name, path, **after)
    elif action.what == "member":
        if after["copied"] == "full":
            md_arrays.add(name, path)
        else:
            md_arrays.readd(name, path)
    elif action.kind == "create":
        md_arrays.create(name, array.uuid, array.paths, level=array.level)
    elif after["running"]:
        md_arrays.assemble(name, array.uuid, after["devices"], degraded=array.run_degraded)
    else:
        md_arrays.stop(name)
