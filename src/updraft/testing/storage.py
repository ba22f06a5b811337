# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks on the lab of inventories/lab-storage: two storage servers and a hypervisor, without the control services."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from updraft.labshell import ssh
from updraft.report import read_json
from updraft.site import ROOT, Site, find_site
from updraft.testing.base import Check, Context, Failed, Skipped
from updraft.testing.live import taken_down, updraft

INVENTORY = "inventories/lab-storage"
#: The kinds of power cuts of the short series, each once: the leg, the one that serves, and both.
SHORT = ("leg", "serving", "rack")
#: Cuts of the longer one: every kind once.
CUTS = 6


def site() -> Site:
    """The lab that is tested."""
    return find_site(INVENTORY, ROOT)


def found(lab: Site, name: str) -> dict[str, Any]:
    """What a command has written down of a lab."""
    record = read_json(lab.state / name)
    if record is None:
        raise Failed(f"{lab.state / name} is not there")
    return record


def up(context: Context) -> str:
    """From nothing to hypervisors whose volumes are on two servers."""
    if os.geteuid() != 0:
        raise Skipped("only root can make the lab's networks and machines")
    updraft(context, "lab", "--inventory", INVENTORY, "up", limit=2400, show=True)
    whole(context, INVENTORY)
    return "the mirror is whole"


def whole(context: Context, inventory: str) -> None:
    """Wait until the first copy of the empty disks, which goes on after `lab up`, has come to its end."""
    updraft(context, "run", inventory, "storage_heal", limit=1200)
    updraft(context, "storage", inventory, limit=300)


def again(context: Context) -> str:
    """A second run changes nothing: nothing is copied, no session is dropped."""
    context.need("storage-up")
    return second_run(context, INVENTORY)


def second_run(context: Context, inventory: str) -> str:
    """Run once more, and compare the sessions of the nodes. There have to be some."""
    lab = find_site(inventory, ROOT)
    before = sessions(context, inventory)
    updraft(context, "run", inventory, limit=900)
    if found(lab, "report.json")["changed"]:
        raise Failed(f"the second run changed something; see {context.log}")
    after = sessions(context, inventory)
    if after != before or not any(before.values()):
        raise Failed(f"sessions before the second run: {before}; after it: {after}")
    return f"changed=0, sessions as before: {', '.join(f'{node} {len(some)}' for node, some in before.items())}"


def sessions(context: Context, inventory: str) -> dict[str, list[str]]:
    """The sessions that each compute node has: number, state and target. One that was dropped has another number."""
    lab = find_site(inventory, ROOT)
    script = (
        "cd /sys/class/iscsi_session 2>/dev/null || exit 0; for one in session*; do"
        ' [ -e "$one" ] && echo "$one $(cat "$one/state") $(cat "$one/targetname")"; done; true'
    )
    nodes = [name for name, node in lab.cloud["nodes"].items() if "compute" in node["roles"]]
    read = {node: context.command([*ssh(lab, node), script], limit=60).splitlines() for node in nodes}
    return {node: sorted(line for line in lines if line.startswith("session")) for node, lines in read.items()}


def drill(context: Context) -> str:
    """A leg, a path and the serving are lost on purpose: nothing is lost."""
    context.need("storage-up")
    updraft(context, "drill", "storage", INVENTORY, limit=2400, show=True)
    told = found(site(), "drill.json")
    pauses = ", ".join(f"{step['kind']} {step['pause']:.1f} s" for step in told["steps"])
    return f"{told['load']['written']} writes, none lost; pauses: {pauses}"


def drilled(context: Context, inventory: str, script: str, *more: str, limit: float = 3600) -> dict[str, Any]:
    """Run a script of tests/drill on a lab; what it recorded."""
    record = context.logs / f"{Path(script).stem.replace('_', '-')}.json"
    words = [sys.executable, f"tests/drill/{script}", "--inventory", inventory, *more, "--report", str(record)]
    context.command(words, limit=limit, show=True)
    return read_json(record) or {}


def cuts(context: Context) -> str:
    """The leg, the one that serves, and both lose their power: no acknowledged write is lost."""
    context.need("storage-up")
    words = ("--cuts", str(len(SHORT)), "--kinds", *SHORT)
    return survived(drilled(context, INVENTORY, "power_cuts.py", *words, limit=1500))


def every_cut(context: Context) -> str:
    """The same in every way, also while a leg is brought up to date."""
    context.need("storage-up")
    return survived(drilled(context, INVENTORY, "power_cuts.py", "--cuts", str(CUTS)))


def survived(told: Mapping[str, Any]) -> str:
    """What became of the writes during power cuts, in words."""
    pauses = ", ".join(f"{cut['kind']} {cut['pause']:.1f} s" for cut in told["cuts"])
    return f"{told['load']['written']} writes, {told['lost']} lost; pauses: {pauses}; seed {told['seed']}"


def writers(context: Context) -> str:
    """Every way of getting two servers that write is refused."""
    context.need("storage-up")
    told = drilled(context, INVENTORY, "two_writers.py", limit=1800)
    return f"{len(told['ways'])} ways, all refused"


def full(context: Context) -> str:
    """The thin pool gets full: it grows, warns, has writes wait, and nothing is lost."""
    context.need("storage-up")
    told = drilled(context, INVENTORY, "thin_pool.py")
    before, after = told["grew_mib"] or (None, None)
    grew = f"grew by itself from {before} to {after} MiB" if after else "had no room to grow"
    return f"the pool {grew}, was full for {told['full_seconds']} s, and {told['lost']} writes were lost"


def fencing(context: Context) -> str:
    """A server that is silent is switched off by its board, and only then the other one serves."""
    context.need("storage-up")
    told = drilled(context, INVENTORY, "fencing.py")
    refused = [case["kind"] for case in told["cases"] if case["refused"]]
    moved = next(case for case in told["cases"] if not case["refused"])
    return (
        f"moved by itself after its board said Off, pause {moved['pause']:.1f} s; refused: {', '.join(refused)};"
        f" {told['load']['written']} writes, none lost"
    )


def machine(context: Context) -> str:
    """A machine made by virsh on a pool goes on while the storage servers under it change places."""
    context.need("storage-up")
    return went_on(drilled(context, INVENTORY, "virsh_machine.py"))


def went_on(told: Mapping[str, Any]) -> str:
    """What became of a guest that writes, in words."""
    paused = ", ".join(f"{step['kind']} {step['pause']:.1f} s" for step in told["steps"])
    writes = told["writes"]
    return f"the same start of the guest, {writes['written']} writes, {writes['compared']} compared; pauses: {paused}"


def down(context: Context) -> str:
    """Nothing of the lab is left."""
    return taken_down(context, INVENTORY, [check.name for check in CHECKS])


CHECKS = (
    Check("storage-up", "two storage servers and a hypervisor on this computer", up, minutes=18),
    Check("storage-cuts", "the leg, the serving one, both lose their power: no write is lost", cuts, minutes=12),
    Check("storage-again", "the second run changes nothing and drops no session", again, long=True),
    Check("storage-drill", "a leg, a path and the serving are lost on purpose, under checked load", drill, long=True),
    Check("storage-cuts-all", "every kind of power cut once: no acknowledged write is lost", every_cut, long=True),
    Check("storage-fencing", "a silent server is fenced by its (fake) board, or nothing moves", fencing, long=True),
    Check("storage-writers", "ways of getting two servers that write: all are refused", writers, long=True),
    Check("storage-full", "the thin pool gets full: it grows, warns, writes wait, nothing is lost", full, long=True),
    Check("storage-virsh", "a machine made by virsh goes on while the servers change places", machine, long=True),
    Check("storage-down", "lab down removes all of it", down),
)
