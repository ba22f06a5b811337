# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles that boot and register machines need to know: `cloud.provisioning` and `cloud.registered`."""

from __future__ import annotations

from typing import Any

from .expand import MANAGEMENT, Expanded, addresses_of
from .types import Node, Provisioning, Site

#: Where the registrar listens, with TLS; and where Apache finds it for machines that boot.
REGISTRAR_PORT = 7777
#: Where the image is a disk (roles/node_image/meta/footprint.yml opens it).
DISKS_PORT = 3261
Variables = dict[str, Any]


def provisioning(site: Site, expanded: Expanded) -> Variables | None:
    """`cloud.provisioning`; None where nothing boots by network.

    server: the address that machines boot from; systems: who gets which address (approved or declared), boots which
    version of the image (None: the newest), has its root where (None: by its memory, iscsi where that is less than
    disks.below_mib) and is installed on which disk (None: none); pinned: all versions that are asked for, also by
    machines that nobody knows yet; declared: whom the registrar may approve by MAC address and serial number;
    expected: nodes of cloud.yml that boot by network and have not registered yet.
    """
    own = site.provisioning
    server = next((node for node in expanded.nodes.values() if "provisioning" in node.roles), None)
    if own is None or server is None:
        return None
    network = site.networks[own.network]
    dhcp = network.dhcp
    address = str(addresses_of(site, server)[own.network])
    name = f"{server.name}.{site.domain}"
    declared = expanded.declared()
    return {
        "network": own.network,
        "cidr": str(network.cidr),
        "interface": server.interfaces.get(own.network, network.interface),
        "node": server.name,
        "name": name,
        "server": address,
        "range": None if dhcp is None else {"first": str(dhcp.first), "last": str(dhcp.last), "size": dhcp.size},
        "roles": list(own.roles),
        "pools": list(site.pools),
        "approve": own.approve,
        "return": own.return_,
        "unreachable": own.unreachable,
        "port": REGISTRAR_PORT,
        "disks": {"port": DISKS_PORT, "below_mib": own.iscsi_below_mib},
        "kernel_options": _kernel_options(own.kernel_options),
        "url": f"https://{name}:{REGISTRAR_PORT}",
        "address": str(server.address),
        "systems": _systems(site, own, expanded, declared),
        "pinned": sorted(set(own.images.values())),
        "declared": [_declared(site, own, node) for node in declared],
        "expected": [_declared(site, own, node) for node in expanded.expected()],
        "taken": sorted(set(expanded.nodes) - {node.name for node in declared} - set(expanded.registered)),
    }


def _kernel_options(own: tuple[str, ...]) -> str:
    """The site's options; an installed machine keeps those which `updraft.keep` names (updraft-install)."""
    names = ",".join(option.partition("=")[0] for option in own)
    return " ".join([*own, f"updraft.keep={names}"]) if own else ""


def registered(expanded: Expanded) -> tuple[Variables, list[str]]:
    """`cloud.registered` by name, and `cloud.away`: the names of those that are silent now.

    served: it is in service, or was when it fell silent.
    """
    brief = ("name", "state", "address", "mac", "serial", "uuid", "firmware", "image", "pool", "served")
    found = {one.name: {key: getattr(one, key) for key in brief} for one in expanded.registered.values()}
    return found, [one.name for one in expanded.registered.values() if one.state == "away"]


def _systems(site: Site, own: Provisioning, expanded: Expanded, declared: list[Node]) -> list[Variables]:
    """Each machine that keeps its address: by the MAC addresses that it told, or by the one that is written."""
    systems = [_system(own, one.name, one.mac, one.address, one.firmware) for one in expanded.registered.values()]
    for node in declared:
        if node.name not in expanded.registered:
            address = addresses_of(site, node).get(own.network, node.address)
            systems.append(_system(own, node.name, node.mac, str(address), None))
    return sorted(systems, key=lambda system: str(system["name"]))


def _system(own: Provisioning, name: str, mac: str | None, address: str, firmware: str | None) -> Variables:
    return {
        "name": name,
        "mac": mac,
        "address": address,
        "firmware": firmware,
        "image": own.images.get(name),
        "install": own.install.get(name),
        "root": own.root.get(name),
    }


def _declared(site: Site, own: Provisioning, node: Node) -> Variables:
    return {
        "name": node.name,
        "mac": node.mac,
        "serial": node.serial,
        "address": str(addresses_of(site, node).get(own.network, node.address)),
        "pool": node.pool,
        "roles": list(node.roles),
        MANAGEMENT: str(node.address),
    }
