# SPDX-License-Identifier: GPL-3.0-or-later
"""What a storage server tells of its mirror."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import mirror_disks, mirror_network
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError, call
from ansible_collections.updraft.cloud.plugins.module_utils.lio import CONFIGFS, ISCSI, targets_in_use
from ansible_collections.updraft.cloud.plugins.module_utils.logical_volumes import patience
from ansible_collections.updraft.cloud.plugins.module_utils.mirror import Mirror
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_config import Config
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Leg
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_protocol import Running
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_state import State, Store
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_system import Machine


def status(config: Config, machine: Machine, store: Store) -> dict[str, Any]:
    """Return it all. Nothing is changed, and no verb that runs is waited for."""
    state = store.read()
    leg = machine.leg()
    arrays = machine.running()
    restarted = state.role == "leg" and state.boot != machine.boot_id()
    return {
        "self": config.self_name,
        "role": state.role,
        "generation": state.generation,
        "up": machine.up(),
        "complete": state.complete and not restarted,
        "connected": state.connected and not restarted,
        "closed": state.closed,
        "lost_at": state.lost_at,
        "alone_since": state.alone_since,
        "time": machine.now(),
        "words": words(config, state, machine.up(), arrays),
        "disks": [_member(path) for path in config.disks],
        "arrays": Mirror(config, machine, store).arrays(),
        "exported": machine.exported(),
        "peer": {"name": config.peer.name, "uses_our_leg": machine.session(), **_peer(leg, machine)},
        "addresses": {item.address: not mirror_network.missing([item], _addresses()) for item in config.service},
        "pool": pool(config),
        "sessions": sessions(config.leg_target),
    }


def sessions(own_leg: str, root: Path = CONFIGFS / ISCSI) -> dict[str, int]:
    """Return how many sessions each initiator has with the targets of volumes, as the kernel tells."""
    found: dict[str, int] = {}
    for target, initiators in targets_in_use(root).items():
        for initiator in initiators if target != own_leg else ():
            found[initiator] = found.get(initiator, 0) + 1
    return found


def words(config: Config, state: State, up: bool, arrays: dict[str, Running]) -> str:
    """Return in a sentence what this server is and how it is."""
    if state.role == "new":
        return "not a part of the mirror yet"
    if state.role == "leg":
        copy = "its copy is complete" if state.complete else "its copy is not known to be complete"
        return f"a leg of {config.peer.name} in generation {state.generation}; {copy}"
    if not up:
        return f"serves by its state (generation {state.generation}), and is not up"
    return f"serves in generation {state.generation}; " + "; ".join(array.words() for array in arrays.values())


def _peer(leg: Leg | None, machine: Machine) -> dict[str, Any]:
    return {
        "session": machine.session_state() or "none",
        "offers": leg is not None,
        "generation": leg.generation if leg else None,
    }


def _member(path: str) -> dict[str, Any]:
    try:
        found = mirror_disks.look_at(path)
    except DisksError as error:
        return {"path": path, "problem": str(error)}
    return {**asdict(found), "holds": list(found.holds)}


def _addresses() -> dict[str, set[str]]:
    try:
        return mirror_network.present()
    except DisksError:
        return {}


def pool(config: Config) -> dict[str, Any] | None:
    """Return how full the thin pool is, and what it does when it is full; None where it is not active here."""
    if not config.thin_pool:
        return None
    columns = "data_percent,metadata_percent,lv_size,lv_health_status,lv_when_full,vg_free"
    options = ["--reportformat", "json", "-o", columns, "--units", "b", "--nosuffix"]
    try:
        return parse_pool(call(["lvs", *options, f"{config.group}/{config.thin_pool}"])) | {"fails_after": patience()}
    except (DisksError, ValueError, KeyError, IndexError):
        return None


def parse_pool(text: str) -> dict[str, Any]:
    """Read `lvs` of the pool: percent of data and metadata, its size and what it can grow by in bytes.

    `health` is LVM's word (out_of_data, metadata_read_only, failed, ...), empty for a good one; `waits` says
    whether writes wait when it is full. Raises ValueError, KeyError or IndexError.
    """
    row = json.loads(text)["report"][0]["lv"][0]
    return {
        "data_percent": float(row["data_percent"]),
        "metadata_percent": float(row["metadata_percent"]),
        "size_bytes": int(row["lv_size"]),
        "free_bytes": int(row["vg_free"]),
        "health": row["lv_health_status"],
        "waits": row["lv_when_full"] == "queue",
    }
