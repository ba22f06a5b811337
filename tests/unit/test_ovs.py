# SPDX-License-Identifier: GPL-3.0-or-later
"""Open vSwitch and OVN: what their commands answer, what is planned, and the transaction."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import ovn, ovs, ovsdb

EMPTY_SET: list[Any] = ["set", []]


def table(headings: list[str], *rows: list[Any]) -> str:
    return json.dumps({"headings": headings, "data": list(rows)})


# In the shape of ovs-vsctl 3.5.0.
ANSWER = "\n".join(
    [
        table(
            ["external_ids", "manager_options", "other_config"],
            [["map", [["hostname", "node1"], ["system-id", "node1"]]], ["uuid", "m1"], ["map", [["vlan-limit", "0"]]]],
        ),
        table(
            ["datapath_type", "external_ids", "fail_mode", "name", "other_config", "ports"],
            ["system", ["map", []], "secure", "br-int", ["map", []], ["uuid", "p1"]],
            ["system", ["map", []], EMPTY_SET, "br-ex", ["map", []], ["set", [["uuid", "p2"], ["uuid", "p3"]]]],
        ),
        table(["_uuid", "name"], [["uuid", "p1"], "br-int"], [["uuid", "p2"], "br-ex"], [["uuid", "p3"], "eth2"]),
        table(["_uuid", "target"], [["uuid", "m1"], "ptcp:6640:127.0.0.1"]),
    ]
)


def wanted(**more: Any) -> dict[str, Any]:
    state = {
        "external_ids": {"system-id": "node1", "ovn-cms-options": None},
        "other_config": {},
        "managers": ["ptcp:6640:127.0.0.1"],
        "bridges": [{"name": "br-ex", "datapath_type": "system", "fail_mode": None, "ports": ["eth2"]}],
    }
    return {**state, **more}


def commands(state: dict[str, Any], found: Any = None) -> list[list[str]]:
    there = ovs.found_state(ANSWER) if found is None else found
    return ovs.commands_of(ovs.plan_switch(state, there))


def test_tables_are_read_one_after_the_other() -> None:
    state = ovs.found_state(ANSWER)
    assert state["managers"] == ["ptcp:6640:127.0.0.1"]
    assert state["bridges"]["br-ex"]["ports"] == ["eth2"]
    assert state["bridges"]["br-int"] == {
        "datapath_type": "system",
        "fail_mode": "secure",
        "external_ids": {},
        "other_config": {},
        "ports": [],
    }


def test_what_is_there_needs_nothing() -> None:
    assert commands(wanted()) == []


def test_fresh_switch_gets_everything() -> None:
    assert commands(wanted(), ovs.EMPTY) == [
        ["set", "Open_vSwitch", ".", 'external_ids:system-id="node1"'],
        ["set-manager", "ptcp:6640:127.0.0.1"],
        ["--may-exist", "add-br", "br-ex"],
        ["set", "Bridge", "br-ex", 'datapath_type="system"'],
        ["--if-exists", "del-port", "eth2"],
        ["add-port", "br-ex", "eth2"],
    ]


def test_key_without_value_is_removed_and_unnamed_ones_stay() -> None:
    assert commands(wanted(external_ids={"hostname": None, "ovn-encap-ip": "10.0.0.1"})) == [
        ["remove", "Open_vSwitch", ".", "external_ids", "hostname"],
        ["set", "Open_vSwitch", ".", 'external_ids:ovn-encap-ip="10.0.0.1"'],
    ]


def test_port_that_is_missing_is_added_and_no_other_touched() -> None:
    bridges = [{"name": "br-ex", "ports": ["eth2", "eth3"]}]
    state = wanted(bridges=bridges)
    assert commands(state) == [
        ["--may-exist", "add-br", "br-ex"],
        ["--if-exists", "del-port", "eth3"],
        ["add-port", "br-ex", "eth3"],
    ]
    assert ovs.new_ports(ovs.plan_switch(state, ovs.found_state(ANSWER))) == {"eth3"}


def test_managers_that_are_not_given_stay_and_an_empty_list_removes_them() -> None:
    assert commands(wanted(managers=None)) == []
    assert commands(wanted(managers=[])) == [["del-manager"]]


def test_interface_with_an_address_is_found() -> None:
    local = {"local": "fe80::1", "prefixlen": 64, "scope": "link"}
    address = {"local": "10.77.0.31", "prefixlen": 24, "scope": "global"}
    links = [
        {"ifname": "eth0", "addr_info": [address]},
        {"ifname": "eth1", "addr_info": [local]},
        {"ifname": "eth2", "addr_info": [address, local]},
    ]
    assert ovs.addresses_of(links, ["eth1", "eth2"]) == {"eth2": ["10.77.0.31/24"]}


def test_text_is_quoted_for_the_commands() -> None:
    assert list(ovsdb.map_commands("T", ".", "c", {"k": 'a "b", c=d'})) == [["set", "T", ".", r'c:k="a \"b\", c=d"']]


CONNECTION = ["inactivity_probe", "target"]


@pytest.mark.parametrize(
    ("rows", "actions"),
    [
        ([], ["create"]),
        ([[60000, "pssl:6641:10.0.0.1"]], []),
        ([[EMPTY_SET, "pssl:6641:10.0.0.1"]], ["update"]),
        ([[60000, "pssl:6641:10.0.0.1"], [EMPTY_SET, "ptcp:6641"]], ["delete"]),
    ],
)
def test_connections_are_exactly_those_wanted(rows: list[list[Any]], actions: list[str]) -> None:
    found = ovn.found_connections(table(CONNECTION, *rows))
    plan = ovn.plan_connections("northbound", ["pssl:6641:10.0.0.1"], 60000, found)
    assert [action.kind for action in plan] == actions


def test_connections_are_replaced_in_one_transaction() -> None:
    assert ovn.arguments_of("southbound", ["pssl:6642:10.0.0.1"], 5) == [
        *["--", "clear", "SB_Global", ".", "connections"],
        *["--", "--id=@c0", "create", "Connection", 'target="pssl:6642:10.0.0.1"', "inactivity_probe=5"],
        *["--", "set", "SB_Global", ".", "connections=[@c0]"],
    ]
