# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays of Linux software RAID (md): what lies on their members, and how they run.

Whatever runs is read from sysfs, whatever lies on a disk is read by `mdadm --examine`.

Which legs belong together is told by the superblocks. md notes the loss of a member on the others before it
acknowledges the next write: a member which says that another is missing has gone on alone, and one which does not has
nothing that the other lacks (but what nobody was told was written, which the bitmap covers).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError, call

SYS = Path("/sys/block")
LINKS = Path("/dev/md")
#: A leg that does not answer must not hold up who asks.
LIMIT_SECONDS = 60


class MdError(DisksError):
    """What is wanted of an array cannot be done; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Member:
    """What the superblock of a device says."""

    device: str
    uuid: str  # of the array
    name: str  # of the array
    level: str = "raid1"
    raid_devices: int = 2
    events: int = 0
    clean: bool = True
    #: Its place in the array; None for a spare.
    slot: int | None = None
    #: Which places are taken by a member that is up to date, as far as this one knows: "AA", "A.".
    array_state: str = "AA"
    #: Sectors that were rebuilt when it was last written; None unless it was in recovery.
    recovery_offset: int | None = None
    bitmap: bool = True
    write_mostly: bool = False
    failfast: bool = False

    @property
    def recovering(self) -> bool:
        """Whether it lacks data of the others."""
        return self.recovery_offset is not None


@dataclass(frozen=True, slots=True)
class Device:
    """A member of an array that runs. `path` is empty when its block device is gone."""

    kernel: str  # as md calls it: vdb, sda
    path: str
    state: str  # in_sync | rebuilding | spare | faulty
    slot: int | None = None
    write_mostly: bool = False
    failfast: bool = False
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Array:
    """An array that runs. Speed in KiB/s, progress in sectors (done, all); None while nothing is synchronized."""

    kernel: str  # md127
    path: str  # /dev/md127
    name: str
    uuid: str
    level: str
    raid_devices: int
    state: str  # array_state of sysfs: clean, active, inactive, ...
    degraded: int
    sync_action: str
    sync_completed: tuple[int, int] | None
    sync_speed: int | None
    bitmap: bool
    devices: tuple[Device, ...]
    size_bytes: int = 0

    @property
    def in_sync(self) -> bool:
        """Whether all members are there and up to date."""
        states = [device.state for device in self.devices]
        return self.degraded == 0 and states.count("in_sync") == self.raid_devices and self.sync_action == "idle"

    @property
    def active(self) -> bool:
        """Whether it can be read and written; an array that was put together in part is not."""
        return self.state not in ("inactive", "clear")


def array_uuid(*parts: str) -> str:
    """Return an array's UUID, as md writes it, which is the same for the same words."""
    return _colons(str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts))))


def parse_examine(device: str, text: str) -> Member | None:
    """Read what `mdadm --examine` tells; None when that is no superblock of an array."""
    pairs = (line.split(" : ", 1) for line in text.splitlines() if " : " in line)
    told = {key.strip(): value.strip() for key, value in pairs}
    if "Array UUID" not in told:
        return None
    role = re.fullmatch(r"Active device (\d+)", told.get("Device Role", ""))
    offset = re.match(r"\d+", told.get("Recovery Offset", ""))
    flags = told.get("Flags", "").split()
    return Member(
        device=device,
        uuid=told["Array UUID"],
        name=_plain(told.get("Name", "").split(" ", 1)[0]),
        level=told.get("Raid Level", ""),
        raid_devices=int(told.get("Raid Devices", "0")),
        events=int(told.get("Events", "0")),
        clean=told.get("State") == "clean",
        slot=int(role.group(1)) if role else None,
        array_state=told.get("Array State", "").split(" ", 1)[0],
        recovery_offset=int(offset.group()) if offset else None,
        bitmap="Internal Bitmap" in told,
        write_mostly="write-mostly" in flags,
        failfast="failfast" in flags,
    )


def _plain(name: str) -> str:
    # md puts the computer before the name: storage1:volumes0.
    return name.rpartition(":")[2]


def examine(device: str) -> Member | None:
    """Return what the superblock on a device says; None when there is none. Raises DisksError if it cannot be read."""
    try:
        return parse_examine(device, call(["mdadm", "--examine", device], LIMIT_SECONDS))
    except DisksError as error:
        if "No md superblock detected" in str(error):
            return None
        raise


def conflict(members: Sequence[Member]) -> str:
    """Return why these members must not be put together, empty if they may: each went on without the other."""
    for one in members:
        for other in members:
            if one.slot is None or other.slot is None or one.slot >= other.slot:
                continue
            if _misses(one, other.slot) and _misses(other, one.slot):
                return (
                    f"{one.device} and {other.device} have both gone on alone ({one.array_state} at event {one.events},"
                    f" {other.array_state} at event {other.events}): whichever is taken, the writes to the other are"
                    " lost. Decide which holds the data that counts, and blank the other: wipefs --all"
                )
    return ""


def _misses(member: Member, slot: int) -> bool:
    return member.array_state[slot : slot + 1] == "."


def arrays(name: str = "") -> list[Array]:
    """Return all arrays that the kernel has, also those which were put together in part.

    Who looks for one of a name says so: udev knows which one that is, and mdadm is asked for the names of others alone.
    """
    link = LINKS / name
    named = link.resolve().name if name and link.exists() else ""
    paths = sorted(SYS.glob("md*/md"))
    return [found for path in paths if (found := _read(path, name if path.parent.name == named else "")) is not None]


def detail(name: str) -> Array | None:
    """Return the array of that name; None when it does not run."""
    link = LINKS / name
    if link.exists():
        path = SYS / link.resolve().name / "md"
        return _read(path, name) if path.is_dir() else None
    return next((array for array in arrays() if array.name == name), None)


def _read(path: Path, name: str = "") -> Array | None:
    """Read what the kernel tells. mdadm, which takes long, is asked only for what it alone knows: another name."""
    state = word(path / "array_state")
    if state in ("", "clear"):
        return None
    kernel = path.parent.name
    uuid = _colons(word(path / "uuid"))
    if not (name and uuid):
        told = _exported(call(["mdadm", "--detail", "--no-devices", "--export", f"/dev/{kernel}"], LIMIT_SECONDS))
        name, uuid = _plain(told.get("MD_NAME", "") or told.get("MD_DEVNAME", "")), told.get("MD_UUID", "")
    action = word(path / "sync_action")
    devices = tuple(_device(entry) for entry in sorted(path.glob("dev-*")))
    return Array(
        kernel=kernel,
        path=f"/dev/{kernel}",
        name=name,
        uuid=uuid,
        level=word(path / "level"),
        raid_devices=number(path / "raid_disks") or 0,
        state=state,
        degraded=number(path / "degraded") or 0,
        sync_action=action or "idle",
        sync_completed=_progress(word(path / "sync_completed")),
        sync_speed=number(path / "sync_speed"),
        bitmap=word(path / "bitmap/location") not in ("", "none"),
        devices=devices,
        size_bytes=(number(path.parent / "size") or 0) * 512,
    )


def _colons(text: str) -> str:
    """Return a UUID of the form 8-4-4-4-12 as md writes it: four times eight digits.

    Empty for none, and for the zeros that the kernel tells of an array that has not been started.
    """
    digits = text.replace("-", "") if text.strip("0-") else ""
    return ":".join(digits[start : start + 8] for start in range(0, len(digits), 8))


def _exported(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _device(entry: Path) -> Device:
    words = word(entry / "state").split(",")
    slot = number(entry / "slot")
    kernel = entry.name.removeprefix("dev-")
    state = "spare"
    if "faulty" in words:
        state = "faulty"
    elif "in_sync" in words:
        state = "in_sync"
    elif slot is not None:
        state = "rebuilding"
    return Device(
        kernel=kernel,
        path=f"/dev/{kernel}" if (entry / "block").exists() and (SYS.parent / "class/block" / kernel).exists() else "",
        state=state,
        slot=slot,
        write_mostly="write_mostly" in words,
        failfast="failfast" in words,
        errors=number(entry / "errors") or 0,
    )


def _progress(text: str) -> tuple[int, int] | None:
    done, _, total = text.partition("/")
    return (int(done), int(total)) if done.strip().isdigit() and total.strip().isdigit() else None


def word(path: Path) -> str:
    """Return what a file of sysfs holds; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """Return the number that a file of sysfs holds; None where there is none."""
    text = word(path)
    return int(text) if text.isdigit() else None


def member_of(array: Array, device: str) -> Device | None:
    """Return the array's member that this path leads to; None when it is not one."""
    kernel = Path(device).resolve().name
    return next((member for member in array.devices if member.kernel == kernel), None)


def went_on_without(member: Member, array: Array) -> bool:
    """Say whether this device took writes while those that are in the array were missing."""
    slots = [device.slot for device in array.devices if device.state == "in_sync" and device.slot is not None]
    return not member.recovering and any(_misses(member, slot) for slot in slots)
