# SPDX-License-Identifier: GPL-3.0-or-later
"""What listens on a machine, read from /proc, compared with what is declared."""

from __future__ import annotations

import ipaddress
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

LISTEN, UNCONNECTED = "0A", "07"
KERNEL = "kernel"
TABLES = {"tcp": "tcp", "tcp6": "tcp", "udp": "udp", "udp6": "udp"}
# The kernel gives these to sockets which asked for none: a client's, gone in a moment.
EPHEMERAL = "/proc/sys/net/ipv4/ip_local_port_range"
PAUSE = 2.0


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A socket that waits for others. process is the name of its program, `kernel` if no process has it."""

    protocol: str
    port: int
    address: str
    process: str

    @property
    def anywhere(self) -> bool:
        return ipaddress.ip_address(self.address).is_unspecified

    @property
    def loopback(self) -> bool:
        address = ipaddress.ip_address(self.address)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback


@dataclass(frozen=True, slots=True)
class Verdict:
    """undeclared: listeners that no entry allows. silent: entries nobody serves. other: served by somebody else."""

    undeclared: list[dict[str, Any]]
    silent: list[dict[str, Any]]
    other: list[dict[str, Any]]


def parse(table: str, protocol: str) -> list[tuple[str, int, str]]:
    """Address, port and inode of the waiting sockets in a file of /proc/net."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != (LISTEN if protocol == "tcp" else UNCONNECTED):
            continue
        address, port = fields[1].split(":")
        # A socket of UDP that is connected to its peer is a client.
        if not set(fields[2].split(":")[0]) <= {"0"}:
            continue
        found.append((address_of(address), int(port, 16), fields[9]))
    return found


def address_of(text: str) -> str:
    """The address that /proc/net writes as words in the machine's byte order."""
    raw = bytes.fromhex(text)
    words = [raw[at : at + 4][::-1] for at in range(0, len(raw), 4)]
    return str(ipaddress.ip_address(b"".join(words)))


def read(process_of: Mapping[str, str] | None = None) -> list[Listener]:
    """All listeners of this network namespace."""
    names = processes() if process_of is None else process_of
    found = set()
    for table, protocol in TABLES.items():
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as stream:
                rows = parse(stream.read(), protocol)
        except OSError:
            continue
        found |= {Listener(protocol, port, address, names.get(inode, KERNEL)) for address, port, inode in rows}
    return sorted(found)


def processes() -> dict[str, str]:
    """Inode of a socket -> name of the program that has it."""
    found: dict[str, str] = {}
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            handles = os.listdir(f"/proc/{number}/fd")
            with open(f"/proc/{number}/comm", encoding="utf-8", errors="replace") as stream:
                name = stream.read().strip()
        except OSError:
            continue
        for handle in handles:
            try:
                target = os.readlink(f"/proc/{number}/fd/{handle}")
            except OSError:
                continue
            # systemd keeps the sockets with which it starts a service; the service is the one to name.
            if target.startswith("socket:[") and found.get(target[8:-1], "systemd") == "systemd":
                found[target[8:-1]] = name
    return found


def compare(listeners: Iterable[Listener], declared: Sequence[Mapping[str, Any]]) -> Verdict:
    """Hold both sides against each other; listeners on loopback do not count."""
    outside = [one for one in listeners if not one.loopback]
    verdict = Verdict([], [], [])
    for one in outside:
        entries = [entry for entry in declared if covers(entry, one)]
        if not entries:
            verdict.undeclared.append(asdict(one))
        elif not any(same_process(str(entry["process"]), one.process) for entry in entries):
            verdict.other.append({**asdict(one), "declared": str(entries[0]["process"]), "name": entries[0]["name"]})
    for entry in declared:
        if not entry.get("optional") and not any(covers(entry, one) for one in outside):
            verdict.silent.append({key: entry[key] for key in ("name", "protocol", "port", "address", "process")})
    return verdict


def covers(entry: Mapping[str, Any], one: Listener) -> bool:
    """Whether an entry of the ledger declares a listener. One that listens anywhere is there on this address, too."""
    first, last = span(entry["port"])
    here = one.anywhere or one.address in (entry["address"], f"::ffff:{entry['address']}")
    return bool(entry["protocol"] == one.protocol and first <= one.port <= last and here)


def span(port: Any) -> tuple[int, int]:
    """First and last of `3306` or `5900-6000`."""
    first, _, last = str(port).partition("-")
    return int(first), int(last or first)


def same_process(declared: str, found: str) -> bool:
    """Compare names: the kernel cuts them at 15 characters, and interpreters show their own with a version."""
    if declared == found or declared[:15] == found:
        return True
    return re.sub(r"[\d.]+$", "", declared)[:15] == re.sub(r"[\d.]+$", "", found)


def ephemeral() -> tuple[int, int]:
    """The range from which the kernel takes ports for clients."""
    try:
        with open(EPHEMERAL, encoding="ascii") as stream:
            first, last = stream.read().split()
    except (OSError, ValueError):
        return 32768, 60999
    return int(first), int(last)


def look(declared: Sequence[Mapping[str, Any]], seconds: float) -> tuple[list[Listener], Verdict]:
    """Read and compare, again and again until all fits or the time is up: services start, clients come and go."""
    end = time.monotonic() + seconds
    first, last = ephemeral()
    while True:
        # A client of UDP which is not connected cannot be told from a server but by its port.
        found = [one for one in read() if one.protocol == "tcp" or not first <= one.port <= last]
        verdict = compare(found, declared)
        if not (verdict.undeclared or verdict.silent) or time.monotonic() >= end:
            return found, verdict
        time.sleep(PAUSE)
