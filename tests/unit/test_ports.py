# SPDX-License-Identifier: GPL-3.0-or-later
"""What listens against what is declared, and the probes that the ledger asks for."""

from __future__ import annotations

from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.sockets import (
    Listener,
    address_of,
    compare,
    parse,
    read,
    same_process,
)
from ansible_collections.updraft.cloud.plugins.plugin_utils.probes import port_probes, ring

# Port 3306 on 10.0.0.10 listens, a connection of it and a socket of a client do not.
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0A00000A:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 4242 1 0 100 0 0 10 0
   1: 0A00000A:0CEA 1400000A:D431 01 00000000:00000000 00:00000000 00000000   101        0 4243 1 0 20 4 30 10 -1
"""
UDP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref
  10: 0A00000A:007B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0 0
  11: 0A00000A:D903 0100000A:007B 01 00000000:00000000 00:00000000 00000000     0        0 78 2 0 0
"""


def entry(**changed: Any) -> dict[str, Any]:
    return {
        "name": "database",
        "port": "3306",
        "protocol": "tcp",
        "address": "10.0.0.10",
        "process": "mariadbd",
        "optional": False,
        "network": "management",
        "sources": ["10.0.0.0/30"],
        **changed,
    }


def test_only_sockets_that_wait_are_read() -> None:
    assert parse(TCP, "tcp") == [("10.0.0.10", 3306, "4242")]
    assert parse(UDP, "udp") == [("10.0.0.10", 123, "77")]


def test_addresses_are_in_the_byte_order_of_the_machine() -> None:
    assert address_of("0100007F") == "127.0.0.1"
    assert address_of("00000000000000000000000001000000") == "::1"


def test_this_computer_can_be_read() -> None:
    assert all(one.protocol in ("tcp", "udp") and 0 <= one.port < 65536 for one in read())


def test_what_listens_and_is_declared_is_well() -> None:
    for address in ("10.0.0.10", "0.0.0.0", "::", "::ffff:10.0.0.10"):
        verdict = compare([Listener("tcp", 3306, address, "mariadbd")], [entry()])
        assert (verdict.undeclared, verdict.silent, verdict.other) == ([], [], [])


def test_loopback_does_not_count() -> None:
    verdict = compare([Listener("tcp", 1, "127.0.0.53", "x"), Listener("tcp", 1, "::ffff:127.0.0.1", "x")], [])
    assert not verdict.undeclared


def test_another_port_protocol_or_address_is_undeclared() -> None:
    wrong = [("tcp", 3307, "10.0.0.10"), ("udp", 3306, "10.0.0.10"), ("tcp", 3306, "10.0.1.10")]
    verdict = compare([Listener(*one, "mariadbd") for one in wrong], [entry()])
    assert [(one["protocol"], one["port"], one["address"]) for one in verdict.undeclared] == wrong
    assert [one["name"] for one in verdict.silent] == ["database"]


def test_a_range_is_declared_as_a_whole_and_an_optional_port_may_be_silent() -> None:
    consoles = entry(name="consoles", port="5900-6000", process="qemu-system-x86_64", optional=True)
    assert not compare([Listener("tcp", 5942, "0.0.0.0", "qemu-system-x86")], [consoles]).undeclared
    assert not compare([], [consoles]).silent


def test_another_program_is_told_apart_from_a_cut_name() -> None:
    verdict = compare([Listener("tcp", 3306, "0.0.0.0", "nginx")], [entry()])
    assert verdict.other[0]["declared"] == "mariadbd" and not verdict.undeclared
    assert same_process("neutron-metadata-agent", "neutron-metadat")
    assert same_process("python3", "python3.13")
    assert not same_process("haproxy", "uwsgi")


def test_a_ring_makes_each_node_be_probed_by_as_many() -> None:
    assert ring(["a", "b", "c", "d"], "c", 2) == ["d", "a"]
    assert ring(["a"], "a", 3) == []


CONTROL: dict[str, Any] = {
    "name": "control1",
    "addresses": {"management": "10.0.0.1", "storage": "10.0.1.1"},
    "ports": [entry(address="10.0.0.1", sources=["10.0.0.2/32"]), entry(name="bus", port="1-2", optional=True)],
}


def expected(node: dict[str, str]) -> dict[tuple[str, int], str]:
    return {(p["address"], p["port"]): p["expect"] for p in port_probes({"addresses": node}, [CONTROL])}


def test_who_may_connect_can_and_the_other_network_is_closed() -> None:
    found = expected({"management": "10.0.0.2", "storage": "10.0.1.2"})
    assert found[("10.0.0.1", 3306)] == "open"
    assert found[("10.0.1.1", 3306)] == "dropped"
    assert ("10.0.0.1", 1) not in found, "an optional port may be open or not"
    assert found[("10.0.1.1", 1)] == found[("10.0.1.1", 2)] == "dropped"


def test_who_may_not_connect_finds_nothing() -> None:
    assert expected({"management": "10.0.0.9"})[("10.0.0.1", 3306)] == "dropped"


def test_udp_is_not_probed() -> None:
    target = {**CONTROL, "ports": [entry(protocol="udp")]}
    assert port_probes({"addresses": {"management": "10.0.0.2"}}, [target]) == []
