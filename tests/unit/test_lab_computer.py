# SPDX-License-Identifier: GPL-3.0-or-later
"""Which computers the lab refuses, and what it says to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import lab_computer
from ansible_collections.updraft.cloud.plugins.module_utils.lab_computer import Computer, Needs, judge, table

GIB = 1024**3
GOOD = Computer(
    architecture="x86_64",
    system="debian 12",
    root=True,
    memory_available_mib=16000,
    disk_free={"/var/cache/updraft": 40 * GIB},
    missing_features={},
    networks=("192.0.2.0/24", "192.0.2.2/32"),
    foreign=None,
)
NEEDS = Needs(memory_mib=9728, disk={"/var/cache/updraft": 12 * GIB}, networks={"management": "10.77.0.0/24"})


def test_a_good_computer_is_not_refused() -> None:
    assert judge(GOOD, NEEDS) == []
    assert judge(replace(GOOD, system="debian 13"), NEEDS) == []


@pytest.mark.parametrize(
    ("fault", "what", "message"),
    [
        ({"root": False}, "user", "not root; needed: root"),
        ({"system": "ubuntu 24.04"}, "system", "ubuntu 24.04; needed: Debian 12 or 13"),
        ({"system": "debian 11"}, "system", "debian 11; needed: Debian 12 or 13"),
        ({"architecture": "aarch64"}, "processor", "aarch64; needed: x86_64"),
        ({"memory_available_mib": 4096}, "memory", "4.0 GiB free; needed: 9.5 GiB"),
        (
            {"disk_free": {"/var/cache/updraft": 5 * GIB}},
            "disk at /var/cache/updraft",
            "5.0 GiB free; needed: 12.0 GiB",
        ),
        ({"missing_features": {"overlay": "No such device"}}, "kernel: overlay", "No such device; needed: works"),
        ({"networks": ("10.0.0.0/8",)}, "network management", "10.77.0.0/24 is taken: this computer has 10.0.0.0/8"),
        ({"networks": ("10.77.0.9/32",)}, "network management", "this computer has 10.77.0.9/32"),
        ({"foreign": "somebody else's"}, "namespace", "somebody else's; needed: free"),
    ],
)
def test_each_fault_is_named_with_its_cure(fault: dict[str, object], what: str, message: str) -> None:
    (reason,) = judge(replace(GOOD, **fault), NEEDS)  # type: ignore[arg-type]
    assert reason.what == what
    assert reason.cure
    text = table([reason])
    assert "nothing has been changed" in text
    assert message in text
    assert f"-> {reason.cure}" in text


def test_all_faults_are_told_at_once() -> None:
    bad = replace(GOOD, root=False, memory_available_mib=100, missing_features={"tun": "gone", "veth": "gone"})
    assert [reason.what for reason in judge(bad, NEEDS)] == ["user", "memory", "kernel: tun", "kernel: veth"]


def test_the_kernels_tables_are_read() -> None:
    route = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert lab_computer.routed_networks(route) == {"192.0.2.0/24"}
    trie = """Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 192.0.2.2
        /32 host LOCAL
     |-- 192.0.2.255
        /32 link BROADCAST
"""
    assert lab_computer.local_addresses(trie) == {"192.0.2.2/32"}
    assert lab_computer.memory_available_mib("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n") == 2048
