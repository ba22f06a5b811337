# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connections between nodes must succeed and which must not: the ledger, turned into probes.

A node is a `cloud_node`. Only TCP is probed: of UDP's silence nothing can be learnt.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OPEN, DROPPED = "open", "dropped"


def ring(names: Sequence[str], name: str, number: int) -> list[str]:
    """The nodes after `name`, around the end: if each probes these, each is probed by as many."""
    at = names.index(name)
    around = [*names[at + 1 :], *names[:at]]
    return around[:number]


def port_probes(node: Mapping[str, Any], targets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What `node` should find when it connects to `targets`: {target, name, address, port, expect, why}."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for target in targets:
        for entry in target["ports"]:
            if entry["protocol"] == "tcp":
                for probe in _entry(node, target, entry):
                    found.setdefault((probe["address"], probe["port"]), probe)
    return [probe for probe in found.values() if probe["expect"]]


def _entry(node: Mapping[str, Any], target: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for port in sorted({int(part) for part in str(entry["port"]).split("-")}):
        for network, address in target["addresses"].items():
            if network not in node["addresses"]:
                continue
            expect, why = _expected(node, target, network, port)
            yield {
                "target": target["name"],
                "name": entry["name"],
                "address": address,
                "port": port,
                "expect": expect,
                "why": why,
            }


def _expected(node: Mapping[str, Any], target: Mapping[str, Any], network: str, port: int) -> tuple[str, str]:
    """OPEN, DROPPED, or empty if both are right: an optional port may be open and need not."""
    here = [
        entry
        for entry in target["ports"]
        if entry["protocol"] == "tcp" and entry["network"] == network and _has(entry["port"], port)
    ]
    if not here:
        return DROPPED, f"it is not declared on the network {network}"
    source = ipaddress.ip_address(node["addresses"][network])
    allowed = [entry for entry in here if any(source in ipaddress.ip_network(cidr) for cidr in entry["sources"])]
    if not allowed:
        return DROPPED, f"{source} is not among those who may connect"
    if all(entry["optional"] for entry in allowed):
        return "", ""
    return OPEN, f"{source} may connect"


def _has(declared: Any, port: int) -> bool:
    first, _, last = str(declared).partition("-")
    return int(first) <= port <= int(last or first)
