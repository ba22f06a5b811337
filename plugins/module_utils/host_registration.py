# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be said to the registrar so that a machine stands as it should: pure, from its own answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.registrar_client import Registrar, plain_code

TRUSTED = ("approved", "ready", "in_service")
Entry = Mapping[str, Any]

#: What a module is told so that it can ask the registrar.
CLIENT_SPEC: dict[str, dict[str, Any]] = {
    "url": {"type": "str", "required": True},
    "address": {"type": "str"},
    "password": {"type": "str", "required": True, "no_log": True},
    "ca_certificate": {"type": "str", "required": True},
    "namespace": {"type": "str"},
    "timeout": {"type": "int", "default": 20},
}


class HostRegistrationError(Exception):
    """It cannot be brought about; the text says why and what to do."""


def client_of(given: Mapping[str, Any]) -> Registrar:
    """The client that a module's parameters (CLIENT_SPEC) describe. Raises RegistrarError."""
    return Registrar(
        given["url"],
        given["password"],
        ca=given["ca_certificate"],
        address=given["address"],
        namespace=given["namespace"],
        timeout=given["timeout"],
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a machine should stand. code, pool and roles: for `approved` only."""

    name: str
    state: str
    code: str = ""
    pool: str | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: `approve`, `state`, or nothing. before and after: for the diff."""

    action: str | None
    before: dict[str, Any]
    after: dict[str, Any]


def kept(host: Entry) -> str:
    """The state of a host without regard to silence."""
    return str(host.get("kept_state") or host["state"])


def plan(wanted: Wanted, hosts: Sequence[Entry]) -> Plan:
    """What there is to do. hosts: all that the registrar knows. Raises HostRegistrationError."""
    named = next((host for host in hosts if host.get("name") == wanted.name and kept(host) in TRUSTED), None)
    if wanted.state == "approved":
        return _approve(wanted, named, hosts)
    if named is None:
        return _unknown(wanted, hosts)
    before = _shown(named)
    return Plan(None if before["state"] == wanted.state else "state", before, {**before, "state": wanted.state})


def _unknown(wanted: Wanted, hosts: Sequence[Entry]) -> Plan:
    if wanted.state == "retired":  # gone, or never there: nothing to take away
        return Plan(None, {}, {})
    names = ", ".join(sorted(str(host["name"]) for host in hosts if host.get("name") and kept(host) in TRUSTED))
    raise HostRegistrationError(f"no machine {wanted.name} is approved (approved are: {names or 'none'})")


def _approve(wanted: Wanted, named: Entry | None, hosts: Sequence[Entry]) -> Plan:
    try:
        code = plain_code(wanted.code)
    except ValueError as error:
        raise HostRegistrationError(str(error)) from error
    shown = [host for host in hosts if plain_code(host["code"]) == code]
    trusted = next((host for host in shown if kept(host) in TRUSTED), None)
    if trusted is not None and trusted["name"] != wanted.name:
        raise HostRegistrationError(f"the code {code} is that of {trusted['name']} already")
    if trusted is None and not any(kept(host) in ("seen", "retired") for host in shown):
        raise HostRegistrationError(f"no machine waits with the code {code}: compare it with the machine's console")
    returns = next((host for host in shown if host.get("returns_as") == wanted.name), None)
    if trusted is None and named is not None and returns is None:
        raise HostRegistrationError(f"the name {wanted.name} is another machine's: retire that one first")
    before = _shown(named) if named else {}
    place = {"pool": wanted.pool, **({"roles": list(wanted.roles)} if wanted.roles else {})}
    if trusted is not None:
        after = {**before, **place}
    else:
        after = {"name": wanted.name, "state": "approved", "code": code, **place}
    return Plan("approve" if after != before else None, before, after)


def _shown(host: Entry) -> dict[str, Any]:
    """A host as the diff shows it."""
    return {
        "name": host["name"],
        "state": kept(host),
        "code": plain_code(host["code"]),
        "pool": host.get("pool"),
        "roles": list(host.get("roles") or []),
    }


def apply(client: Registrar, wanted: Wanted, made: Plan) -> None:
    """Do it. Raises RegistrarError."""
    if made.action == "approve":
        client.approve(wanted.code, wanted.name, wanted.pool, wanted.roles)
    elif made.action == "state":
        client.set_state(wanted.name, wanted.state)
