# SPDX-License-Identifier: GPL-3.0-or-later
"""One check for each molecule scenario."""

from __future__ import annotations

import os
from pathlib import Path

from updraft.testing.base import Check, Context, Skipped


def checks(root: Path) -> list[Check]:
    """The scenarios in molecule/, by name; `shared` holds their configuration and is none."""
    return [_check(file.parent.name) for file in sorted((root / "molecule").glob("*/molecule.yml"))]


def _check(scenario: str) -> Check:
    def run(context: Context) -> str:
        if os.geteuid() != 0:
            raise Skipped("only root can make the scenario's machines")
        context.command(["molecule", "test", "--scenario-name", scenario], limit=1800)
        return ""

    what = f"molecule scenario {scenario}: converge, again, verify by testinfra"
    return Check(f"molecule-{scenario}", what, run, minutes=8)
