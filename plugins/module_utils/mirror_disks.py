# SPDX-License-Identifier: GPL-3.0-or-later
"""What the disks of the mirror hold, and how the arrays on them run: looks, which change nothing."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils import disks as disk
from ansible_collections.updraft.cloud.plugins.module_utils import md_state
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Member
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_protocol import Running


def look_at(path: str) -> Member:
    """Return what is on a disk. Raises DisksError where there is none."""
    return member(path, superblock_of(path))


def superblock_of(path: str) -> md_state.Member | None:
    """Return what md wrote on a disk. Raises DisksError where there is none."""
    if not os.path.exists(path):
        raise disk.DisksError(f"{path} is not there")
    return md_state.examine(path)


def member(path: str, found: md_state.Member | None) -> Member:
    """Return a disk as the mirror decides on it; one without a superblock is looked at for what else it holds."""
    if found is None:
        content = disk.holds(disk.look(path, disk.read_owners()))
        return Member(path, holds=tuple(content))
    slot = -1 if found.slot is None else found.slot
    return Member(path, found.uuid, found.events, slot, found.array_state, found.recovering)


def running(name: str, path: str) -> Running | None:
    """Return an array that runs, which has this disk; by a look at the kernel alone."""
    folder = _folder(name, path)
    if folder is None or md_state.word(folder / "array_state") in ("", "clear", "inactive"):
        return None
    return _running(name, folder)


def _folder(name: str, path: str) -> Path | None:
    """Return where the kernel tells of an array: by its name, or because it has this disk."""
    link = md_state.LINKS / name
    if link.exists():
        return md_state.SYS / link.resolve().name / "md"
    holders = Path("/sys/class/block") / Path(path).resolve().name / "holders"
    return next((md_state.SYS / holder.name / "md" for holder in holders.glob("md*")), None)


def _running(name: str, folder: Path) -> Running:
    by: dict[str, list[str]] = {"active": [], "copying": [], "faulty": []}
    for entry in sorted(folder.glob("dev-*")):
        words = md_state.word(entry / "state").split(",")
        kind = "faulty" if "faulty" in words else "active" if "in_sync" in words else "copying"
        by[kind].append(entry.name.removeprefix("dev-"))
    done, _, total = md_state.word(folder / "sync_completed").partition(" / ")
    known = done.isdigit() and total.isdigit()
    return Running(
        name=name,
        active=tuple(by["active"]),
        copying=tuple(by["copying"]),
        faulty=tuple(by["faulty"]),
        action=md_state.word(folder / "sync_action") or "idle",
        done=int(done) if known else 0,
        total=int(total) if known else 0,
    )
