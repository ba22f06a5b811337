# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks for an address as firmware does, by one DHCPDISCOVER. Run in a network namespace, as root.

Usage: dhcp.py INTERFACE MAC ARCHITECTURE [ipxe]. Prints the offer as JSON: address, file, server; {} for silence.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import time

SECONDS = 8
COOKIE = b"\x63\x82\x53\x63"
BIND_TO_DEVICE = getattr(socket, "SO_BINDTODEVICE", 25)


def discover(mac: bytes, transaction: int, architecture: int, is_ipxe: bool) -> bytes:
    """The packet (RFC 2131), with what PXE adds (RFC 4578) and what tells iPXE (option 175)."""
    # Flag 0x8000: the answer shall come by broadcast, because there is no address yet.
    head = struct.pack("!BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, transaction, 0, 0x8000, *([b""] * 4), mac, b"", b"")
    options = [(53, b"\x01"), (55, bytes([1, 3, 6, 43, 66, 67])), (93, struct.pack("!H", architecture))]
    options += [(60, b"PXEClient:Arch:%05d:UNDI:003001" % architecture), (94, b"\x01\x03\x01")]
    if is_ipxe:
        options.append((175, b"\x13\x01\x01"))
    return head + COOKIE + b"".join(bytes([code, len(value)]) + value for code, value in options) + b"\xff"


def offer(packet: bytes, transaction: int) -> dict[str, str] | None:
    """What an answer to us says, or None."""
    if len(packet) < 241 or struct.unpack("!I", packet[4:8])[0] != transaction or packet[0] != 2:
        return None
    options: dict[int, bytes] = {}
    at = 240
    while at < len(packet) and packet[at] != 255:
        code, size = packet[at], packet[at + 1] if packet[at] else 0
        if code:
            options[code] = packet[at + 2 : at + 2 + size]
        at += 2 + size if code else 1
    file = options.get(67) or packet[108:236]
    return {
        "address": socket.inet_ntoa(packet[16:20]),
        "next": socket.inet_ntoa(packet[20:24]),
        "file": file.rstrip(b"\0").decode(),
        "server": socket.inet_ntoa(options.get(54, b"\0" * 4)),
        "router": options.get(3, b"").hex(),
        "names": options.get(6, b"").hex(),
    }


def main() -> None:
    """Ask, wait and print."""
    interface, mac, architecture = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", "")), int(sys.argv[3])
    transaction = random.getrandbits(32)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        line.setsockopt(socket.SOL_SOCKET, BIND_TO_DEVICE, interface.encode())
        line.bind(("0.0.0.0", 68))
        line.settimeout(1)
        packet = discover(mac, transaction, architecture, "ipxe" in sys.argv[4:])
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            line.sendto(packet, ("255.255.255.255", 67))
            try:
                answer = offer(line.recv(2048), transaction)
            except TimeoutError:
                continue
            if answer:
                print(json.dumps(answer))
                return
    print("{}")


if __name__ == "__main__":
    main()
