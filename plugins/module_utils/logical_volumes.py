# SPDX-License-Identifier: GPL-3.0-or-later
"""Thin volumes that a model wants: made when they are missing, grown when they are smaller, never shrunk or removed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError, call, gibibytes
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

GIB = 1 << 30
#: Seconds after which the kernel fails writes to a full thin pool; 60 unless it is told. Read when a pool gets full.
NO_SPACE = Path("/sys/module/dm_thin_pool/parameters/no_space_timeout")


@dataclass(frozen=True, slots=True)
class Logical:
    """A logical volume as found; `kind` is LVM's segment type."""

    name: str
    size_bytes: int
    kind: str
    pool: str = ""


def plan(group: str, pool: str, wanted: Mapping[str, int], found: Mapping[str, Logical]) -> list[Action]:
    """Return the steps to volumes of `wanted` GiB by name. Raises DisksError with all that is refused."""
    problems = []
    actions = []
    for name, gib in wanted.items():
        size, there = gib * GIB, found.get(name)
        if there is None:
            actions.append(Action("create", "volume", f"{group}/{name}", None, {"size_gib": gib, "pool": pool}))
        elif there.kind != "thin" or there.pool != pool:
            problems.append(
                f"{group}/{name} is there, but no volume of the thin pool {pool}: rename it, or choose another name"
            )
        elif there.size_bytes > size:
            problems.append(
                f"{group}/{name} has {gibibytes(there.size_bytes)}, and {gib} GiB are wanted: a volume is never made"
                f" smaller, because its file system would be cut. Write {-(-there.size_bytes // GIB)}"
            )
        elif there.size_bytes < size:
            before, after = {"size_gib": there.size_bytes / GIB}, {"size_gib": gib}
            actions.append(Action("update", "volume", f"{group}/{name}", before, after))
    if problems:
        raise DisksError("; ".join(problems))
    return actions


def commands(action: Action) -> list[list[str]]:
    """Return the commands that carry out an action."""
    after = dict(action.after or {})
    group, _, name = action.name.partition("/")
    size = f"{after['size_gib']}g"
    if action.kind == "create":
        start = ["lvcreate", "--yes", "--quiet", "--type", "thin", "--virtualsize", size]
        return [[*start, "--thinpool", after["pool"], "--name", name, group]]
    return [["lvextend", "--quiet", "--size", size, action.name]]


def parse(text: str) -> dict[str, Logical]:
    """Read `lvs` in JSON with lv_name, lv_size, segtype and pool_lv; sizes in bytes without a unit."""
    return {
        row["lv_name"]: Logical(row["lv_name"], int(row["lv_size"]), row["segtype"], row["pool_lv"])
        for row in json.loads(text)["report"][0]["lv"]
    }


def read(group: str) -> dict[str, Logical]:
    """Return the volumes of a group by name."""
    columns = "lv_name,lv_size,segtype,pool_lv"
    options = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns]
    return parse(call(["lvs", *options, group]))


def apply(actions: Sequence[Action]) -> None:
    """Carry out a plan."""
    for action in actions:
        for command in commands(action):
            call(command)


def thick(group: str, name: str, mib: int) -> bool:
    """Have a small volume outside of the thin pool; return whether it was made now."""
    if name in read(group):
        return False
    call(["lvcreate", "--yes", "--quiet", "--wipesignatures", "y", "--size", f"{mib}m", "--name", name, group])
    return True


def only_when_told(group: str) -> bool:
    """Keep a group from being activated by the system itself; return whether that was changed now."""
    report = call(["vgs", "--reportformat", "json", "-o", "vg_name,vg_autoactivation", group])
    value = json.loads(report)["report"][0]["vg"][0]["vg_autoactivation"]
    if value in ("", "0"):
        return False
    call(["vgchange", "--quiet", "--setautoactivation", "n", group])
    return True


def groups() -> list[str]:
    """Return the names of the groups that LVM sees now."""
    report = json.loads(call(["vgs", "--reportformat", "json", "-o", "vg_name"]))
    return [row["vg_name"] for row in report["report"][0]["vg"]]


def activate(group: str) -> None:
    """Make all volumes of a group available. Writes to a pool that is full wait, for as long as it takes.

    Who watches the fill of the pool is told by `monitor`: that takes seconds, for which nobody has to wait.
    """
    call(["vgchange", "--quiet", "--activate", "y", "--ignoremonitoring", group])
    wait_for_room()


def activate_volumes(group: str, *, closed: bool) -> None:
    """Make what is read and written available, as `activate` does: each device, as the pool's own, takes its time.

    The map of a pool that was closed in order a moment ago is not read from end to end (see lvmlocal.conf). Raises
    DisksError where that is needed all the same.
    """
    command = ["lvchange", "--quiet", "--activate", "y", "--ignoremonitoring"]
    if closed:
        command += ["--config", 'global/thin_check_options=["-q","--skip-mappings"]']
    call([*command, "--select", "segtype!=thin-pool", group])
    wait_for_room()


def monitor(group: str) -> None:
    """Have dmeventd watch the fill of the group's pool, which grows by its rules. No error if it does so already."""
    call(["vgchange", "--quiet", "--monitor", "y", group])


def unmonitor(group: str) -> None:
    """Have dmeventd leave the group's pool: before its volumes go that takes a second, for which nobody has to wait."""
    call(["vgchange", "--quiet", "--monitor", "n", group])


def patience(path: Path = NO_SPACE) -> int | None:
    """Return after how many seconds writes to a full pool fail: 0 never, None where the kernel has no pools yet."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def wait_for_room(path: Path = NO_SPACE) -> None:
    """Have writes to a full pool wait. What modprobe.d says came too late for a driver of the initial RAM disk."""
    if patience(path):
        path.write_text("0")


def deactivate(group: str) -> None:
    """Take all volumes of a group away. Raises DisksError when something uses one.

    Their names in /dev go a moment later: what udev does then costs seconds, for which nobody has to wait.
    """
    call(["vgchange", "--quiet", "--activate", "n", "--noudevsync", group])
