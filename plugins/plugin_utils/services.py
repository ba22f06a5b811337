# SPDX-License-Identifier: GPL-3.0-or-later
"""From the definitions of OpenStack services to what one host gets: files, schemas and units.

A definition is a file in roles/openstack/services; docs/adding-a-service.md says what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Definition = Mapping[str, Any]
Entry = dict[str, Any]

#: What every service reads besides its own files: with a new authority it has to start anew.
TRUST = "/usr/local/share/ca-certificates/updraft.crt"
UNIT_FOLDER = "/etc/systemd/system"
DEFINITION_KEYS = frozenset({"user", "catalogue", "files", "components"})
COMPONENT_KEYS = frozenset(
    {"on", "packages", "certificates", "ports", "files", "schemas", "wsgi", "units", "daemons", "first"}
)


class DefinitionError(ValueError):
    """A definition cannot be used; the text names it and says what is wrong."""


def load(names: Iterable[str], folder: str) -> dict[str, Definition]:
    """Read the definitions of the named services. Raises DefinitionError."""
    definitions: dict[str, Definition] = {}
    for name in names:
        path = Path(folder) / f"{name}.yml"
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DefinitionError(f"service {name} has no definition {path}") from error
        definitions[name] = checked(name, data)
    return definitions


def checked(name: str, data: Any) -> Definition:
    """The definition if its keys are known ones. Raises DefinitionError."""
    if not isinstance(data, dict) or not isinstance(data.get("components"), dict):
        raise DefinitionError(f"{name}: a definition is a dictionary with 'components'")
    problems = [f"unknown key {key}" for key in sorted(set(data) - DEFINITION_KEYS)]
    if not data.get("user"):
        problems.append("'user' is missing: the system user that the service runs as")
    for component, values in data["components"].items():
        problems += [f"components.{component}: unknown key {key}" for key in set(values) - COMPONENT_KEYS]
        if not values.get("on"):
            problems.append(f'components.{component}: "on" (quoted) says which node roles run it')
    if problems:
        raise DefinitionError("\n".join(f"{name}: {problem}" for problem in problems))
    return data


def plan(
    definitions: Mapping[str, Definition], roles: Sequence[str], elsewhere: Sequence[str] = ()
) -> dict[str, list[Any]]:
    """What a host with these node roles gets of all services.

    `elsewhere` are units which somebody else starts and stops: they are configured, and left as they are.

    Returns `components` (names such as nova.api), `files` (for updraft.cloud.files), `schemas` (for
    updraft.cloud.schemas), `first` and `units` (for updraft.cloud.units; the first ones have to serve before
    the catalogue can be filled, which the others need in order to start). Each file of a template gets
    the variables `components` and `user`.
    """
    result: dict[str, list[Any]] = {"components": [], "files": [], "schemas": [], "first": [], "units": []}
    for service, definition in definitions.items():
        here = {
            name: component for name, component in definition["components"].items() if set(component["on"]) & set(roles)
        }
        if not here:
            continue
        result["components"] += [f"{service}.{name}" for name in here]
        host = _ServiceOnHost(definition, roles)
        for component in here.values():
            host.add(component)
        result["files"] += host.files
        result["first"] += host.first
        result["units"] += host.units
        if host.steps:
            result["schemas"].append({"name": service, "user": host.user, "steps": host.steps})
    for entry in (*result["first"], *result["units"]):
        if entry["name"] in elsewhere:
            entry["state"] = "kept"
    for entry in result["files"]:
        if "template" in entry:
            entry["vars"] = {**entry.get("vars", {}), "components": result["components"]}
    return result


class _ServiceOnHost:
    """Collects what the components of one service put on one host."""

    def __init__(self, definition: Definition, roles: Sequence[str]) -> None:
        self.user: str = definition["user"]
        self.roles = set(roles)
        self.steps: list[Entry] = []
        self.files: list[Entry] = []
        self.first: list[Entry] = []
        self.units: list[Entry] = []
        shared = definition.get("files", [])
        self._shared = _read_paths(shared)
        self._add_files(shared)

    def add(self, component: Mapping[str, Any]) -> None:
        """Take over what one component has."""
        files = component.get("files", [])
        self.steps += component.get("schemas", [])
        self._add_files(files)
        certificates = [entry["directory"] for entry in component.get("certificates", [])]
        reads = [*self._shared, *_read_paths(files), *certificates, TRUST]
        units = self.first if component.get("first") else self.units
        for wsgi in component.get("wsgi", []):
            units.append(self._wsgi(wsgi, reads))
        for daemon in component.get("daemons", []):
            units.append(self._daemon(daemon, reads))
        for unit in component.get("units", []):
            if unit.get("unless") not in self.roles:
                units.append(self._unit(unit, reads))

    def _add_files(self, files: Iterable[Mapping[str, Any]]) -> None:
        """Files are root's, and the service alone may read them, unless they say otherwise."""
        for given in files:
            entry = {"owner": "root", "group": self.user, "mode": "0640", **given}
            entry.pop("depends", None)
            if "template" in entry:
                entry["vars"] = {**entry.get("vars", {}), "user": self.user}
            # What two components need alike stands in both.
            if entry not in self.files:
                self.files.append(entry)

    def _wsgi(self, wsgi: Mapping[str, Any], reads: Sequence[str]) -> Entry:
        """An API under uWSGI: its ini, what makes the unit use it, and the unit."""
        ini = f"/etc/{self.user}/{wsgi['unit']}-uwsgi.ini"
        drop_in = f"{UNIT_FOLDER}/{wsgi['unit']}.service.d/updraft.conf"
        self._add_files(
            [
                {"path": ini, "template": "uwsgi.ini.j2", "vars": {"wsgi": dict(wsgi)}},
                _plain(drop_in, "wsgi.conf.j2", {"ini": ini}),
            ]
        )
        return {
            "name": f"{wsgi['unit']}.service",
            "ready": {"http": f"http://127.0.0.1:{wsgi['port']}{wsgi['ready']}", "status": [200, 300]},
            "logs": [wsgi["log"], *wsgi.get("logs", [])],
            "depends": [*reads, ini, drop_in],
        }

    def _daemon(self, daemon: Mapping[str, Any], reads: Sequence[str]) -> Entry:
        """A program for which Debian has no unit."""
        path = f"{UNIT_FOLDER}/{daemon['name']}.service"
        self._add_files([_plain(path, "daemon.service.j2", {"daemon": dict(daemon)})])
        return {
            "name": f"{daemon['name']}.service",
            "logs": [f"/var/log/{self.user}/{daemon['name']}.log"],
            "depends": [*reads, path],
        }

    def _unit(self, unit: Mapping[str, Any], reads: Sequence[str]) -> Entry:
        """A unit of Debian's; `plain: true` leaves it as it is."""
        entry = {key: value for key, value in unit.items() if key not in ("plain", "unless")}
        if unit.get("state") != "stopped" and not unit.get("plain"):
            drop_in = f"{UNIT_FOLDER}/{unit['name']}.d/updraft.conf"
            self._add_files([_plain(drop_in, "unit.conf.j2", {})])
            entry["depends"] = [*reads, *unit.get("depends", []), drop_in]
        return entry


def _read_paths(files: Iterable[Mapping[str, Any]]) -> list[str]:
    """What of these files a service reads when it starts."""
    return [entry["path"] for entry in files if "template" in entry and entry.get("depends", True)]


def _plain(path: str, template: str, variables: Mapping[str, Any]) -> Entry:
    """A file of systemd's, which everybody may read."""
    return {"path": path, "template": template, "group": "root", "mode": "0644", "vars": dict(variables)}


def catalogue(definitions: Mapping[str, Definition], url: str, region: str) -> list[Entry]:
    """The services and endpoints for updraft.cloud.identity; `url` is scheme and host alone."""
    return [
        {
            "name": entry["name"],
            "type": entry["type"],
            "description": entry["description"],
            "endpoints": [
                {"interface": interface, "region": region, "url": f"{url}:{entry['port']}{entry['path']}"}
                for interface in ("public", "internal")
            ],
        }
        for definition in definitions.values()
        for entry in definition.get("catalogue", [])
    ]


def accounts(definitions: Iterable[str], passwords: Mapping[str, str], project: str) -> dict[str, list[Entry]]:
    """The users that services log in as, and their roles, for updraft.cloud.identity.

    `admin` lets a service act for anybody, `service` lets others know that it is one.
    """
    names = [name for name in definitions if name in passwords]
    return {
        "users": [{"name": name, "password": passwords[name], "description": f"Service {name}"} for name in names],
        "assignments": [
            {"user": name, "role": role, "project": project} for name in names for role in ("admin", "service")
        ],
    }
