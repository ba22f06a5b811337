# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage pools of libvirt over volumes that this machine has by iSCSI: each a folder of names below /dev/updraft.

libvirt's own kinds of pools do not fit: `iscsi` knows one portal only, and `mpath` names volumes by numbers that
change. A pool of the kind `dir` lists the links that udev makes, by the names of the model.
"""

from __future__ import annotations

import os
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import plan as compare

ROOT = "/dev/updraft"
Fields = dict[str, Any]


class PoolsError(RuntimeError):
    """libvirt refused; the text is its own."""


def desired(pools: Sequence[Mapping[str, Any]]) -> dict[str, Fields]:
    """Return the fields of each pool by its name, as `read` reports them. `pools` have name and volumes (names)."""
    return {
        pool["name"]: {
            "path": f"{ROOT}/{pool['name']}",
            "active": True,
            "autostart": True,
            "volumes": sorted(pool["volumes"]),
        }
        for pool in pools
    }


def plan(wanted: Mapping[str, Fields], actual: Mapping[str, Fields]) -> list[Action]:
    """Return the steps. Pools over other folders are others', and left alone."""
    return compare(wanted, actual, what="storage pool", purge=lambda _, pool: _is_ours(pool["path"]))


def _is_ours(path: str) -> bool:
    return path.startswith(f"{ROOT}/")


def virsh(*words: str, stdin: str | None = None) -> str:
    """Run virsh and return what it says. Raises PoolsError."""
    command = ["virsh", "--connect", "qemu:///system", "--quiet", *words]
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        command, capture_output=True, text=True, input=stdin, check=False, timeout=120, env=environment
    )
    if done.returncode:
        raise PoolsError(f"virsh {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def read() -> dict[str, Fields]:
    """Return the pools that libvirt knows."""
    active, autostart = (set(virsh("pool-list", "--name", *more).split()) for more in ((), ("--all", "--autostart")))
    found = {}
    for name in virsh("pool-list", "--all", "--name").split():
        described = ET.fromstring(virsh("pool-dumpxml", name))
        found[name] = {
            "path": described.findtext("target/path") or "",
            "active": name in active,
            "autostart": name in autostart,
            "volumes": volumes(virsh("vol-list", name)) if name in active else [],
        }
    return found


def volumes(listed: str) -> list[str]:
    """Return the names in virsh's list of volumes."""
    return sorted(line.split()[0] for line in listed.splitlines() if line.split())


def await_links(paths: Sequence[str], seconds: float = 60) -> None:
    """Wait until udev has made all links. Disks that were there before their rule are shown to it again."""
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        for command in (["control", "--reload"], ["trigger", "--subsystem-match=block", "--action=change"]):
            subprocess.run(["udevadm", *command], check=False, capture_output=True, timeout=60)
    end = time.monotonic() + seconds
    while missing and time.monotonic() < end:
        time.sleep(0.5)
        missing = [path for path in missing if not os.path.exists(path)]
    if missing:
        raise PoolsError(f"{', '.join(missing)} did not appear: see `iscsiadm -m session` and `multipath -ll`")


def described(name: str, path: str) -> str:
    """Return libvirt's description of a pool."""
    return f"<pool type='dir'><name>{escape(name)}</name><target><path>{escape(path)}</path></target></pool>"


def apply(action: Action, wanted: Mapping[str, Fields]) -> None:
    """Carry out one step. No volume is touched: a pool is a view of what is there."""
    name = action.name
    if action.kind == "delete":
        if (action.before or {}).get("active"):
            virsh("pool-destroy", name)
        virsh("pool-undefine", name)
        return
    path = wanted[name]["path"]
    await_links([os.path.join(path, one) for one in wanted[name]["volumes"]])
    fields = action.after or {}
    if "path" in fields:
        virsh("pool-define", "/dev/stdin", stdin=described(name, path))
    if "autostart" in fields:
        virsh("pool-autostart", name)
    if name not in virsh("pool-list", "--name").split():
        virsh("pool-start", name)
    virsh("pool-refresh", name)
