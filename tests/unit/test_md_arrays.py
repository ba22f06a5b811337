# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays: what superblocks and sysfs tell, and what is done to them in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import md_arrays, md_state
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.md_state import Array, Device, MdError, Member

UUID = "6b1b2c6e:0f0d5a6e:9c3f6a0e:3a1d2b4c"
OTHER = "00000000:11111111:22222222:33333333"
OWN, PEER = "/dev/vdb", "/dev/sda"
A = Member(OWN, UUID, "volumes0", slot=0, events=20)
B = Member(PEER, UUID, "volumes0", slot=1, events=20, write_mostly=True, failfast=True)
IN_SYNC = Device("vdb", OWN, "in_sync", 0)
REMOTE = Device("sda", PEER, "in_sync", 1, write_mostly=True, failfast=True)


# What mdadm 4.4 of Debian 13 says, shortened. The superblocks were written by hand.
EXAMINED = """\
/dev/vdb:
          Magic : a92b4efc
        Version : 1.2
    Feature Map : 0x0
     Array UUID : 6b1b2c6e:0f0d5a6e:9c3f6a0e:3a1d2b4c
           Name : volumes0
  Creation Time : Fri Nov 21 20:30:00 2025
     Raid Level : raid1
   Raid Devices : 2

 Avail Dev Size : 126976 sectors (62.00 MiB 65.01 MB)
    Data Offset : 4096 sectors
          State : clean
    Device UUID : 00000000:00000000:00000000:00000000

    Update Time : Fri Nov 21 20:31:40 2025
         Events : 18


   Device Role : Active device 0
   Array State : AA ('A' == active, '.' == missing, 'R' == replacing)
"""
RECOVERY = (
    EXAMINED.replace("Active device 0", "Active device 1")
    .replace("    Data Offset", "Recovery Offset : 2048 sectors\n    Data Offset")
    .replace("    Update Time", "          Flags : write-mostly\n    Update Time")
)


def running(*devices: Device, state: str = "clean") -> Array:
    lost = 2 - sum(device.state == "in_sync" for device in devices)
    return Array("md127", "/dev/md127", "volumes0", UUID, "raid1", 2, state, lost, "idle", None, None, True, devices)


def test_a_uuid_is_the_same_for_the_same_words() -> None:
    made = md_state.array_uuid("lab", "volumes0")
    assert made == md_state.array_uuid("lab", "volumes0") != md_state.array_uuid("lab", "volumes1")
    assert [len(part) for part in made.split(":")] == [8, 8, 8, 8]


def test_a_superblock_is_read() -> None:
    assert md_state.parse_examine(OWN, EXAMINED) == replace(A, events=18, bitmap=False)
    text = EXAMINED.replace("Name : volumes0", "Name : storage1:volumes0  (local to host storage1)")
    text = text.replace("    Update Time", "Internal Bitmap : 8 sectors from superblock\n    Update Time")
    assert md_state.parse_examine(OWN, text) == replace(A, events=18)


def test_what_a_superblock_says_of_losses_is_read() -> None:
    text = EXAMINED.replace("AA ('A'", "A. ('A'").replace("State : clean", "State : active")
    alone = md_state.parse_examine(OWN, text)
    assert alone is not None and alone.array_state == "A." and not alone.recovering and not alone.clean
    behind = md_state.parse_examine(PEER, RECOVERY)
    assert behind is not None and behind.recovering
    assert (behind.slot, behind.recovery_offset, behind.write_mostly) == (1, 2048, True)
    spare = md_state.parse_examine(PEER, EXAMINED.replace("Active device 0", "spare"))
    assert spare is not None and spare.slot is None


def test_a_disk_without_a_superblock_is_no_member(monkeypatch: pytest.MonkeyPatch) -> None:
    assert md_state.parse_examine("/dev/vda", "/dev/vda:\n   MBR Magic : aa55\n") is None

    def call(command: list[str], limit: float) -> str:
        raise DisksError(f"mdadm --examine {command[-1]}: {said}")

    monkeypatch.setattr(md_state, "call", call)
    said = "mdadm: No md superblock detected on /dev/vdb."
    assert md_state.examine(OWN) is None
    said = "mdadm: cannot open /dev/vdb: No such file or directory"
    with pytest.raises(DisksError, match="cannot open /dev/vdb"):
        md_state.examine(OWN)


def kernel(root: Path, **files: str) -> Path:
    """Make an array as sysfs shows it: its own disk, and a leg of which the device is gone."""
    path = root / "block/md127/md"
    (path / "bitmap").mkdir(parents=True)
    (root / "class/block/vdb").mkdir(parents=True)
    told = {"array_state": "active", "level": "raid1", "raid_disks": "2", "degraded": "1", "sync_action": "idle"}
    told |= {"sync_completed": "none", "sync_speed": "none", "bitmap/location": "+8", "../size": "6287360"}
    for name, text in {**told, **files}.items():
        (path / name).write_text(f"{text}\n")
    states = {"vdb": ("in_sync,failfast", "0"), "sda": ("faulty,write_mostly,failfast", "none")}
    for name, (state, slot) in states.items():
        (path / f"dev-{name}").mkdir()
        (path / f"dev-{name}/state").write_text(f"{state}\n")
        (path / f"dev-{name}/slot").write_text(f"{slot}\n")
        (path / f"dev-{name}/errors").write_text("0\n")
    (path / "dev-vdb/block").symlink_to(root / "class/block/vdb")
    (path / "dev-sda/block").symlink_to(root / "class/block/sda")
    return path


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    exported = f"MD_LEVEL=raid1\nMD_DEVICES=2\nMD_METADATA=1.2\nMD_UUID={UUID}\nMD_NAME=volumes0\n"
    monkeypatch.setattr(md_state, "SYS", tmp_path / "block")
    monkeypatch.setattr(md_state, "LINKS", tmp_path / "links")
    monkeypatch.setattr(md_state, "call", lambda command, limit: exported)
    monkeypatch.setattr(md_arrays, "PAUSE_SECONDS", 0)
    return tmp_path


def test_what_runs_is_read(sysfs: Path) -> None:
    path = kernel(sysfs)
    array = md_state.detail("volumes0")
    assert array is not None
    assert (array.uuid, array.degraded, array.bitmap, array.in_sync) == (UUID, 1, True, False)
    assert array.size_bytes == 6287360 * 512
    assert array.devices == (
        Device("sda", "", "faulty", None, write_mostly=True, failfast=True),
        Device("vdb", OWN, "in_sync", 0, failfast=True),
    )
    (path / "array_state").write_text("clear\n")
    assert md_state.detail("volumes0") is None


def test_mdadm_is_not_asked_for_what_the_kernel_tells(sysfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kernel(sysfs)
    asked: list[list[str]] = []

    def call(command: list[str], limit: float) -> str:
        asked.append(command)
        return f"MD_UUID={UUID}\nMD_NAME=any:volumes0\n"

    monkeypatch.setattr(md_state, "call", call)
    (sysfs / "links").mkdir()
    (sysfs / "links/volumes0").symlink_to(sysfs / "block/md127")
    (path / "uuid").write_text("6b1b2c6e-0f0d-5a6e-9c3f-6a0e3a1d2b4c\n")
    found = md_state.detail("volumes0")
    assert found is not None and (found.name, found.uuid, asked) == ("volumes0", UUID, [])
    assert [array.name for array in md_state.arrays("volumes0")] == ["volumes0"] and not asked
    # Zeros: an array that was put together in part.
    (path / "uuid").write_text("00000000-0000-0000-0000-000000000000\n")
    found = md_state.detail("volumes0")
    assert found is not None and (found.uuid, len(asked)) == (UUID, 1)


def test_progress_is_read(sysfs: Path) -> None:
    path = kernel(sysfs, sync_action="recover", sync_completed="1024 / 6287360", sync_speed="20480")
    (path / "dev-sda/state").write_text("spare,write_mostly\n")
    (path / "dev-sda/slot").write_text("1\n")
    array = md_state.detail("volumes0")
    assert array is not None
    assert (array.sync_action, array.sync_completed, array.sync_speed) == ("recover", (1024, 6287360), 20480)
    assert [device.state for device in array.devices] == ["rebuilding", "in_sync"]


def test_a_member_whose_device_is_gone_fails_and_goes(sysfs: Path) -> None:
    path = kernel(sysfs)
    assert md_arrays.remove_failed("volumes0") == ["sda"]
    assert (path / "dev-sda/state").read_text() == "remove"
    assert (path / "dev-vdb/state").read_text() == "in_sync,failfast\n"


def test_flags_are_told_to_the_kernel(sysfs: Path) -> None:
    path = kernel(sysfs)
    assert md_arrays.set_flags("volumes0", OWN, write_mostly=False, failfast=False) is True
    assert (path / "dev-vdb/state").read_text() == "-failfast"
    with pytest.raises(MdError, match="/dev/vdz is not in the array volumes0"):
        md_arrays.set_flags("volumes0", "/dev/vdz", write_mostly=False, failfast=False)


def test_who_went_on_alone_is_told_by_the_superblocks() -> None:
    assert md_state.conflict([A, B]) == ""
    # One was lost and is behind; the other knows it.
    assert md_state.conflict([replace(A, array_state="A."), B]) == ""
    said = md_state.conflict([replace(A, array_state="A.", events=40), replace(B, array_state=".A", events=52)])
    assert "/dev/vdb and /dev/sda have both gone on alone (A. at event 40, .A at event 52)" in said


def test_a_member_in_recovery_lacks_data() -> None:
    assert replace(B, recovery_offset=0).recovering
    assert not B.recovering


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (None, "/dev/sda is not a member of the array volumes0 .*: it has no superblock"),
        (replace(B, uuid=OTHER, name="data"), f"its superblock is of data .{OTHER}."),
    ],
)
def test_a_device_of_another_array_is_not_assembled(
    member: Member | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(md_arrays, "examine", {OWN: A, PEER: member}.get)
    with pytest.raises(MdError, match=said):
        md_arrays.assemble("volumes0", UUID, [OWN, PEER])


def test_an_array_is_not_assembled_in_part_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(md_arrays, "examine", {OWN: A}.get)
    with pytest.raises(MdError, match="the array volumes0 has 2 members, and only /dev/vdb is there"):
        md_arrays.assemble("volumes0", UUID, [OWN])


def test_members_that_both_went_on_alone_are_not_assembled(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = {OWN: replace(A, array_state="A."), PEER: replace(B, array_state=".A")}
    monkeypatch.setattr(md_arrays, "examine", alone.get)
    with pytest.raises(MdError, match="both gone on alone"):
        md_arrays.assemble("volumes0", UUID, [OWN, PEER], degraded=True)


class Tools:
    """Stands for mdadm: notes what is called, and answers a re-add as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, array: Array, member: Member | None) -> None:
        self.called: list[str] = []
        self.readd = ""
        monkeypatch.setattr(md_arrays, "call", self.call)
        monkeypatch.setattr(md_arrays, "detail", lambda _: array)
        monkeypatch.setattr(md_arrays, "examine", lambda _: member)

    def call(self, command: list[str], limit: float) -> str:
        self.called.append(" ".join(command[1:]))
        if self.readd and "--re-add" in command:
            raise DisksError(self.readd)
        return ""


def test_a_superblock_that_was_read_just_now_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch, running(IN_SYNC, REMOTE), B)
    monkeypatch.setattr(md_arrays, "arrays", list)
    monkeypatch.setattr(md_arrays, "wait_for", lambda *_, **__: None)
    asked: list[str] = []
    monkeypatch.setattr(md_arrays, "examine", lambda device: asked.append(device) or B)
    md_arrays.assemble("volumes0", UUID, [OWN, PEER], known={OWN: A, PEER: None})
    assert asked == [PEER]
    assert tools.called == [f"--assemble /dev/md/volumes0 --uuid={UUID} /dev/vdb /dev/sda"]
    with pytest.raises(MdError, match="its superblock is of data"):
        md_arrays.assemble("volumes0", UUID, [OWN], known={OWN: replace(A, uuid=OTHER, name="data")})


def test_a_member_comes_back_by_its_bitmap(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch, running(IN_SYNC), B)
    assert md_arrays.readd("volumes0", PEER) == "bitmap"
    assert tools.called == ["--manage /dev/md127 --re-add /dev/sda"]


def test_a_member_that_is_too_old_for_the_bitmap_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch, running(IN_SYNC), B)
    tools.readd = "mdadm: --re-add for /dev/sda to /dev/md127 is not possible"
    assert md_arrays.readd("volumes0", PEER) == "full"
    assert tools.called[1:] == ["--zero-superblock /dev/sda", "--manage /dev/md127 --add /dev/sda"]


def test_a_member_that_cannot_be_opened_keeps_its_superblock(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch, running(IN_SYNC), B)
    tools.readd = "mdadm: Cannot open /dev/sda: Device or resource busy"
    with pytest.raises(DisksError, match="Device or resource busy"):
        md_arrays.readd("volumes0", PEER)
    assert len(tools.called) == 1


def test_the_writes_of_a_member_that_went_on_alone_are_discarded_only_on_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools = Tools(monkeypatch, running(IN_SYNC), replace(B, array_state=".A", events=52))
    with pytest.raises(MdError, match=r"has gone on without the members .*\(.A at event 52\): it may hold writes"):
        md_arrays.readd("volumes0", PEER)
    assert tools.called == []
    assert md_arrays.readd("volumes0", PEER, discard=True) == "full"
    assert tools.called == ["--zero-superblock /dev/sda", "--manage /dev/md127 --add /dev/sda"]


GIB, TIB = 1 << 30, 1 << 40


@pytest.mark.parametrize(
    ("size", "least"),
    [(256 << 20, 16), (3 * GIB, 128), (100 * GIB, 256), (1021 * GIB, 1024), (1024 * GIB, 2048), (4 * TIB, 8192)],
)
def test_a_bitmap_fits_what_mdadm_leaves_for_it(size: int, least: int) -> None:
    assert md_arrays.least_chunk(size) == least


@pytest.mark.parametrize(
    ("size", "chunk", "said"),
    [
        (3 * GIB, md_arrays.BITMAP_CHUNK, "--bitmap=internal --bitmap-chunk=1024K"),
        (4 * TIB, md_arrays.BITMAP_CHUNK, "--bitmap=internal --bitmap-chunk=8192K"),
        (4 * TIB, None, "--bitmap=none"),
    ],
)
def test_a_large_array_is_made_with_larger_bits(
    size: int, chunk: int | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(md_arrays, "call", lambda command, limit: called.append(" ".join(command)))
    monkeypatch.setattr(md_arrays, "settle", lambda: None)
    monkeypatch.setattr(md_arrays, "_size", {OWN: size, PEER: 3 * GIB}.get)
    md_arrays.create("volumes0", UUID, [OWN, PEER], chunk=chunk)
    assert f"--metadata=1.2 {said} --homehost=any" in called[0]


def test_a_stranger_is_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch, running(IN_SYNC), replace(B, uuid=OTHER, name="data"))
    with pytest.raises(MdError, match="/dev/sda was no member of the array volumes0"):
        md_arrays.readd("volumes0", PEER)
    assert tools.called == []


@pytest.mark.parametrize("array", [None, running(IN_SYNC, state="inactive")])
def test_an_array_that_does_not_run_takes_nothing(array: Array | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(md_arrays, "detail", lambda _: array)
    with pytest.raises(MdError, match="the array volumes0 does not run"):
        md_arrays.add("volumes0", PEER)


@pytest.mark.parametrize("state", ["in_sync", "rebuilding", "spare"])
def test_an_array_that_is_whole_takes_nothing(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch, running(IN_SYNC, replace(REMOTE, state=state)), B)
    for take in (md_arrays.add, md_arrays.readd):
        with pytest.raises(MdError, match="the array volumes0 lacks no member"):
            take("volumes0", PEER)
    assert tools.called == []
