# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks on the lab of inventories/lab-mirror: a whole cloud whose volumes are on two storage servers."""

from __future__ import annotations

import os

from updraft.site import ROOT, Site, find_site
from updraft.testing.base import Check, Context, Failed, Skipped
from updraft.testing.live import stage_seconds, taken_down, updraft
from updraft.testing.storage import drilled, found, second_run, went_on, whole

INVENTORY = "inventories/lab-mirror"


def site() -> Site:
    """The lab that is tested."""
    return find_site(INVENTORY, ROOT)


def up(context: Context) -> str:
    """From nothing to a cloud that a tenant has proved, whose volumes are on two servers."""
    if os.geteuid() != 0:
        raise Skipped("only root can make the lab's networks and machines")
    updraft(context, "lab", "--inventory", INVENTORY, "up", limit=4800, show=True)
    report = found(site(), "report.json")
    if not report["tenant"]:
        raise Failed("the run ended well, but no tenant's server is on record")
    whole(context, INVENTORY)
    return stage_seconds(report)


def volumes(context: Context) -> str:
    """Snapshot, volume from it, clone, backup and restore: each has what the volume had."""
    context.need("mirror-up")
    updraft(context, "run", INVENTORY, "verify_volumes", limit=2400, show=True)
    checks = found(site(), "proof-volumes.json")["checks"]
    wrong = [check["name"] for check in checks if not check["ok"]]
    if wrong or not checks:
        raise Failed(f"of the record proof-volumes.json: {', '.join(wrong) or 'no check was made'}")
    return ", ".join(check["name"] for check in checks)


def failover(context: Context) -> str:
    """Under a tenant's server that writes, serving is moved, and then the server that serves loses its power."""
    context.need("mirror-up")
    return went_on(drilled(context, INVENTORY, "tenant.py", limit=7200))


def again(context: Context) -> str:
    """With a tenant's server on its volume, a second run changes nothing and drops no session."""
    context.need("mirror-up")
    updraft(context, "run", INVENTORY, "verify_guest", "--", "-e", "verify_guest=made", limit=1200)
    told = second_run(context, INVENTORY)
    updraft(context, "run", INVENTORY, "verify_guest", "--", "-e", "verify_guest=seen", limit=600)
    updraft(context, "run", INVENTORY, "verify_guest", "--", "-e", "verify_guest=removed", limit=600)
    return told


def down(context: Context) -> str:
    """Nothing of the lab is left."""
    return taken_down(context, INVENTORY, [check.name for check in CHECKS])


#: All take minutes, and the test command has no more of them to give.
CHECKS = (
    Check("mirror-up", "a cloud whose volumes are on two storage servers, and its proof by a tenant", up, long=True),
    Check("mirror-volumes", "snapshot, clone, backup and restore of a volume on the mirror", volumes, long=True),
    Check("mirror-failover", "a tenant's server goes on while the storage servers change places", failover, long=True),
    Check("mirror-again", "the second run changes nothing and drops no session of a tenant's server", again, long=True),
    Check("mirror-down", "lab down removes all of it", down, long=True),
)
