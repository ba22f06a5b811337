# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the instances from a compute node, and the node from the cloud."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

REASON = "updraft: it is being retired"

#: What is done with an instance, by its state, where its node answers.
MOVES: Mapping[str, str] = {
    "ACTIVE": "live",
    "PAUSED": "live",
    "SHUTOFF": "cold",
    "STOPPED": "cold",
    "VERIFY_RESIZE": "confirm",
    "SHELVED_OFFLOADED": "none",
}
BODIES: Mapping[str, dict[str, Any]] = {
    "live": {"os-migrateLive": {"host": None, "block_migration": "auto"}},
    "cold": {"migrate": None},
    "confirm": {"confirmResize": None},
    "evacuate": {"evacuate": {}},
}


class Cloud(Protocol):
    """What is used of openstack_api.Api."""

    def get(self, service: str, path: str) -> Any: ...
    def post(self, service: str, path: str, body: Mapping[str, Any]) -> Any: ...
    def put(self, service: str, path: str, body: Mapping[str, Any] | None = None) -> Any: ...
    def delete(self, service: str, path: str) -> None: ...


def service_of(api: Cloud, host: str) -> dict[str, Any] | None:
    """The compute service of a host."""
    query = urllib.parse.urlencode({"binary": "nova-compute", "host": host})
    found: list[dict[str, Any]] = api.get("compute", f"/os-services?{query}")["services"]
    return found[0] if found else None


def servers_of(api: Cloud, host: str) -> list[dict[str, Any]]:
    """The instances that are on a host."""
    query = urllib.parse.urlencode({"all_tenants": 1, "host": host})
    return list(api.get("compute", f"/servers/detail?{query}")["servers"])


def move_of(server: Mapping[str, Any], *, up: bool) -> str | None:
    """What to do with an instance: a key of BODIES, `wait`, or None where nothing helps."""
    if server.get("OS-EXT-STS:task_state"):
        return "wait"
    state = str(server["status"])
    if state in ("MIGRATING", "RESIZE", "REBUILD"):
        return "wait"
    if not up and state != "VERIFY_RESIZE":
        return "evacuate" if state in ("ACTIVE", "SHUTOFF", "STOPPED", "ERROR") else None
    return MOVES.get(state)


def told(servers: Sequence[Mapping[str, Any]], reasons: Mapping[str, str]) -> str:
    """The instances that are left, for a person."""
    words = []
    for server in servers:
        why = reasons.get(str(server["id"]))
        words.append(f"{server['name']} ({str(server['status']).lower()}{f': {why}' if why else ''})")
    return ", ".join(words)


def drain(
    api: Cloud,
    host: str,
    timeout: float,
    refused: type[Exception],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[str], list[dict[str, Any]], dict[str, str]]:
    """Close the host to new instances and move those away that are there.

    refused: what the API raises. Returns the names of what left, what is left, and why by its id.
    """
    service = service_of(api, host)
    if service is not None and service["status"] != "disabled":
        api.put("compute", f"/os-services/{service['id']}", {"status": "disabled", "disabled_reason": REASON})
    first = {server["id"]: str(server["name"]) for server in servers_of(api, host)}
    end, reasons, asked = clock() + timeout, dict[str, str](), dict[tuple[str, str], int]()
    while True:
        left = [server for server in servers_of(api, host) if move_of(server, up=True) != "none"]
        up = service is not None and service["state"] == "up"
        waiting = [
            server for server in left if _push(api, server, up=up, asked=asked, reasons=reasons, refused=refused)
        ]
        if not waiting or clock() > end:
            there = {server["id"] for server in left}
            _confirm(api, first, refused)
            return sorted(name for number, name in first.items() if number not in there), left, reasons
        sleep(5)


def _push(
    api: Cloud,
    server: Mapping[str, Any],
    *,
    up: bool,
    asked: dict[tuple[str, str], int],
    reasons: dict[str, str],
    refused: type[Exception],
) -> bool:
    """Ask once for an instance to move, a cold one where a live one is refused; whether it may still go."""
    number, move = str(server["id"]), move_of(server, up=up)
    if move == "wait":
        return True
    if move is None:
        reasons[number] = "it cannot be moved in this state"
        return False
    for kind in (move, "cold") if move == "live" else (move,):
        if (number, kind) in asked:
            if asked[number, kind] < 3:  # it was accepted: nova takes a moment to show it
                asked[number, kind] += 1
                return True
            continue
        asked[number, kind] = 0
        try:
            api.post("compute", f"/servers/{number}/action", BODIES[kind])
            return True
        except refused as error:
            reasons[number] = str(error)
    return False


def _confirm(api: Cloud, first: Mapping[str, str], refused: type[Exception]) -> None:
    """A cold migration waits to be confirmed, and holds the place on the old node until then."""
    for number in first:
        try:
            if api.get("compute", f"/servers/{number}")["server"]["status"] == "VERIFY_RESIZE":
                api.post("compute", f"/servers/{number}/action", BODIES["confirm"])
        except refused:
            continue


def remove(api: Cloud, host: str, *, left: bool = False) -> list[str]:
    """Take the host from nova and neutron. Returns what was removed.

    left: instances are still on it, and nova keeps a disabled service as long as they are not deleted.
    """
    removed = []
    service = None if left else service_of(api, host)
    if service is not None:
        api.delete("compute", f"/os-services/{service['id']}")
        removed.append("nova-compute")
    for agent in api.get("network", f"/agents?{urllib.parse.urlencode({'host': host})}")["agents"]:
        api.delete("network", f"/agents/{agent['id']}")
        removed.append(str(agent["agent_type"]))
    return removed
