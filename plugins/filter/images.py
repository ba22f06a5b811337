# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role join: images of the model as updraft.cloud.tenancy takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.guest_image import COMMAND_LINE, recipe

#: The word in place of an address or a file.
TINY = "tiny"


def image_list(images: Mapping[str, Mapping[str, Any]], folder: str) -> list[dict[str, Any]]:
    """The images as a list, each with what identifies its content and where its file lies on the control node."""
    return [_image(name, image, folder) for name, image in images.items()]


def _image(name: str, image: Mapping[str, Any], folder: str) -> dict[str, Any]:
    tiny = image["source"] == TINY
    own = {"os_command_line": COMMAND_LINE} if tiny else {}
    # Not the kernel's release: an update of a node's kernel is no reason for another image.
    content = f"tiny:{recipe()}" if tiny else image.get("checksum") or image["source"]
    return {
        "name": name,
        "content": content,
        "format": "raw" if tiny else image.get("format") or "qcow2",
        "parts": tiny,
        # By content, so that a file of an earlier run is never taken for another.
        "path": f"{folder}/{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}",
        "min_disk_gib": image.get("min_disk_gib") or 0,
        "min_memory_mib": image.get("min_memory_mib") or 0,
        "properties": {**own, **(image.get("properties") or {})},
    }


def images_to_bring(
    lacking: Iterable[str], images: Mapping[str, Mapping[str, Any]], folder: str
) -> dict[str, list[dict[str, Any]]]:
    """The lacking images by their way here: `build`, `fetch` by an address, or `local` to the controller."""
    names = set(lacking)
    ways: dict[str, list[dict[str, Any]]] = {"build": [], "fetch": [], "local": []}
    for name, image in images.items():
        # Parts of an image count for the whole.
        if names & {name, f"{name}-kernel", f"{name}-ramdisk"}:
            ways[_way(image["source"])].append({**image, **_image(name, image, folder)})
    return ways


def _way(source: str) -> str:
    if source == TINY:
        return "build"
    return "fetch" if "://" in source else "local"


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"image_list": image_list, "images_to_bring": images_to_bring}
