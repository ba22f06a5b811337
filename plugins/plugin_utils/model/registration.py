# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registrar tells about a machine, as the model uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

State = Literal["approved", "ready", "in_service", "away"]

#: The states in which a machine is part of the cloud. Those seen only, and those retired, are not.
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class Registration:
    """One approved machine. mac: of the interface that it booted from; hardware: as it told.

    served: whether it is one that does its work, without regard to silence: one that is away may never have.
    """

    name: str
    state: State
    pool: str | None
    roles: tuple[str, ...]
    address: str
    mac: str
    macs: tuple[str, ...]
    serial: str | None
    uuid: str | None
    machine_id: str | None
    host_key: str
    firmware: str | None
    image: str | None
    hardware: Mapping[str, Any]
    served: bool = False


def registrations(hosts: Iterable[Mapping[str, Any]]) -> list[Registration]:
    """The machines of the registrar's answer that are part of the cloud, in the order of their names.

    hosts: `hosts` of GET /v1/hosts. Raises ValueError for one that lacks what it needs.
    """
    found = []
    for host in hosts:
        if host.get("state") not in STATES:
            continue
        try:
            found.append(_registration(host))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the registrar tells of a host without {error}: {host.get('name')}") from error
    return sorted(found, key=lambda one: one.name)


def _registration(host: Mapping[str, Any]) -> Registration:
    return Registration(
        name=str(host["name"]),
        state=host["state"],
        pool=host.get("pool") or None,
        roles=tuple(host.get("roles") or ()),
        address=str(host["address"]),
        mac=str(host.get("mac") or host.get("boot_mac") or "").lower(),
        macs=tuple(str(mac).lower() for mac in host.get("macs") or ()),
        serial=host.get("serial") or None,
        uuid=host.get("uuid") or None,
        machine_id=host.get("machine_id") or None,
        host_key=str(host["host_key"]),
        firmware=host.get("firmware"),
        image=host.get("image"),
        hardware=host.get("hardware") or {},
        served=host.get("kept_state", host["state"]) == "in_service",
    )
