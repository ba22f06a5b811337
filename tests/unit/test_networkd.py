# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of systemd-networkd which the role network writes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils.networkd import networkd_expected, networkd_files

PLAIN = {
    "interface": "eth0",
    "parent": "eth0",
    "vlan": None,
    "mtu": 1500,
    "address": "10.0.0.5",
    "prefix": 24,
    "gateway": "10.0.0.1",
}
TAGGED = {"interface": "vlan20", "parent": "eno1", "vlan": 20, "mtu": 9000, "address": "10.0.1.5", "prefix": 24}


def texts(*links: dict[str, Any]) -> dict[str, str]:
    return {
        file["path"].removeprefix("/etc/systemd/network/10-updraft-"): file["content"] for file in networkd_files(links)
    }


def test_a_plain_interface_has_address_mtu_and_route() -> None:
    found = texts(PLAIN)
    assert list(found) == ["eth0.network"]
    lines = found["eth0.network"].splitlines()
    assert {"Name=eth0", "MTUBytes=1500", "Address=10.0.0.5/24", "Gateway=10.0.0.1", "Metric=100"} <= set(lines)


def test_a_vlan_is_made_on_its_parent_which_takes_packets_as_large() -> None:
    found = texts(TAGGED)
    assert sorted(found) == ["eno1.network", "vlan20.netdev", "vlan20.network"]
    assert "Kind=vlan" in found["vlan20.netdev"] and "Id=20" in found["vlan20.netdev"]
    assert "VLAN=vlan20" in found["eno1.network"] and "MTUBytes=9000" in found["eno1.network"]
    assert "Address=" not in found["eno1.network"]


def test_addresses_that_others_put_there_stay_where_this_is_asked_for() -> None:
    assert "KeepConfiguration" not in texts(PLAIN)["eth0.network"]
    found = texts({**PLAIN, "keep": True}, {**TAGGED, "parent": "eth0"})
    assert "KeepConfiguration=static" in found["eth0.network"].splitlines()
    assert "KeepConfiguration" not in found["vlan20.network"]


def test_an_interface_can_have_an_address_and_carry_a_vlan() -> None:
    found = texts({**PLAIN, "interface": "eno1", "parent": "eno1"}, TAGGED)
    assert "Address=10.0.0.5/24" in found["eno1.network"] and "VLAN=vlan20" in found["eno1.network"]


def test_an_interface_without_address_is_only_brought_up_and_left_to_open_vswitch() -> None:
    text = texts({"interface": "eth2", "parent": "eth2", "mtu": 1500, "address": None, "gateway": "10.0.2.1"})[
        "eth2.network"
    ]
    assert "KeepMaster=yes" in text and "ConfigureWithoutCarrier=yes" in text and "RequiredForOnline=no" in text
    assert "Address=" not in text and "Gateway=" not in text


def test_a_bridge_takes_its_members_in() -> None:
    found = texts({"interface": "br0", "members": ["eth1", "eth2"], "address": "10.0.0.5", "prefix": 24, "mtu": 1400})
    assert "Kind=bridge" in found["br0.netdev"]
    for member in ("eth1.network", "eth2.network"):
        assert "Bridge=br0" in found[member] and "MTUBytes=1400" in found[member] and "KeepMaster" not in found[member]


def test_the_first_gateway_wins() -> None:
    other = {**PLAIN, "interface": "eth1", "address": "10.0.3.5", "gateway": "10.0.3.1"}
    found = texts(PLAIN, other)
    assert "Metric=100" in found["eth0.network"] and "Metric=200" in found["eth1.network"]


def test_a_member_of_a_bridge_cannot_have_an_address() -> None:
    with pytest.raises(ValueError, match="eth0 is a member of br0"):
        networkd_files([PLAIN, {"interface": "br0", "members": ["eth0"]}])


def test_what_is_expected_names_each_interface_once() -> None:
    assert networkd_expected([PLAIN, TAGGED]) == [
        {"name": "eth0", "addresses": ["10.0.0.5/24"], "mtu": 1500},
        {"name": "vlan20", "addresses": ["10.0.1.5/24"], "mtu": 9000},
        {"name": "eno1", "addresses": [], "mtu": 9000},
    ]
