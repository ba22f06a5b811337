# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of the nodes' image on the provisioning server: what is missing, which one is current, which ones go.

A version is a directory with the files that its manifest names. The manifest comes last, so a push that was cut leaves
no version but files that the next push completes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.image_recipe import ImageError
from ansible_collections.updraft.cloud.plugins.module_utils.node_image import MANIFEST, file_digest

CURRENT = "current"
_VERSION = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class State:
    """What is on the server: complete versions with the time at which they came, and the current one."""

    versions: Mapping[str, float]
    current: str = ""
    partial: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: the version to make current (empty: none), versions and incomplete directories to remove."""

    current: str = ""
    remove: tuple[str, ...] = ()
    kept_in_use: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.current or self.remove)


def plan(state: State, wanted: str, keep: int, in_use: Iterable[str] = ()) -> Plan:
    """Compare the wanted version with the state. Raises ImageError when it is not there or `keep` makes no sense.

    The wanted version, those in use and the youngest are kept, `keep` in all; versions in use are kept beyond that.
    """
    if keep < 1:
        raise ImageError(f"keep is {keep}: at least the current version has to stay")
    if wanted not in state.versions:
        there = ", ".join(sorted(state.versions)) or "none"
        raise ImageError(f"version {wanted} of the image is not on the server; there are: {there}")
    used = set(in_use) & set(state.versions)
    young = sorted(set(state.versions) - {wanted}, key=lambda name: (-state.versions[name], name))
    stay = {wanted, *young[: keep - 1]}
    gone = [name for name in young if name not in stay and name not in used]
    partial = [name for name in state.partial if name != wanted]
    return Plan(
        current="" if state.current == wanted else wanted,
        remove=tuple(sorted([*gone, *partial])),
        kept_in_use=tuple(sorted(used - stay)),
    )


class Store:
    """The directory of all versions."""

    def __init__(self, path: Path) -> None:
        """Take the directory; it need not be there yet."""
        self.path = path

    def read(self) -> State:
        """Look at what is there. A directory which is not named like a version is not ours."""
        versions, partial = {}, []
        if self.path.is_dir():
            for entry in self.path.iterdir():
                if not entry.is_dir() or entry.is_symlink() or not _VERSION.fullmatch(entry.name):
                    continue
                manifest = entry / MANIFEST
                if manifest.is_file():
                    versions[entry.name] = manifest.stat().st_mtime
                else:
                    partial.append(entry.name)
        link = self.path / CURRENT
        current = os.readlink(link) if link.is_symlink() else ""
        return State(versions, current, tuple(sorted(partial)))

    def missing(self, manifest: Mapping[str, Any]) -> list[str]:
        """Return the files of a version which are not there as they should be, the manifest last."""
        directory = self.path / str(manifest["version"])
        files: Mapping[str, Mapping[str, Any]] = manifest["files"]
        absent = [name for name, file in sorted(files.items()) if not _same(directory / name, file)]
        if absent or not _manifest_of(directory, manifest):
            absent.append(MANIFEST)
        return absent

    def apply(self, todo: Plan) -> None:
        """Make a version current by one rename, then remove what is to go."""
        if todo.current:
            link = self.path / f".{CURRENT}"
            link.unlink(missing_ok=True)
            link.symlink_to(todo.current)
            link.replace(self.path / CURRENT)
        for name in todo.remove:
            # Without its manifest first: what is half removed is no version.
            (self.path / name / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self.path / name)

    def manifest(self, version: str) -> dict[str, Any]:
        """Return the manifest of a version without its list of packages."""
        data = json.loads((self.path / version / MANIFEST).read_text())
        return {key: value for key, value in data.items() if key != "packages"}


def difference(before: State, todo: Plan) -> dict[str, str]:
    """Return before and after, for Ansible's diff."""
    after = set(before.versions) - set(todo.remove)
    return {
        "before": _text(before.versions, before.current),
        "after": _text(sorted(after), todo.current or before.current),
    }


def _text(versions: Iterable[str], current: str) -> str:
    return "".join(f"{name}{' (current)' if name == current else ''}\n" for name in sorted(versions))


def _same(path: Path, file: Mapping[str, Any]) -> bool:
    try:
        return bool(path.stat().st_size == file["bytes"] and file_digest(path) == file["sha256"])
    except FileNotFoundError:
        return False


def _manifest_of(directory: Path, manifest: Mapping[str, Any]) -> bool:
    try:
        found = json.loads((directory / MANIFEST).read_text())
    except (FileNotFoundError, ValueError):
        return False
    return all(found.get(key) == value for key, value in manifest.items())


def safe_versions(names: Sequence[str]) -> list[str]:
    """Return the names which are versions; others (of machines without an image of ours) say nothing here."""
    return [name for name in names if _VERSION.fullmatch(name)]
