# SPDX-License-Identifier: GPL-3.0-or-later
"""From a cloud.yml to Ansible's inventory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from .connection import state_of
from .derive import Derived, derive
from .expand import Expanded
from .load import Loaded, ModelError, load
from .problems import Problems
from .registered import merge
from .registration import Registration
from .types import Site

NAME = "cloud.yml"


class Inventory(Protocol):
    """What is used of Ansible's InventoryData."""

    def add_group(self, group: str) -> Any: ...
    def add_host(self, host: str, group: str | None = None, port: int | None = None) -> Any: ...
    def set_variable(self, entity: str, varname: str, value: Any) -> None: ...


#: Tells which machines registered at a checked site; its folder for keys is the third argument.
Registered = Callable[[Site, Expanded, Path], Iterable[Registration]]


def read(file: Path, registered: Registered | None = None) -> tuple[Loaded, Derived]:
    """A site and all that follows from it. Raises ModelError with everything that is wrong.

    registered: asked only if machines boot by network; without it nobody registered.
    """
    loaded = load(file)
    if loaded.problems:
        raise ModelError(str(file), loaded.problems)
    state = state_of(file, loaded.site.name)
    if registered is not None and loaded.site.provisioning is not None:
        problems = Problems()
        found = registered(loaded.site, loaded.expanded, state)
        loaded = replace(loaded, expanded=merge(loaded.site, loaded.expanded, found, problems))
        if problems.list():
            raise ModelError(str(file), problems.list())
    return loaded, derive(loaded.site, loaded.expanded, state)


def fill(inventory: Inventory, file: Path, registered: Registered | None = None) -> None:
    """Put hosts, groups and variables of a cloud.yml into the inventory."""
    _, derived = read(file, registered)
    # Ansible hands out a proxy which copies every value to note the file that it comes from: two thirds
    # of the time that 1,000 nodes take. What is behind it takes the same values, and shares equal lists.
    inventory = getattr(inventory, "__wrapped__", inventory)
    for group in derived.groups:
        inventory.add_group(group)
    inventory.set_variable("all", "cloud", derived.cloud)
    for name, variables in derived.hosts.items():
        inventory.add_host(name)
        for variable, value in variables.items():
            inventory.set_variable(name, variable, value)
    for group, members in derived.groups.items():
        for name in members:
            inventory.add_host(name, group)
