# SPDX-License-Identifier: GPL-3.0-or-later
"""Cobbler's distros, profiles and systems as a whole: what is wanted, what is there, and the way between. Pure.

What Updraft makes has the owner `updraft`. Only that is ever changed or removed; a wanted name which somebody else
has is an error.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .reconcile import Action, Fields
from .reconcile import plan as compare

OWNER = "updraft"
#: Each needs the ones before it.
KINDS = ("distro", "profile", "system")
INTERFACE = "default"
#: Action which brings DHCP and the boot files up to date; its name is one of SYNCS.
SYNC = "boot files"
SYNCS = ("all", "reservations")

Objects = dict[str, dict[str, dict[str, Any]]]


class CobblerError(Exception):
    """What is wanted cannot be had; the text says what and why."""


@dataclass(frozen=True, slots=True)
class Actual:
    """What is there: fields by kind and name, and for each kind the names that are somebody else's."""

    objects: Objects
    foreign: Mapping[str, frozenset[str]]


def options_of(text: str | None) -> dict[str, Any]:
    """Kernel options as Cobbler keeps them: a value, several of them, or '~' for an option without a value.

    Raises CobblerError for quotes that do not end.
    """
    found: dict[str, Any] = {}
    try:
        words = shlex.split(text or "")
    except ValueError as error:
        raise CobblerError(f"kernel options {text!r}: {error}") from None
    for word in words:
        name, equals, value = word.partition("=")
        new = value if equals else "~"
        if name not in found:
            found[name] = new
        elif isinstance(found[name], list):
            found[name].append(new)
        else:
            found[name] = [found[name], new]
    return found


def wanted(
    distros: Iterable[Mapping[str, Any]], profiles: Iterable[Mapping[str, Any]], systems: Iterable[Mapping[str, Any]]
) -> Objects:
    """Fields by kind and name, from the module's options. Raises CobblerError for what contradicts itself."""
    objects: Objects = {
        "distro": _named("distro", distros, _distro),
        "profile": _named("profile", profiles, _profile),
        "system": _named("system", systems, _system),
    }
    for field in ("mac_address", "ip_address"):
        _unique(objects["system"], field)
    return objects


def _named(kind: str, entries: Iterable[Mapping[str, Any]], make: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        if entry["name"] in found:
            raise CobblerError(f"{kind} {entry['name']} is wanted twice")
        found[entry["name"]] = make(entry)
    return found


def _distro(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "arch": "x86_64",
        # A live image: for a breed that it knows, Cobbler adds the options of its installer.
        "breed": "generic",
        "os_version": "generic26",
        "kernel": entry["kernel"],
        "initrd": entry["initrd"],
        "kernel_options": options_of(entry.get("kernel_options")),
    }


def _profile(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"distro": entry["distro"], "kernel_options": options_of(entry.get("kernel_options"))}


def _system(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "profile": entry["profile"],
        "kernel_options": options_of(entry.get("kernel_options")),
        "netboot_enabled": entry.get("boot") != "disk",
        "mac_address": entry["mac"].lower(),
        "ip_address": entry.get("ip") or "",
    }


def _unique(systems: Mapping[str, Fields], field: str) -> None:
    seen: dict[str, str] = {}
    for name, fields in systems.items():
        value = fields[field]
        if value and value in seen:
            raise CobblerError(f"systems {seen[value]} and {name} have the same {field}, {value}")
        seen[value] = name


def found(raw: Mapping[str, Sequence[Mapping[str, Any]]]) -> Actual:
    """What the API tells (lists by kind), reduced to what is compared."""
    objects: Objects = {}
    foreign: dict[str, frozenset[str]] = {}
    for kind in KINDS:
        objects[kind] = {item["name"]: _fields(kind, item) for item in raw.get(kind, ())}
        foreign[kind] = frozenset(item["name"] for item in raw.get(kind, ()) if item.get("owners") != [OWNER])
    return Actual(objects, foreign)


def _fields(kind: str, item: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "distro": ("arch", "breed", "os_version", "kernel", "initrd", "kernel_options"),
        "profile": ("distro", "kernel_options"),
        "system": ("profile", "kernel_options", "netboot_enabled"),
    }[kind]
    fields = {name: item.get(name) for name in names}
    if kind == "system":
        interfaces = item.get("interfaces") or {}
        card: Mapping[str, Any] = interfaces.get(INTERFACE) or next(iter(interfaces.values()), {})
        fields["mac_address"] = str(card.get("mac_address", "")).lower()
        fields["ip_address"] = card.get("ip_address", "")
    return fields


def plan(desired: Objects, actual: Actual, *, stale: bool = False) -> list[Action]:
    """The steps in an order in which each can be done; empty when there is nothing to do.

    `stale` says that what was written last does not stem from these templates, or that a run was cut before its end.
    Raises CobblerError where a wanted name, MAC or IP address is somebody else's, or a reference leads nowhere.
    """
    _check(desired, actual)
    steps = {
        kind: compare(desired[kind], actual.objects[kind], what=kind, purge=_owned(actual.foreign[kind]))
        for kind in KINDS
    }
    steps["system"] = _make_way(steps["system"], desired["system"], actual.objects["system"])
    deletions = {kind: [step for step in steps[kind] if step.kind == "delete"] for kind in KINDS}
    changes = [step for kind in KINDS for step in steps[kind] if step.kind != "delete"]
    actions = [*deletions["system"], *changes, *deletions["profile"], *deletions["distro"]]
    if stale or any(action.what == "distro" for action in actions):
        actions.append(Action("update", SYNC, SYNCS[0]))
    elif actions:
        actions.append(Action("update", SYNC, SYNCS[1]))
    return actions


def _owned(foreign: frozenset[str]) -> Callable[[str, Fields], bool]:
    return lambda name, _fields: name not in foreign


def _check(desired: Objects, actual: Actual) -> None:
    for kind in KINDS:
        taken = sorted(desired[kind].keys() & actual.foreign[kind])
        if taken:
            text = f"{kind} {taken[0]} is there already and not Updraft's (its owner is not '{OWNER}')"
            raise CobblerError(f"{text}: rename or remove one of the two")
    for kind, parent in (("profile", "distro"), ("system", "profile")):
        known = desired[parent].keys() | actual.foreign[parent]
        for name, fields in desired[kind].items():
            if fields[parent] not in known:
                raise CobblerError(f"{kind} {name} wants the {parent} {fields[parent]}, which is not in the list")
    for field in ("mac_address", "ip_address"):
        holders = {actual.objects["system"][name][field]: name for name in actual.foreign["system"]}
        for name, fields in desired["system"].items():
            if fields[field] and fields[field] in holders:
                other = holders[fields[field]]
                raise CobblerError(
                    f"system {name} wants {fields[field]}, which the system {other} has; it is not Updraft's"
                )


def _make_way(steps: list[Action], desired: Mapping[str, Fields], actual: Mapping[str, Fields]) -> list[Action]:
    """Cobbler wants addresses to be unique at each moment: whoever gives one to another is removed and made anew."""
    now = {(field, actual[name][field]): name for name in actual for field in ("mac_address", "ip_address")}
    giving = set()
    for step in steps:
        for field in ("mac_address", "ip_address"):
            value = (step.after or {}).get(field)
            holder = now.get((field, value)) if value else None
            if holder is not None and holder != step.name and holder in desired:
                giving.add(holder)
    kept = [step for step in steps if step.name not in giving]
    for name in sorted(giving):
        kept.append(Action("delete", "system", name, dict(actual[name]), None))
        kept.append(Action("create", "system", name, None, dict(desired[name])))
    return kept
