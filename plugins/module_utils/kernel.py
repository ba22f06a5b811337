# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.kernel does on the target: the running kernel's name, modules and settings, compared live.

The files which hold them for the next boot are written by updraft.cloud.files; here is what is true now.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

ROOT = "/proc/sys"


@dataclass(frozen=True, slots=True)
class Running:
    """What is true now. A setting that the kernel does not have is None."""

    hostname: str
    modules: frozenset[str]
    settings: Mapping[str, str | None]


def normal(name: str) -> str:
    """A module's name as the kernel writes it."""
    return name.replace("-", "_")


def path_of(setting: str) -> str:
    """The file of a setting; a setting whose parts hold dots is written with slashes, as for sysctl."""
    parts = setting if "/" in setting else setting.replace(".", "/")
    return f"{ROOT}/{parts}"


def spaced(value: Any) -> str:
    """A value as it compares: the kernel separates fields by tabs."""
    if isinstance(value, bool):
        value = int(value)
    return " ".join(str(value).split())


def read(hostname: str | None, settings: Iterable[str]) -> Running:
    """Look at the running kernel."""
    values: dict[str, str | None] = {}
    for setting in settings:
        try:
            with open(path_of(setting), encoding="utf-8") as stream:
                values[setting] = spaced(stream.read())
        except OSError:
            values[setting] = None
    return Running(socket.gethostname() if hostname else "", loaded_modules(), values)


def loaded_modules() -> frozenset[str]:
    """Modules which are loaded or built in."""
    try:
        found = set(os.listdir("/sys/module"))
    except OSError:
        found = set()
    try:
        with open(f"/lib/modules/{os.uname().release}/modules.builtin", encoding="utf-8") as stream:
            found |= {normal(os.path.basename(line.strip()).removesuffix(".ko")) for line in stream}
    except OSError:
        pass
    return frozenset(found)


def plan(hostname: str | None, modules: Iterable[str], settings: Mapping[str, Any], now: Running) -> list[Action]:
    """What has to be done, modules before settings: some settings come with a module."""
    actions = []
    if hostname and hostname != now.hostname:
        actions.append(Action("update", "name", hostname, {"name": now.hostname}, {"name": hostname}))
    for module in modules:
        if normal(module) not in now.modules:
            actions.append(Action("create", "module", module, None, {"loaded": True}))
    for setting, wanted in sorted(settings.items()):
        found = now.settings.get(setting)
        if found != spaced(wanted):
            actions.append(Action("update", "setting", setting, {"value": found}, {"value": spaced(wanted)}))
    return actions


def apply(action: Action) -> None:
    """Carry out one action. Raises OSError or RuntimeError."""
    _APPLY[action.what](action.name, dict(action.after or {}))


def _apply_name(name: str, _: Mapping[str, Any]) -> None:
    socket.sethostname(name)


def _apply_module(name: str, _: Mapping[str, Any]) -> None:
    done = subprocess.run(["modprobe", "--", name], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        cure = "install the kernel package that has it, and restart the machine into that kernel"
        raise RuntimeError(f"{done.stderr.strip() or 'modprobe failed'}; {cure}")


def _apply_setting(name: str, after: Mapping[str, Any]) -> None:
    with open(path_of(name), "w", encoding="utf-8") as stream:
        stream.write(f"{after['value']}\n")


_APPLY: dict[str, Callable[[str, Mapping[str, Any]], None]] = {
    "name": _apply_name,
    "module": _apply_module,
    "setting": _apply_setting,
}
