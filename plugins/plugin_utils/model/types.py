# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be written in cloud.yml: every key, its type and its default. Nothing else states them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from .values import (
    Address,
    AddressRange,
    Checksum,
    Cidr,
    Device,
    Doc,
    Domain,
    HostName,
    Interface,
    KernelOption,
    Mac,
    Name,
    Namespace,
    NodeName,
    Number,
    Query,
    Range,
    Serial,
    Size,
    Source,
    Twice,
    UserName,
    Version,
    VolumeGroup,
)

Role = Literal["control", "database", "messaging", "provisioning", "gateway", "storage", "compute", "backup"]
#: What a machine may become that nobody wrote down: it holds no data, and others can take its place.
JoiningRole = Literal["compute", "gateway"]
Service = Literal["keystone", "glance", "placement", "nova", "neutron", "cinder"]
Virtualization = Literal["auto", "kvm", "qemu"]
ImageFormat = Literal["raw", "qcow2"]
MachineKind = Literal["container", "vm", "bare"]
Firmware = Literal["bios", "uefi"]
Boot = Literal["disk", "network"]
PowerKind = Literal["redfish", "ipmi"]
#: Where the root file system of a machine that boots by network is.
Root = Literal["memory", "iscsi"]

ROLES: tuple[Role, ...] = get_args(Role)
SERVICES: tuple[Service, ...] = get_args(Service)

Quantity = Annotated[int | None, Number(-1, 1_000_000_000)]

__all__ = ["ROLES", "SERVICES", "AddressRange", "Site"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the cloud's APIs are reached."""

    address: Annotated[Address | None, Doc("An address of the control node; by default its management address.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of the rack."""

    name: str
    cidr: Annotated[Cidr, Doc("The network, such as 10.0.0.0/24.")]
    interface: Annotated[Interface, Doc("The interface that carries it, unless a node says otherwise.")] = "eth0"
    gateway: Annotated[Address | None, Doc("The router of the network.")] = None
    vlan: Annotated[int | None, Number(1, 4094), Doc("Its VLAN id; untagged without one.")] = None
    mtu: Annotated[int, Number(1280, 9216, "bytes"), Doc("The largest packet.")] = 1500
    floating: Annotated[Range | None, Doc("Addresses given to tenants, first-last.")] = None
    dhcp: Annotated[Range | None, Doc("Addresses that a DHCP server gives out, first-last.")] = None

    @property
    def link(self) -> str:
        """The interface with the network's address: its own VLAN interface if it is tagged."""
        return link_name(self.interface, self.vlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """The controller that switches a machine on and off. Its password is the secret `power.<node>`."""

    kind: Annotated[PowerKind, Doc("What it speaks.")]
    address: Annotated[Address, Doc("Its address. A range of machines counts up from it.")]
    user: Annotated[UserName, Doc("Who logs in to it.")]
    insecure: Annotated[bool, Doc("Redfish: takes whatever certificate it shows.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine, or with a range in its name (`node[1:8]`) several that count up."""

    name: str
    roles: Annotated[tuple[Role, ...], Doc("What the machine does.")]
    address: Annotated[Address, Doc("Its address on the management network. A range counts up from it.")]
    addresses: Annotated[
        dict[Name, Address | None],
        Doc("Its address on other networks, if the host part is not that of `address`; null for none."),
    ] = field(default_factory=dict)
    interfaces: Annotated[dict[Name, Interface], Doc("The interface of a network, where this machine differs.")] = (
        field(default_factory=dict)
    )
    mac: Annotated[Mac | None, Doc("The MAC address of its management interface.")] = None
    serial: Annotated[Serial | None, Doc("The serial number that its firmware tells.")] = None
    boot: Annotated[Boot, Doc("network: it has no system of its own, and is a node once it has registered.")] = "disk"
    pool: Annotated[Name | None, Doc("The pool that a compute node belongs to.")] = None
    disks: Annotated[tuple[Device, ...], Doc("Disks for volumes. Their content is Updraft's.")] = ()
    system_disk: Annotated[Device | None, Doc("The disk with the operating system: never used for volumes.")] = None
    power: Annotated[Power | None, Doc("Proves that a machine is off: failover of storage asks it.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioning:
    """Machines boot by network, register, and join once they are approved."""

    network: Annotated[Name, Doc("The network they boot from. It needs `dhcp`.")] = "management"
    roles: Annotated[tuple[JoiningRole, ...], Doc("What a machine becomes that no node here describes.")] = ("compute",)
    interfaces: Annotated[
        dict[Name, Interface], Doc("The interface of a network on these machines, where it differs from the others.")
    ] = field(default_factory=dict)
    approve: Annotated[
        Literal["code", "declared"],
        Doc("code: by a person who compares the code; declared: also by the `mac` and `serial` of a node."),
    ] = "code"
    return_: Annotated[
        Literal["token", "code"], Doc("What a machine shows after a reboot: its boot token, or its code once more.")
    ] = "token"
    unreachable: Annotated[
        Literal["error", "cache"], Doc("A registrar that is down: an error, or its last answer with a warning.")
    ] = "error"
    images: Annotated[
        dict[Name, Version], Doc("Machines that boot another version of the nodes' image than the newest.")
    ] = field(default_factory=dict)
    install: Annotated[
        dict[Name, Device],
        Doc("Machines that the image is written to a disk of, once, and which boot from it; only if it is empty."),
    ] = field(default_factory=dict)
    iscsi_below_mib: Annotated[
        int,
        Number(0, 16_777_216, "MiB"),
        Doc(
            "Machines with less memory than this do not fetch the image into it: they read it from the server by iSCSI."
        ),
    ] = 1536
    root: Annotated[
        dict[Name, Root], Doc("Machines that read it by iSCSI, or have it in memory, however much they have of that.")
    ] = field(default_factory=dict)
    kernel_options: Annotated[
        tuple[KernelOption, ...],
        Doc(
            "What the kernel of these machines gets beside the kit's own options: for a console, or a quirk of theirs."
        ),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Two storage nodes with the same data: one serves it, either can be lost."""

    legs: Annotated[
        tuple[Name, ...],
        Twice("is the other leg, too: a mirror whose legs are on one host", "write two different storage nodes"),
        Doc("The two storage nodes; the first serves at the very beginning. Their disks are paired in order."),
    ]
    address: Annotated[Address, Doc("The address on the storage network that is with whichever of them serves.")]
    addresses: Annotated[
        dict[Name, Address], Doc("The same on further storage networks (`storage2`): each is a path to the volumes.")
    ] = field(default_factory=dict)
    canary_gib: Annotated[
        int,
        Number(0, 1024, "GiB"),
        Doc("Size of the volume to which `./updraft drill storage` writes; 0 for none, and no drills."),
    ] = 1
    failover: Annotated[
        Literal["by_hand", "by_itself"],
        Doc(
            "by_itself: `./updraft storage --watch` has the other leg serve when one is lost. It needs `power` of both."
        ),
    ] = "by_hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """Block storage on the storage nodes."""

    group: Annotated[VolumeGroup, Doc("The volume group that holds the volumes.")] = "cinder-volumes"
    thin: Annotated[bool, Doc("Volumes take space when they are written to, not when they are made.")] = True
    wipe: Annotated[tuple[Device, ...], Doc("Your word that what these disks hold may be destroyed.")] = ()
    mirror: Annotated[Mirror | None, Doc("Without it, each storage node keeps volumes of its own.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePool:
    """A libvirt storage pool on an iSCSI target that every compute node sees, for machines made by `virsh`."""

    name: str
    volumes: Annotated[
        dict[Name, Annotated[int, Number(1, 65536, "GiB")]],
        Doc("Its volumes with their sizes. One that is written no more is kept, and no longer served."),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How instances run."""

    virtualization: Annotated[Virtualization, Doc("auto: KVM where the machine has it.")] = "auto"
    storage_pools: Annotated[
        dict[Name, StoragePool], Doc("Volumes for hypervisors without the services, on the mirror or the storage node.")
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Where the nodes get the time."""

    servers: Annotated[tuple[HostName, ...], Doc("NTP servers; none: the control node is the reference.")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image for instances."""

    name: str
    source: Annotated[Source, Doc("tiny: made from a node's own kernel; else a file here or an https:// address.")]
    checksum: Annotated[Checksum | None, Doc("The sum of the file. An https:// address needs it.")] = None
    format: Annotated[ImageFormat | None, Doc("By default qcow2; raw for tiny.")] = None
    min_disk_gib: Annotated[int, Number(0, 65536, "GiB")] = 0
    min_memory_mib: Annotated[int, Number(0, 16_777_216, "MiB")] = 0
    properties: Annotated[dict[str, str], Doc("Properties such as os_distro.")] = field(default_factory=dict)

    @property
    def disk_format(self) -> str:
        """The format, where it is not written that of what is usual for the source."""
        return self.format or ("raw" if self.source == "tiny" else "qcow2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A size of instance."""

    name: str
    vcpus: Annotated[int, Number(1, 512)]
    memory_mib: Annotated[int, Number(64, 16_777_216, "MiB")]
    disk_gib: Annotated[int, Number(0, 65536, "GiB"), Doc("0: no local disk, boots from a volume.")] = 0
    properties: Annotated[dict[str, str], Doc("Extra specifications.")] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The limits of a project; -1 is no limit, what is not written stays OpenStack's default."""

    instances: Quantity = None
    cores: Quantity = None
    memory_mib: Quantity = None
    volumes: Quantity = None
    gigabytes: Quantity = None
    snapshots: Quantity = None
    networks: Quantity = None
    ports: Quantity = None
    floating_addresses: Quantity = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A tenant: a user, a private network behind a router, and limits."""

    name: str
    user: Annotated[Name | None, Doc("Its user; by default named as the project.")] = None
    network: Annotated[Cidr | None, Doc("Its private network.")] = None
    dns: Annotated[tuple[Address, ...], Doc("Name servers for its instances.")] = ()
    quota: Quota = field(default_factory=Quota)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What playbooks/verify.yml uses for its instance; by default the first of each."""

    project: Name | None = None
    image: Name | None = None
    flavor: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine of the lab."""

    name: str
    kind: Annotated[MachineKind, Doc("bare: a virtual machine without a system, which boots by network.")]
    memory_mib: Annotated[int, Number(256, 65536, "MiB")]
    cpus: Annotated[int, Number(1, 64), Doc("Processors under KVM; an emulated machine has one.")] = 2
    disks: Annotated[tuple[Size, ...], Doc("Sizes of the node's `disks`, such as 8G; a bare machine has any.")] = ()
    firmware: Annotated[Firmware, Doc("What a bare machine starts with.")] = "bios"
    pool: Annotated[Name | None, Doc("The pool that a bare machine is approved for.")] = None
    spare: Annotated[bool, Doc("A bare machine that stays off until `./updraft lab add-node`.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """Makes the site a lab: its machines run on this computer."""

    machines: dict[Name, Machine]
    namespace: Annotated[Namespace, Doc("The network namespace that holds the lab.")] = "updraft-lab"
    memory_mib: Annotated[int, Number(1024, 1_048_576, "MiB"), Doc("What all machines may take together.")] = 10240
    disk_gib: Annotated[int, Number(1, 65536, "GiB"), Doc("What all machines' `disks` may take together.")] = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The whole cloud."""

    plugin: Annotated[Literal["updraft.cloud.cloud"], Doc("Lets Ansible know who reads the file.")]
    name: Annotated[Name, Doc("The name of the site.")]
    domain: Annotated[Domain, Doc("The domain of the nodes; the APIs are at api.<domain>.")]
    networks: Annotated[
        dict[Name, Network], Doc("management; storage, storage2 and provider where something needs them.")
    ]
    nodes: Annotated[dict[NodeName, Node], Doc("The machines.")]
    endpoint: Endpoint = field(default_factory=Endpoint)
    pools: Annotated[tuple[Name, ...], Doc("The pools that there are; without it, those that nodes name.")] = ()
    provisioning: Provisioning | None = None
    smart_pools: Annotated[
        dict[Name, Query], Doc("Groups of nodes by what they are, such as hardware.memory_gib >= 64.")
    ] = field(default_factory=dict)
    volumes: Volumes = field(default_factory=Volumes)
    compute: Compute = field(default_factory=Compute)
    services: Annotated[tuple[Service, ...], Doc("The OpenStack services; [] for hypervisors alone.")] = SERVICES
    time: Time = field(default_factory=Time)
    images: dict[Name, Image] = field(default_factory=dict)
    flavors: dict[Name, Flavor] = field(default_factory=dict)
    projects: dict[Name, Project] = field(default_factory=dict)
    proof: Proof = field(default_factory=Proof)
    lab: Lab | None = None


def link_name(interface: str, vlan: int | None) -> str:
    """The name of the interface that has the address (a tagged network has its own)."""
    return interface if vlan is None else f"{interface}.{vlan}"
