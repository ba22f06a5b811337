# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a lab: bridges in a namespace of its own, so that nothing of it is in the computer's own network."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.lab_host import (
    claim,
    namespace_exists,
    refuse_foreign,
    run,
    run_json,
)
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import Link, Machine, Network, Site

# The lab's own networks stay apart: its namespace answers on them, but carries nothing from one to another.
_SETTINGS = {
    "/proc/sys/net/ipv4/ip_forward": "0",
    "/proc/sys/net/ipv6/conf/all/disable_ipv6": "1",
    "/proc/sys/net/ipv6/conf/default/disable_ipv6": "1",
}


@dataclass(frozen=True, slots=True)
class Interface:
    """What a namespace has of one interface."""

    mtu: int
    up: bool
    bridge: str | None = None
    addresses: frozenset[str] = field(default_factory=frozenset)


Interfaces = Mapping[str, Interface]


def read_interfaces(namespace: str) -> dict[str, Interface] | None:
    """Return the interfaces of a namespace by name; None when there is no such namespace."""
    if not namespace_exists(namespace):
        return None
    return parse_interfaces(run_json(["ip", "-n", namespace, "-j", "address", "show"]))


def parse_interfaces(data: Sequence[Mapping[str, Any]]) -> dict[str, Interface]:
    """Make the interfaces of what `ip -j address show` prints."""
    return {
        entry["ifname"]: Interface(
            mtu=entry["mtu"],
            up="UP" in entry["flags"],
            bridge=entry.get("master"),
            addresses=frozenset(
                f"{info['local']}/{info['prefixlen']}"
                for info in entry.get("addr_info", ())
                if info.get("family") == "inet"
            ),
        )
        for entry in data
        if "ifname" in entry
    }


def plan_namespace(name: str, actual: Interfaces | None) -> list[list[str]]:
    """Return the commands which make the namespace, and keep what it carries apart."""
    commands = [] if actual is not None else [["ip", "netns", "add", name]]
    # That the loopback is up says that this was done to its end.
    if actual is None or not actual["lo"].up:
        commands += [_write(name, path, value) for path, value in _SETTINGS.items()]
        commands.append(["ip", "-n", name, "link", "set", "lo", "up"])
    return commands


def plan_bridges(namespace: str, networks: Sequence[Network], actual: Interfaces | None) -> list[list[str]]:
    """Return the commands which give the namespace a bridge for each network, and take away those of no network."""
    ip = ["ip", "-n", namespace]
    commands: list[list[str]] = []
    for network in networks:
        have = (actual or {}).get(network.bridge)
        wanted = {network.address} if network.address else set()
        if have is None:
            commands.append(
                [*ip, "link", "add", network.bridge, "type", "bridge", "stp_state", "0", "mcast_snooping", "0"]
            )
        if have is None or have.mtu != network.mtu:
            commands.append([*ip, "link", "set", network.bridge, "mtu", str(network.mtu)])
        addresses = have.addresses if have else frozenset()
        commands += [[*ip, "address", "del", old, "dev", network.bridge] for old in sorted(addresses - wanted)]
        commands += [[*ip, "address", "add", new, "dev", network.bridge] for new in sorted(wanted - addresses)]
        if have is None or not have.up:
            commands.append([*ip, "link", "set", network.bridge, "up"])
    bridges = {network.bridge for network in networks}
    stale = [name for name in actual or {} if name.startswith("br-") and name not in bridges]
    commands += [[*ip, "link", "delete", name] for name in stale]
    return commands


def plan_port(namespace: str, machine: Machine, link: Link, inside: str | None, actual: Interfaces) -> list[list[str]]:
    """Return the commands which connect one interface of a machine with its bridge.

    `inside` is the namespace of a container, which gets the other end of a veth pair; a virtual machine gets a tap.
    """
    ip = ["ip", "-n", namespace]
    have = actual.get(link.port)
    commands: list[list[str]] = []
    if have is None and inside:
        peer = ["peer", "name", link.interface, "address", link.mac, "mtu", str(link.mtu), "netns", inside]
        commands.append([*ip, "link", "add", link.port, "mtu", str(link.mtu), "type", "veth", *peer])
    elif have is None:
        commands.append(["nsenter", f"--net=/run/netns/{namespace}", "ip", "tuntap", "add", link.port, "mode", "tap"])
    if have is None:
        commands.append([*ip, "link", "set", link.port, "alias", f"{machine.name} {link.network}"])
    if (have is None and not inside) or (have is not None and have.mtu != link.mtu):
        commands.append([*ip, "link", "set", link.port, "mtu", str(link.mtu)])
    if have is None or have.bridge != link.bridge:
        commands.append([*ip, "link", "set", link.port, "master", link.bridge])
    if have is None or not have.up:
        commands.append([*ip, "link", "set", link.port, "up"])
    return commands


def present(site: Site, *, check: bool) -> list[str]:
    """Make the namespace and the bridges what they should be; return the commands that this took (or would take)."""
    refuse_foreign(site)
    actual = read_interfaces(site.namespace)
    commands = plan_namespace(site.namespace, actual) + plan_bridges(site.namespace, site.networks, actual)
    if commands and not check:
        claim(site)
        for command in commands:
            run(command)
    return [" ".join(command) for command in commands]


def absent(site: Site, *, check: bool) -> list[str]:
    """Remove the namespace with all that is in it; the machines must have gone before."""
    refuse_foreign(site)
    commands: list[list[str]] = []
    if namespace_exists(site.namespace):
        commands.append(["ip", "netns", "delete", site.namespace])
    if not check:
        for command in commands:
            run(command)
        shutil.rmtree(site.runtime, ignore_errors=True)
        with contextlib.suppress(OSError):  # another lab's is still in it
            site.runtime.parent.rmdir()
    return [" ".join(command) for command in commands]


def _write(namespace: str, path: str, value: str) -> list[str]:
    script = f"test ! -e {path} || echo {value} > {path}"
    return ["nsenter", f"--net=/run/netns/{namespace}", "sh", "-c", script]
