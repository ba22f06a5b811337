# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.probe: ping and read pages from outside until they answer as they should."""

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Ping and read pages until they answer as they should
version_added: 0.1.0
description:
  - Asks one after the other and waits for each. Fails with what was seen last when one does not come in time.
  - Changes nothing. For ports that must be open or closed see M(updraft.cloud.reach).
options:
  probes:
    description:
      - Each has C(name), and C(ping) with an address or C(page) with a URL.
      - A page may have C(contains), texts which must all be in it.
    type: list
    elements: dict
    required: true
  namespace:
    description: Network namespace on this machine from which they are asked. Empty means this machine itself.
    type: str
    default: ""
  timeout:
    description: Seconds for all of them together.
    type: int
    default: 300
attributes:
  check_mode:
    description: Only asks.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Verify | Reach the server from outside
  updraft.cloud.probe:
    namespace: updraft-lab
    probes:
      - {name: ping, ping: 10.77.2.100}
      - {name: page, page: "http://10.77.2.100/", contains: [volume]}
  delegate_to: localhost
"""

RETURN = r"""
found:
  description: By name the C(text) that came and the C(seconds) until it was right.
  type: dict
  returned: always
"""

import ctypes
import os
import socket
import struct
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

EVERY_SECONDS = 2.0
CLONE_NEWNET = 0x40000000


class NotYet(Exception):
    """The answer is not the right one; the text says what came."""


def enter(namespace: str) -> None:
    """Move this process into a network namespace. Raises OSError when it is not there or not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter it: {os.strerror(ctypes.get_errno())}")


def echo_request(identifier: int, sequence: int) -> bytes:
    """Return an ICMP echo request of 16 bytes (RFC 792)."""
    body = struct.pack("!HH8s", identifier, sequence, b"updraft!")
    # The sum of all 16-bit words with carries added back; type 8 and code 0 make the first word.
    total = sum(struct.unpack("!6H", body)) + 0x0800
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", 8, 0, ~(total + (total >> 16)) & 0xFFFF) + body


def is_answer(packet: bytes, identifier: int) -> bool:
    """Say whether an IPv4 packet is the echo reply to the request with this identifier."""
    start = (packet[0] & 0x0F) * 4 if packet else 0
    return packet[start : start + 2] == b"\0\0" and packet[start + 4 : start + 6] == struct.pack("!H", identifier)


def ping(address: str) -> str:
    """Send one echo request, with a socket of our own: not every controller has the command. Raises NotYet."""
    identifier, end = os.getpid() & 0xFFFF, time.monotonic() + 2
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as link:
        try:
            link.sendto(echo_request(identifier, 1), (address, 0))
            while (left := end - time.monotonic()) > 0:
                link.settimeout(left)
                packet, sender = link.recvfrom(2048)
                if sender[0] == address and is_answer(packet, identifier):
                    return f"{address} answers in {1000 * (2 - end + time.monotonic()):.1f} ms"
        except OSError as error:
            raise NotYet(f"no answer to ping: {error}") from error
    raise NotYet("no answer to ping")


def page(url: str) -> str:
    """Return a page's text, without any proxy. Raises NotYet when there is none."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return str(answer.read(65536).decode(errors="replace"))
    except (OSError, ValueError) as error:
        raise NotYet(f"{url}: {error}") from error


def ask(probe: Mapping[str, Any]) -> str:
    """Ask once and return what came. Raises NotYet when it is not what was asked for."""
    if probe.get("ping"):
        return ping(str(probe["ping"]))
    text = page(str(probe["page"]))
    missing = [word for word in probe.get("contains") or [] if word not in text]
    if missing:
        raise NotYet(f"{probe['page']} is {text.strip()[:200]!r}, without {' and '.join(map(repr, missing))}")
    return text


def until(
    probe: Mapping[str, Any],
    end: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    ask: Callable[[Mapping[str, Any]], str] = ask,
) -> dict[str, Any]:
    """Ask until the answer is right. Raises NotYet with the last answer when `end` (of `clock`) has come."""
    start = clock()
    while True:
        try:
            return {"text": ask(probe), "seconds": round(clock() - start, 1)}
        except NotYet as error:
            if clock() >= end:
                raise NotYet(f"{probe['name']}: not within {clock() - start:.0f} s; seen last: {error}") from error
        sleep(EVERY_SECONDS)


def main() -> None:
    """Ask all."""
    module = AnsibleModule(
        argument_spec={
            "probes": {"type": "list", "elements": "dict", "required": True},
            "namespace": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    found: dict[str, Any] = {}
    if module.params["namespace"]:
        try:
            enter(module.params["namespace"])
        except OSError as error:
            module.fail_json(msg=f"network namespace {module.params['namespace']}: {error}", found=found)
    end = time.monotonic() + module.params["timeout"]
    for probe in module.params["probes"]:
        try:
            found[probe["name"]] = until(probe, end)
        except NotYet as error:
            module.fail_json(msg=str(error), found=found)
        except PermissionError as error:
            module.fail_json(msg=f"ping needs to be done as root here: {error}", found=found)
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
