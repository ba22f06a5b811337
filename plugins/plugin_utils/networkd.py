# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd-networkd's files for a machine's links: the pure part of the role network.

A link is {interface, parent, vlan, members, mtu, address, prefix, gateway, keep}; all but `interface` may be missing.
`interface` with a `vlan` is a VLAN on `parent`, with `members` a bridge of these; else it is what is plugged in.
`keep` leaves addresses alone that others put there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FOLDER = "/etc/systemd/network"
PREFIX = "10-updraft-"
HEADER = "# Managed by Updraft. Changes made here are lost at the next run.\n"
METRIC = 100


@dataclass(slots=True)
class _Interface:
    """One interface with all that is asked of it."""

    name: str
    kind: str = "plugged"
    mtu: int = 0
    vlan: int = 0
    bridge: str = ""
    keep: bool = False
    vlans: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    routes: list[tuple[str, int]] = field(default_factory=list)


def networkd_files(links: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All files of these links, as updraft.cloud.files takes them. Raises ValueError for what contradicts itself."""
    interfaces = _interfaces(links)
    found = []
    for item in interfaces.values():
        base = f"{FOLDER}/{PREFIX}{item.name}"
        if item.kind != "plugged":
            found.append({"path": f"{base}.netdev", "content": _netdev(item), "mode": "0644"})
        found.append({"path": f"{base}.network", "content": _network(item), "mode": "0644"})
    return sorted(found, key=lambda file: str(file["path"]))


def networkd_expected(links: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What must be true of the interfaces afterwards: name, addresses with prefix, MTU."""
    return [{"name": item.name, "addresses": item.addresses, "mtu": item.mtu} for item in _interfaces(links).values()]


def _interfaces(links: Sequence[Mapping[str, Any]]) -> dict[str, _Interface]:
    found: dict[str, _Interface] = {}
    for number, link in enumerate(links):
        name, mtu = str(link["interface"]), int(link.get("mtu") or 1500)
        item = found.setdefault(name, _Interface(name))
        item.mtu = max(item.mtu, mtu)
        item.keep = item.keep or bool(link.get("keep"))
        if link.get("address"):
            item.addresses.append(f"{link['address']}/{link['prefix']}")
            if link.get("gateway"):
                item.routes.append((str(link["gateway"]), METRIC * (number + 1)))
        if link.get("vlan"):
            _make(item, "vlan")
            item.vlan = int(link["vlan"])
            parent = found.setdefault(str(link["parent"]), _Interface(str(link["parent"])))
            parent.mtu = max(parent.mtu, mtu)
            parent.vlans.append(name)
        for member in link.get("members") or ():
            _make(item, "bridge")
            port = found.setdefault(str(member), _Interface(str(member)))
            port.mtu, port.bridge = max(port.mtu, mtu), name
    for item in found.values():
        if item.bridge and item.addresses:
            raise ValueError(f"{item.name} is a member of {item.bridge} and cannot have an address of its own")
    return found


def _make(item: _Interface, kind: str) -> None:
    if item.kind not in ("plugged", kind):
        raise ValueError(f"{item.name} cannot be both a {item.kind} and a {kind}")
    item.kind = kind


def _netdev(item: _Interface) -> str:
    text = f"{HEADER}[NetDev]\nName={item.name}\nKind={item.kind}\nMTUBytes={item.mtu}\n"
    if item.kind == "vlan":
        text += f"\n[VLAN]\nId={item.vlan}\n"
    if item.kind == "bridge":
        text += "\n[Bridge]\nSTP=no\nForwardDelaySec=0\n"
    return text


def _network(item: _Interface) -> str:
    needed = "yes" if item.addresses else "no"
    lines = ["[Match]", f"Name={item.name}", "", "[Link]", f"MTUBytes={item.mtu}", f"RequiredForOnline={needed}"]
    lines += ["", "[Network]", "DHCP=no", "IPv6AcceptRA=no", "LinkLocalAddressing=no", "LLMNR=no", "MulticastDNS=no"]
    lines += [f"Address={address}" for address in item.addresses]
    if item.bridge:
        lines.append(f"Bridge={item.bridge}")
    else:
        # Open vSwitch takes interfaces into its bridges; networkd would take them out again.
        lines.append("KeepMaster=yes")
    if item.keep:
        lines.append("KeepConfiguration=static")
    lines += [f"VLAN={vlan}" for vlan in item.vlans]
    if not item.addresses or item.kind == "bridge":
        lines.append("ConfigureWithoutCarrier=yes")
    for gateway, metric in item.routes:
        lines += ["", "[Route]", f"Gateway={gateway}", f"Metric={metric}"]
    return HEADER + "\n".join(lines) + "\n"
