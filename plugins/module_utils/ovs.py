# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.ovs does: bridges, their ports and the settings of Open vSwitch, in one transaction."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .ovsdb import Row, as_list, map_changes, map_commands, parse_tables, quoted
from .reconcile import Action, changed_fields

READ = (
    *("--columns=external_ids,other_config,manager_options", "list", "Open_vSwitch"),
    *("--", "--columns=name,datapath_type,fail_mode,external_ids,other_config,ports", "list", "Bridge"),
    *("--", "--columns=_uuid,name", "list", "Port"),
    *("--", "--columns=_uuid,target", "list", "Manager"),
)
PID_FILE = "/run/openvswitch/ovs-vswitchd.pid"


def found_state(text: str) -> dict[str, Any]:
    """The switch as the answer to READ has it."""
    switches, bridges, ports, managers = parse_tables(text)
    names = {port["_uuid"]: port["name"] for port in ports}
    return {
        "external_ids": switches[0]["external_ids"] if switches else {},
        "other_config": switches[0]["other_config"] if switches else {},
        "managers": sorted(manager["target"] for manager in managers),
        "bridges": {bridge["name"]: _bridge(bridge, names) for bridge in bridges},
    }


def _bridge(row: Row, ports: Mapping[str, str]) -> dict[str, Any]:
    names = (ports.get(uuid, uuid) for uuid in as_list(row["ports"]))
    return {
        "datapath_type": row["datapath_type"],
        "fail_mode": "".join(as_list(row["fail_mode"])),
        "external_ids": row["external_ids"],
        "other_config": row["other_config"],
        # Each bridge has a port of its own name.
        "ports": sorted(name for name in names if name != row["name"]),
    }


EMPTY: Mapping[str, Any] = {"external_ids": {}, "other_config": {}, "managers": [], "bridges": {}}


def plan_switch(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[Action]:
    """What differs. Bridges, ports and keys which are not wanted stay: ovn-controller and os-vif make some."""
    actions = []
    for column in ("external_ids", "other_config"):
        changes = map_changes(wanted[column], found[column])
        if changes:
            before = {key: found[column].get(key) for key in changes}
            actions.append(Action("update", column, "Open_vSwitch", before, changes))
    if wanted["managers"] is not None and sorted(wanted["managers"]) != found["managers"]:
        managers = sorted(wanted["managers"])
        actions.append(
            Action("update", "managers", "Open_vSwitch", {"managers": found["managers"]}, {"managers": managers})
        )
    for bridge in wanted["bridges"]:
        action = _plan_bridge(bridge, found["bridges"].get(bridge["name"]))
        actions += [action] if action else []
    return actions


def _plan_bridge(bridge: Mapping[str, Any], there: Mapping[str, Any] | None) -> Action | None:
    fields = {key: value for key, value in bridge.items() if key != "name" and value is not None}
    if there is None:
        return Action("create", "bridge", bridge["name"], None, fields)

    def same(field: str, wish: Any, value: Any) -> bool:
        if field in ("external_ids", "other_config"):
            return not map_changes(wish, value)
        return set(wish) <= set(value) if field == "ports" else bool(wish == value)

    differing = changed_fields(fields, there, same=same)
    if not differing:
        return None
    before = {field: there[field] for field in differing}
    return Action("update", "bridge", bridge["name"], before, {field: fields[field] for field in differing})


def commands_of(actions: Sequence[Action]) -> list[list[str]]:
    """The plan as commands of ovs-vsctl, to be run in one transaction."""
    commands: list[list[str]] = []
    for action in actions:
        after = action.after or {}
        if action.what in ("external_ids", "other_config"):
            commands += map_commands("Open_vSwitch", ".", action.what, after)
        elif action.what == "managers":
            commands.append(["set-manager", *after["managers"]] if after["managers"] else ["del-manager"])
        else:
            commands += _bridge_commands(action.name, action.before or {}, after)
    return commands


def _bridge_commands(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[list[str]]:
    commands = [["--may-exist", "add-br", name]]
    plain = [f"{key}={quoted(after[key])}" for key in ("datapath_type", "fail_mode") if after.get(key)]
    commands += [["set", "Bridge", name, *plain]] if plain else []
    for column in ("external_ids", "other_config"):
        changes = map_changes(after.get(column, {}), before.get(column, {}))
        commands += map_commands("Bridge", name, column, changes)
    for port in sorted(set(after.get("ports", ())) - set(before.get("ports", ()))):
        # On another bridge, by an older cloud.yml, it would be refused here.
        commands += [["--if-exists", "del-port", port], ["add-port", name, port]]
    return commands


def new_ports(actions: Iterable[Action]) -> set[str]:
    """Interfaces that the plan takes into a bridge."""
    result: set[str] = set()
    for action in actions:
        if action.what == "bridge":
            result |= set((action.after or {}).get("ports", ())) - set((action.before or {}).get("ports", ()))
    return result


def addresses_of(links: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, list[str]]:
    """Of `ip -json address`, the interfaces with these names that have addresses which others may use."""
    wanted = set(names)
    result = {}
    for link in links:
        addresses = [
            f"{entry['local']}/{entry['prefixlen']}" for entry in link.get("addr_info", []) if entry["scope"] != "link"
        ]
        if link.get("ifname") in wanted and addresses:
            result[link["ifname"]] = addresses
    return result


def read_links() -> list[Mapping[str, Any]]:
    """This machine's links with their addresses; none where `ip` is not there."""
    try:
        text = subprocess.run(["ip", "-json", "address"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    links: list[Mapping[str, Any]] = json.loads(text)
    return links


def switch_runs(pid_file: str = PID_FILE) -> bool:
    """Whether ovs-vswitchd is there to carry out a transaction; without it, nobody could be waited for."""
    try:
        with open(pid_file, encoding="ascii") as stream:
            pid = int(stream.read())
    except (OSError, ValueError):
        return False
    return os.path.exists(f"/proc/{pid}")
