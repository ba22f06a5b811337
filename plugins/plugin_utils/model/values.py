# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of single values that cloud.yml knows: how each is read, and how a schema describes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import netaddr
from netaddr import IPAddress, IPNetwork

from .query import parse_query


@dataclass(frozen=True, slots=True)
class Text:
    """A kind of text: `parse` turns it into its value or raises ValueError saying what is wrong.

    example: a right value, used in messages. pattern: for editors; `parse` is what decides.
    """

    parse: Callable[[str], Any]
    what: str
    example: str
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """Limits of a whole number, both included."""

    low: int
    high: int
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Twice:
    """What it means that an item is in a list twice, where it means more than that, and the cure."""

    text: str
    cure: str


@dataclass(frozen=True, slots=True)
class Doc:
    """One line for the reader of the schema."""

    text: str


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses from first to last, both included."""

    first: IPAddress
    last: IPAddress

    @property
    def size(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __contains__(self, address: IPAddress) -> bool:
        return bool(self.first <= address <= self.last)

    def overlaps(self, other: AddressRange) -> bool:
        return self.first in other or other.first in self

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def _matching(pattern: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError
        return text

    return parse


def parse_address(text: str) -> IPAddress:
    """An IPv4 address in the usual four parts (`10.1` is not taken for 10.0.0.1)."""
    if not _DOTTED.fullmatch(text):
        raise ValueError
    try:
        return IPAddress(text, flags=netaddr.INET_PTON)
    except netaddr.AddrFormatError as error:
        raise ValueError from error


def parse_network(text: str) -> IPNetwork:
    """A network with its prefix length; host bits must be zero."""
    address, slash, prefix = text.partition("/")
    if not slash or not prefix.isdigit() or int(prefix) > 32:
        raise ValueError
    network = IPNetwork(f"{parse_address(address)}/{int(prefix)}")
    if network.ip != network.network:
        raise ValueError("is an address in a network, not a network", f"write {network.cidr}")
    if network.prefixlen > 29:
        raise ValueError(f"holds only {network.size} addresses", "write one with a prefix of at most 29")
    return network


def parse_range(text: str) -> AddressRange:
    """`first-last`, both included."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    if not dash:
        raise ValueError
    result = AddressRange(parse_address(first), parse_address(last))
    if result.size < 1:
        raise ValueError("ends before it begins", f"write {last}-{first}")
    return result


def parse_mac(text: str) -> str:
    """A unicast MAC address, in lower case with colons."""
    if not re.fullmatch(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", text):
        raise ValueError
    mac = text.lower().replace("-", ":")
    if int(mac[:2], 16) & 1:
        raise ValueError("is a multicast address, which no machine has")
    return mac


def parse_domain(text: str) -> str:
    """A domain name of at least two labels."""
    if len(text) > 190:
        raise ValueError("is longer than 190 characters")
    if not re.fullmatch(_DOMAIN, text):
        raise ValueError
    if text.rpartition(".")[2].isdigit():
        raise ValueError
    return text


def is_name(text: str) -> bool:
    """Whether this can be the name of a machine."""
    return re.fullmatch(_NAME, text) is not None


_DOTTED = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = rf"{_LABEL}(\.{_LABEL})+"
_NAME = r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?"
_NODES = rf"({_NAME}|[a-z][a-z0-9-]{{0,31}}\[[0-9]{{1,4}}:[0-9]{{1,4}}\]([a-z0-9-]{{0,15}}[a-z0-9])?)"
_DEVICE = r"/dev/[A-Za-z0-9][A-Za-z0-9:._+/-]*"
_INTERFACE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}"
_HOST = rf"{_LABEL}(\.{_LABEL})*"
_LVM = r"[A-Za-z0-9_+][A-Za-z0-9_+.-]{0,100}"
_SOURCE = r"(tiny|https://\S+|/\S+)"
_CHECKSUM = r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})"
_SIZE = r"[1-9][0-9]{0,4}G"
_KERNEL = r"[A-Za-z0-9_.-]+(=[^\s\"'{}$]+)?"
_NETNS = r"[a-z][a-z0-9-]{0,20}"
_VERSION = r"[0-9a-f]{12}"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}"
_SERIAL = r"[A-Za-z0-9]([A-Za-z0-9 ._:/-]{0,62}[A-Za-z0-9])?"

Name = Annotated[
    str,
    Text(_matching(_NAME), "a name of lower-case letters, digits and hyphens (at most 32)", "lab", f"^{_NAME}$"),
]
NodeName = Annotated[
    str,
    Text(_matching(_NODES), "a host name of lower-case letters, digits and hyphens", "node1", f"^{_NODES}$"),
]
Domain = Annotated[str, Text(parse_domain, "a domain name of at least two parts", "cloud.example.org", f"^{_DOMAIN}$")]
HostName = Annotated[str, Text(_matching(_HOST), "a host name or an address", "ntp.example.org", f"^{_HOST}$")]
Address = Annotated[IPAddress, Text(parse_address, "an IPv4 address", "10.0.0.10", r"^\d{1,3}(\.\d{1,3}){3}$")]
Cidr = Annotated[
    IPNetwork,
    Text(parse_network, "an IPv4 network with its prefix length", "10.0.0.0/24", r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$"),
]
Range = Annotated[
    AddressRange,
    Text(
        parse_range,
        "a range of addresses, first-last",
        "10.0.0.100-10.0.0.179",
        r"^\d{1,3}(\.\d{1,3}){3}\s*-\s*\d{1,3}(\.\d{1,3}){3}$",
    ),
]
Mac = Annotated[str, Text(parse_mac, "a MAC address", "52:54:00:12:34:56", r"^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$")]
Device = Annotated[str, Text(_matching(_DEVICE), "the path of a disk", "/dev/sdb", f"^{_DEVICE}$")]
Interface = Annotated[
    str,
    Text(_matching(_INTERFACE), "the name of an interface (at most 15 characters)", "eth0", f"^{_INTERFACE}$"),
]
VolumeGroup = Annotated[str, Text(_matching(_LVM), "the name of a volume group", "cinder-volumes", f"^{_LVM}$")]
Source = Annotated[
    str,
    Text(
        _matching(_SOURCE),
        "'tiny', a file with its whole path, or an https:// address",
        "/srv/images/debian.qcow2",
        f"^{_SOURCE}$",
    ),
]
Checksum = Annotated[
    str, Text(_matching(_CHECKSUM), "'sha256:' or 'sha512:' and the digits", "sha256:" + 64 * "0", f"^{_CHECKSUM}$")
]
Namespace = Annotated[str, Text(_matching(_NETNS), "a name for a network namespace", "updraft-lab", f"^{_NETNS}$")]
KernelOption = Annotated[
    str, Text(_matching(_KERNEL), "one option of the kernel's command line", "console=ttyS1,115200", f"^{_KERNEL}$")
]
UserName = Annotated[str, Text(_matching(_USER), "a user's name", "operator", f"^{_USER}$")]
Size = Annotated[str, Text(_matching(_SIZE), "a size in GiB", "8G", f"^{_SIZE}$")]
Serial = Annotated[
    str, Text(_matching(_SERIAL), "a serial number (letters, digits, dots and hyphens)", "CZ3212B8KX", f"^{_SERIAL}$")
]
Version = Annotated[
    str,
    Text(_matching(_VERSION), "a version of the nodes' image, 12 hexadecimal digits", "3f9c0a7be214", f"^{_VERSION}$"),
]
Query = Annotated[str, Text(parse_query, "a question about a machine", "hardware.memory_gib >= 64")]
