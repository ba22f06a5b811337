# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the mirror of two storage nodes, and of the storage pools of hypervisors."""

from __future__ import annotations

from netaddr import IPAddress

from .check_networks import need_network, usable
from .check_nodes import fault
from .expand import STORAGE, STORAGES, Expanded, addresses_of
from .problems import Problems, did_you_mean
from .storage import LONGEST_IQN, iqns, service_addresses, thin_pool, volume_name
from .types import Mirror, Node, Site

MIRROR = "volumes.mirror"
POOLS = "compute.storage_pools"
#: What device-mapper takes for `<group>-<volume>`, hyphens doubled.
LONGEST_MAPPED = 127


def check_storage(site: Site, expanded: Expanded, problems: Problems) -> None:
    """Report a mirror that cannot be one, and pools that nobody could serve or use."""
    if site.volumes.mirror is not None:
        _legs(site.volumes.mirror, expanded, problems)
        _service(site, site.volumes.mirror, expanded, problems)
    if site.compute.storage_pools:
        _pools(site, expanded, problems)
    if site.volumes.mirror is not None or site.compute.storage_pools:
        _names(site, problems)


def _legs(mirror: Mirror, expanded: Expanded, problems: Problems) -> None:
    here = f"{MIRROR}.legs"
    storage = [node.name for node in expanded.nodes.values() if "storage" in node.roles]
    for number, name in enumerate(mirror.legs):
        path = f"{here}[{number}]"
        node = expanded.nodes.get(name)
        if problems.under("nodes") and node is None:
            continue
        if node is None:
            problems.add(path, f"there is no node '{name}'", did_you_mean(name, storage or expanded.nodes))
        elif "storage" not in node.roles and not problems.under(f"{expanded.paths[name]}.roles"):
            cure = f"write two of {', '.join(storage)}" if len(storage) > 1 else "add storage to its roles, and disks"
            problems.add(path, f"'{name}' does not have the role storage", cure)
        elif node.boot != "disk":
            problems.add(path, f"'{name}' boots by network and keeps no data", "write a node with boot: disk")
    if problems.under(here):
        return
    if len(mirror.legs) != 2:
        problems.add(here, f"has {len(mirror.legs)}", "write two storage nodes, such as [storage1, storage2]")
        return
    if problems.under("nodes"):
        return
    one, other = (expanded.nodes[name] for name in mirror.legs)
    _disks(one, other, problems)
    _power(mirror, expanded, problems)
    for name in storage:
        if name not in mirror.legs:
            text = f"{name} is a storage node beside the mirror of {' and '.join(mirror.legs)}"
            cure = f"take the role storage from it, or remove {MIRROR}: both together are not supported yet"
            problems.add(f"{expanded.paths[name]}.roles", text, cure)


def _power(mirror: Mirror, expanded: Expanded, problems: Problems) -> None:
    """Who moves by itself first switches off the one that is lost."""
    for name in mirror.legs if mirror.failover == "by_itself" else ():
        node, path = expanded.nodes[name], expanded.paths[name]
        if node.power is None and not problems.under(path):
            text = f"{name} could not be switched off: two servers that both write destroy the volumes"
            cure = f"write {path}.power: {{kind: redfish, address: ..., user: ...}}, or by_hand"
            problems.add(f"{MIRROR}.failover", text, cure)


def _disks(one: Node, other: Node, problems: Problems) -> None:
    """Each disk of one leg is paired with one of the other, so both have as many."""
    if len(one.disks) != len(other.disks):
        text = f"{one.name} has {len(one.disks)} disks, {other.name} has {len(other.disks)}"
        problems.add(f"{MIRROR}.legs", text, "write as many `disks` for one as for the other: they are paired in order")


def _service(site: Site, mirror: Mirror, expanded: Expanded, problems: Problems) -> None:
    """Each storage network has a service address of its own, which no machine has."""
    need_network(site, STORAGE, "the legs of a mirror write to each other there", problems)
    further = [name for name in STORAGES if name != STORAGE and name in site.networks]
    for name in mirror.addresses:
        _further(name, site, further, problems)
    for name in further:
        path = f"{MIRROR}.addresses.{name}"
        if name not in mirror.addresses and not problems.under(f"{MIRROR}.addresses"):
            cure = f"write addresses: {{{name}: ...}} with an address from {usable(site.networks[name])}"
            problems.add(path, f"is missing: volumes are served on networks.{name}, too", cure)
    used: dict[IPAddress, str] = {
        network.gateway: f"networks.{network.name}.gateway" for network in site.networks.values() if network.gateway
    }
    for node in expanded.nodes.values():
        used.update(dict.fromkeys(addresses_of(site, node).values(), f"that of {node.name}"))
    for name, address in service_addresses(site, mirror).items():
        _address(site, name, address, used, problems)
    if not problems.under("nodes"):
        _plugged(site, mirror, expanded, problems)


def _further(name: str, site: Site, further: list[str], problems: Problems) -> None:
    path = f"{MIRROR}.addresses.{name}"
    if name == STORAGE:
        cure = f"write it as {MIRROR}.address"
        problems.add(path, "the address on the storage network has a key of its own", cure)
    elif name not in site.networks and not problems.under(f"networks.{name}", "networks"):
        cure = f"remove it, or write networks.{name}" if name in STORAGES else did_you_mean(name, further)
        problems.add(path, f"there is no network '{name}'", cure)
    elif name not in STORAGES:
        cure = f"remove it: those are {' and '.join(STORAGES)}"
        problems.add(path, f"'{name}' is no storage network", cure)


def _address(site: Site, name: str, address: IPAddress, used: dict[IPAddress, str], problems: Problems) -> None:
    path = f"{MIRROR}.address" if name == STORAGE else f"{MIRROR}.addresses.{name}"
    wrong = fault(site.networks[name], address)
    if wrong is None and address in used:
        wrong = f"is also {used[address]}", "write one that no machine has: it goes to the leg that serves"
    if wrong is not None:
        problems.add(path, f"{address} {wrong[0]}", wrong[1])


def _plugged(site: Site, mirror: Mirror, expanded: Expanded, problems: Problems) -> None:
    legs = [expanded.nodes[name] for name in mirror.legs if name in expanded.nodes]
    for node in legs:
        for name in service_addresses(site, mirror):
            if "storage" in node.roles and name not in addresses_of(site, node):
                text = f"{node.name} is a leg of the mirror and has no address on networks.{name}"
                cure = f"write {name}: ... there, or remove {name}: null"
                problems.add(f"{expanded.paths[node.name]}.addresses", text, cure)


def _pools(site: Site, expanded: Expanded, problems: Problems) -> None:
    compute = any("compute" in node.roles for node in expanded.nodes.values())
    joining = site.provisioning is not None and "compute" in site.provisioning.roles
    if not problems.under("nodes"):
        if not compute and not joining:
            cure = f"add compute to the roles of a node, or remove {POOLS}"
            problems.add(POOLS, "no node has the role compute: nobody would use them", cure)
        if site.volumes.mirror is None and not problems.under(MIRROR):
            cure = f"write {MIRROR}: {{legs: [...], address: ...}}, or remove {POOLS}"
            problems.add(POOLS, "their volumes live on a mirror of two storage nodes, and there is none", cure)
    made = {thin_pool(site): "the thin pool"} if site.volumes.thin else {}
    for pool in site.compute.storage_pools.values():
        if not pool.volumes and not problems.under(f"{POOLS}.{pool.name}.volumes"):
            problems.add(f"{POOLS}.{pool.name}.volumes", "is empty: a pool has volumes", "write volumes: {first: 10}")
        for volume in pool.volumes:
            path, name = f"{POOLS}.{pool.name}.volumes.{volume}", volume_name(pool.name, volume)
            other = made.setdefault(name, path)
            if other != path:
                problems.add(path, f"its logical volume is {name}, which {other} has already", "choose another name")
            mapped = f"{site.volumes.group}{name}".replace("-", "--")
            if len(mapped) + 1 > LONGEST_MAPPED:
                text = f"the name {site.volumes.group}/{name} is longer than device-mapper takes"
                problems.add(path, text, "choose shorter names for the volume, the pool or volumes.group")


def _names(site: Site, problems: Problems) -> None:
    for name in iqns(site):
        if len(name) > LONGEST_IQN and not problems.under("domain"):
            text = f"makes iSCSI names of more than {LONGEST_IQN} characters ({name})"
            problems.add("domain", text, "write a shorter one")
