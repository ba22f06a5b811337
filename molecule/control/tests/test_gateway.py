# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway: its switch, the bridge of the provider network and the way to the central databases."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ssh://gateway1"]


def test_the_provider_network_ends_in_its_bridge(host: Host) -> None:
    assert host.check_output("ovs-vsctl list-ports br-ex").split()[0] == "eth1"
    mapping = host.check_output("ovs-vsctl get Open_vSwitch . external_ids:ovn-bridge-mappings")
    assert mapping.strip('"') == "provider:br-ex"


def test_it_has_the_name_that_was_given_before_its_first_start(host: Host) -> None:
    assert host.check_output("ovs-vsctl get Open_vSwitch . external_ids:system-id").strip('"') == "gateway1"


def test_it_is_connected_by_tls(host: Host) -> None:
    assert host.check_output("ovn-appctl -t ovn-controller connection-status") == "connected"
    remote = host.check_output("ovs-vsctl get Open_vSwitch . external_ids:ovn-remote")
    assert remote.strip('"') == "ssl:10.78.8.10:6642"


def test_its_switch_is_served_to_itself_alone(host: Host) -> None:
    assert host.socket("tcp://127.0.0.1:6640").is_listening
    assert not host.socket("tcp://0.0.0.0:6640").is_listening


def test_nothing_has_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
