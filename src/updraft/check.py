# SPDX-License-Identifier: GPL-3.0-or-later
"""`updraft check INVENTORY`: the model alone, without Ansible. No machine is contacted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO

from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import NAME, read
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.load import ModelError

REFUSED = 2


def check(inventory: Path | str, *, quiet: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Check an inventory's cloud.yml: 0 and a summary if it is right, else 2 and all that is wrong.

    inventory: the folder of a cloud.yml, or the file. quiet: no summary. out, err: for tests.
    """
    path = Path(inventory)
    file = path / NAME if path.is_dir() else path
    try:
        _, derived = read(file)
    except (ModelError, OSError, ValueError) as error:
        print(error, file=err or sys.stderr)
        return REFUSED
    if not quiet:
        print(f"{_near(file)} is right: {summary(derived.cloud)}", file=out or sys.stdout)
    return 0


def summary(cloud: dict[str, Any]) -> str:
    """A cloud in a few lines: its nodes by role, networks and services."""
    count = len(cloud["nodes"])
    lines = [f"site {cloud['name']}, {count} node{'s' if count != 1 else ''}"]
    for role, members in cloud["groups"].items():
        lines.append(f"  {role:<14}{_names(members)}")
    for pool, members in cloud["pools"].items():
        lines.append(f"  {'pool':<14}{pool}: {_names(members)}")
    for name, network in cloud["networks"].items():
        lines.append(f"  {'network':<14}{_network(name, network)}")
    if boot := cloud["provisioning"]:
        waiting = f", {_names([node['name'] for node in boot['expected']])} expected" if boot["expected"] else ""
        addresses = boot["range"]
        text = f"machines boot from {boot['network']} ({addresses['first']}-{addresses['last']}) and join as "
        lines.append(f"  {'network boot':<14}{text}{', '.join(boot['roles'])}{waiting}")
    lines.append(f"  {'services':<14}{', '.join(cloud['services']) or 'none: hypervisors alone'}")
    if cloud["services"]:
        endpoint = cloud["endpoint"]
        lines.append(f"  {'endpoint':<14}{endpoint['name']} ({endpoint['address']})")
    return "\n".join(lines)


def _names(names: list[str]) -> str:
    if len(names) <= 6:
        return ", ".join(names) or "-"
    return f"{', '.join(names[:3])} ... {names[-1]} ({len(names)})"


def _network(name: str, network: dict[str, Any]) -> str:
    text = f"{name} {network['cidr']} on {network['interface']}"
    if network["vlan"] is not None:
        text += f", VLAN {network['vlan']}"
    floating = network["floating"]
    return f"{text}, {floating['size']} floating addresses" if floating else text


def _near(file: Path) -> Path:
    """The path as a person would write it: from here if it is below."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
