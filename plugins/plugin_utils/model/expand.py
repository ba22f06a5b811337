# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes in bulk (`node[1:8]`), and the addresses and interfaces that each node gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from netaddr import IPAddress

from .problems import Problems
from .registration import Registration
from .types import Network, Node, Site, link_name

MANAGEMENT, STORAGE, PROVIDER = "management", "storage", "provider"
#: A second storage network: another path between compute and storage nodes.
STORAGE2 = "storage2"
STORAGES = (STORAGE, STORAGE2)

#: The path of a machine that is written nowhere, and is known to the registrar alone, begins so.
REGISTRAR = "registrar."
MOST = 4096
#: Roles whose nodes get an address on a storage network that follows from the management address.
ON_STORAGE = {STORAGE: {"control", "storage", "compute", "backup"}, STORAGE2: {"storage", "compute", "backup"}}

_RANGE = re.compile(r"(?P<head>[^\[]+)\[(?P<first>\d+):(?P<last>\d+)\](?P<tail>.*)")


@dataclass(frozen=True, slots=True)
class Expanded:
    """The site's machines one by one, and the path in cloud.yml that each comes from.

    registered: what the registrar knows of those nodes that registered with it, by name.
    """

    nodes: dict[str, Node]
    paths: dict[str, str]
    registered: Mapping[str, Registration] = field(default_factory=dict)

    def present(self) -> list[Node]:
        """The machines that are there: those with a system of their own, and those that registered."""
        return [node for node in self.nodes.values() if node.boot == "disk" or node.name in self.registered]

    def declared(self) -> list[Node]:
        """The machines that are written down and boot by network."""
        written = [node for name, node in self.nodes.items() if not self.paths[name].startswith(REGISTRAR)]
        return [node for node in written if node.boot == "network"]

    def expected(self) -> list[Node]:
        """Of those, the ones that have not registered yet."""
        return [node for node in self.declared() if node.name not in self.registered]


@dataclass(frozen=True, slots=True)
class Link:
    """A node's place on a network. interface: as it is named on the node, with its VLAN if tagged."""

    network: Network
    interface: str
    parent: str
    address: IPAddress | None


def expand(site: Site, problems: Problems) -> Expanded:
    """Write out the ranges; what cannot be written out is reported and left out."""
    nodes: dict[str, Node] = {}
    paths: dict[str, str] = {}
    for key, node in site.nodes.items():
        path = f"nodes.{key}"
        for number, name in enumerate(_names(key, node, path, problems)):
            if name in nodes:
                cure = "give each machine a name of its own"
                problems.add(path, f"makes '{name}', which {paths[name]} makes already", cure)
                continue
            nodes[name] = _numbered(node, name, number)
            paths[name] = path
    return Expanded(nodes, paths)


def _names(key: str, node: Node, path: str, problems: Problems) -> list[str]:
    found = _RANGE.fullmatch(key)
    if not found:
        return [key]
    first, last = int(found["first"]), int(found["last"])
    if not 0 <= last - first < MOST:
        cure = f"write the lower number first, and at most {MOST} machines, such as {found['head']}[1:8]"
        problems.add(path, f"[{found['first']}:{found['last']}] is not a range of machines", cure)
        return []
    for key_of_one, value, what in (("mac", node.mac, "MAC address"), ("serial", node.serial, "serial number")):
        if value:
            cure = f"remove it, or write each machine on its own with its {what}"
            problems.add(f"{path}.{key_of_one}", f"one {what} cannot be that of several machines", cure)
            return []
    counted = [node.address, *node.addresses.values(), node.power.address if node.power else None]
    if any(address and int(address) + last - first >= 2**32 for address in counted):
        cure = "write a lower address: a range counts up from it"
        problems.add(f"{path}.address", f"there are no {last - first} addresses after it", cure)
        return []
    width = len(found["first"]) if found["first"].startswith("0") else 0
    return [f"{found['head']}{number:0{width}d}{found['tail']}" for number in range(first, last + 1)]


def _numbered(node: Node, name: str, number: int) -> Node:
    if number == 0:
        return replace(node, name=name)
    addresses = {net: None if address is None else address + number for net, address in node.addresses.items()}
    power = node.power and replace(node.power, address=node.power.address + number)
    return replace(node, name=name, address=node.address + number, addresses=addresses, power=power)


def shadow(address: IPAddress, management: Network, network: Network) -> IPAddress | None:
    """The address with the same host part on another network, or None if it does not fit there."""
    if address not in management.cidr:
        return None
    offset = int(address) - int(management.cidr.network)
    return network.cidr.network + offset if offset < network.cidr.size else None


def following(site: Site, node: Node) -> list[Network]:
    """The storage networks on which a node has the host part of its management address."""
    return [
        site.networks[name]
        for name, roles in ON_STORAGE.items()
        if name in site.networks and name not in node.addresses and roles.intersection(node.roles)
    ]


def addresses_of(site: Site, node: Node) -> dict[str, IPAddress]:
    """The addresses of a node by network: those written, and the storage addresses that follow."""
    found = {MANAGEMENT: node.address}
    management = site.networks.get(MANAGEMENT)
    for network in following(site, node):
        follows = shadow(node.address, management, network) if management else None
        if follows is not None:
            found[network.name] = follows
    found.update({net: address for net, address in node.addresses.items() if address is not None})
    return {net: found[net] for net in site.networks if net in found}


def links_of(site: Site, node: Node) -> dict[str, Link]:
    """The networks that a node is plugged into; a gateway carries the provider network without an address."""
    addresses = addresses_of(site, node)
    links = {}
    for name, network in site.networks.items():
        if name in addresses or (name == PROVIDER and "gateway" in node.roles):
            parent = node.interfaces.get(name, network.interface)
            links[name] = Link(network, link_name(parent, network.vlan), parent, addresses.get(name))
    return links
