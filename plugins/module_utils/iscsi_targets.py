# SPDX-License-Identifier: GPL-3.0-or-later
"""iSCSI targets of LIO: the wish as plain fields, and the plan. Pure; `lio.py` talks to the kernel.

A target is owned by Updraft when its name starts with a prefix of its own. All others (the volume service makes one
for each volume) are neither changed nor removed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import plan as compare

#: Fields of an initiator's access that are never shown.
SECRETS = ("password", "mutual_password")
Fields = dict[str, Any]


class TargetsError(ValueError):
    """The wish contradicts itself; the text says where."""


def desired(targets: Sequence[Mapping[str, Any]]) -> dict[str, Fields]:
    """Return the fields of each target by its name, in the form in which `lio.read` reports what is there.

    Raises TargetsError with every problem of the list.
    """
    problems = _problems(targets)
    if problems:
        raise TargetsError("; ".join(problems))
    return {target["iqn"]: _fields(target) for target in targets}


def _fields(target: Mapping[str, Any]) -> Fields:
    numbers = [number for number, _ in enumerate(target["luns"])]
    acls = {}
    for acl in target["acls"]:
        access = {key: acl.get(key) or "" for key in ("user", "password", "mutual_user", "mutual_password")}
        acls[acl["initiator"]] = {**access, "luns": numbers}
    return {
        "enabled": True,
        "authentication": any(acl.get("user") for acl in target["acls"]),
        "portals": sorted(f"{portal['address']}:{portal['port']}" for portal in target["portals"]),
        "luns": {
            str(number): {"name": lun["name"], "device": lun["device"], "read_only": bool(lun.get("read_only"))}
            for number, lun in enumerate(target["luns"])
        },
        "acls": acls,
    }


def _problems(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    problems: list[str] = []
    names = [target["iqn"] for target in targets]
    problems += [f"the target {name} is in the list twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    backstores = [lun["name"] for target in targets for lun in target["luns"]]
    problems += [
        f"the LUN name {name} is used twice" for name in dict.fromkeys(backstores) if backstores.count(name) > 1
    ]
    for target in targets:
        for acl in target["acls"]:
            where = f"{target['iqn']}, initiator {acl['initiator']}"
            if bool(acl.get("user")) != bool(acl.get("password")):
                problems.append(f"{where}: CHAP needs user and password")
            if bool(acl.get("mutual_user")) != bool(acl.get("mutual_password")):
                problems.append(f"{where}: mutual CHAP needs mutual_user and mutual_password")
            if acl.get("mutual_password") and not acl.get("password"):
                problems.append(f"{where}: mutual CHAP comes on top of CHAP: give user and password too")
            if acl.get("mutual_password") and acl.get("mutual_password") == acl.get("password"):
                problems.append(f"{where}: initiators refuse mutual CHAP with the same password in both directions")
        with_chap = {bool(acl.get("user")) for acl in target["acls"]}
        if len(with_chap) > 1:
            problems.append(f"{target['iqn']}: CHAP holds for a whole target; give it to all initiators or to none")
    return problems


def plan(wanted: Mapping[str, Fields], actual: Mapping[str, Fields], prefix: str) -> list[Action]:
    """Return the steps; targets with the prefix that nobody wants are removed, an empty prefix removes none."""
    return compare(wanted, actual, what="target", purge=lambda name, _: bool(prefix) and name.startswith(prefix))


def serial(iqn: str, name: str) -> str:
    """Return the unit serial of a LUN: the same for the same target and name, so that multipath knows it again."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{iqn}/{name}"))


def differing_luns(wanted: Mapping[str, Fields], found: Mapping[str, Fields]) -> tuple[list[str], list[str]]:
    """Return which LUN numbers have to go and which have to be made; one that differs is in both."""
    gone = [number for number, lun in found.items() if wanted.get(number) != lun]
    new = [number for number, lun in wanted.items() if found.get(number) != lun]
    return gone, new
