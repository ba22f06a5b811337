# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what boots by network, who may join, and the groups that `smart_pools` make."""

from __future__ import annotations

from collections.abc import Collection

from .check_nodes import PREFIXES, RESERVED
from .expand import MANAGEMENT, PROVIDER, Expanded, addresses_of, shadow
from .problems import Problems, did_you_mean
from .types import Node, Provisioning, Role, Site
from .values import AddressRange

#: Roles whose data would be gone with every start of a machine without a disk.
ROOTED: tuple[Role, ...] = ("control", "database", "messaging", "provisioning", "backup")


def check_provisioning(site: Site, expanded: Expanded, problems: Problems) -> None:
    """Report a cloud that machines could not boot from, or nodes that could not be told apart."""
    servers = [node for node in expanded.nodes.values() if "provisioning" in node.roles]
    if site.provisioning is None:
        _without(expanded, servers, problems)
    else:
        _network(site, site.provisioning, problems)
        _servers(site, site.provisioning, servers, expanded, problems)
        _interfaces(site, site.provisioning, problems)
        _images(site.provisioning, expanded, problems)
        if not site.provisioning.roles and not problems.under("provisioning.roles"):
            problems.add("provisioning.roles", "is empty: a machine does something", "write roles: [compute]")
    serials: dict[str, str] = {}
    for node in expanded.nodes.values():
        path = expanded.paths[node.name]
        _booted(node, path, problems)
        if node.serial is not None:
            other = serials.setdefault(node.serial, path)
            if other != path:
                text = f"{node.serial} is also that of {other}"
                problems.add(f"{path}.serial", text, "write the number that this machine's own firmware tells")
    _smart_pools(site, expanded, problems)


def _without(expanded: Expanded, servers: list[Node], problems: Problems) -> None:
    for node in servers:
        text = f"is missing: {expanded.paths[node.name]} has the role provisioning"
        cure = "write provisioning: {network: management}, or remove the role"
        problems.add("provisioning", text, cure)
    for node in expanded.nodes.values():
        if node.boot == "network" and not servers:
            path = expanded.paths[node.name]
            cure = "write provisioning: {network: management}, or boot: disk"
            problems.add(f"{path}.boot", "nothing can boot by network without the section provisioning", cure)


def _network(site: Site, provisioning: Provisioning, problems: Problems) -> None:
    here = "provisioning.network"
    if problems.under(here, "networks"):
        return
    network = site.networks.get(provisioning.network)
    if network is None:
        problems.add(
            here, f"there is no network '{provisioning.network}'", did_you_mean(provisioning.network, site.networks)
        )
    elif network.dhcp is None:
        text = f"networks.{network.name} has no dhcp range: machines that boot get their addresses from it"
        cure = f"write networks.{network.name}.dhcp: first-last, with addresses that no node has"
        problems.add(here, text, cure)
    elif network.name == PROVIDER:
        problems.add(here, "the provider network is the tenants'", "write management, or a network of its own")
    elif network.vlan is not None:
        text = f"networks.{network.name} is tagged (vlan {network.vlan}), and firmware boots from untagged networks"
        problems.add(here, text, "write a network without vlan")
    elif network.name != MANAGEMENT and MANAGEMENT in site.networks:
        _fits(site, provisioning.network, network.dhcp, problems)


def _fits(site: Site, name: str, addresses: AddressRange, problems: Problems) -> None:
    """Machines keep the host part of the address that they booted with."""
    if shadow(addresses.last, site.networks[name], site.networks[MANAGEMENT]) is None:
        text = f"the host part of {addresses.last} does not fit in networks.management"
        problems.add(f"networks.{name}.dhcp", text, "write lower addresses, or a larger management network")


def _servers(
    site: Site, provisioning: Provisioning, servers: list[Node], expanded: Expanded, problems: Problems
) -> None:
    if problems.under("nodes"):
        return
    if not servers:
        cure = "add provisioning to the roles of a node, such as the control node"
        problems.add("provisioning", "no node has the role provisioning, which machines boot from", cure)
        return
    if len(servers) > 1:
        names = ", ".join(node.name for node in servers)
        text = f"{len(servers)} nodes have the role provisioning ({names})"
        cure = "leave provisioning to one node; several are not supported yet"
        problems.add(f"{expanded.paths[servers[1].name]}.roles", text, cure)
    name = provisioning.network
    if name in site.networks and name not in addresses_of(site, servers[0]):
        text = f"{expanded.paths[servers[0].name]} has the role provisioning, and no address there"
        problems.add("provisioning.network", text, f"write addresses: {{{name}: ...}} for it")


def _interfaces(site: Site, provisioning: Provisioning, problems: Problems) -> None:
    for name in provisioning.interfaces:
        if name not in site.networks and not problems.under(f"networks.{name}"):
            here = f"provisioning.interfaces.{name}"
            problems.add(here, f"there is no network '{name}'", did_you_mean(name, site.networks))


def _images(provisioning: Provisioning, expanded: Expanded, problems: Problems) -> None:
    """Only what boots by network can be given an image. A name that is not here may be the registrar's."""
    named: dict[str, Collection[str]] = {
        "images": provisioning.images,
        "install": provisioning.install,
        "root": provisioning.root,
    }
    for key, written in named.items():
        for name in written:
            node = expanded.nodes.get(name)
            if node is not None and node.boot == "disk":
                text = f"{expanded.paths[name]} has a system of its own (boot: disk)"
                cure = f"remove it, or write boot: network and a mac for {name}"
                problems.add(f"provisioning.{key}.{name}", text, cure)
    for name, disk in provisioning.install.items():
        node = expanded.nodes.get(name)
        if node is not None and disk in node.disks:
            text = f"'{disk}' is one of {expanded.paths[name]}.disks, which are for volumes"
            problems.add(f"provisioning.install.{name}", text, "write another disk of the machine")


def _booted(node: Node, path: str, problems: Problems) -> None:
    """A machine without a system of its own is known by its MAC address, and keeps nothing."""
    if node.boot != "network" or problems.under(f"{path}.boot", f"{path}.mac", f"{path}.roles"):
        return
    if node.mac is None:
        cure = f"write mac: 52:54:00:12:34:56 with its value, or remove {path}: a machine can join unwritten"
        problems.add(f"{path}.mac", "is missing: a machine that boots by network is known by it", cure)
    rooted = [role for role in ROOTED if role in node.roles]
    if rooted:
        text = f"a machine that boots by network keeps no data, and {', '.join(rooted)} has to"
        problems.add(f"{path}.boot", text, "write boot: disk, or leave the role to another node")


def _smart_pools(site: Site, expanded: Expanded, problems: Problems) -> None:
    """Their names are those of Ansible groups, beside nodes, roles and pools."""
    seen: dict[str, str] = {}
    for name in site.smart_pools:
        here, group = f"smart_pools.{name}", name.replace("-", "_")
        if name in RESERVED or name.startswith(PREFIXES) or name in ("pool", "state"):
            problems.add(here, f"'{name}' has another meaning already", "choose another name, such as large")
        elif name in expanded.nodes:
            problems.add(here, f"'{name}' is also a node", "choose another name: a group and a host cannot share one")
        elif group in seen:
            problems.add(here, f"makes the group '{group}', as {seen[group]} does", "choose another name")
        seen.setdefault(group, here)
