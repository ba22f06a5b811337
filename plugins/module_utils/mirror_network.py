# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of the mirror: those that are served on, which move, and whether somebody else answers on one."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError, call
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_config import Address, Config

ETH_ARP = 0x0806
BROADCAST = b"\xff" * 6
SECONDS = 1.0
#: An announcement may be lost: a few of them.
ANNOUNCEMENTS = 3
PORTS = (22, 3260)
NONLOCAL = (Path("/proc/sys/net/ipv4/ip_nonlocal_bind"), Path("/proc/sys/net/ipv6/ip_nonlocal_bind"))


def here(text: str) -> dict[str, set[str]]:
    """Read `ip -json address`: the addresses of each interface."""
    return {
        item["ifname"]: {entry["local"] for entry in item.get("addr_info", []) if "local" in entry}
        for item in json.loads(text or "[]")
        if item
    }


def present() -> dict[str, set[str]]:
    """Return the addresses of this server by interface."""
    return here(call(["ip", "-json", "address", "show"]))


def missing(wanted: Sequence[Address], found: dict[str, set[str]]) -> list[Address]:
    """Return which addresses are not on their interface."""
    return [item for item in wanted if item.address not in found.get(item.interface, set())]


def add(addresses: Sequence[Address]) -> list[str]:
    """Have these addresses, and tell the neighbours. Return what was added."""
    new = missing(addresses, present())
    for item in new:
        # Not checked for a duplicate first: whether somebody answers was asked before.
        more = ["nodad"] if ":" in item.address else []
        call(["ip", "address", "add", str(item), "dev", item.interface, *more])
    for item in new:
        announce(item)
    return [f"add address {item}" for item in new]


def remove(addresses: Sequence[Address]) -> list[str]:
    """Be silent on these addresses from now on. Return what was removed."""
    found = present()
    there = [item for item in addresses if item not in missing([item], found)]
    for item in there:
        call(["ip", "address", "del", str(item), "dev", item.interface])
    return [f"remove address {item}" for item in there]


def announcement(mac: bytes, address: str, operation: int) -> bytes:
    """Return an ARP frame which tells everybody who has an address now. 1 is a request, 2 a reply."""
    ip = ipaddress.IPv4Address(address).packed
    target = BROADCAST if operation == 2 else b"\0" * 6
    body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, mac, ip, target, ip)
    return BROADCAST + mac + struct.pack("!H", ETH_ARP) + body


def announce(item: Address) -> None:
    """Tell the neighbours that the address is here now. IPv6 does that by itself."""
    if ":" in item.address:
        return
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((item.interface, ETH_ARP))
        mac = link.getsockname()[4]
        for _ in range(ANNOUNCEMENTS):
            for operation in (1, 2):
                link.send(announcement(mac, item.address, operation))


def probe(mac: bytes, address: str) -> bytes:
    """Return the ARP frame which asks who has an address, without claiming any."""
    ip = ipaddress.IPv4Address(address).packed
    body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, b"\0" * 4, b"\0" * 6, ip)
    return BROADCAST + mac + struct.pack("!H", ETH_ARP) + body


def is_answer(frame: bytes, address: str, mac: bytes) -> bool:
    """Say whether a frame shows that another machine has the address."""
    if len(frame) < 42 or frame[12:14] != struct.pack("!H", ETH_ARP):
        return False
    sender_mac, sender = frame[22:28], frame[28:32]
    return sender == ipaddress.IPv4Address(address).packed and sender_mac != mac


def taken(item: Address, seconds: float = SECONDS) -> bool:
    """Ask the network whether another machine has this address."""
    if ":" in item.address:
        return _tcp(item.address)
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ARP)) as link:
            link.bind((item.interface, ETH_ARP))
            mac = link.getsockname()[4]
            end = time.monotonic() + seconds
            for part in (1, 2):
                link.send(probe(mac, item.address))
                until = end - seconds / 2 if part == 1 else end
                while (left := until - time.monotonic()) > 0:
                    link.settimeout(left)
                    with contextlib.suppress(TimeoutError):
                        if is_answer(link.recv(2048), item.address, mac):
                            return True
    except OSError as error:
        raise DisksError(f"cannot ask for {item.address} on {item.interface}: {error}") from error
    return False


def _tcp(address: str) -> bool:
    """Say whether somebody takes, or refuses, a connection there."""
    for port in PORTS:
        try:
            socket.create_connection((address, port), timeout=SECONDS).close()
            return True
        except ConnectionRefusedError:
            return True
        except OSError:
            continue
    return False


def open_port(address: str, port: int = 3260, seconds: float = SECONDS) -> bool:
    """Say whether something listens there."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
        return True
    except OSError:
        return False


def answers(config: Config, *, peer: bool) -> list[str]:
    """Return in words who answers: on a service address that is not here, and with `peer` the peer itself.

    All are asked at the same time: of whoever is off it is the silence that tells, and nodes may wait for it.
    """
    # Loaded only where somebody is asked: a hand-over is not, and nodes wait for it.
    from concurrent.futures import ThreadPoolExecutor

    asked = [(f"service address {item.address}", partial(_holder, item)) for item in missing(config.service, present())]
    if peer:
        asked += [
            (f"its {kind} address {address}", partial(_alive, address))
            for kind, address in (("management", config.peer.management), ("storage", config.peer.address))
        ]
    with ThreadPoolExecutor(len(asked) or 1) as pool:
        said = [(who, pool.submit(ask)) for who, ask in asked]
    return [f"{who} answers{how.result()}" for who, how in said if how.result() is not None]


def _holder(item: Address) -> str | None:
    """Return how another machine answers on a service address, None where none does."""
    return "" if taken(item) else None


def _alive(address: str) -> str | None:
    """Return how a machine answers, None where it does not. Each way is tried: a firewall may close the others."""
    if (interface := on_link(call(["ip", "-json", "route", "get", address]))) and ":" not in address:
        return " to ARP" if taken(Address(address, 32, interface)) else None
    if _tcp(address):
        return " to TCP"
    try:
        call(["ping", "-n", "-q", "-c", "2", "-i", "0.3", "-W", "1", address])
    except DisksError:
        return None
    return " to ping"


def on_link(text: str) -> str:
    """Read `ip -json route get`: the interface on which an address is a direct neighbour, empty behind a router."""
    routes = json.loads(text or "[]")
    return str(routes[0].get("dev", "")) if routes and "gateway" not in routes[0] else ""


@contextlib.contextmanager
def nonlocal_bind() -> Iterator[None]:
    """Let portals listen on addresses that are added after them: who connects finds the volumes at once."""
    before = [(path, path.read_text()) for path in NONLOCAL if path.exists()]
    for path, _ in before:
        path.write_text("1")
    try:
        yield
    finally:
        for path, value in before:
            path.write_text(value)
