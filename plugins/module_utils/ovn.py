# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.ovn_connections does: on which addresses OVN's two databases listen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .ovsdb import Row, parse_tables, quoted, transaction
from .reconcile import Action, plan

#: Name of the database: its command, and the table whose only row names the connections.
DATABASES: Mapping[str, tuple[str, str]] = {
    "northbound": ("ovn-nbctl", "NB_Global"),
    "southbound": ("ovn-sbctl", "SB_Global"),
}
READ = ("--format=json", "--columns=target,inactivity_probe", "list", "Connection")


def found_connections(text: str) -> dict[str, dict[str, Any]]:
    """Connections by target, of the answer to READ. A probe which is not set is None."""
    rows: list[Row] = parse_tables(text)[0]
    return {row["target"]: {"inactivity_probe": _number(row["inactivity_probe"])} for row in rows}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def plan_connections(
    database: str, targets: Sequence[str], probe: int, found: Mapping[str, Mapping[str, Any]]
) -> list[Action]:
    """What differs. A connection which is not wanted is removed: it would be an open door."""
    desired = {target: {"inactivity_probe": probe} for target in targets}
    return plan(desired, found, what=f"connection of the {database} database", purge=True)


def arguments_of(database: str, targets: Sequence[str], probe: int) -> list[str]:
    """One transaction which makes the connections be these. The database drops rows to which nothing points."""
    table = DATABASES[database][1]
    names = [f"@c{number}" for number in range(len(targets))]
    commands = [
        [f"--id={name}", "create", "Connection", f"target={quoted(target)}", f"inactivity_probe={probe}"]
        for name, target in zip(names, targets, strict=True)
    ]
    # First, so that a target which stays is not there twice: it is a key of the table.
    clear = [["clear", table, ".", "connections"]]
    return transaction([*clear, *commands, ["set", table, ".", f"connections=[{','.join(names)}]"]])
