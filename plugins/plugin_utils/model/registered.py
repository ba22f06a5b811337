# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that registered become nodes of the model, and what cannot be one is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args

from netaddr import AddrFormatError, IPAddress

from .check_nodes import PREFIXES, RESERVED
from .expand import MANAGEMENT, REGISTRAR, Expanded, addresses_of, shadow
from .problems import Problems, did_you_mean
from .query import about
from .registration import Registration
from .types import JoiningRole, Node, Provisioning, Site
from .values import is_name, parse_address

JOINING: tuple[str, ...] = get_args(JoiningRole)


def merge(site: Site, expanded: Expanded, found: Iterable[Registration], problems: Problems) -> Expanded:
    """The site's nodes with those that registered. A node of cloud.yml that boots by network stays as it is written.

    Faults (an address used twice, a pool that is gone) go to `problems`, each as registrar.<name>.
    """
    provisioning = site.provisioning
    if provisioning is None:
        return expanded
    nodes, paths = dict(expanded.nodes), dict(expanded.paths)
    registered: dict[str, Registration] = {}
    used = {address: name for name, node in expanded.nodes.items() for address in addresses_of(site, node).values()} | {
        network.gateway: f"the gateway of networks.{network.name}" for network in site.networks.values()
    }
    pools = set(site.pools)
    for one in found:
        path = f"{REGISTRAR}{one.name}"
        declared = nodes.get(one.name)
        if declared is None:
            node = _node(site, provisioning, one, path, problems)
            if node is None or not _fits(site, node, path, used, pools, problems):
                continue
            nodes[one.name], paths[one.name] = node, path
        elif declared.boot != "network":
            text = f"is also {paths[one.name]}, which boots from its disk"
            problems.add(
                path, text, f"./updraft retire {one.name} and approve it by another name, or write boot: network"
            )
            continue
        registered[one.name] = one
    return replace(expanded, nodes=nodes, paths=paths, registered=registered)


def machine_of(node: Node, one: Registration | None) -> dict[str, Any]:
    """What `smart_pools` can ask of a node."""
    return {
        "name": node.name,
        "pool": node.pool,
        "roles": list(node.roles),
        "address": str(node.address),
        "mac": node.mac,
        "serial": node.serial,
        **({"state": one.state, "firmware": one.firmware, "image": one.image} if one else {}),
        "hardware": about(one.hardware) if one else {},
    }


def _node(site: Site, provisioning: Provisioning, one: Registration, path: str, problems: Problems) -> Node | None:
    """A machine as a node. It keeps the address it booted with, and its host part on other networks."""
    cure = f"./updraft retire {one.name}, and approve it again"
    if not is_name(one.name):
        problems.add(path, f"'{one.name}' is no name of a node", cure)
        return None
    group = one.name.replace("-", "_")
    smart = {name.replace("-", "_") for name in site.smart_pools}
    if one.name in RESERVED or one.name.startswith(PREFIXES) or group in smart:
        problems.add(path, f"'{one.name}' has another meaning already", f"{cure} by another name")
        return None
    roles = one.roles or provisioning.roles
    wrong = [role for role in roles if role not in JOINING]
    if wrong:
        problems.add(path, f"cannot have the role {', '.join(wrong)}", f"{cure} as {' or '.join(JOINING)}")
        return None
    try:
        address = parse_address(one.address)
    except (ValueError, AddrFormatError):
        problems.add(path, f"'{one.address}' is no address", cure)
        return None
    return _placed(site, provisioning, one, (tuple(roles), address), path, problems)


def _placed(
    site: Site,
    provisioning: Provisioning,
    one: Registration,
    known: tuple[tuple[Any, ...], IPAddress],
    path: str,
    problems: Problems,
) -> Node | None:
    roles, address = known
    network, management = site.networks[provisioning.network], site.networks[MANAGEMENT]
    own = address if network is management else shadow(address, network, management)
    if address not in network.cidr or own is None:
        text = f"{address} is not in networks.{network.name} ({network.cidr}), which it has to boot from"
        problems.add(path, text, f"./updraft retire {one.name}, and start it on that network")
        return None
    interfaces = dict(provisioning.interfaces)
    card = next((nic for nic in one.hardware.get("nics") or () if str(nic.get("mac")).lower() == one.mac), None)
    if card and network.name not in interfaces:
        interfaces[network.name] = str(card["name"])
    return Node(
        name=one.name,
        roles=roles,
        address=own,
        addresses={} if network is management else {network.name: address},
        interfaces=interfaces,
        mac=one.mac or None,
        serial=one.serial,
        boot="network",
        pool=one.pool if "compute" in roles else None,
    )


def _fits(site: Site, node: Node, path: str, used: dict[Any, str], pools: set[str], problems: Problems) -> bool:
    """Whether a machine that is written nowhere fits beside the others; `used` gets its addresses."""
    if "compute" in node.roles and node.pool is None:
        problems.add(path, "is in no pool", f"./updraft retire {node.name}, and approve it again with --pool")
        return False
    if node.pool is not None and pools and node.pool not in pools:
        cure = f"add it to pools, or retire {node.name} and approve it again: {did_you_mean(node.pool, site.pools)}"
        problems.add(path, f"there is no pool '{node.pool}'", cure)
        return False
    mine = addresses_of(site, node).values()
    taken = next((address for address in mine if address in used), None)
    if taken is not None:
        cure = f"give one of them another address, or ./updraft retire {node.name}"
        problems.add(path, f"its address {taken} is also that of {used[taken]}", cure)
        return False
    used.update(dict.fromkeys(mine, node.name))
    return True
