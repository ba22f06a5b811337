# SPDX-License-Identifier: GPL-3.0-or-later
"""`hosts`, `approve` and `retire`: the machines that registered, as their registrar has them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ansible_collections.updraft.cloud.plugins.module_utils.registrar_client import (
    Registrar,
    RegistrarError,
    plain_code,
)
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import read
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.load import Loaded, ModelError
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.types import Site as Model
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.values import is_name
from ansible_collections.updraft.cloud.plugins.plugin_utils.registry import connect
from updraft import vault
from updraft.site import Refusal, Site

Entry = Mapping[str, Any]
COLUMNS = ("state", "code", "name", "pool", "address", "cpus", "memory", "disks", "seen", "alarms")
ORDER = ("seen", "approved", "ready", "in_service", "away", "retired")


def model_of(site: Site) -> Loaded:
    """The site's model, without the machines that registered. Raises Refusal."""
    try:
        return read(site.cloud_file)[0]
    except (ModelError, OSError, ValueError) as error:
        raise Refusal(str(error)) from None


def client_of(site: Site, *, timeout: float = 20.0) -> Registrar:
    """The client of the site's registrar. Raises Refusal when there cannot be one yet."""
    loaded = model_of(site)
    try:
        return connect(loaded.site, loaded.expanded, vault.secrets_of(site), timeout=timeout)
    except RegistrarError as error:
        raise Refusal(str(error)) from None


def show(site: Site, *, as_json: bool, out: TextIO | None = None) -> int:
    """Print the machines and what was refused."""
    out = out or sys.stdout
    try:
        listing = client_of(site).listing()
    except RegistrarError as error:
        raise Refusal(str(error)) from None
    if as_json:
        json.dump(listing, out, indent=2)
        print(file=out)
        return 0
    print(table(listing["hosts"], datetime.now(UTC)), file=out)
    for alarm in listing.get("alarms", []):
        times = f" ({alarm['count']} times)" if alarm.get("count", 1) > 1 else ""
        print(f"alarm: {alarm['last']} {alarm['address']}: {_safe(alarm['message'])}{times}", file=out)
    return 0


def table(hosts: Sequence[Entry], now: datetime) -> str:
    """The machines in columns: who waits for approval first, the retired last."""
    ordered = sorted(hosts, key=lambda host: (ORDER.index(host["state"]), str(host.get("name") or host["code"])))
    rows = [COLUMNS, *(row(host, now) for host in ordered)]
    if len(rows) == 1:
        return "no machine has registered yet"
    widths = [max(len(line[number]) for line in rows) for number in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in rows]
    return "\n".join(line.rstrip() for line in lines)


def row(host: Entry, now: datetime) -> tuple[str, ...]:
    """One machine's cells, in the order of COLUMNS."""
    hardware: Entry = host.get("hardware") or {}
    disks = hardware.get("disks") or []
    sizes = ", ".join(f"{disk.get('size_gib', 0):g}" for disk in disks)
    state = f"{host['state']} (was {host['returns_as']})" if host.get("returns_as") else str(host["state"])
    return (
        state,
        str(host["code"]),
        _safe(host.get("name") or "-"),
        _safe(host.get("pool") or "-"),
        _safe(host.get("address") or "-"),
        str(hardware.get("cpus") or "-"),
        f"{-(-hardware['memory_mib'] // 1024)} GiB" if hardware.get("memory_mib") else "-",
        f"{sizes} GiB" if disks else "none",
        ago(str(host["last_seen"]), now),
        _safe(", ".join(host.get("alarms") or []) or "-"),
    )


def ago(then: str, now: datetime) -> str:
    """How long ago: `8 s`, `3 min`, `2 h`, `5 d`."""
    seconds = max((now - datetime.fromisoformat(then.replace("Z", "+00:00"))).total_seconds(), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _safe(text: Any) -> str:
    """What machines tell of themselves can hold what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def approve(site: Site, code: str, name: str, pool: str | None, roles: Sequence[str]) -> int:
    """Approve the machine that shows this code."""
    loaded = model_of(site)
    pool = checked(loaded, name, pool)
    try:
        code = plain_code(code)
        made = client_of(site).approve(code, name, pool, roles)
    except (ValueError, RegistrarError) as error:
        raise Refusal(str(error)) from None
    print(
        f"{name} is {made.get('state', 'approved')}, in pool {pool}: its host key is pinned, and only that is accepted"
    )
    print(f"next: ./updraft rollout {site.inventory.name} (unless one watches)")
    return 0


def checked(loaded: Loaded, name: str, pool: str | None) -> str:
    """The pool that is meant, once name and pool fit the model. Raises Refusal."""
    model: Model = loaded.site
    node = loaded.expanded.nodes.get(name)
    if not is_name(name):
        raise Refusal(f"'{name}' is no name of a node: write small letters, digits and hyphens, such as node2")
    if node is not None and node.boot != "network":
        raise Refusal(f"the name {name} is another node's: nodes.{name} of cloud.yml boots from its disk")
    known = list(dict.fromkeys([*model.pools, *(one.pool for one in loaded.expanded.nodes.values() if one.pool)]))
    if node is not None and node.pool and pool not in (None, node.pool):
        raise Refusal(f"nodes.{name} of cloud.yml is in the pool {node.pool}: leave --pool out, or write it there")
    pool = pool or (node.pool if node else None) or (known[0] if len(known) == 1 else None)
    if pool is None:
        raise Refusal(f"say which pool {name} belongs to with --pool: there are {', '.join(known) or 'none yet'}")
    if model.pools and pool not in model.pools:
        raise Refusal(f"there is no pool '{pool}': there are {', '.join(model.pools)}")
    return pool


def retirable(site: Site, name: str) -> Entry:
    """The machine of this name. Raises Refusal when there is none, or it is one that never registered."""
    node = model_of(site).expanded.nodes.get(name)
    if node is not None and node.boot != "network":
        raise Refusal(f"{name} boots from its disk and never registered: remove it from {site.cloud_file}")
    try:
        host = client_of(site).host(name)
    except RegistrarError as error:
        raise Refusal(str(error)) from None
    if host is None:
        raise Refusal(f"no machine {name} is approved; './updraft hosts {site.inventory.name}' shows all")
    return host


def playbook(site: Site, name: str) -> Path:
    """One of Updraft's own playbooks."""
    return site.root / "playbooks" / f"{name}.yml"
