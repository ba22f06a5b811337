# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tenant does with volumes alone: snapshots, copies, backups, and all of it away again.

As in `tenant`, everything carries one name; what is copied has the name and a word of its own behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import Api, ApiError
from ansible_collections.updraft.cloud.plugins.module_utils.tenant import (
    BUSY,
    Pending,
    TenantError,
    Thing,
    messages,
    wait,
)

STORAGE = "block-storage"
#: A snapshot or backup in one of these states cannot be deleted yet; it leaves them by itself.
UNFINISHED = BUSY | {"restoring", "backing-up", "restoring-backup"}
KINDS = ("backups", "volumes", "snapshots")


def mine(items: Iterable[Thing], name: str) -> list[Thing]:
    """Return what a proof of this name has made."""
    return [item for item in items if item.get("name") == name or str(item.get("name")).startswith(f"{name}-")]


def await_state(api: Api, kind: str, number: str, limit: float) -> Thing:
    """Return a volume, snapshot or backup once it can be used. Raises TenantError when it failed."""

    def look() -> Thing | Pending:
        now: Thing = api.get(STORAGE, f"/{kind}s/{number}")[kind]
        if now["status"].startswith("error"):
            reason = now.get("fail_reason") or messages(api, number)
            raise TenantError(f"{kind} {number} is in state {now['status']}: {reason}")
        return now if now["status"] == "available" else Pending(f"{kind} {number} is {now['status']}")

    return wait(f"{kind} {number}", look, limit)


def snapshot(api: Api, name: str, volume: str, limit: float) -> str:
    """Make a snapshot. Returns its id."""
    made = api.post(STORAGE, "/snapshots", {"snapshot": {"name": name, "volume_id": volume}})["snapshot"]["id"]
    await_state(api, "snapshot", made, limit)
    return str(made)


def volume(api: Api, name: str, size_gib: int, limit: float, **source: str) -> str:
    """Make a volume, empty or from `snapshot_id` or `source_volid`. Returns its id."""
    body = {"volume": {"name": name, "size": size_gib, **source}}
    made = api.post(STORAGE, "/volumes", body)["volume"]["id"]
    await_state(api, "volume", made, limit)
    return str(made)


def backup(api: Api, name: str, volume_id: str, limit: float) -> Thing:
    """Back a volume up."""
    made = api.post(STORAGE, "/backups", {"backup": {"name": name, "volume_id": volume_id}})["backup"]["id"]
    return await_state(api, "backup", made, limit)


def restore(api: Api, name: str, made: Thing, limit: float) -> str:
    """Write a backup to a new volume. Returns the volume's id."""
    target = volume(api, name, int(made["size"]), limit)
    api.post(STORAGE, f"/backups/{made['id']}/restore", {"restore": {"volume_id": target}})
    await_state(api, "backup", made["id"], limit)
    await_state(api, "volume", target, limit)
    return target


def remove(api: Api, name: str, limit: float) -> list[str]:
    """Remove all of it, and wait until it is gone. Returns what was there, as `backup NAME ID`."""
    removed: dict[str, None] = {}

    def look() -> bool | Pending:
        left = []
        for kinds in KINDS:
            for item in mine(api.get(STORAGE, f"/{kinds}/detail")[kinds], name):
                kind = kinds.removesuffix("s")
                removed[f"{kind} {item['name']} {item['id']}"] = None
                left.append(f"{kind} {item['id']} is {item['status']}{_delete(api, kinds, item)}")
        return Pending("; ".join(left)) if left else True

    wait("deletion of the volumes", look, limit)
    return list(removed)


def _delete(api: Api, kinds: str, item: Thing) -> str:
    """Ask for it, if it can be deleted now. Returns why not, where the service says so."""
    if item["status"] == "error_deleting":
        raise TenantError(f"{kinds.removesuffix('s')} {item['id']} could not be deleted: {messages(api, item['id'])}")
    if item["status"] in UNFINISHED:
        return ""
    try:
        api.delete(STORAGE, f"/{kinds}/{item['id']}")
    except ApiError as error:
        # A volume stays until its snapshots are gone; and between a look and a word its state may have changed.
        if error.status not in (400, 409):
            raise
        return f" ({error})"
    return ""


def described(made: Thing) -> dict[str, Any]:
    """Return what is to be known of a backup: where its files lie, and how many they are."""
    return {name: made.get(name) for name in ("id", "container", "object_count", "size")}
