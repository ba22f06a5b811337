# SPDX-License-Identifier: GPL-3.0-or-later
"""Each thing that is done to an array of Linux software RAID (md). What is known of one is read by `md_state`.

Nothing scans: an array is made, assembled and mended of devices that are named, and known by its UUID. Each function
can be repeated after it was cut.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils import md_state
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError, call, settle, wait_for
from ansible_collections.updraft.cloud.plugins.module_utils.md_state import (
    LIMIT_SECONDS,
    LINKS,
    Array,
    Device,
    MdError,
    Member,
    arrays,
    conflict,
    detail,
    examine,
    member_of,
    went_on_without,
)

#: KiB that one bit of the bitmap stands for, and so the least that is copied for a write which a member missed. Smaller
#: ones are noted more often, before the write; md's own choice, 64 MiB, copies most of a disk after a few writes.
BITMAP_CHUNK = 1024
#: KiB that mdadm leaves for the bitmap (choose_bm_space of its super1.c), by the bytes of an array from which on.
BITMAP_SPACE = (((200 << 30) + (64 << 10), 128), ((8 << 30) + (8 << 10), 64), (0, 4))
#: Bytes of the bitmap's own superblock, and the most that mdadm keeps of a device before its data.
BITMAP_SUPER, BEFORE_DATA = 256, 130 << 20
TRIES = 10
PAUSE_SECONDS = 0.5
#: Words of sysfs for what is read only when no other can be, and what is given up fast.
FLAGS = {"write_mostly": "writemostly", "failfast": "failfast"}


def _running(name: str) -> Array:
    found = detail(name)
    if found is None or not found.active:
        raise MdError(f"the array {name} does not run")
    return found


def least_chunk(size_bytes: int) -> int:
    """Return the smallest KiB for a bit with which mdadm makes a bitmap on devices of this size; it refuses less.

    A bit of 1 MiB is too little from 1022 GiB on.
    """
    space = next(kib for least, kib in BITMAP_SPACE if max(0, size_bytes - BEFORE_DATA) >= least)
    bits = (space * 1024 - BITMAP_SUPER) * 8
    chunk = 4
    while size_bytes // (chunk * 1024) + 1 > bits:
        chunk *= 2
    return chunk


def _size(device: str) -> int:
    """Return the bytes of a block device."""
    return (md_state.number(md_state.SYS.parent / "class/block" / Path(device).resolve().name / "size") or 0) * 512


def create(name: str, uuid: str, devices: Sequence[str], *, level: int = 1, chunk: int | None = BITMAP_CHUNK) -> None:
    """Make an array of blank devices and start it; it synchronizes by itself.

    A bit of its bitmap stands for `chunk` KiB, or for as little more as fits; None makes none.
    """
    _free(name)
    command = ["mdadm", "--create", str(LINKS / name), f"--level={level}", f"--raid-devices={len(devices)}"]
    command += ["--metadata=1.2", "--bitmap=none" if chunk is None else "--bitmap=internal"]
    if chunk is not None:
        command.append(f"--bitmap-chunk={max(chunk, *(least_chunk(_size(device)) for device in devices))}K")
    command += ["--homehost=any", f"--name={name}", f"--uuid={uuid}"]
    call([*command, "--run", *devices], LIMIT_SECONDS)
    settle()


def assemble(
    name: str,
    uuid: str,
    devices: Sequence[str],
    *,
    degraded: bool = False,
    known: Mapping[str, Member | None] | None = None,
) -> None:
    """Put an array together of these devices, and take in again by its bitmap one that missed something.

    All must have a superblock of this array (that of the first device, if `uuid` is empty), and be all of its members
    unless `degraded`. `known` is what was read of them just now, which is not read again. Raises MdError if not, and
    when they have both gone on alone.
    """
    members = [(known or {}).get(device) or examine(device) for device in devices]
    uuid = uuid or next((member.uuid for member in members if member is not None), "")
    for device, member in zip(devices, members, strict=True):
        if member is None or member.uuid != uuid:
            raise MdError(f"{device} is not a member of the array {name} ({uuid}): {_told(member)}")
    found = [member for member in members if member is not None]
    if problem := conflict(found):
        raise MdError(f"the array {name}: {problem}")
    if len(found) < found[0].raid_devices and not degraded:
        raise MdError(f"the array {name} has {found[0].raid_devices} members, and only {', '.join(devices)} is there")
    _stop([array for array in arrays() if array.uuid == uuid and not array.active])
    _free(name)
    command = ["mdadm", "--assemble", str(LINKS / name), f"--uuid={uuid}"]
    call([*command, *(["--run"] if degraded else []), *devices], LIMIT_SECONDS)
    wait_for(LINKS / name)
    array = _running(name)
    for device in devices:
        if member_of(array, device) is None:
            readd(name, device)


def _free(name: str) -> None:
    """Wait until udev has removed the name of an array that was stopped: mdadm would give a second name beside it."""
    link = LINKS / name
    if not (md_state.SYS / link.resolve().name / "md").is_dir():
        wait_for(link, there=False)


def _told(member: Member | None) -> str:
    return "it has no superblock" if member is None else f"its superblock is of {member.name} ({member.uuid})"


def stop(name: str) -> bool:
    """Stop the array; False when it did not run. Raises DisksError when something uses it."""
    return _stop([array for array in arrays(name) if array.name == name])


def _stop(found: Sequence[Array]) -> bool:
    for array in found:
        for left in reversed(range(TRIES)):
            try:
                call(["mdadm", "--stop", array.path], LIMIT_SECONDS)
                break
            except DisksError:
                # udev opens what has just been closed, for a moment.
                if not left or any((md_state.SYS / array.kernel / "holders").glob("*")):
                    raise
                time.sleep(PAUSE_SECONDS)
    return bool(found)


def readd(name: str, device: str, *, discard: bool = False) -> str:
    """Take a device that was a member in again; return "bitmap" or "full", what is copied to it.

    Only what changed is copied if the bitmap tells that. A device which went on without those that are in the array
    holds writes which no bitmap of theirs knows, and which they lack: that is refused, or with `discard` all of it is
    copied. Raises MdError for that, and unless the device was a member of this array.
    """
    # A member that failed keeps its place until it is taken out.
    remove_failed(name)
    array = _lacking(name)
    member = examine(device)
    if member is None or member.uuid != array.uuid:
        raise MdError(f"{device} was no member of the array {name} ({array.uuid}): {_told(member)}")
    if went_on_without(member, array):
        if not discard:
            raise MdError(
                f"{device} has gone on without the members that the array {name} has now ({member.array_state} at event"
                f" {member.events}): it may hold writes that they lack, which would be lost"
            )
    else:
        try:
            call(["mdadm", "--manage", array.path, "--re-add", device], LIMIT_SECONDS)
            return "bitmap"
        except DisksError as error:
            if "not possible" not in str(error):
                raise
    call(["mdadm", "--zero-superblock", device], LIMIT_SECONDS)
    add(name, device)
    return "full"


def add(name: str, device: str) -> None:
    """Take a blank device into an array that lacks a member; all is copied to it."""
    call(["mdadm", "--manage", _lacking(name).path, "--add", device], LIMIT_SECONDS)


def _lacking(name: str) -> Array:
    array = _running(name)
    if len([member for member in array.devices if member.state != "faulty"]) >= array.raid_devices:
        raise MdError(f"the array {name} lacks no member")
    return array


def set_flags(name: str, device: str, *, write_mostly: bool, failfast: bool) -> bool:
    """Say of a member whether it is read only when no other can be, and given up fast; return whether that changed."""
    array = _running(name)
    member = member_of(array, device)
    if member is None:
        raise MdError(f"{device} is not in the array {name}")
    changed = False
    for flag, wanted in (("write_mostly", write_mostly), ("failfast", failfast)):
        if getattr(member, flag) != wanted:
            _tell(array, member, FLAGS[flag] if wanted else f"-{FLAGS[flag]}")
            changed = True
    return changed


def _tell(array: Array, member: Device, word: str) -> None:
    path = md_state.SYS / array.kernel / "md" / f"dev-{member.kernel}" / "state"
    try:
        path.write_text(word)
    except OSError as error:
        raise MdError(f"{member.kernel} of the array {array.name} cannot be made {word}: {error.strerror}") from error


def drop(name: str, device: str) -> None:
    """Take a member out: it fails, and goes."""
    array = _running(name)
    member = member_of(array, device)
    if member is not None:
        _remove(array, member)


def remove_failed(name: str) -> list[str]:
    """Take out the members that failed or whose device is gone; return how the kernel called them."""
    array = _running(name)
    gone = [member for member in array.devices if member.state == "faulty" or not member.path]
    for member in gone:
        _remove(array, member)
    return [member.kernel for member in gone]


def _remove(array: Array, member: Device) -> None:
    if member.state != "faulty":
        _tell(array, member, "faulty")
    for left in reversed(range(TRIES)):
        try:
            _tell(array, member, "remove")
            return
        except MdError:
            # The kernel keeps it until the last write to it has ended.
            if not left:
                raise
            time.sleep(PAUSE_SECONDS)
