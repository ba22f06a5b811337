# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof's record: what was seen, judged check by check. Pure; see roles/verify."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Seen = Mapping[str, Any]


def probes(address: str, server: str, page: str) -> list[dict[str, Any]]:
    """Return what is asked from outside: ping, and where the guest has a page, its volume's page and its id."""
    asked: list[dict[str, Any]] = [{"name": "ping", "ping": address}]
    if page:
        asked.append({"name": "page", "page": f"http://{address}/", "contains": [page]})
        asked.append({"name": "metadata", "page": f"http://{address}/instance", "contains": [server]})
    return asked


def isolation(found: Sequence[Seen]) -> list[dict[str, Any]]:
    """Return for each of two guests what it must reach, what it must not, and how that is read from outside.

    `found` has `network` and `port` of both. A guest's own router and the other's floating address must answer: so
    the guest can send, and the other is there. The other's private address must not.
    """
    expected = []
    for own, other in zip(found, reversed(found), strict=True):
        address = own["port"]["floating_address"]
        reached = [own["network"]["gateway"], other["port"]["floating_address"]]
        silent = [other["port"]["fixed_address"]]
        words = [f"{item} reached" for item in reached] + [f"{item} silent" for item in silent]
        page = {"name": f"{address} page", "page": f"http://{address}/", "contains": []}
        outcome = {"name": own["network"]["name"], "page": f"http://{address}/probes", "contains": words}
        expected.append({"reached": reached, "silent": silent, "answers": [page], "outcome": outcome})
    return expected


def by_node(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the traces of a loop over nodes, by node."""
    return {str(result["item"]): result["traces"] for result in results}


def record(seen: Seen) -> dict[str, Any]:
    """Return the record of a proof: server, seconds by part, checks.

    `seen` has what the tenant's steps returned (`image`, `volume`, `network`, `port`, `server`), `project`, `group`
    (of volumes), `outside` (found by the probes), `before` and `during` (traces by node), `seconds` (of each step).
    """
    server, port = seen["server"], seen["port"]
    return {
        "server": {
            "name": server["name"],
            "id": server["id"],
            "project": seen["project"],
            "node": server["node"],
            "fixed_address": port["fixed_address"],
            "floating_address": port["floating_address"],
            "volume": seen["volume"]["id"],
            "image": seen["image"]["name"],
        },
        "seconds": _seconds(seen),
        "checks": [{"name": name, "ok": ok, "detail": detail} for name, ok, detail in _checks(seen)],
        "credentials": seen["credentials"],
    }


def _seconds(seen: Seen) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in seen["seconds"]:
        total |= part
    return total | {name: found["seconds"] for name, found in seen["outside"].items()}


def _checks(seen: Seen) -> Iterable[tuple[str, bool, str]]:
    server, outside = seen["server"], seen["outside"]
    yield "tenant", "admin" not in server["roles"], f"roles of the tenant: {', '.join(server['roles'])}"
    parts = seen["image"]["parts"]
    ok = "page" not in outside or {"kernel", "ramdisk", "disk"} <= set(parts)
    yield "image", ok, ", ".join(f"{name} {value}" for name, value in parts.items())
    ok = server["volumes"] == [seen["volume"]["id"]]
    yield "root", ok, f"the server's volumes: {', '.join(server['volumes']) or 'none'}"
    for name, found in outside.items():
        yield name, True, found["text"].strip()[:200]
    yield _volume(seen)
    yield _target(seen)
    yield _session(seen)
    yield _domain(seen)
    yield "as before", True, f"{', '.join(seen['before'])}: nothing is left and nothing is gone"


def _volume(seen: Seen) -> tuple[str, bool, str]:
    """It is a logical volume, on one storage node, which was not there before."""
    name = f"{seen['group']}/volume-{seen['volume']['id']}"
    nodes = [node for node, traces in seen["during"].items() if name in traces["volumes"]]
    before = [node for node, traces in seen["before"].items() if name in traces["volumes"]]
    return "logical volume", len(nodes) == 1 and not before, f"{name} on {', '.join(nodes) or 'no node'}"


def _target(seen: Seen) -> tuple[str, bool, str]:
    """Its target lets in only initiators that it knows, with CHAP."""
    volume = seen["volume"]["id"]
    found = [
        (node, iqn, target)
        for node, traces in seen["during"].items()
        for iqn, target in traces["targets"].items()
        if iqn.endswith(f"volume-{volume}")
    ]
    if len(found) != 1:
        return "target", False, f"{len(found)} targets of volume-{volume}"
    node, iqn, target = found[0]
    users = target["users"]
    ok = target["authentication"] and not target["anonymous"] and bool(users) and all(users.values())
    words = "CHAP" if target["authentication"] else "no authentication"
    who = "anybody" if target["anonymous"] else ", ".join(users) or "nobody"
    return "target", ok, f"{iqn} on {node}: {words}, open to {who}"


def _session(seen: Seen) -> tuple[str, bool, str]:
    """The server's node, and no other, is logged in to it, by CHAP."""
    volume, node = seen["volume"]["id"], seen["server"]["node"]
    found = [
        (name, iqn, session, traces["records"].get(iqn, {}).get("methods", []))
        for name, traces in seen["during"].items()
        for iqn, session in traces["sessions"].items()
        if iqn.endswith(f"volume-{volume}")
    ]
    if len(found) != 1:
        return "session", False, f"{len(found)} sessions to volume-{volume}"
    name, iqn, session, methods = found[0]
    ok = name == node and bool(session["user"]) and methods == ["CHAP"] and session["state"] == "LOGGED_IN"
    how = f"{', '.join(methods) or 'no record'}, {'with' if session['user'] else 'without'} a user"
    return "session", ok, f"{name} to {iqn} at {session['portal']}: {session['state']}, {how}"


def _domain(seen: Seen) -> tuple[str, bool, str]:
    """The server runs where nova says, and nowhere else."""
    server = seen["server"]
    nodes = [node for node, traces in seen["during"].items() if server["id"] in traces["domains"]]
    return "domain", nodes == [server["node"]], f"{server['id']} on {', '.join(nodes) or 'no node'}"


def story(found: Mapping[str, Any]) -> list[str]:
    """Return the record as lines for a person."""
    lines = [f"{'ok ' if check['ok'] else 'NO '} {check['name']}: {check['detail']}" for check in found["checks"]]
    return [*lines, "seconds: " + ", ".join(f"{name} {value}" for name, value in found["seconds"].items())]


def explanation(
    step: str, failed: Mapping[str, Any], journals: Iterable[Mapping[str, Any]], console: Iterable[str]
) -> str:
    """Return why a proof failed: the step, what it said, who complained on which machine, the guest's console.

    `failed` is the result of the step, `journals` are those of a loop of updraft.cloud.journals over machines.
    """
    lines = [f"The proof failed at: {step}", *_messages(failed), ""]
    for result in journals:
        complaints = result.get("complaints")
        if complaints is None:
            lines.append(f"--- {result['item']}: {result.get('msg', 'not reached')}")
            continue
        for source, texts in complaints.items():
            lines += [f"--- {result['item']}, {source}:", *texts]
        if not complaints:
            lines.append(f"--- {result['item']}: no service complained")
    return "\n".join([*lines, "--- console of the guest:", *(list(console)[-40:] or ["(empty)"])])


def _messages(failed: Mapping[str, Any]) -> list[str]:
    """Return what a task said, or in a loop each item that failed."""
    items = [item for item in failed.get("results", []) if item.get("failed")]
    if items:
        return [str(item.get("msg", "it failed")) for item in items]
    return [str(failed.get("msg", "it failed"))]
