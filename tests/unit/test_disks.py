# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks: what is read of them, and in which words one is refused. How groups and arrays use it is in their tests."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import disks

BLANK = disks.Disk("/dev/sdb", size_bytes=8 << 30)


def test_a_disk_with_a_mounted_partition_and_an_active_volume_is_read() -> None:
    disk = {"path": "/dev/sdb", "type": "disk", "size": 8 << 30, "ro": False, "mountpoints": [None]}
    tree = {"blockdevices": [{**disk, "children": [
        {"path": "/dev/sdb1", "type": "part", "mountpoints": ["/boot"]},
        {"path": "/dev/sdb2", "type": "part", "mountpoints": [], "children": [
            {"path": "/dev/mapper/data", "type": "lvm", "mountpoints": [None]}]},
    ]}]}  # fmt: skip
    read = disks.parse_disk("/dev/sdb", json.dumps(tree), '{"signatures": [{"type": "gpt"}, {"type": "gpt"}]}', {})
    assert read.partitions == ("/dev/sdb1", "/dev/sdb2")
    assert read.signatures == ("gpt",)
    assert read.in_use == ("/dev/sdb1 is mounted at /boot", "/dev/mapper/data (lvm) is active on it")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, []),
        ({"is_volume": True, "signatures": ("LVM2_member",)}, []),
        ({"is_volume": True, "group": "data", "signatures": ("LVM2_member",)}, ["a physical volume of the volume"]),
        ({"signatures": ("linux_raid_member",)}, ["a signature of linux_raid_member"]),
        ({"signatures": ("linux_raid_member",), "array": "data (1:2:3:4)"}, ["a member of the array data (1:2:3:4)"]),
        ({"partitions": ("/dev/sdb1",), "signatures": ("gpt",)}, ["partitions /dev/sdb1", "a signature of gpt"]),
    ],
)
def test_what_a_disk_holds_is_said_in_words(more: dict[str, Any], said: list[str]) -> None:
    found = disks.holds(replace(BLANK, **more))
    assert len(found) == len(said)
    assert all(text.startswith(start) for text, start in zip(found, said, strict=True))


def test_a_refusal_names_the_input_that_overrides_it() -> None:
    disk = replace(BLANK, signatures=("xfs",))
    said = disks.refusal(disk, [], [], "storage_mirror_wipe")
    assert said.endswith("If all of it may be destroyed, say so once: storage_mirror_wipe: [/dev/sdb]")
    assert disks.refusal(disk, ["/dev/sdb"], [], "storage_mirror_wipe") == ""


def test_partitions_are_wiped_before_their_disk() -> None:
    commands = disks.wipe_commands(replace(BLANK, partitions=("/dev/sdb1",)))
    assert [command[-1] for command in commands] == ["/dev/sdb1", "/dev/sdb"]


def test_a_disk_whose_group_has_others_is_not_wiped() -> None:
    with pytest.raises(disks.DisksError, match="volume group data has other disks too: /dev/sdc; take it out by hand"):
        disks.wipe(replace(BLANK, group="data"), ["/dev/sdb", "/dev/sdc"])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/nowhere/tool"], "/nowhere/tool is not installed"),
        (["sh", "-c", "echo it broke >&2; exit 3"], "it broke"),
        (["sleep", "5"], r"sleep 5: no answer after 0 s"),
    ],
)
def test_a_command_that_fails_says_why(command: list[str], said: str) -> None:
    with pytest.raises(disks.DisksError, match=said):
        disks.call(command, limit=0.2)


def test_a_name_is_waited_for_until_it_is_there_or_gone(tmp_path: Path) -> None:
    name = tmp_path / "volumes0"
    threading.Timer(0.2, name.touch).start()
    disks.wait_for(name)
    assert name.exists()
    threading.Timer(0.2, name.unlink).start()
    disks.wait_for(name, there=False)
    assert not name.exists()
    # Not for ever: who needs it says then what is missing.
    disks.wait_for(name, seconds=0.1)
