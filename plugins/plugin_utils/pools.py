# SPDX-License-Identifier: GPL-3.0-or-later
"""The names under which a machine finds the volumes of storage pools, whatever number the kernel gives to a disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_targets import serial

#: How LIO forms the world-wide name of a LUN: 3 for its kind, 6 for the format, 001405 for the vendor.
LIO = "36001405"
DIGITS = 25


def wwid(target: str, lun: str) -> str:
    """Return the world-wide name of a LUN of LIO, as udev and multipath write it."""
    return LIO + serial(target, lun).replace("-", "")[:DIGITS]


def device(target: str, lun: str) -> str:
    """Return the device which multipath makes of all paths to a LUN."""
    return f"/dev/mapper/{wwid(target, lun)}"


def rules(pools: Iterable[Mapping[str, Any]], *, multipath: bool) -> str:
    """Return udev's rules, which link /dev/updraft/POOL/VOLUME to the disk, or to the device of all its paths."""
    lines = ["# Managed by Updraft. Volumes of storage pools by their names in cloud.yml."]
    for pool in pools:
        for volume in pool["volumes"]:
            name = wwid(volume["target"], f"pool-{pool['name']}-{volume['name']}")
            match = f'ENV{{DM_UUID}}=="mpath-{name}"' if multipath else f'KERNEL=="sd*", ENV{{ID_SERIAL}}=="{name}"'
            link = f"updraft/{pool['name']}/{volume['name']}"
            lines.append(f'SUBSYSTEM=="block", ENV{{DEVTYPE}}=="disk", {match}, SYMLINK+="{link}"')
    return "\n".join(lines) + "\n"


def sessions(
    pools: Iterable[Mapping[str, Any]], chap: Mapping[str, str], settings: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the targets of updraft.cloud.iscsi_session, one for each volume, from each start on."""
    return [
        {
            "target": volume["target"],
            "portals": list(pool["portals"]),
            **chap,
            "settings": dict(settings),
            "startup": "automatic",
        }
        for pool in pools
        for volume in pool["volumes"]
    ]


def names(pools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the pools as updraft.cloud.storage_pools takes them: name, and the names of the volumes."""
    return [{"name": pool["name"], "volumes": [volume["name"] for volume in pool["volumes"]]} for pool in pools]
