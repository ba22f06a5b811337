# SPDX-License-Identifier: GPL-3.0-or-later
"""Rack against model: what is a red line, and how the table looks."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils.machine_facts import (
    disk_of,
    interfaces_of,
    memory_mib,
    os_release,
    volume_groups,
)
from ansible_collections.updraft.cloud.plugins.plugin_utils.preflight import (
    Line,
    compare,
    memory_needed,
    table,
    twins,
    unreachable,
)

GIB = 1024**3
EMPTY = {"size": 8 * GIB, "type": "disk", "read_only": False, "content": [], "mounts": [], "volume_groups": []}
GOOD: dict[str, Any] = {
    "os": {"id": "debian", "version_id": "13", "pretty_name": "Debian GNU/Linux 13 (trixie)"},
    "python": [3, 13, 5],
    "systemd": True,
    "memory_mib": 1469,
    "hostname": "storage1",
    "machine_id": "abc",
    "interfaces": {"eth0": {"mac": "52:54:00:00:00:01", "mtu": 1500, "max_mtu": 9000, "up": True, "carrier": True}},
    "disks": {"/dev/vdb": EMPTY},
    "modules": {"dm_thin_pool": True},
}
WANTED: dict[str, Any] = {
    "name": "storage1",
    "other_names": ["control1"],
    "roles": ["storage"],
    "interfaces": [{"name": "eth0", "network": "management", "mtu": 1500, "mac": "52:54:00:00:00:01"}],
    "disks": ["/dev/vdb"],
    "system_disk": "/dev/vda",
    "volume_group": "cinder-volumes",
    "wipe": [],
    "debian_versions": ["13"],
    "memory_mib": {"base": 256, "storage": 512},
    "disk_gib": 4,
    "time_offset_seconds": 60,
    "modules": ["dm_thin_pool"],
}


def lines(facts: dict[str, Any] | None = None, wanted: dict[str, Any] | None = None, offset: float = 0.0) -> list[Line]:
    return compare("storage1", {**GOOD, **(facts or {})}, {**WANTED, **(wanted or {})}, offset)


def test_a_machine_that_fits_has_no_line() -> None:
    assert lines() == []


def test_a_volume_in_use_that_is_no_longer_wanted_is_named_by_its_place_in_cloud_yml() -> None:
    used = {"pools_used": ["iqn.2026-11.x:updraft.pool.vms.db", "iqn.2026-11.x:updraft.pool.vms.web"]}
    (line,) = lines(used, {"pool_targets": ["iqn.2026-11.x:updraft.pool.vms.web"]})
    assert (line.what, line.found) == ("compute.storage_pools.vms.volumes.db", "in use")
    assert "Stop what uses it here" in line.cure
    # A machine of an older release of this module tells nothing of them.
    assert lines({}, {"pool_targets": []}) == []


def interface(**changed: Any) -> dict[str, Any]:
    return {"interfaces": {"eth0": {**GOOD["interfaces"]["eth0"], **changed}}}


def disk(**changed: Any) -> dict[str, Any]:
    return {"disks": {"/dev/vdb": {**EMPTY, **changed}}}


@pytest.mark.parametrize(
    ("facts", "what", "found"),
    [
        ({"os": {"id": "ubuntu", "version_id": "24.04", "pretty_name": "Ubuntu"}}, "operating system", "Ubuntu"),
        ({"os": {"id": "debian", "version_id": "12", "pretty_name": ""}}, "operating system", "unknown"),
        ({"python": [3, 9, 2]}, "Python", "3.9.2"),
        ({"systemd": False}, "init system", "no systemd"),
        ({"memory_mib": 700}, "memory", "700 MiB"),
        ({"memory_mib": None}, "memory", "unknown"),
        ({"hostname": "control1"}, "name", "control1"),
        ({"interfaces": {"lo": {}, "ens1": {}}}, "interface eth0", "only ens1"),
        (interface(mac="52:54:00:00:00:02"), "interface eth0 MAC", "52:54:00:00:00:02"),
        (interface(carrier=False), "interface eth0 link", "no carrier"),
        (interface(max_mtu=1400), "interface eth0 MTU", "at most 1400"),
        ({"disks": {}}, "disk /dev/vdb", "not there"),
        (disk(mounts=["/"]), "disk /dev/vdb", "the system disk"),
        (disk(size=GIB), "disk /dev/vdb", "1.0 GiB"),
        (disk(read_only=True), "disk /dev/vdb", "read-only"),
        (disk(content=["gpt", "part vdb1", "ext4"]), "disk /dev/vdb", "gpt, part vdb1, ext4"),
        (
            disk(content=["LVM2_member"], volume_groups=["other"]),
            "disk /dev/vdb",
            "LVM2_member, volume group other",
        ),
        (disk(content=["ext4"], mounts=["/srv"]), "disk /dev/vdb", "ext4, mounted at /srv"),
        ({"modules": {"dm_thin_pool": False}}, "kernel modules", "without dm_thin_pool"),
    ],
)
def test_each_thing_that_does_not_fit_is_one_line_with_its_cure(facts: dict[str, Any], what: str, found: str) -> None:
    (line,) = lines(facts)
    assert (line.what, line.found) == (what, found)
    assert line.wanted and line.cure.endswith(".")


def test_what_is_not_known_to_be_wrong_is_no_line() -> None:
    assert lines(interface(carrier=None, up=False)) == []
    assert lines(interface(max_mtu=0)) == []
    assert lines({"modules": {"dm_thin_pool": None}}) == []
    assert lines({"hostname": "debian"}) == [], "the role host gives a fresh machine its name"


def test_a_disk_of_our_volume_group_or_one_that_may_be_wiped_fits() -> None:
    ours = disk(content=["LVM2_member"], volume_groups=["cinder-volumes"])
    assert lines(ours) == []
    assert lines(disk(content=["ext4"]), {"wipe": ["/dev/vdb"]}) == []


def test_the_clock_may_be_a_little_off() -> None:
    assert lines(offset=59) == []
    (line,) = lines(offset=-3600)
    assert (line.what, line.found) == ("time", "3600 s behind")


def test_memory_adds_up_over_roles() -> None:
    assert memory_needed(["storage", "unheard"], {"base": 256, "storage": 512}) == 768


def test_two_hosts_with_one_machine_id_are_one_machine() -> None:
    (line,) = twins({"a": {"machine_id": "1"}, "b": {"machine_id": "2"}, "c": {"machine_id": "1"}})
    assert (line.host, line.found) == ("c", "that of a")
    assert twins({"a": {"machine_id": ""}, "b": {"machine_id": ""}}) == []


def test_the_table_has_one_head_and_wraps_within_its_columns() -> None:
    text = table([*lines({"hostname": "control1"}), unreachable("node1", "Failed to connect\nvia ssh: timed out")])
    first, *rest = text.splitlines()
    assert first.split() == ["HOST", "WHAT", "FOUND", "WANTED", "CURE"]
    assert any(row.startswith("node1") and "Failed to connect via" in row for row in rest)
    assert max(map(len, text.splitlines())) <= 164


def test_the_memory_of_a_container_is_its_limit() -> None:
    meminfo = "MemTotal:       24000000 kB\nMemFree: 1 kB\n"
    assert memory_mib(meminfo, ["max\n", "4294967296\n"]) == 4096
    assert memory_mib(meminfo, ["max\n", ""]) == 23437
    assert memory_mib("", []) is None


def test_reading_os_release_and_links() -> None:
    assert os_release('ID=debian\nVERSION_ID="13"\n')["version_id"] == "13"
    found = interfaces_of([{"ifname": "eth0", "address": "AA:BB", "mtu": 1500, "max_mtu": 65535, "flags": ["UP"]}, {}])
    assert found == {"eth0": {"mac": "aa:bb", "mtu": 1500, "max_mtu": 65535, "up": True, "carrier": False}}


def test_a_disk_tells_all_that_is_on_it() -> None:
    groups = volume_groups({"report": [{"pv": [{"pv_name": "/dev/vdb1", "vg_name": "data"}]}]})
    part = {"path": "/dev/vdb1", "type": "part", "fstype": "LVM2_member", "pttype": "gpt"}
    part["children"] = [{"path": "/dev/mapper/data-x", "type": "lvm", "fstype": "ext4", "mountpoints": ["/srv"]}]  # type: ignore[assignment]
    device = {
        "path": "/dev/vdb",
        "type": "disk",
        "size": 8,
        "ro": False,
        "fstype": None,
        "pttype": "gpt",
        "children": [part],
    }
    assert disk_of(device, groups) == {
        "size": 8,
        "type": "disk",
        "read_only": False,
        "content": ["gpt", "part vdb1", "LVM2_member"],
        "mounts": ["/srv"],
        "volume_groups": ["data"],
        "array": "",
    }
