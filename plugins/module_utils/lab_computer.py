# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this computer can carry the lab: every reason why not, with its cure, before anything is changed.

What the kernel can do is tried, in a process with namespaces of its own, not read from a configuration.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import json
import os
import platform
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.lab_host import foreign
from ansible_collections.updraft.cloud.plugins.module_utils.lab_machine import driver
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import Site

DEBIAN_VERSIONS = ("12", "13")
SPARE_MEMORY_MIB = 1024
DISK_GIB = 12
LEAST_DISK_GIB = 3  # for the machines' own writes, when the images are there already
_GIB = 1024**3

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the lab cannot run here."""

    what: str
    found: str
    needed: str
    cure: str


@dataclass(frozen=True, slots=True)
class Computer:
    """What was found."""

    architecture: str
    system: str  # such as "debian 12"
    root: bool
    memory_available_mib: int
    disk_free: dict[str, int]  # bytes by path
    missing_features: dict[str, str]  # the error by feature
    networks: tuple[str, ...]  # CIDRs which the computer has addresses in or routes to
    foreign: str | None  # why the namespace is not ours


@dataclass(frozen=True, slots=True)
class Needs:
    """What the lab takes."""

    memory_mib: int
    disk: dict[str, int]
    networks: dict[str, str]  # CIDR by name


def judge(found: Computer, needs: Needs) -> list[Reason]:
    """Return every reason against the lab on this computer; none when it can run."""
    reasons = []
    if found.architecture != "x86_64":
        reasons.append(Reason("processor", found.architecture, "x86_64", "use a 64-bit PC"))
    family, _, version = found.system.partition(" ")
    if family != "debian" or version not in DEBIAN_VERSIONS:
        reasons.append(
            Reason("system", found.system, "Debian 12 or 13", "use a computer or a virtual machine with Debian")
        )
    if not found.root:
        reasons.append(Reason("user", "not root", "root", "run it again as root, for example with sudo"))
    if found.memory_available_mib < needs.memory_mib:
        cure = "end other programs, or lower lab.machines.*.memory_mib in cloud.yml"
        reasons.append(_amount("memory", found.memory_available_mib / 1024, needs.memory_mib / 1024, cure))
    for path, wanted in needs.disk.items():
        if found.disk_free[path] < wanted:
            cure = "free some space, or set UPDRAFT_CACHE to a directory on a larger disk"
            reasons.append(_amount(f"disk at {path}", found.disk_free[path] / _GIB, wanted / _GIB, cure))
    for feature, error in found.missing_features.items():
        cure = f"use a kernel that has it (Debian's own does), or allow it in this container: {_FEATURES[feature][1]}"
        reasons.append(Reason(f"kernel: {feature}", error, "works", cure))
    reasons += _taken(found.networks, needs.networks)
    if found.foreign:
        cure = "run `./updraft lab down` where that lab was made, or write another lab.namespace in cloud.yml"
        reasons.append(Reason("namespace", found.foreign, "free, or this lab's own", cure))
    return reasons


def table(reasons: Sequence[Reason]) -> str:
    """Return the reasons as text: a line each for what is wrong and for the cure."""
    width = max(len(reason.what) for reason in reasons)
    lines = ["This computer cannot run the lab, and nothing has been changed:"]
    for reason in reasons:
        lines.append(f"  {reason.what:<{width}}  {reason.found}; needed: {reason.needed}")
        lines.append(f"  {'':<{width}}  -> {reason.cure}")
    return "\n".join(lines)


def needs(site: Site) -> Needs:
    """Return what the lab takes beyond what it has already: of running machines and built images."""
    idle = [
        machine
        for machine in site.machines
        if not machine.spare and not (os.geteuid() == 0 and driver(site, machine).running())
    ]
    memory = sum(machine.memory_mib for machine in idle) + (SPARE_MEMORY_MIB if idle else 0)
    used = disk_use(site.cache) + disk_use(site.state)
    wanted = max(DISK_GIB * _GIB - used, LEAST_DISK_GIB * _GIB)
    cache, state = existing_parent(site.cache), existing_parent(site.state)
    if cache.stat().st_dev == state.stat().st_dev:
        disk = {str(site.cache): wanted}
    else:
        disk = {str(site.cache): wanted, str(site.state): LEAST_DISK_GIB * _GIB}
    return Needs(memory, disk, {network.name: network.cidr for network in site.networks})


def look(site: Site) -> Computer:
    """Return what this computer has; changes nothing on it."""
    wanted = needs(site)
    release = _release(Path("/etc/os-release").read_text())
    root = os.geteuid() == 0
    return Computer(
        architecture=platform.machine(),
        system=f"{release.get('ID', '?')} {release.get('VERSION_ID', '?')}",
        root=root,
        memory_available_mib=memory_available_mib(Path("/proc/meminfo").read_text()),
        disk_free={path: shutil.disk_usage(existing_parent(Path(path))).free for path in wanted.disk},
        missing_features=missing_features(existing_parent(site.state)) if root else {},
        networks=tuple(
            routed_networks(Path("/proc/net/route").read_text())
            | local_addresses(Path("/proc/net/fib_trie").read_text())
        ),
        foreign=foreign(site),
    )


def memory_available_mib(meminfo: str) -> int:
    """Return the memory which the kernel says can be had without swapping."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def routed_networks(route: str) -> set[str]:
    """Return the networks of the kernel's routing table (/proc/net/route), without the default."""
    networks = set()
    for line in route.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[7] != "00000000":
            address, mask = (socket.inet_ntoa(struct.pack("=L", int(fields[index], 16))) for index in (1, 7))
            networks.add(str(ipaddress.ip_network(f"{address}/{mask}", strict=False)))
    return networks


def local_addresses(trie: str) -> set[str]:
    """Return the computer's own addresses (/proc/net/fib_trie), without the loopback network."""
    addresses: set[str] = set()
    last = ""
    for line in trie.splitlines():
        text = line.strip()
        if text.startswith("|-- "):
            last = text[4:]
        elif text == "/32 host LOCAL" and not last.startswith("127."):
            addresses.add(f"{last}/32")
    return addresses


def existing_parent(path: Path) -> Path:
    """Return the path, or the nearest directory above it that is there."""
    while not path.exists():
        path = path.parent
    return path


def disk_use(path: Path) -> int:
    """Return the bytes which the files below a directory take on disk."""
    total = 0
    for directory, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except OSError:
                continue
    return total


def missing_features(scratch: Path) -> dict[str, str]:
    """Try what the lab asks of the kernel, in a child with its own namespaces; return the error by feature."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.write(writer, json.dumps(_try_features(scratch)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as handle:
        answer = handle.read()
    os.waitpid(child, 0)
    return dict(json.loads(answer or '{"network namespace": "the trial ended without an answer"}'))


def _try_features(scratch: Path) -> dict[str, str]:
    missing = {}
    for name, (attempt, _) in _FEATURES.items():
        try:
            attempt(scratch)
        except OSError as error:
            missing[name] = error.strerror or str(error)
            if name == "network namespace":
                break
    return missing


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _try_namespace(_: Path) -> None:
    _call("unshare", _CLONE_NEWNET | _CLONE_NEWNS)
    _call("mount", b"none", b"/", None, _MS_REC_PRIVATE, None)


def _try_bridge(_: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, 0x89A0, b"udbridge\0".ljust(16, b"\0"))  # SIOCBRADDBR


def _try_tap(_: Path) -> None:
    with open("/dev/net/tun", "r+b", buffering=0) as handle:
        fcntl.ioctl(handle, 0x400454CA, struct.pack("16sH22x", b"udtap", 0x1002))  # TUNSETIFF: tap without header


def _try_veth(_: Path) -> None:
    kind = _attribute(1, b"veth")
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + _attribute(3, b"udveth\0") + _attribute(18, kind)
    _netlink(_NETLINK_ROUTE, 16, 0x0605, body)  # RTM_NEWLINK; request, acknowledge, create, exclusive


def _try_nftables(_: Path) -> None:
    body = struct.pack("=BBH", 2, 0, 0) + _attribute(1, b"updraft\0")
    inner = _message(0x0A00, 0x0405, body)  # NFT_MSG_NEWTABLE, in a batch as the kernel wants it
    batch = struct.pack("=BBH", 0, 0, socket.htons(10))
    _send(_NETLINK_NETFILTER, _message(0x10, 1, batch) + inner + _message(0x11, 1, batch))


def _try_overlay(scratch: Path) -> None:
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".updraft-trial-") as base:
        for name in ("lower", "upper", "work", "root"):
            Path(base, name).mkdir()
        options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work".encode()
        _call("mount", b"overlay", f"{base}/root".encode(), b"overlay", 0, options)
        _call("umount", f"{base}/root".encode())


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def _netlink(family: int, kind: int, flags: int, body: bytes) -> None:
    _send(family, _message(kind, flags, body))


def _send(family: int, data: bytes) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as handle:
        handle.settimeout(10)
        handle.bind((0, 0))
        handle.send(data)
        answer = handle.recv(4096)
    kind, error = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind == 2 and error:  # NLMSG_ERROR
        raise OSError(-error, os.strerror(-error))


# Each trial, and what it is for. The first makes the namespaces in which the others are tried.
_FEATURES: dict[str, tuple[Callable[[Path], None], str]] = {
    "network namespace": (_try_namespace, "network and mount namespaces keep the lab apart"),
    "bridge": (_try_bridge, "each network of the lab is a bridge"),
    "veth": (_try_veth, "containers are connected by veth pairs"),
    "tun": (_try_tap, "virtual machines are connected by taps, from /dev/net/tun"),
    "nftables": (_try_nftables, "the firewall role runs in the containers too"),
    "overlay": (_try_overlay, "containers write to an overlay of their image"),
}


def _amount(what: str, found: float, needed: float, cure: str) -> Reason:
    return Reason(what, f"{found:.1f} GiB free", f"{needed:.1f} GiB", cure)


def _taken(have: Iterable[str], wanted: dict[str, str]) -> list[Reason]:
    reasons = []
    for name, cidr in wanted.items():
        clashes = sorted(other for other in have if ipaddress.ip_network(other).overlaps(ipaddress.ip_network(cidr)))
        if clashes:
            found = f"{cidr} is taken: this computer has {', '.join(clashes)}"
            cure = f"write another networks.{name}.cidr in cloud.yml, with the addresses in it"
            reasons.append(Reason(f"network {name}", found, "a network of its own", cure))
    return reasons


def _release(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip('"') for key, value in pairs}
