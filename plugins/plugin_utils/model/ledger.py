# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of ports: what footprints declare, made concrete for each node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import netaddr

from .expand import MANAGEMENT, STORAGE2, Link
from .footprints import Footprint, Port, applies
from .storage import Storage
from .types import ROLES, Node, Site

ANYWHERE = "0.0.0.0/0"
PROVISIONING = "provisioning"
KERNEL = "kernel"
Entry = dict[str, Any]


class Ledger:
    """Resolves ports of one site. addresses: of each node by network, as text."""

    def __init__(
        self, site: Site, groups: dict[str, list[str]], addresses: dict[str, dict[str, str]], storage: Storage
    ) -> None:
        self.site, self.groups, self.addresses, self.storage = site, groups, addresses, storage
        self.known: dict[tuple[tuple[str, ...], str], list[str]] = {}
        self.members = {role: frozenset(names) for role, names in groups.items()}

    def declared(self, footprint: Footprint) -> Iterator[Entry]:
        """What a footprint declares: whom it serves, and on which nodes."""
        for port in footprint.ports:
            if port.network == STORAGE2 and STORAGE2 not in self.site.networks:
                continue
            on = ROLES if port.on == ("all",) else port.on
            yield {
                "name": port.name,
                "port": port.port,
                "protocol": port.protocol,
                "network": self.network(port),
                "from": list(port.sources),
                "on": list(port.on),
                "nodes": self._nodes(on),
                "process": port.process,
                "component": footprint.name,
                "optional": port.optional,
            }

    def resolved(self, footprint: Footprint, node: Node, links: dict[str, Link]) -> Iterator[Entry]:
        """A footprint's ports on one node: its address there, and the addresses that may connect."""
        for port in footprint.ports:
            if not applies(port.on, node.roles):
                continue
            for network, sources in self._places(port, links):
                link = links[network]
                for address in self._own(port, node, network, link):
                    yield {
                        "name": port.name,
                        "port": port.port,
                        "protocol": port.protocol,
                        "network": network,
                        "interface": link.interface,
                        "address": address,
                        "sources": sources,
                        "process": port.process,
                        "component": footprint.name,
                        "optional": port.optional,
                    }

    def _own(self, port: Port, node: Node, network: str, link: Link) -> list[str]:
        """Where a port is served: what the leg of a mirror serves to others, also where it serves while it does."""
        service = self.storage.service(node, network) if port.process == KERNEL else None
        return [str(link.address), *([service] if service else [])]

    def network(self, port: Port) -> str:
        """The network that a port is on; `provisioning` is the one that machines boot from."""
        if port.network == PROVISIONING and self.site.provisioning is not None:
            return self.site.provisioning.network
        return port.network

    def _nodes(self, on: tuple[str, ...]) -> list[str]:
        found = frozenset[str]().union(*(self.members[role] for role in on))
        return [name for name in self.addresses if name in found]

    def _places(self, port: Port, links: dict[str, Link]) -> Iterator[tuple[str, list[str]]]:
        own = self.network(port)
        link = links.get(own)
        if link and link.address is not None:
            yield own, self.sources(port.sources, own)
        # What the API serves to its users, it also serves where the site puts its endpoint.
        if port.process == "haproxy" and "network" in port.sources:
            for name, other in links.items():
                if name != own and other.address and other.address == self.site.endpoint.address:
                    yield name, [ANYWHERE]

    def sources(self, wanted: tuple[str, ...], network: str) -> list[str]:
        """The networks and addresses which may connect, merged: never more than was meant."""
        key = (wanted, network)
        if key not in self.known:
            self.known[key] = self._sources(wanted, network)
        return self.known[key]

    def _sources(self, wanted: tuple[str, ...], network: str) -> list[str]:
        if "any" in wanted:
            return [ANYWHERE]
        found: list[str] = []
        for source in wanted:
            if source == "network":
                found.append(str(self.site.networks[network].cidr))
            elif source == "controller":
                found.append(str(self.site.networks[MANAGEMENT].cidr))
            else:
                here = (self.addresses[name].get(network) for name in self.groups[source])
                found.extend(f"{address}/32" for address in here if address)
        return [str(merged) for merged in netaddr.cidr_merge(found)]
