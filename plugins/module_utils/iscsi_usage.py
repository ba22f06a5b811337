# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether somebody uses the disk of an iSCSI session: the kernel lets a session go under a machine that runs on it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError, call
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_sessions import Session, key_of, sessions
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

BLOCK = Path("/sys/class/block")
#: In the name of the target of each volume of a storage pool: <site's name>:updraft.pool.<pool>.<volume>.
POOL = ":updraft.pool."


def where(target: str) -> str:
    """Return the path in cloud.yml that a pool's target comes from; empty for other targets."""
    pool, dot, volume = target.partition(POOL)[2].partition(".")
    return f"compute.storage_pools.{pool}.volumes.{volume}" if dot else ""


def opened(device: str) -> bool:
    """Say whether a device is open, by itself or as a path of another one.

    The map of multipathd has a count of whoever opened it, with QEMU. A disk without a map tells only of mounts and the
    like; volumes of a mirror always have one.
    """
    name = os.path.basename(os.path.realpath(device))
    holders = sorted(path.name for path in (BLOCK / name / "holders").glob("*"))
    if holders:
        return any(not holder.startswith("dm-") or _count(holder) > 0 for holder in holders)
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _count(holder: str) -> int:
    """Return how often a device of device-mapper is open."""
    words = ["dmsetup", "info", "--columns", "--noheadings", "--options", "open", f"/dev/{holder}"]
    with contextlib.suppress(DisksError, ValueError):
        return int(call(words).strip())
    # Whoever cannot be asked about is not let go.
    return 1


def used(live: Sequence[Session]) -> dict[str, list[str]]:
    """Return by target those devices of its sessions that somebody uses."""
    found: dict[str, list[str]] = {}
    for session in live:
        busy = [device for device in session.devices.values() if opened(device)]
        if busy:
            found.setdefault(session.target, []).extend(busy)
    return found


def pools() -> dict[str, list[str]]:
    """Return the targets of storage pools whose volume is in use on this machine."""
    return used([session for session in sessions() if POOL in session.target])


def refusals(actions: Sequence[Action], live: Sequence[Session]) -> list[str]:
    """Return why sessions that a plan ends must not end."""
    ending = {action.name for action in actions if (action.kind, action.what) == ("delete", "session")}
    busy = used([session for session in live if key_of(session.target, session.portal) in ending])
    return [
        f"{where(target) or target} is no longer in cloud.yml, and in use on this machine"
        f" ({', '.join(sorted(devices))}): stop what uses it (`virsh list`, `lsblk -s`), or write it again."
        " Nothing was changed"
        for target, devices in busy.items()
    ]
