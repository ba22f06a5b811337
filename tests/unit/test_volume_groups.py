# SPDX-License-Identifier: GPL-3.0-or-later
"""Volume groups: which disks are taken, which are refused and in which words, and the steps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import volume_groups as vg
from ansible_collections.updraft.cloud.plugins.module_utils.disks import Disk

BLANK = Disk("/dev/sdb", size_bytes=8 << 30)
WANTED = [vg.Group("cinder-volumes", ("/dev/sdb",), "cinder-volumes-pool")]
OURS = vg.Group("cinder-volumes", ("/dev/sdb",), "cinder-volumes-pool", ("updraft",))
MEMBER = replace(BLANK, is_volume=True, group="cinder-volumes", signatures=("LVM2_member",))


def found(*disks: Disk, groups: tuple[vg.Group, ...] = ()) -> vg.Found:
    return vg.Found(
        {disk.path: disk for disk in disks}, {group.name: group for group in groups}, ["/dev/sda", "/dev/sdb"]
    )


def test_a_blank_disk_becomes_a_group_with_a_pool() -> None:
    actions = vg.plan(WANTED, found(BLANK), [])
    assert [str(action) for action in actions] == [
        "create volume group cinder-volumes",
        "create thin pool cinder-volumes/cinder-volumes-pool",
    ]
    assert vg.commands(actions[0]) == [["vgcreate", "--quiet", "--addtag", "updraft", "cinder-volumes", "/dev/sdb"]]


def test_a_pool_that_grows_has_writes_wait_when_it_cannot() -> None:
    action = vg.plan([replace(WANTED[0], profile="updraft-pool")], found(BLANK), [])[-1]
    (words,) = vg.commands(action)
    assert "--extents 60%VG --metadataprofile updraft-pool --config activation/error_when_full=0" in " ".join(words)
    assert "--discards nopassdown" in " ".join(words)


def test_what_is_there_needs_nothing() -> None:
    assert vg.plan(WANTED, found(MEMBER, groups=(OURS,)), []) == []
    assert vg.plan(WANTED, found(MEMBER, groups=(OURS,)), ["/dev/sdb"]) == []


def test_an_empty_physical_volume_counts_as_blank() -> None:
    disk = replace(BLANK, is_volume=True, signatures=("LVM2_member",))
    assert [action.kind for action in vg.plan(WANTED, found(disk), [])] == ["create", "create"]


def test_a_run_that_was_cut_before_the_pool_goes_on() -> None:
    there = replace(OURS, thin_pool="")
    assert [action.what for action in vg.plan(WANTED, found(MEMBER, groups=(there,)), [])] == ["thin pool"]


def test_a_second_disk_extends_the_group() -> None:
    wanted = [replace(WANTED[0], disks=("/dev/sdb", "/dev/sdc"))]
    actions = vg.plan(wanted, found(MEMBER, replace(BLANK, path="/dev/sdc"), groups=(OURS,)), [])
    assert vg.commands(actions[0]) == [["vgextend", "--quiet", "cinder-volumes", "/dev/sdc"]]


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        (replace(BLANK, partitions=("/dev/sdb1",), signatures=("gpt",)), "partitions /dev/sdb1 and a signature of gpt"),
        (replace(BLANK, signatures=("ext4",)), "a signature of ext4"),
        (replace(BLANK, is_volume=True, group="data"), "a physical volume of the volume group data"),
    ],
)
def test_a_disk_that_holds_something_is_refused_with_the_cure(disk: Disk, said: str) -> None:
    with pytest.raises(vg.VolumesError) as caught:
        vg.plan(WANTED, found(disk), [])
    assert said in str(caught.value)
    assert "volumes_wipe: [/dev/sdb]" in str(caught.value)
    actions = vg.plan(WANTED, found(disk), ["/dev/sdb"])
    assert str(actions[0]) == "delete content of disk /dev/sdb"


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        (replace(BLANK, in_use=("/dev/sdb1 is mounted at /",)), "is in use: /dev/sdb1 is mounted at /"),
        (replace(BLANK, read_only=True), "is read-only"),
        (Disk("/dev/sdb", exists=False), "is not there. Disks of this machine: /dev/sda, /dev/sdb"),
    ],
)
def test_a_disk_in_use_is_refused_whatever_the_word(disk: Disk, said: str) -> None:
    with pytest.raises(vg.VolumesError, match=said):
        vg.plan(WANTED, found(disk), ["/dev/sdb"])


def test_a_foreign_group_of_that_name_is_refused() -> None:
    with pytest.raises(vg.VolumesError, match="vgchange --addtag updraft cinder-volumes"):
        vg.plan(WANTED, found(MEMBER, groups=(replace(OURS, tags=()),)), ["/dev/sdb"])


def test_all_refusals_come_at_once() -> None:
    wanted = [replace(WANTED[0], disks=("/dev/sdb", "/dev/sdc"))]
    disks = (replace(BLANK, signatures=("xfs",)), Disk("/dev/sdc", exists=False))
    with pytest.raises(vg.VolumesError, match=r"xfs.*; /dev/sdc is not there"):
        vg.plan(wanted, found(*disks), [])


def test_the_reports_of_lvm_are_read() -> None:
    volumes = {"report": [{"pv": [
        {"pv_name": "/dev/sdb", "vg_name": "cinder-volumes", "vg_tags": "a,updraft"},
        {"pv_name": "/dev/sdc", "vg_name": "", "vg_tags": ""},
    ]}]}  # fmt: skip
    logical = {"report": [{"lv": [
        {"vg_name": "cinder-volumes", "lv_name": "cinder-volumes-pool", "segtype": "thin-pool"},
        {"vg_name": "cinder-volumes", "lv_name": "volume-1", "segtype": "thin"},
    ]}]}  # fmt: skip
    groups, owner = vg.parse_groups(json.dumps(volumes), json.dumps(logical))
    assert groups == {"cinder-volumes": replace(OURS, tags=("a", "updraft"))}
    assert owner == {"/dev/sdb": "cinder-volumes", "/dev/sdc": ""}
