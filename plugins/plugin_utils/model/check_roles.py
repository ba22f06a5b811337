# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that the roles and services of a cloud are complete."""

from __future__ import annotations

from .check_networks import need_network
from .expand import PROVIDER, STORAGE, Expanded, addresses_of
from .problems import Problems
from .types import Node, Role, Service, Site

#: Services without which a service does not work.
NEEDS: dict[Service, tuple[Service, ...]] = {
    "keystone": (),
    "glance": ("keystone",),
    "placement": ("keystone",),
    "nova": ("keystone", "glance", "placement", "neutron"),
    "neutron": ("keystone",),
    "cinder": ("keystone",),
}
#: Node roles without which a service has nothing to work with.
HANDS: dict[Service, tuple[Role, str]] = {
    "nova": ("compute", "nova runs instances there"),
    "neutron": ("gateway", "instances reach the world there"),
    "cinder": ("storage", "cinder keeps volumes there"),
}
#: Node roles of which there is exactly one machine today.
ONE: tuple[Role, ...] = ("control", "database", "messaging")
# What a machine that registers may become, `provisioning.roles`, counts as somebody who has the role.


def check_roles(site: Site, expanded: Expanded, problems: Problems) -> None:
    """Report roles that nobody or too many have, and services without what they need."""
    members: dict[str, list[str]] = {}
    for node in expanded.nodes.values():
        for role in node.roles:
            members.setdefault(role, []).append(node.name)
    _services(site, problems)
    for name in members.get("backup", []):
        _backup(site, expanded.nodes[name], expanded.paths[name], problems)
    if expanded.nodes and not problems.under("nodes"):
        for role in ONE:
            _one(site, role, members.get(role, []), expanded, problems)
        for service, (role, why) in HANDS.items():
            joining = site.provisioning is not None and role in site.provisioning.roles
            if service in site.services and role not in members and not joining:
                cure = f"add {role} to the roles of a node, or remove {service} from services"
                problems.add("nodes", f"no node has the role {role}: {why}", cure)
    if "storage" in members:
        need_network(site, STORAGE, "storage nodes serve volumes there", problems)
    if "gateway" in members or (site.provisioning and "gateway" in site.provisioning.roles):
        need_network(site, PROVIDER, "gateways reach the world through it", problems)
    _endpoint(site, expanded, problems)


def _services(site: Site, problems: Problems) -> None:
    if problems.under("services"):
        return
    for number, service in enumerate(site.services):
        missing = [need for need in NEEDS[service] if need not in site.services]
        if missing:
            names = ", ".join(missing)
            problems.add(f"services[{number}]", f"{service} needs {names}", f"add {names} to services")


def _backup(site: Site, node: Node, path: str, problems: Problems) -> None:
    """What is lost with the volumes is no backup of them."""
    if "storage" in node.roles:
        text = "a backup belongs on another node than the volumes"
        problems.add(f"{path}.roles", text, "take the role backup to a node without the role storage")
    elif "cinder" not in site.services and not problems.under("services"):
        text = "backups are made by cinder, which is not one of services"
        problems.add(f"{path}.roles", text, "remove the role backup, or add cinder to services")


def _one(site: Site, role: Role, members: list[str], expanded: Expanded, problems: Problems) -> None:
    if not members:
        if site.services:
            cure = f"add {role} to the roles of a node"
            problems.add("nodes", f"no node has the role {role}, which the services need", cure)
        return
    if len(members) == 1:
        return
    path = f"{expanded.paths[members[1]]}.roles"
    names = ", ".join(members)
    text = f"{len(members)} nodes have the role {role} ({names})"
    if len(members) % 2 == 0:
        text += ": of an even number neither half is a majority"
    problems.add(path, text, f"leave {role} to one node; several are not supported yet")


def _endpoint(site: Site, expanded: Expanded, problems: Problems) -> None:
    address = site.endpoint.address
    control = [node for node in expanded.nodes.values() if "control" in node.roles]
    if address is None or len(control) != 1 or problems.under("nodes"):
        return
    own = addresses_of(site, control[0])
    if address not in own.values():
        addresses = " or ".join(str(item) for item in own.values())
        text = f"{address} is not an address of the control node {control[0].name}"
        problems.add("endpoint.address", text, f"write {addresses}, or remove it")
