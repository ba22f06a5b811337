# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows for storage: names of iSCSI, the mirror as each leg sees it, and the pools of hypervisors.

Secrets are added where the variables of the role are bound (playbooks/group_vars/all/storage_mirror.yml).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from netaddr import IPAddress

from .expand import STORAGE, STORAGES, Link
from .types import Mirror, Node, Site, StoragePool

Variables = dict[str, Any]

#: RFC 3720, 3.2.6.1.
LONGEST_IQN = 223
PORT = 3260
#: The volume service of a mirror has the same name on both legs, and with it its volumes.
MIRROR_HOST = "mirror"
#: The volume to which a drill writes.
CANARY = "drill-canary"
#: What a compute node needs to write to it, and to compare: only where there are drills, because it is large.
DRILL_PACKAGES = ("fio",)


def authority(site: Site) -> str:
    """How all names of iSCSI of a site begin: iqn, the month of the domain's owner, the domain from its end."""
    return f"iqn.2026-11.{'.'.join(reversed(site.domain.split('.')))}"


def initiator(site: Site, node: str) -> str:
    """The name under which a node logs in."""
    return f"{authority(site)}:{node}"


def leg_target(site: Site, node: str) -> str:
    """The target by which a leg gives its disks to its peer alone."""
    return f"{authority(site)}:updraft.leg.{node}"


def volume_target(site: Site, pool: str, volume: str) -> str:
    """The target of one volume of a pool: with all of them in one, a volume that goes would renumber the others."""
    return f"{authority(site)}:updraft.pool.{pool}.{volume}"


def volume_name(pool: str, volume: str) -> str:
    """The logical volume of a pool's volume."""
    return f"pool-{pool}-{volume}"


def canary_target(site: Site) -> str:
    """The target of the volume for drills. No pool's: its sessions come and go with the drills."""
    return f"{authority(site)}:updraft.drill"


def thin_pool(site: Site) -> str:
    """The thin pool of the volume group; empty for none."""
    return f"{site.volumes.group}-pool" if site.volumes.thin else ""


def iqns(site: Site) -> list[str]:
    """The names of legs and of the volumes of pools."""
    legs = site.volumes.mirror.legs if site.volumes.mirror else ()
    pools = site.compute.storage_pools.values()
    return [leg_target(site, name) for name in legs] + [
        volume_target(site, pool.name, volume) for pool in pools for volume in pool.volumes
    ]


def service_addresses(site: Site, mirror: Mirror) -> dict[str, IPAddress]:
    """The addresses of whichever leg serves, by storage network."""
    written = {
        STORAGE: mirror.address,
        **{name: address for name, address in mirror.addresses.items() if name != STORAGE},
    }
    return {name: written[name] for name in STORAGES if name in site.networks and name in written}


class Storage:
    """The storage of one site. links: of each node that is there, by network."""

    def __init__(self, site: Site, nodes: Iterable[Node], links: Mapping[str, Mapping[str, Link]]) -> None:
        self.site, self.links = site, links
        self.nodes = {node.name: node for node in nodes}
        self.mirror = site.volumes.mirror
        self.served = self._served()
        compute = any("compute" in node.roles for node in self.nodes.values())
        self.drilled = self.mirror is not None and self.mirror.canary_gib > 0 and compute

    def node(self, node: Node) -> Variables:
        """One host's `cloud_node.storage`."""
        compute = "compute" in node.roles
        attaches = compute or "backup" in node.roles
        return {
            "initiator": initiator(self.site, node.name),
            "mirror": self._leg(node) if self.mirror and node.name in self.mirror.legs else None,
            "serves": self._serves_at(node),
            "volume_host": MIRROR_HOST if self.mirror and node.name in self.mirror.legs else "",
            "portals": self.portals(node) if attaches else [],
            "multipath": attaches and self._multipath(node),
            "canary": self._canary(node) if compute and self.drilled else None,
            "pools": [self._pool(pool, node) for pool in self.site.compute.storage_pools.values()] if compute else [],
        }

    def volume_hosts(self) -> dict[str, list[str]]:
        """The names of volume services, and the nodes of which one runs it."""
        if self.mirror is not None:
            return {MIRROR_HOST: list(self.mirror.legs)}
        return {node.name: [node.name] for node in self.nodes.values() if "storage" in node.roles}

    def service(self, node: Node, network: str) -> str | None:
        """The address on a network that a leg has while it serves; None for other nodes and networks."""
        if self.mirror is None or node.name not in self.mirror.legs or network not in STORAGES:
            return None
        return self.served.get(network)

    def portals(self, node: Node) -> list[str]:
        """Where volumes are served, on the storage networks that a node is on."""
        return [address for network, address in self.served.items() if network in self.links[node.name]]

    def _serves_at(self, node: Node) -> list[str]:
        """Where a storage node serves volumes: on a mirror while it does, else at its own addresses."""
        if "storage" not in node.roles:
            return []
        if self.mirror is not None:
            return list(self.served.values())
        own = self.links[node.name]
        return [str(own[name].address) for name in STORAGES if name in own]

    def _multipath(self, node: Node) -> bool:
        """Whether a node has volumes by multipath: for its several paths, or to wait while a mirror changes sides."""
        return self.mirror is not None or len([name for name in STORAGES if name in self.links[node.name]]) > 1

    def _served(self) -> dict[str, str]:
        """The addresses of the mirror by network."""
        if self.mirror is None:
            return {}
        return {name: str(address) for name, address in service_addresses(self.site, self.mirror).items()}

    def _address(self, name: str, network: str) -> str:
        return str(self.links[name][network].address)

    def _leg(self, node: Node) -> Variables:
        """What a leg knows of itself and of its peer."""
        assert self.mirror is not None
        peer = next(self.nodes[name] for name in self.mirror.legs if name != node.name)
        own = self.links[node.name]
        return {
            "site": self.site.name,
            "self": node.name,
            "first": node.name == self.mirror.legs[0],
            "initiator": initiator(self.site, node.name),
            "disks": list(node.disks),
            "arrays": [f"volumes{number}" for number in range(len(node.disks))],
            "leg": {"target": leg_target(self.site, node.name), "address": self._address(node.name, STORAGE)},
            "peer": {
                "name": peer.name,
                "initiator": initiator(self.site, peer.name),
                "target": leg_target(self.site, peer.name),
                "address": self._address(peer.name, STORAGE),
                "management": str(peer.address),
            },
            "service": [
                {
                    "network": name,
                    "address": address,
                    "prefix": self.site.networks[name].cidr.prefixlen,
                    "interface": own[name].interface,
                }
                for name, address in self.served.items()
            ],
            **self._serves(),
        }

    def _serves(self) -> Variables:
        """The volumes of the pools, and their targets as the module iscsi_target takes them, without CHAP."""
        pools = self.site.compute.storage_pools.values()
        sizes = {(pool.name, volume): size for pool in pools for volume, size in pool.volumes.items()}
        volumes = [{"name": volume_name(*names), "size_gib": size} for names, size in sizes.items()]
        targets = [self._target(volume_target(self.site, *names), volume_name(*names)) for names in sizes]
        if self.mirror is not None and self.drilled:
            volumes.append({"name": CANARY, "size_gib": self.mirror.canary_gib})
            targets.append(self._target(canary_target(self.site), CANARY))
        return {
            "group": self.site.volumes.group,
            "thin_pool": thin_pool(self.site),
            "volumes": volumes,
            "targets": targets,
        }

    def _target(self, iqn: str, name: str) -> Variables:
        compute = [node.name for node in self.nodes.values() if "compute" in node.roles]
        return {
            "iqn": iqn,
            "portals": [{"address": address, "port": PORT} for address in self.served.values()],
            "luns": [{"name": name, "device": f"/dev/{self.site.volumes.group}/{name}", "read_only": False}],
            "acls": [{"initiator": initiator(self.site, name)} for name in compute],
        }

    def _canary(self, node: Node) -> Variables:
        """The volume for drills as a compute node logs in to it."""
        return {"target": canary_target(self.site), "lun": CANARY, "portals": self.portals(node)}

    def _pool(self, pool: StoragePool, node: Node) -> Variables:
        """A pool as a compute node logs in to it."""
        return {
            "name": pool.name,
            "portals": self.portals(node),
            "volumes": [
                {"name": volume, "target": volume_target(self.site, pool.name, volume), "size_gib": size}
                for volume, size in pool.volumes.items()
            ],
        }
