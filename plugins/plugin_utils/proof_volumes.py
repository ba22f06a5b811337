# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the proof of copies of volumes: what was seen, judged check by check. Pure; see roles/verify."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Seen = Mapping[str, Any]
#: Digits of a checksum that a person is shown.
SHOWN = 16


def content(results: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return of a loop of updraft.cloud.volume_content over nodes: of each volume, its checksum by node."""
    found: dict[str, dict[str, str]] = {}
    for result in results:
        for volume, checksum in (result.get("checksums") or {}).items():
            found.setdefault(volume, {})[str(result["item"])] = str(checksum)
    return found


def files(results: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return of a loop of ansible.builtin.find over nodes: the files by node."""
    return {str(result["item"]): [file["path"] for file in result.get("files") or []] for result in results}


def record(seen: Seen) -> dict[str, Any]:
    """Return the record: what was made, seconds by part, checks.

    `seen` has the ids of the `volume`, its `copies` and its `backup` (empty without one), the content `before` the
    volume was written to again, `after` that and `restored`, `files` of the backup by node, and `seconds` of each step.
    """
    seconds: dict[str, float] = {}
    for part in seen["seconds"]:
        seconds |= part
    return {
        "volume": seen["volume"],
        "copies": seen["copies"],
        "backup": seen["backup"],
        "seconds": seconds,
        "checks": [{"name": name, "ok": ok, "detail": detail} for name, ok, detail in _checks(seen)],
    }


def _checks(seen: Seen) -> Iterator[tuple[str, bool, str]]:
    volume, copies, backup = seen["volume"], seen["copies"], seen["backup"]
    before, after = _of(seen["before"], volume), _of(seen["after"], volume)
    yield "volume", bool(before), f"{volume}: {_shown(seen['before'], volume)}"
    yield "volume changed", bool(after) and after != before, f"{volume}: {_shown(seen['after'], volume)}"
    for name, key in (("volume from snapshot", "from_snapshot"), ("clone", "clone")):
        found = _of(seen["after"], copies[key])
        text = "as the volume was when it was made" if found == before else "not what the volume had"
        yield name, bool(found) and found == before, f"{copies[key]}: {_shown(seen['after'], copies[key])}, {text}"
    if not backup:
        return
    found = _of(seen["restored"], backup["restored"])
    text = "as the volume was when it was backed up" if found == after else "not what the volume had"
    shown = _shown(seen["restored"], backup["restored"])
    yield "restored backup", bool(found) and found == after, f"{backup['restored']}: {shown}, {text}"
    yield _kept(seen)


def _kept(seen: Seen) -> tuple[str, bool, str]:
    """The backup's files are on one node, and the volume is not."""
    container = seen["backup"]["backup"]["container"]
    nodes = [node for node, paths in seen["files"].items() if paths]
    volumes = {node for checksums in seen["after"].values() for node in checksums}
    count = sum(len(paths) for paths in seen["files"].values())
    ok = len(nodes) == 1 and not volumes & set(nodes)
    return "backup", ok, f"{container}: {count} files on {', '.join(nodes) or 'no node'}"


def _of(found: Mapping[str, Mapping[str, str]], volume: str) -> str:
    """The checksum of a volume that is on one node; empty if it is on none, or on several."""
    checksums = list(found.get(volume, {}).values())
    return checksums[0] if len(checksums) == 1 else ""


def _shown(found: Mapping[str, Mapping[str, str]], volume: str) -> str:
    parts = [f"sha256 {checksum[:SHOWN]} on {node}" for node, checksum in found.get(volume, {}).items()]
    return " and ".join(parts) or "on no node"
