# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks on the lab of inventories/lab-storage: two storage servers and a hypervisor, without the control services."""

from __future__ import annotations

import os
import sys
from typing import Any

from updraft.lab import lab_of
from updraft.labshell import NAMESPACES
from updraft.report import read_json
from updraft.site import ROOT, Site, find_site
from updraft.testing.base import Check, Context, Failed, Skipped
from updraft.testing.live import leftovers, updraft

INVENTORY = "inventories/lab-storage"
#: Cuts of the short series: each kind once.
CUTS = 6


def site() -> Site:
    """The lab that is tested."""
    return find_site(INVENTORY, ROOT)


def _found(name: str) -> dict[str, Any]:
    found = read_json(site().state / name)
    if found is None:
        raise Failed(f"{site().state / name} is not there")
    return found


def up(context: Context) -> str:
    """From nothing to hypervisors whose volumes are on two servers."""
    if os.geteuid() != 0:
        raise Skipped("only root can make the lab's networks and machines")
    updraft(context, "lab", "--inventory", INVENTORY, "up", limit=2400, show=True)
    updraft(context, "storage", INVENTORY, limit=300)
    return "the mirror is whole"


def again(context: Context) -> str:
    """A second run changes nothing: nothing is copied, no session is dropped."""
    context.need("storage-up")
    before = _sessions(context)
    updraft(context, "run", INVENTORY, limit=900)
    found = _found("report.json")
    if found["changed"]:
        raise Failed(f"the second run changed something; see {context.log}")
    if _sessions(context) != before:
        raise Failed(f"sessions before the second run: {before}; after it: {_sessions(context)}")
    return f"changed=0, sessions as before: {before}"


def _sessions(context: Context) -> dict[str, Any]:
    """The sessions of the server that serves."""
    updraft(context, "storage", INVENTORY, "--json", limit=300)
    statuses = _found("storage.json")
    return next((one["sessions"] for one in statuses.values() if one and one["up"]), {})


def drill(context: Context) -> str:
    """A leg, a path and the serving are lost on purpose: nothing is lost."""
    context.need("storage-up")
    updraft(context, "drill", "storage", INVENTORY, limit=2400, show=True)
    found = _found("drill.json")
    pauses = ", ".join(f"{step['kind']} {step['pause']:.1f} s" for step in found["steps"])
    return f"{found['load']['written']} writes, none lost; pauses: {pauses}"


def cuts(context: Context) -> str:
    """The power of the servers is cut in each way once: no acknowledged write is lost."""
    context.need("storage-up")
    record = context.logs / "power-cuts.json"
    words = [sys.executable, "tests/drill/power_cuts.py", "--inventory", INVENTORY, "--cuts", str(CUTS)]
    context.command([*words, "--report", str(record)], limit=3600, show=True)
    found = read_json(record) or {}
    return f"{len(found['cuts'])} cuts, {found['load']['written']} writes, {found['lost']} lost, seed {found['seed']}"


def writers(context: Context) -> str:
    """Every way of getting two servers that write is refused."""
    context.need("storage-up")
    record = context.logs / "two-writers.json"
    words = [sys.executable, "tests/drill/two_writers.py", "--inventory", INVENTORY, "--report", str(record)]
    context.command(words, limit=1800, show=True)
    return f"{len((read_json(record) or {})['ways'])} ways, all refused"


def down(context: Context) -> str:
    """Nothing of the lab is left."""
    if not NAMESPACES.joinpath(str(lab_of(site())["namespace"])).exists():
        raise Skipped("there is no such lab")
    if "failed" in [context.verdicts.get(check.name) for check in CHECKS]:
        raise Skipped(f"the lab is left as it is, to be looked at: ./updraft lab --inventory {INVENTORY} status")
    updraft(context, "lab", "--inventory", INVENTORY, "down", limit=300, show=True)
    left = leftovers(site())
    if left:
        raise Failed("lab down left behind:\n" + "\n".join(left))
    return "nothing is left"


#: All take minutes, and the test command has no more of them to give.
CHECKS = (
    Check("storage-up", "two storage servers and a hypervisor on this computer", up, long=True),
    Check("storage-again", "the second run changes nothing and drops no session", again, long=True),
    Check("storage-drill", "a leg, a path and the serving are lost on purpose, under checked load", drill, long=True),
    Check("storage-cuts", "each kind of power cut once: no acknowledged write is lost", cuts, long=True),
    Check("storage-writers", "ways of getting two servers that write: all are refused", writers, long=True),
    Check("storage-down", "lab down removes all of it", down, long=True),
)
