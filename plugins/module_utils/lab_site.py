# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as its modules see it: machines, networks and paths, made from the model's `cloud` and `cloud_node`.

Everything here is pure: no file is read and nothing on the computer is touched.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The kernel's limit for the name of an interface, without the closing NUL.
INTERFACE_NAME_LENGTH = 15
ROOT_DISK = "10G"
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


class LabError(Exception):
    """What a person must know to go on; shown without a traceback."""


@dataclass(frozen=True, slots=True)
class Network:
    """One network of the lab: a bridge in the lab's namespace."""

    name: str
    bridge: str
    cidr: str
    mtu: int
    address: str | None  # of the bridge itself, with its prefix; None leaves the bridge without one


@dataclass(frozen=True, slots=True)
class Link:
    """One interface of a machine."""

    network: str
    bridge: str
    interface: str  # inside the machine
    port: str  # the tap, or the end of the veth at the bridge
    mac: str
    mtu: int
    address: str | None  # with its prefix


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the lab, a systemd container or a virtual machine."""

    name: str
    fqdn: str
    kind: str  # container | vm | bare
    memory_mib: int
    cpus: int
    root_disk: str
    disks: tuple[str, ...]  # sizes of the data disks; of a bare machine of all its disks
    links: tuple[Link, ...]
    packages: tuple[str, ...]
    firmware: str = "bios"  # bios | uefi, of a bare machine
    pool: str | None = None  # that a bare machine is approved for
    serial: str | None = None  # that its firmware tells; None for one made of its name
    spare: bool = False  # off until it is asked for

    @property
    def address(self) -> str:
        """The management address, without its prefix."""
        for link in self.links:
            if link.network == "management" and link.address:
                return link.address.split("/")[0]
        raise LabError(f"{self.name} has no address on the management network, so it cannot be reached")


@dataclass(frozen=True, slots=True)
class Site:
    """A lab: what it is made of, and where it keeps what it makes."""

    name: str
    domain: str
    namespace: str
    networks: tuple[Network, ...]
    machines: tuple[Machine, ...]
    state: Path  # survives: disks, keys
    cache: Path  # shared by all labs on this computer: images

    @property
    def prepared(self) -> tuple[Machine, ...]:
        """The machines that are made from images; the others are bare, and come by network."""
        return tuple(machine for machine in self.machines if machine.kind != "bare")

    @property
    def runtime(self) -> Path:
        """Sockets, process ids and mounts: gone after a restart of the computer, as the machines are."""
        return Path("/run/updraft") / self.namespace

    def machine_state(self, machine: Machine) -> Path:
        """Where the disks and the console of a machine are."""
        return self.state / "machines" / machine.name

    def machine_runtime(self, machine: Machine) -> Path:
        """Where the process id, the control socket and the mounts of a machine are."""
        return self.runtime / machine.name

    def container_namespace(self, machine: Machine) -> str:
        """The network namespace of a container."""
        return f"{self.namespace}-{machine.name}"


def size_bytes(text: str) -> int:
    """Return the bytes of a size such as `8G` or `512M` (powers of 1024)."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if not match:
        raise LabError(f"'{text}' is no size: write a number with K, M, G or T, such as 8G")
    return int(match[1]) * _UNITS[match[2]]


def mac_address(*parts: str) -> str:
    """Return an address of QEMU's range which depends on the given words alone."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])


def interface_name(prefix: str, *parts: str) -> str:
    """Return a name which the kernel takes: readable when it fits, else its end is a digest."""
    readable = prefix + "-".join(parts)
    if len(readable) <= INTERFACE_NAME_LENGTH:
        return readable
    digest = hashlib.sha256(readable.encode()).hexdigest()[:6]
    return readable[: INTERFACE_NAME_LENGTH - len(digest)] + digest


def parse_site(data: Mapping[str, Any]) -> Site:
    """Make the lab of the variables that the playbooks hand over (see playbooks/group_vars/all/lab.yml).

    Raises LabError where something is missing which the model does not check because only a lab needs it.
    """
    cloud = data["cloud"]
    lab = cloud.get("lab")
    if not lab:
        raise LabError(f"the site '{cloud['name']}' is no lab: its cloud.yml has no `lab:` section")
    networks = tuple(_network(name, network) for name, network in cloud["networks"].items())
    by_name = {network.name: network for network in networks}
    machines = tuple(
        _machine(cloud, name, wanted or {}, data["nodes"].get(name) or _unregistered(cloud, name), by_name)
        for name, wanted in lab["machines"].items()
    )
    return Site(
        name=cloud["name"],
        domain=cloud["domain"],
        namespace=lab.get("namespace") or f"updraft-{cloud['name']}",
        networks=networks,
        machines=machines,
        state=Path(data["state"]),
        cache=Path(data["cache"]),
    )


def _network(name: str, network: Mapping[str, Any]) -> Network:
    subnet = ipaddress.ip_network(network["cidr"])
    gateway = network.get("gateway")
    if not gateway and name == "management":
        gateway = str(next(iter(subnet.hosts())))
    return Network(
        name=name,
        bridge=interface_name("br-", name),
        cidr=str(subnet),
        mtu=int(network.get("mtu") or 1500),
        address=f"{gateway}/{subnet.prefixlen}" if gateway else None,
    )


def _machine(
    cloud: Mapping[str, Any],
    name: str,
    wanted: Mapping[str, Any],
    node: Mapping[str, Any],
    networks: Mapping[str, Network],
) -> Machine:
    return Machine(
        name=name,
        fqdn=node.get("fqdn") or f"{name}.{cloud['domain']}",
        kind=wanted.get("kind") or "container",
        memory_mib=int(wanted.get("memory_mib") or 1024),
        cpus=int(wanted.get("cpus") or 2),
        root_disk=wanted.get("root_disk") or ROOT_DISK,
        disks=tuple(wanted.get("disks") or ()),
        links=tuple(_links(cloud, name, node, networks)),
        packages=tuple(sorted(set(node.get("packages") or ()))),
        firmware=wanted.get("firmware") or "bios",
        pool=wanted.get("pool") or node.get("pool"),
        serial=node.get("serial"),
        spare=bool(wanted.get("spare")),
    )


def _unregistered(cloud: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A machine that is no node yet: plugged in to every network, and what cloud.yml says of it if it is expected.

    links are without addresses: it gets one when it boots.
    """
    provisioning = cloud.get("provisioning") or {}
    own = provisioning.get("interfaces") or {}
    awaited: Sequence[Mapping[str, Any]] = provisioning.get("expected") or ()
    expected: Mapping[str, Any] = next((node for node in awaited if node["name"] == name), {})
    links = {name: {"parent": own.get(name) or network["interface"]} for name, network in cloud["networks"].items()}
    return {**{key: expected.get(key) for key in ("mac", "serial", "pool")}, "links": links}


def _links(
    cloud: Mapping[str, Any], name: str, node: Mapping[str, Any], networks: Mapping[str, Network]
) -> Sequence[Link]:
    links: dict[str, Link] = {}
    # A machine that boots by network is known by the card that it boots from.
    known = _boots_from(cloud) if _is_bare(cloud, name) else "management"
    for network_name, wanted in (node.get("links") or {}).items():
        network = networks[network_name]
        # Tagged networks share the interface, and the bridge, of the first one: it carries tagged frames as they are.
        interface, address = wanted["parent"], wanted.get("address")
        mac = node.get("mac") if network_name == known else None
        if interface not in links:
            links[interface] = Link(
                network=network_name,
                bridge=network.bridge,
                interface=interface,
                port=interface_name("", name, interface),
                mac=mac or mac_address(cloud["name"], name, interface),
                mtu=network.mtu,
                address=f"{address}/{wanted['prefix']}" if address else None,
            )
    return [links[interface] for interface in sorted(links)]


def _is_bare(cloud: Mapping[str, Any], name: str) -> bool:
    return bool(cloud["lab"]["machines"][name].get("kind") == "bare")


def _boots_from(cloud: Mapping[str, Any]) -> str:
    return str((cloud.get("provisioning") or {}).get("network") or "management")
