# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles put on a machine: roles/*/meta/footprint.yml and roles/openstack/services/*.yml."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .types import ROLES

ROOT = Path(__file__).resolve().parents[3]
EVERY = ("all",)
SOURCES = {*ROLES, "network", "controller", "any"}


class FootprintError(ValueError):
    """A footprint which cannot be used; the text names the file."""


@dataclass(frozen=True, slots=True)
class Port:
    """A line of the ledger. sources: node roles, or network, controller or any."""

    name: str
    port: str
    protocol: str
    network: str
    sources: tuple[str, ...]
    process: str
    optional: bool
    on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key and certificate which a role wants in a directory."""

    name: str
    directory: str
    owner: str
    group: str


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a role, or one component of a service, puts on the nodes with the roles `on`.

    beside: services and node roles of which the site has one, or else the role has nothing to do; empty for any site.
    """

    name: str
    service: str | None
    component: str | None
    on: tuple[str, ...]
    packages: tuple[str, ...]
    certificates: tuple[Certificate, ...]
    ports: tuple[Port, ...]
    beside: tuple[str, ...] = ()

    def at(self, roles: tuple[str, ...]) -> bool:
        return applies(self.on, roles)


def applies(on: tuple[str, ...], roles: tuple[str, ...]) -> bool:
    """Whether something which is `on` these roles is on a node with those."""
    return on == EVERY or any(role in on for role in roles)


def footprints(services: tuple[str, ...], root: Path = ROOT, roles: Iterable[str] = ROLES) -> tuple[Footprint, ...]:
    """All footprints of a cloud with these services and node roles. Raises FootprintError for a file without sense."""
    there = {*services, *roles}
    return tuple(
        item
        for item in _all(root)
        if (item.service is None or item.service in services) and (not item.beside or there.intersection(item.beside))
    )


@functools.cache
def _all(root: Path) -> tuple[Footprint, ...]:
    found: list[Footprint] = []
    for file in sorted(root.glob("roles/*/meta/footprint.yml")):
        found.extend(_read(file, file.parents[1].name, None))
    for file in sorted(root.glob("roles/openstack/services/*.yml")):
        found.extend(_read(file, file.stem, file.stem))
    return tuple(found)


def _read(file: Path, name: str, service: str | None) -> Iterator[Footprint]:
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER) or {}
        parts = data.get("components")
        if parts is None:
            yield _footprint(data, name, service, None)
            return
        for component, part in parts.items():
            yield _footprint({"beside": data.get("beside"), **part}, f"{name}-{component}", service, component)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise FootprintError(f"{file}: {what}") from error


def _footprint(data: Mapping[Any, Any], name: str, service: str | None, component: str | None) -> Footprint:
    on = _on(data)
    if on is None:
        raise KeyError("on")
    return Footprint(
        name=name,
        service=service,
        component=component,
        on=on,
        packages=tuple(data.get("packages") or ()),
        certificates=tuple(Certificate(**item) for item in data.get("certificates") or ()),
        ports=tuple(_port(item, on) for item in data.get("ports") or ()),
        beside=tuple(data.get("beside") or ()),
    )


def _on(data: Mapping[Any, Any]) -> tuple[str, ...] | None:
    # YAML 1.1 reads an unquoted `on` as true.
    value = data.get("on", data.get(True))
    if value is None:
        return None
    roles = tuple(value)
    unknown = set(roles) - {*ROLES, *EVERY}
    if unknown:
        raise ValueError(f"on: unknown node roles {', '.join(sorted(unknown))}; known are {', '.join(ROLES)} and all")
    return EVERY if "all" in roles else roles


def _port(item: Mapping[Any, Any], on: tuple[str, ...]) -> Port:
    sources = tuple(item["from"])
    unknown = set(sources) - SOURCES
    if unknown:
        raise ValueError(f"ports.{item['name']}.from: unknown {', '.join(sorted(unknown))}")
    if item["protocol"] not in ("tcp", "udp"):
        raise ValueError(f"ports.{item['name']}.protocol: is tcp or udp, not {item['protocol']}")
    own = _on(item)
    return Port(
        name=item["name"],
        port=str(item["port"]),
        protocol=item["protocol"],
        network=item["network"],
        sources=sources,
        process=item["process"],
        optional=bool(item.get("optional", False)),
        on=on if own is None else own,
    )


_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
