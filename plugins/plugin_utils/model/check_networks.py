# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the networks and of what stands in each of them."""

from __future__ import annotations

from itertools import combinations

from .expand import MANAGEMENT, PROVIDER, STORAGES
from .problems import Problems, did_you_mean
from .types import Network, Site
from .values import AddressRange


def check_networks(site: Site, problems: Problems) -> None:
    """Report networks that are missing, overlap, or hold what is not theirs."""
    need_network(site, MANAGEMENT, "every node has its address there", problems)
    for one, other in combinations(site.networks.values(), 2):
        _overlap(one, other, problems)
        _same_vlan(one, other, problems)
        _tagged_mtu(one, other, problems)
        _tagged_mtu(other, one, problems)
    for network in site.networks.values():
        _gateway(network, problems)
        _ranges(network, problems)
    _provider(site, problems)


def need_network(site: Site, name: str, why: str, problems: Problems) -> None:
    """Report a network that is needed and not there, unless it is there and wrong."""
    path = f"networks.{name}"
    if name in site.networks or problems.under(path) or problems.at("networks"):
        return
    others = [key for key in site.networks if key not in (MANAGEMENT, PROVIDER, *STORAGES)]
    near = did_you_mean(name, others)
    hint = f"is '{near.split(chr(39))[1]}' meant to be it?" if near.startswith("did you mean") else ""
    cure = hint or f"write {name}: {{cidr: 10.0.0.0/24, interface: eth0}} with the right values"
    problems.add(path, f"is missing: {why}", cure)


def usable(network: Network) -> str:
    """The addresses that machines can have, in words."""
    return f"{network.cidr.network + 1} to {network.cidr.broadcast - 1}"


def _overlap(one: Network, other: Network, problems: Problems) -> None:
    if one.cidr in other.cidr or other.cidr in one.cidr:
        cure = "give each network a range of its own"
        problems.add(f"networks.{other.name}.cidr", f"{other.cidr} overlaps networks.{one.name} ({one.cidr})", cure)


def _same_vlan(one: Network, other: Network, problems: Problems) -> None:
    if one.vlan is not None and one.vlan == other.vlan:
        cure = "give each network a VLAN id of its own"
        problems.add(f"networks.{other.name}.vlan", f"{other.vlan} is also that of networks.{one.name}", cure)


def _tagged_mtu(tagged: Network, bare: Network, problems: Problems) -> None:
    same = tagged.interface == bare.interface
    if same and tagged.vlan is not None and bare.vlan is None and tagged.mtu > bare.mtu:
        text = f"{tagged.mtu} is more than {bare.interface} carries ({bare.mtu}, by networks.{bare.name})"
        cure = f"write at most {bare.mtu}, or raise networks.{bare.name}.mtu"
        problems.add(f"networks.{tagged.name}.mtu", text, cure)


def _gateway(network: Network, problems: Problems) -> None:
    gateway, path = network.gateway, f"networks.{network.name}.gateway"
    if gateway is None:
        return
    if gateway not in network.cidr:
        problems.add(path, f"{gateway} is not in {network.cidr}", f"write an address from {usable(network)}")
    elif gateway in (network.cidr.network, network.cidr.broadcast):
        what = "network" if gateway == network.cidr.network else "broadcast"
        problems.add(path, f"{gateway} is the {what} address of {network.cidr}", f"write one from {usable(network)}")
    for kind, addresses in ranges(network):
        if gateway in addresses:
            cure = f"choose another gateway, or a {kind} range without it"
            problems.add(path, f"{gateway} is inside the {kind} range {addresses}", cure)


def ranges(network: Network) -> list[tuple[str, AddressRange]]:
    """The ranges of a network that no machine's own address may be in."""
    both = (("floating", network.floating), ("dhcp", network.dhcp))
    return [(kind, addresses) for kind, addresses in both if addresses is not None]


def _ranges(network: Network, problems: Problems) -> None:
    for kind, addresses in ranges(network):
        path = f"networks.{network.name}.{kind}"
        if addresses.first not in network.cidr or addresses.last not in network.cidr:
            problems.add(path, f"{addresses} is not in {network.cidr}", f"write a range from {usable(network)}")
        elif network.cidr.network in addresses or network.cidr.broadcast in addresses:
            text = f"{addresses} holds the network or the broadcast address of {network.cidr}"
            problems.add(path, text, f"write a range from {usable(network)}")
    if network.floating and network.dhcp and network.floating.overlaps(network.dhcp):
        text = f"{network.dhcp} overlaps the floating range {network.floating}"
        problems.add(f"networks.{network.name}.dhcp", text, "give each a range of its own")
    if network.floating and network.name != PROVIDER:
        cure = "remove it, or write it under networks.provider"
        problems.add(f"networks.{network.name}.floating", "only the provider network has floating addresses", cure)


def _provider(site: Site, problems: Problems) -> None:
    """Neutron's external network needs a router and addresses to give away."""
    provider = site.networks.get(PROVIDER)
    if "neutron" not in site.services or provider is None:
        return
    for key, value, what in (
        ("gateway", provider.gateway, "instances reach the world through the network's router"),
        ("floating", provider.floating, "instances get their floating addresses from it"),
    ):
        path = f"networks.{PROVIDER}.{key}"
        if value is None and not problems.under(path):
            example = f"{provider.cidr.network + 1}" if key == "gateway" else "first-last"
            problems.add(path, f"is missing: {what}", f"write {key}: {example} with the right value")
