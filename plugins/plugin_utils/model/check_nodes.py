# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the machines: their names, addresses, interfaces, disks and pools."""

from __future__ import annotations

from netaddr import IPAddress

from .check_networks import ranges, usable
from .expand import MANAGEMENT, PROVIDER, STORAGES, Expanded, addresses_of, following, links_of, shadow
from .problems import Problems, did_you_mean
from .types import ROLES, Network, Node, Site

RESERVED = {*ROLES, "all", "ungrouped", "localhost", "api"}
#: How the names of groups begin that the model makes.
PREFIXES = ("pool-", "state-")


def check_nodes(site: Site, expanded: Expanded, problems: Problems) -> None:
    """Report machines that cannot be what cloud.yml says, and what two of them both claim."""
    if not site.nodes and not problems.under("nodes"):
        problems.add("nodes", "is empty: a cloud has machines", "write node1: {roles: [...], address: ...}")
    used: dict[IPAddress, str] = {
        network.gateway: f"networks.{network.name}.gateway" for network in site.networks.values() if network.gateway
    }
    macs: dict[str, str] = {}
    controllers: dict[IPAddress, str] = {}
    for node in expanded.nodes.values():
        path = expanded.paths[node.name]
        _name(node, path, problems)
        _names_of_networks(site, node, path, problems)
        _follows(site, node, path, problems)
        _addresses(site, node, path, used, problems)
        _interfaces(site, node, path, problems)
        _mac(node, path, macs, problems)
        _disks(node, path, problems)
        _pool(site, node, path, problems)
    for node in expanded.nodes.values():
        _power(node, expanded.paths[node.name], controllers, used, problems)
    _idle(site, expanded, problems)
    _pools(site, expanded, problems)
    _wipe(site, expanded, problems)


def _label(node: Node, path: str) -> str:
    """The machine's name where the path does not say it."""
    return "" if path == f"nodes.{node.name}" else f" (as {node.name})"


def _name(node: Node, path: str, problems: Problems) -> None:
    if node.name in RESERVED or node.name.startswith(PREFIXES):
        problems.add(path, f"'{node.name}' has another meaning already", f"choose another name, such as {node.name}1")
    if not node.roles and not problems.under(f"{path}.roles"):
        problems.add(f"{path}.roles", "is empty: a machine does something", f"write some of {', '.join(ROLES)}")


def _names_of_networks(site: Site, node: Node, path: str, problems: Problems) -> None:
    for key, written in (("addresses", node.addresses), ("interfaces", node.interfaces)):
        for name in written:
            here = f"{path}.{key}.{name}"
            if key == "addresses" and name == MANAGEMENT:
                problems.add(here, "the management address has a key of its own", f"write it as {path}.address")
            elif name not in site.networks and not problems.under(f"networks.{name}"):
                problems.add(here, f"there is no network '{name}'", did_you_mean(name, site.networks))


def _follows(site: Site, node: Node, path: str, problems: Problems) -> None:
    """A storage address follows from the management address only where the host part fits."""
    management = site.networks.get(MANAGEMENT)
    if not management or node.address not in management.cidr:
        return
    for network in following(site, node):
        if shadow(node.address, management, network) is None:
            text = f"the host part of {node.address} does not fit in networks.{network.name} ({network.cidr})"
            cure = f"write addresses: {{{network.name}: ...}} with an address from {usable(network)}"
            problems.add(f"{path}.address", text + _label(node, path), cure)


def _addresses(site: Site, node: Node, path: str, used: dict[IPAddress, str], problems: Problems) -> None:
    wrong: set[str] = set()
    for name, address in addresses_of(site, node).items():
        network = site.networks[name]
        written = name == MANAGEMENT or name in node.addresses
        here = f"{path}.address" if name == MANAGEMENT or not written else f"{path}.addresses.{name}"
        if not written and wrong:
            continue  # what follows from a wrong address needs no word of its own
        shown = f"{address}{_label(node, path)}" if written else f"{address}, which follows on {name},"
        wrong_there = fault(network, address)
        if wrong_there or address in used:
            text, cure = wrong_there or (f"is also {used[address]}", "give each machine an address of its own")
            if not written:
                cure += f" as addresses: {{{name}: ...}}"
            problems.add(here, f"{shown} {text}", cure)
            wrong.add(name)
        used.setdefault(address, here if path == f"nodes.{node.name}" else f"{here} ({node.name})")


def fault(network: Network, address: IPAddress) -> tuple[str, str] | None:
    """What is wrong with a machine's address on a network, and the cure."""
    if address not in network.cidr:
        return f"is not in networks.{network.name} ({network.cidr})", f"write an address from {usable(network)}"
    if address == network.cidr.network:
        return f"is the network address of {network.cidr}", f"write an address from {usable(network)}"
    if address == network.cidr.broadcast:
        return f"is the broadcast address of {network.cidr}", f"write an address from {usable(network)}"
    for kind, addresses in ranges(network):
        if address in addresses:
            return f"is inside the {kind} range {addresses} of networks.{network.name}", "write one outside of it"
    return None


def _interfaces(site: Site, node: Node, path: str, problems: Problems) -> None:
    taken: dict[str, str] = {}
    for name, link in links_of(site, node).items():
        own = name in node.interfaces
        here = f"{path}.interfaces.{name}" if own else f"networks.{name}.interface"
        if len(link.interface) > 15:
            text = f"'{link.interface}' is longer than the 15 characters that Linux allows"
            problems.add(here, text, "rename the interface to a shorter name on the machine, and write that here")
        other = taken.setdefault(link.interface, name)
        if other != name and (link.network.vlan is None or link.network.vlan != site.networks[other].vlan):
            text = f"'{link.interface}' carries networks.{other} already"
            problems.add(
                here, text, f"write another interface, or tag one of the two with a vlan (networks.{name}.vlan)"
            )


def _power(
    node: Node, path: str, controllers: dict[IPAddress, str], used: dict[IPAddress, str], problems: Problems
) -> None:
    if node.power is None:
        return
    here = f"{path}.power"
    if node.power.insecure and node.power.kind != "redfish":
        cure = "remove it, or write kind: redfish"
        problems.add(f"{here}.insecure", f"{node.power.kind} shows no certificate", cure)
    own = f"{here}.address{_label(node, path)}"
    other = used.get(node.power.address) or controllers.setdefault(node.power.address, own)
    if other != own:
        text = f"{node.power.address}{_label(node, path)} is also {other}"
        problems.add(f"{here}.address", text, "give each machine the controller of its own")


def _mac(node: Node, path: str, macs: dict[str, str], problems: Problems) -> None:
    if node.mac is None:
        return
    other = macs.setdefault(node.mac, path)
    if other != path:
        problems.add(
            f"{path}.mac", f"{node.mac} is also that of {other}", "write the address of this machine's own card"
        )


def _disks(node: Node, path: str, problems: Problems) -> None:
    storage = "storage" in node.roles
    if storage and not node.disks and not problems.under(f"{path}.disks"):
        problems.add(f"{path}.disks", "is missing: a storage node needs disks for volumes", "write disks: [/dev/sdb]")
    if node.disks and not storage and not problems.under(f"{path}.roles"):
        cure = "remove it, or add storage to the roles"
        problems.add(f"{path}.disks", "only a node with the role storage uses disks", cure)
    for number, disk in enumerate(node.disks):
        if disk == node.system_disk:
            cure = "write a disk that holds nothing, or correct system_disk"
            problems.add(f"{path}.disks[{number}]", f"'{disk}' is also the system disk", cure)


def _pool(site: Site, node: Node, path: str, problems: Problems) -> None:
    here, compute = f"{path}.pool", "compute" in node.roles
    if problems.under(here, f"{path}.roles"):
        return
    if compute and node.pool is None:
        pools = site.pools or ("general",)
        problems.add(here, "is missing: a compute node belongs to a pool", f"write pool: {pools[0]}")
    elif node.pool is not None and not compute:
        problems.add(here, "only a node with the role compute is in a pool", "remove it, or add compute to the roles")
    elif node.pool is not None and site.pools and node.pool not in site.pools:
        problems.add(here, f"there is no pool '{node.pool}'", did_you_mean(node.pool, site.pools))


def _idle(site: Site, expanded: Expanded, problems: Problems) -> None:
    """A network that nobody is on is most likely another one's name, misspelt."""
    usual = (MANAGEMENT, *STORAGES, PROVIDER)
    used = {name for node in expanded.nodes.values() for name in node.addresses}
    for name in site.networks:
        if name not in usual and name not in used and not problems.under("nodes", f"networks.{name}"):
            near = next((known for known in usual if did_you_mean(name, [known]).startswith("did")), None)
            cure = f"remove it, or write addresses: {{{name}: ...}} for the nodes on it"
            if near is None or not problems.under(f"networks.{near}"):
                problems.add(
                    f"networks.{name}", "no node is on this network", f"did you mean '{near}'?" if near else cure
                )


def _pools(site: Site, expanded: Expanded, problems: Problems) -> None:
    joining = site.provisioning is not None and "compute" in site.provisioning.roles
    if problems.under("nodes") or joining:
        return
    members = {node.pool for node in expanded.nodes.values()}
    for number, pool in enumerate(site.pools):
        if pool not in members:
            cure = f"remove it, or write pool: {pool} for a compute node"
            problems.add(f"pools[{number}]", f"no node is in the pool '{pool}'", cure)


def _wipe(site: Site, expanded: Expanded, problems: Problems) -> None:
    disks = {disk for node in expanded.nodes.values() for disk in node.disks}
    for number, disk in enumerate(site.volumes.wipe):
        if disk not in disks and not problems.under("nodes"):
            here = f"volumes.wipe[{number}]"
            cure = "remove it, or write the disk of a storage node that may be destroyed"
            problems.add(here, f"'{disk}' is no storage node's disk", cure)
