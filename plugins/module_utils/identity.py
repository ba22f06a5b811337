# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity catalogue as a whole: what is wanted, what is there, and the way from one to the other.

What is not in the wanted list stays: tenants make users and projects too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .reconcile import Action, changed_fields

DEFAULT_DOMAIN = "Default"

#: What is made first, because the next things need it. Users come after the catalogue, so that whoever can
#: log in finds a whole one: services keep the catalogue of their first token for an hour.
ORDER = ("region", "domain", "role", "service", "endpoint", "project", "user", "assignment")

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of the catalogue: its kind, what identifies it, and its attributes (only those that matter)."""

    kind: str
    key: Key
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How people call it."""
        return "/".join(self.key)


@dataclass(frozen=True, slots=True)
class Change:
    """An action, and the item that it brings about."""

    action: Action
    item: Item


class Catalogue(Protocol):
    """What can be asked of and done to an identity service."""

    def items(self) -> Iterable[Item]:
        """All that is there."""
        ...

    def create(self, item: Item) -> None:
        """Make it."""
        ...

    def update(self, item: Item, attributes: Mapping[str, Any]) -> None:
        """Change these attributes."""
        ...


def wanted(params: Mapping[str, Any]) -> list[Item]:
    """Items from the module's options; in the order in which they have to be made."""
    items = [*_services(params.get("services") or [])]
    items += [Item("region", (region,)) for region in _regions(items)]
    for domain in params.get("domains") or []:
        items.append(Item("domain", (domain["name"],), _given(domain, ("description",))))
    items += [Item("role", (role,)) for role in params.get("roles") or []]
    for project in params.get("projects") or []:
        items.append(Item("project", (project["name"], _domain(project)), _given(project, ("description", "enabled"))))
    for user in params.get("users") or []:
        names = ("description", "enabled", "password")
        items.append(Item("user", (user["name"], _domain(user)), _given(user, names)))
    for entry in params.get("assignments") or []:
        items.append(_assignment(entry))
    return sorted(items, key=lambda item: ORDER.index(item.kind))


def _domain(entry: Mapping[str, Any]) -> str:
    return entry.get("domain") or DEFAULT_DOMAIN


def _given(entry: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The attributes which were written; what was not is left as it is."""
    return {name: entry[name] for name in names if entry.get(name) is not None}


def _services(services: Iterable[Mapping[str, Any]]) -> Iterable[Item]:
    for service in services:
        yield Item("service", (service["type"],), _given(service, ("name", "description")))
        for endpoint in service.get("endpoints") or []:
            key = (service["type"], endpoint["interface"], endpoint["region"])
            yield Item("endpoint", key, {"url": endpoint["url"]})


def _regions(items: Iterable[Item]) -> list[str]:
    return sorted({item.key[2] for item in items if item.kind == "endpoint"})


def _assignment(entry: Mapping[str, Any]) -> Item:
    """A role of a user on a project, or on the whole system if no project is named."""
    domain = _domain(entry)
    project = entry.get("project")
    scope = (project, entry.get("project_domain") or domain) if project else ("system", "all")
    return Item("assignment", (entry["role"], entry["user"], domain, *scope))


def plan(desired: Sequence[Item], actual: Iterable[Item], password_works: Callable[[Item], bool]) -> list[Change]:
    """What has to be done, in order. `password_works` is asked for users that are there already."""
    there = {(item.kind, item.key): item for item in actual}
    changes = []
    for item in desired:
        found = there.get((item.kind, item.key))
        if found is None:
            changes.append(Change(Action("create", item.kind, item.label, None, item.attributes), item))
            continue
        different = changed_fields(item.attributes, found.attributes, ignore={"password"})
        if "password" in item.attributes and not password_works(item):
            different.append("password")
        if different:
            before = {name: found.attributes.get(name) for name in different}
            after = {name: item.attributes[name] for name in different}
            change = Item(item.kind, item.key, after)
            changes.append(Change(Action("update", item.kind, item.label, before, after), change))
    return changes


def apply(catalogue: Catalogue, change: Change) -> None:
    """Do one step. The catalogue's errors pass through."""
    if change.action.kind == "create":
        catalogue.create(change.item)
    else:
        catalogue.update(change.item, change.item.attributes)
