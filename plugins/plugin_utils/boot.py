# SPDX-License-Identifier: GPL-3.0-or-later
"""What machines boot: the distros, profiles and systems of the role cobbler, from the systems of the model. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

#: Where the kernel options of a distro name its version.
PLACE = "{version}"

Entries = list[dict[str, Any]]


class BootError(Exception):
    """A machine cannot boot what it is told to; the text says why and what to change."""


def objects(
    systems: Iterable[Mapping[str, Any]],
    version: str,
    profile: str,
    kernel_options: str,
    versions: Collection[str] = (),
) -> dict[str, Entries]:
    """Return `distros`, `profiles` and `systems`: a distro for each version of the image that a machine boots.

    systems: `cloud.provisioning.systems`. version: the newest, which `profile` boots; a machine that names its version
    has the profile `<profile>-<version>`, so that a newer image does not move it. kernel_options: of every distro, with
    {version} in place of its version. versions: what is on the server; none: not known yet, and not checked.
    Raises BootError for a machine whose version is not there.
    """
    systems = list(systems)
    if versions:
        _check(systems, versions)
    pinned = sorted({str(system["image"]) for system in systems if system.get("image")})
    return {
        "distros": [
            {"name": name, "kernel_options": kernel_options.replace(PLACE, name).strip()}
            for name in sorted({version, *pinned})
        ],
        "profiles": [
            {"name": profile, "distro": version},
            *({"name": f"{profile}-{name}", "distro": name} for name in pinned),
        ],
        "systems": [_system(system, profile) for system in systems],
    }


def _check(systems: Iterable[Mapping[str, Any]], versions: Collection[str]) -> None:
    there = ", ".join(sorted(versions))
    faults = [
        f"provisioning.images.{system['name']}: version {system['image']} of the image is not on the server"
        for system in systems
        if system.get("image") and system["image"] not in versions
    ]
    if faults:
        raise BootError(f"{'; '.join(faults)}. There are: {there}. Write one of them, or remove the line")


def _system(system: Mapping[str, Any], profile: str) -> dict[str, Any]:
    image = system.get("image")
    options = [f"updraft.{key}={system[key]}" for key in ("install", "root") if system.get(key)]
    return {
        "name": system["name"],
        "mac": system["mac"],
        "ip": system["address"],
        "profile": f"{profile}-{image}" if image else profile,
        **({"kernel_options": " ".join(options)} if options else {}),
    }
