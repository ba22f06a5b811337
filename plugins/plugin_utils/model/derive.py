# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from a checked site: `cloud`, each host's `cloud_node`, groups and connections."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netaddr import IPAddress, IPNetwork

from .connection import connection
from .expand import Expanded, Link, addresses_of, links_of
from .footprints import ROOT, Footprint, footprints
from .ledger import Ledger
from .provisioning import provisioning, registered
from .query import answer
from .registered import machine_of
from .registration import STATES, Registration
from .storage import DRILL_PACKAGES, Storage
from .types import ROLES, Network, Node, Site
from .values import AddressRange

REGION = "RegionOne"
Variables = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Derived:
    """What the inventory plugin hands out. hosts: the variables of each host; groups: names of hosts."""

    cloud: Variables
    hosts: dict[str, Variables]
    groups: dict[str, list[str]]


def derive(site: Site, expanded: Expanded, state: Path, root: Path = ROOT) -> Derived:
    """Derive all variables. state: the site's folder for keys; root: the folder with roles/."""
    joining = site.provisioning.roles if site.provisioning else ()
    roles = {*joining, *(role for node in expanded.nodes.values() for role in node.roles)}
    prints = footprints(site.services, root, roles)
    nodes = expanded.present()
    links = {node.name: links_of(site, node) for node in nodes}
    groups = group(nodes)
    storage = Storage(site, nodes, links)
    ledger = Ledger(site, groups, {name: _addresses(found) for name, found in links.items()}, storage)
    cloud = _cloud(site, nodes, groups, prints, ledger)
    cloud["volume_hosts"] = storage.volume_hosts()
    cloud["provisioning"] = provisioning(site, expanded)
    if cloud["provisioning"] is not None:
        cloud["provisioning"]["packages"] = _packages(prints, expanded, cloud["provisioning"]["roles"])
    cloud["registered"], cloud["away"] = registered(expanded)
    shared = _Shared(site, prints, ledger, storage, cloud["endpoint"])
    hosts: dict[str, Variables] = {}
    for node in nodes:
        one = expanded.registered.get(node.name)
        hosts[node.name] = {
            **connection(site, node, state, one),
            "cloud_node": {**shared.node(node, links[node.name]), "registered": _registered(one)},
            **({"hardware": dict(one.hardware), "registration_state": one.state} if one else {}),
        }
    return Derived(cloud, hosts, {**groups, **_joined(site, expanded, nodes)})


def _joined(site: Site, expanded: Expanded, nodes: list[Node]) -> dict[str, list[str]]:
    """The groups of what registered: by state, all of them even if empty, and the site's smart pools."""
    groups: dict[str, list[str]] = {f"state_{state}": [] for state in STATES}
    for one in expanded.registered.values():
        groups[f"state_{one.state}"].append(one.name)
    if site.smart_pools:
        machines = [machine_of(node, expanded.registered.get(node.name)) for node in nodes]
        for name, query in site.smart_pools.items():
            groups[name.replace("-", "_")] = [machine["name"] for machine in machines if answer(query, machine)]
    return groups


def _packages(prints: tuple[Footprint, ...], expanded: Expanded, roles: list[str]) -> list[str]:
    """What has to be in the image of machines that boot by network, whatever they become."""
    written = {role for node in expanded.nodes.values() if node.boot == "network" for role in node.roles}
    all_roles = tuple({*roles, *written})
    return sorted({package for item in prints if item.at(all_roles) for package in item.packages})


def _registered(one: Registration | None) -> Variables | None:
    if one is None:
        return None
    known = {name: getattr(one, name) for name in ("state", "serial", "uuid", "machine_id", "firmware", "image")}
    return {**known, "hardware": dict(one.hardware)}


def group(nodes: list[Node]) -> dict[str, list[str]]:
    """The groups by role, all of them even if empty, and by pool."""
    groups: dict[str, list[str]] = {role: [] for role in ROLES}
    for node in nodes:
        for role in node.roles:
            groups[role].append(node.name)
        if node.pool:
            groups.setdefault(pool_group(node.pool), []).append(node.name)
    return groups


def pool_group(pool: str) -> str:
    """The name of a pool's group (Ansible's group names have no hyphens)."""
    return f"pool_{pool.replace('-', '_')}"


def plain(value: Any) -> Any:
    """Dataclasses and addresses as the plain values that Ansible's variables are made of."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, AddressRange):
            return {"first": str(value.first), "last": str(value.last), "size": value.size}
        return {item.name.rstrip("_"): plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, IPAddress | IPNetwork):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _addresses(links: dict[str, Link]) -> dict[str, str]:
    return {name: str(link.address) for name, link in links.items() if link.address is not None}


def _cloud(
    site: Site, nodes: list[Node], groups: dict[str, list[str]], prints: tuple[Footprint, ...], ledger: Ledger
) -> Variables:
    endpoint = _endpoint(site, nodes)
    ports = [entry for item in prints for entry in ledger.declared(item)]
    urls = {
        port.name: f"https://{endpoint['name']}:{port.port}"
        for item in prints
        for port in item.ports
        if item.service and port.process == "haproxy"
    }
    return {
        "name": site.name,
        "domain": site.domain,
        "region": REGION,
        "endpoint": endpoint,
        "networks": {name: _network(network) for name, network in site.networks.items()},
        "nodes": {node.name: _brief(site, node) for node in nodes},
        "groups": {role: groups[role] for role in ROLES},
        "pools": _pools(site, nodes),
        "volumes": plain(site.volumes),
        "compute": plain(site.compute),
        "services": list(site.services),
        "time": plain(site.time),
        "images": {name: {**plain(image), "format": image.disk_format} for name, image in site.images.items()},
        "flavors": plain(site.flavors),
        "projects": {name: _project(site, name) for name in site.projects},
        "proof": {
            "project": site.proof.project or next(iter(site.projects), None),
            "image": site.proof.image or next(iter(site.images), None),
            "flavor": site.proof.flavor or next(iter(site.flavors), None),
        },
        "lab": plain(site.lab),
        "urls": urls,
        "ports": ports,
    }


def _pools(site: Site, nodes: list[Node]) -> dict[str, list[str]]:
    pools: dict[str, list[str]] = {pool: [] for pool in site.pools}
    for node in nodes:
        if node.pool:
            pools.setdefault(node.pool, []).append(node.name)
    return pools


def _endpoint(site: Site, nodes: list[Node]) -> Variables:
    control = next((node for node in nodes if "control" in node.roles), None)
    address = site.endpoint.address or (control.address if control else None)
    return {"address": None if address is None else str(address), "name": f"api.{site.domain}"}


def _network(network: Network) -> Variables:
    found: Variables = plain(network)
    found["prefix"] = network.cidr.prefixlen
    found["netmask"] = str(network.cidr.netmask)
    return found


def _brief(site: Site, node: Node) -> Variables:
    return {
        "name": node.name,
        "fqdn": f"{node.name}.{site.domain}",
        "roles": list(node.roles),
        "pool": node.pool,
        "addresses": {name: str(address) for name, address in addresses_of(site, node).items()},
    }


def _project(site: Site, name: str) -> Variables:
    project = site.projects[name]
    quota = {key: limit for key, limit in plain(project.quota).items() if limit is not None}
    return {**plain(project), "user": project.user or name, "quota": quota}


class _Shared:
    """What the nodes of one site share; nodes with the same roles share their lists, too."""

    def __init__(
        self, site: Site, prints: tuple[Footprint, ...], ledger: Ledger, storage: Storage, endpoint: Variables
    ) -> None:
        self.site, self.prints, self.ledger, self.storage, self.endpoint = site, prints, ledger, storage, endpoint
        self.placed: dict[tuple[str, ...], Variables] = {}

    def node(self, node: Node, links: dict[str, Link]) -> Variables:
        """One host's `cloud_node`."""
        machine = self.site.lab.machines.get(node.name) if self.site.lab else None
        prints = [item for item in self.prints if item.at(node.roles)]
        placed, storage = self._placed(node.roles, prints), self.storage.node(node)
        return {
            **_brief(self.site, node),
            **placed,
            "packages": sorted({*placed["packages"], *DRILL_PACKAGES}) if storage["canary"] else placed["packages"],
            "interfaces": {name: link.interface for name, link in links.items()},
            # What has the service address of a mirror, now and then, keeps what others put there.
            "links": {name: _link(link, self.storage.service(node, name) is not None) for name, link in links.items()},
            "mac": node.mac,
            "disks": list(node.disks),
            "system_disk": node.system_disk,
            "diskless": self._diskless(node),
            "storage": storage,
            "power": plain(node.power),
            "ports": [entry for item in prints for entry in self.ledger.resolved(item, node, links)],
            "certificates": self._certificates(node, prints, links),
            # What boots by network is a virtual machine like the others once it has booted.
            "machine": {"kind": "metal" if machine is None else "vm" if machine.kind == "bare" else machine.kind},
        }

    def _diskless(self, node: Node) -> bool:
        """Whether it forgets with its power what it wrote: it boots by network, and is not installed on a disk."""
        own = self.site.provisioning
        return node.boot == "network" and not (own and own.install.get(node.name))

    def _placed(self, roles: tuple[str, ...], prints: list[Footprint]) -> Variables:
        if roles not in self.placed:
            components: dict[str, list[str]] = {}
            for item in prints:
                if item.service and item.component:
                    components.setdefault(item.service, []).append(item.component)
            self.placed[roles] = {
                "services": [service for service in self.site.services if service in components],
                "components": components,
                "packages": sorted({package for item in prints for package in item.packages}),
            }
        return self.placed[roles]

    def _certificates(self, node: Node, prints: list[Footprint], links: dict[str, Link]) -> list[Variables]:
        names = [f"{node.name}.{self.site.domain}", node.name, "localhost"]
        addresses = [*_addresses(links).values(), "127.0.0.1"]
        if "control" in node.roles:
            names.insert(0, self.endpoint["name"])
            addresses = list(dict.fromkeys([self.endpoint["address"], *addresses]))
        wanted = {item.directory: item for one in prints for item in one.certificates}
        return [{**plain(item), "names": names, "addresses": addresses} for item in wanted.values()]


def _link(link: Link, keep: bool) -> Variables:
    network = link.network
    return {
        "interface": link.interface,
        "parent": link.parent,
        "vlan": network.vlan,
        "mtu": network.mtu,
        "address": None if link.address is None else str(link.address),
        "prefix": network.cidr.prefixlen,
        "gateway": None if network.gateway is None else str(network.gateway),
        "keep": keep,
    }
