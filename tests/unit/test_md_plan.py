# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays: when one is made, assembled or mended, and what is refused in which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import md_plan as md
from ansible_collections.updraft.cloud.plugins.module_utils.disks import Disk
from ansible_collections.updraft.cloud.plugins.module_utils.md_state import Array, Device, MdError, Member

UUID = "6b1b2c6e:0f0d5a6e:9c3f6a0e:3a1d2b4c"
OTHER = "00000000:11111111:22222222:33333333"
OWN, PEER = "/dev/vdb", "/dev/sda"
WANTED = md.Wanted("volumes0", UUID, (md.WantedDevice(OWN), md.WantedDevice(PEER, True, True)))
DEGRADED = replace(WANTED, run_degraded=True)
A = Member(OWN, UUID, "volumes0", slot=0)
B = Member(PEER, UUID, "volumes0", slot=1, write_mostly=True, failfast=True)
LEGS = (Device("vdb", OWN, "in_sync", 0), Device("sda", PEER, "in_sync", 1, write_mostly=True, failfast=True))


def running(*devices: Device, **more: Any) -> Array:
    lost = 2 - sum(device.state == "in_sync" for device in devices)
    base = Array("md127", "/dev/md127", "volumes0", UUID, "raid1", 2, "clean", lost, "idle", None, None, True, devices)
    return replace(base, **more)


def found(*parts: Member | Disk, arrays: tuple[Array, ...] = ()) -> md.Found:
    """What is on the machine; a disk of which nothing is said is blank."""
    disks = {path: Disk(path, size_bytes=3 << 30) for path in (OWN, PEER)}
    members: dict[str, Member | None] = dict.fromkeys(disks)
    for part in parts:
        if isinstance(part, Disk):
            disks[part.path] = part
        else:
            members[part.device] = part
            signed = replace(disks[part.device], signatures=("linux_raid_member",))
            disks[part.device] = replace(signed, array=f"{part.name} ({part.uuid})")
    return md.Found(disks, members, arrays, ["/dev/vda", OWN, PEER])


def steps(there: md.Found, wanted: md.Wanted = WANTED, wipe: tuple[str, ...] = ()) -> list[str]:
    return [str(action) for action in md.plan([wanted], there, wipe)]


FLAGS = f"update member volumes0 {PEER}"


def test_blank_disks_become_an_array() -> None:
    actions = md.plan([WANTED], found(), [])
    assert [str(action) for action in actions] == ["create array volumes0", FLAGS]
    assert actions[0].after == {"uuid": UUID, "level": "raid1", "devices": [OWN, PEER], "bitmap": "internal"}
    assert actions[1].after == {"write_mostly": True, "failfast": True}


def test_what_runs_needs_nothing() -> None:
    assert steps(found(A, B, arrays=(running(*LEGS),))) == []
    rebuilding = (LEGS[0], replace(LEGS[1], state="rebuilding"))
    assert steps(found(A, B, arrays=(running(*rebuilding, sync_action="recover"),))) == []


def test_members_are_assembled() -> None:
    actions = md.plan([WANTED], found(A, B), [])
    assert [str(action) for action in actions] == ["update array volumes0"]
    assert actions[0].after == {"running": True, "devices": [OWN, PEER]}


def test_an_array_that_was_put_together_in_part_is_assembled() -> None:
    assert steps(found(A, B, arrays=(running(LEGS[0], state="inactive"),))) == ["update array volumes0"]


def test_flags_that_differ_are_set() -> None:
    assert steps(found(A, B, arrays=(running(LEGS[0], replace(LEGS[1], failfast=False)),))) == [FLAGS]
    assert steps(found(A, replace(B, write_mostly=False))) == ["update array volumes0", FLAGS]


def test_one_member_alone_is_not_started() -> None:
    gone = Disk(PEER, exists=False)
    with pytest.raises(MdError) as caught:
        steps(found(A, gone))
    assert "volumes0 has only 1 of 2 members: /dev/sda is not there" in str(caught.value)
    assert "may be in use elsewhere. If they are not: run_degraded: true" in str(caught.value)
    actions = md.plan([DEGRADED], found(A, gone), [])
    assert actions[0].after == {"running": True, "devices": [OWN]}
    assert len(actions) == 1
    assert md.missing([WANTED], found(A, gone)) == {"volumes0": [PEER]}


def test_a_member_and_a_blank_disk_are_no_reason_to_start_either() -> None:
    with pytest.raises(MdError, match=r"/dev/sda is no member of it"):
        steps(found(A))
    assert steps(found(A), DEGRADED) == ["update array volumes0", f"create member volumes0 {PEER}", FLAGS]


def test_an_array_is_not_made_without_all_of_its_disks() -> None:
    said = "/dev/sda is not there. Disks of this machine: /dev/vda, /dev/vdb, /dev/sda"
    with pytest.raises(MdError, match=said):
        steps(found(Disk(PEER, exists=False)), DEGRADED)


def test_members_that_both_went_on_alone_are_not_put_together() -> None:
    there = found(replace(A, array_state="A.", events=40), replace(B, array_state=".A", events=52))
    for wanted in (WANTED, DEGRADED):
        with pytest.raises(MdError) as caught:
            steps(there, wanted)
        assert "/dev/vdb and /dev/sda have both gone on alone (A. at event 40, .A at event 52)" in str(caught.value)


def test_a_member_that_was_dropped_comes_back_with_what_changed() -> None:
    there = found(replace(A, array_state="A."), B, arrays=(running(LEGS[0]),))
    actions = md.plan([WANTED], there, [])
    assert [str(action) for action in actions] == [f"create member volumes0 {PEER}"]
    assert actions[0].after == {"copied": "what changed"}


def test_a_member_whose_device_is_gone_is_taken_out() -> None:
    gone = replace(LEGS[1], state="faulty", path="", slot=None)
    there = found(A, Disk(PEER, exists=False), arrays=(running(LEGS[0], gone),))
    assert steps(there) == ["delete failed members volumes0"]
    back = replace(WANTED, devices=(WANTED.devices[0], md.WantedDevice("/dev/sdc", True, True)))
    disks = {OWN: Disk(OWN), "/dev/sdc": Disk("/dev/sdc")}
    again = md.Found(disks, {OWN: A, "/dev/sdc": replace(B, device="/dev/sdc")}, (running(LEGS[0], gone),), [])
    assert steps(again, back) == ["delete failed members volumes0", "create member volumes0 /dev/sdc"]


def test_a_blank_disk_takes_the_place_of_a_member_that_is_gone() -> None:
    actions = md.plan([WANTED], found(A, arrays=(running(LEGS[0]),)), [])
    assert [str(action) for action in actions] == [f"create member volumes0 {PEER}", FLAGS]
    assert actions[0].after == {"copied": "full"}


def test_a_member_that_went_on_without_the_array_is_refused() -> None:
    there = found(A, replace(B, array_state=".A"), arrays=(running(LEGS[0]),))
    with pytest.raises(MdError, match="has gone on without those that run now: it may hold writes that they lack"):
        steps(there)


def test_a_disk_of_another_array_is_refused_with_its_name() -> None:
    there = found(A, replace(B, uuid=OTHER, name="data"), arrays=(running(LEGS[0]),))
    with pytest.raises(MdError) as caught:
        steps(there)
    said = f"/dev/sda (3.0 GiB) is not blank: it holds a member of the array data ({OTHER}). If all of it may be"
    assert said in str(caught.value)
    assert str(caught.value).endswith("say so once: wipe: [/dev/sda]")
    assert steps(there, wipe=(PEER,)) == [f"delete content of disk {PEER}", f"create member volumes0 {PEER}", FLAGS]


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        (Disk(OWN, signatures=("ext4",)), "it holds a signature of ext4"),
        (Disk(OWN, is_volume=True, group="data"), "a physical volume of the volume group data"),
        (Disk(OWN, in_use=("/dev/vdb is mounted at /srv",)), "in use: /dev/vdb is mounted at /srv.*not even with w"),
        (Disk(OWN, read_only=True), "is read-only"),
    ],
)
def test_a_disk_that_holds_something_is_refused(disk: Disk, said: str) -> None:
    with pytest.raises(MdError, match=said):
        steps(found(disk))


def test_a_refusal_names_the_input_of_the_role() -> None:
    said = md.refusals([WANTED], found(Disk(OWN, signatures=("xfs",))), [], "storage_mirror_wipe")
    assert said == [
        "/dev/vdb (0.0 GiB) is not blank: it holds a signature of xfs. If all of it may be destroyed, say so once:"
        " storage_mirror_wipe: [/dev/vdb]"
    ]


def test_another_array_of_that_name_is_refused() -> None:
    there = found(arrays=(running(uuid=OTHER),))
    with pytest.raises(MdError, match=f"/dev/md127 has the UUID {OTHER}, wanted is {UUID}"):
        steps(there)


def test_a_member_that_nobody_wants_is_told() -> None:
    there = found(A, arrays=(running(LEGS[0], Device("vdd", "/dev/vdd", "in_sync", 1)),))
    with pytest.raises(MdError, match=r"another member, /dev/vdd .in_sync.. To take it out: mdadm /dev/md127 --fail"):
        steps(there)


def test_an_array_of_another_shape_is_refused() -> None:
    there = found(A, B, arrays=(running(*LEGS, level="raid10", raid_devices=4),))
    with pytest.raises(MdError, match="runs as raid10 of 4 devices; wanted is raid1 of 2"):
        steps(there)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (replace(WANTED, uuid=OTHER, devices=()), "the array volumes0 is in the list twice"),
        (replace(WANTED, name="b", devices=()), f"the UUID {UUID} is in the list twice"),
        (replace(WANTED, name="b", uuid=OTHER), "the device /dev/vdb is in the list twice"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(second: md.Wanted, said: str) -> None:
    with pytest.raises(MdError, match=said):
        md.plan([WANTED, second], found(), [])


def test_an_array_is_stopped_when_it_is_not_to_run() -> None:
    wanted = replace(WANTED, stopped=True)
    actions = md.plan([wanted], found(A, B, arrays=(running(*LEGS),)), [])
    assert actions[0].after == {"running": False}
    assert steps(found(A, B), wanted) == []
    assert steps(found(Disk(OWN, exists=False)), wanted) == []


def test_all_refusals_come_at_once() -> None:
    disks = (Disk(OWN, signatures=("xfs",)), Disk(PEER, exists=False))
    with pytest.raises(MdError, match=r"a signature of xfs.*; /dev/sda is not there"):
        steps(found(*disks))
