# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft-install names one disk, and refuses what holds anything."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parents[2] / "roles/node_image/files/updraft-install"
GIB = 1024**3
LINE = (
    "boot=live fetch=http://10.0.0.1/images/abc/root.squashfs net.ifnames=0 console=ttyS0 quiet "
    "updraft.install=/dev/vda "
    "updraft.registrar=https://c:7777 updraft.address=10.0.0.1 updraft.token=hidden"
)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("updraft_install", str(TOOL))
    spec = importlib.util.spec_from_loader("updraft_install", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = writes
    return module


def entry(**change: Any) -> dict[str, Any]:
    return {"path": "/dev/vda", "size": 8 * GIB, "serial": "one", "type": "disk", "ro": False, **change}


def test_a_disk_is_named_by_device_or_serial(tool: ModuleType) -> None:
    disks = tool.parse_disks({"blockdevices": [entry(), entry(path="/dev/vdb", serial="two")]}, {})
    assert tool.choose("/dev/vdb", disks) == tool.choose("two", disks) == disks[1]
    with pytest.raises(tool.InstallError, match=r"'three' names no disk; there are: /dev/vda \(serial one\), /dev/vdb"):
        tool.choose("three", disks)


def test_a_disk_is_named_by_a_link(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool.os.path, "realpath", lambda _path: "/dev/vda")
    assert (tool.device("/dev/disk/by-id/wwn-0x1"), tool.device("one")) == ("/dev/vda", "one")


def test_two_disks_of_one_serial_are_not_guessed_at(tool: ModuleType) -> None:
    disks = tool.parse_disks({"blockdevices": [entry(), entry(path="/dev/vdb")]}, {})
    with pytest.raises(tool.InstallError, match="'one' names 2 disks"):
        tool.choose("one", disks)


def test_loops_and_read_only_devices_are_no_disks(tool: ModuleType) -> None:
    assert not tool.parse_disks({"blockdevices": [entry(type="loop"), entry(ro=True)]}, {})


@pytest.mark.parametrize(
    ("change", "data", "words"),
    [
        ({"pttype": "gpt"}, True, "holds a partition table \\(gpt\\), and nothing was changed"),
        ({"fstype": "LVM2_member"}, True, "holds LVM2_member"),
        ({"children": [{"path": "/dev/vda1", "type": "part", "fstype": "ext4"}]}, True, "holds /dev/vda1 \\(ext4\\)"),
        ({}, True, "holds data of an unknown kind"),
    ],
)
def test_a_disk_that_holds_anything_is_refused(tool: ModuleType, change: Any, data: bool, words: str) -> None:
    (disk,) = tool.parse_disks({"blockdevices": [entry(**change)]}, {"/dev/vda": data})
    with pytest.raises(tool.InstallError, match=words):
        tool.permit(disk, "")
    with pytest.raises(tool.InstallError, match=r"updraft.wipe=one"):
        tool.permit(disk, "/dev/vdb")
    tool.permit(disk, "one")
    tool.permit(disk, "/dev/vda")


def test_a_disk_in_use_is_refused_even_so(tool: ModuleType) -> None:
    children = [{"path": "/dev/vda1", "type": "part", "fstype": "ext4", "mountpoints": ["/srv", None]}]
    (disk,) = tool.parse_disks({"blockdevices": [entry(children=children)]}, {})
    with pytest.raises(tool.InstallError, match="/dev/vda is in use at /srv"):
        tool.permit(disk, "/dev/vda")


def test_an_empty_disk_is_taken_and_a_small_one_is_not(tool: ModuleType) -> None:
    (disk,) = tool.parse_disks({"blockdevices": [entry()]}, {"/dev/vda": False})
    tool.permit(disk, "")
    (small,) = tool.parse_disks({"blockdevices": [entry(size=GIB)]}, {})
    with pytest.raises(tool.InstallError, match=r"1.0 GiB; 4 GiB are needed"):
        tool.permit(small, "")


def held(tool: ModuleType, fstype: str = "ext4") -> Any:
    children = [{"path": f"/dev/vda{number}", "type": "part", "fstype": fstype} for number in (1, 2, 3)]
    (disk,) = tool.parse_disks({"blockdevices": [entry(pttype="gpt", children=children)]}, {"/dev/vda": True})
    return disk


def booted(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, disk: Any, note: dict[str, Any] | None) -> int:
    """Run it as at a boot, with nothing that touches this computer."""
    line = "boot=live updraft.install=/dev/vda fetch=http://10.0.0.1/images/abc/root.squashfs"
    monkeypatch.setattr(tool.Path, "read_text", lambda _self, *_words: line)
    monkeypatch.setattr(tool.Path, "glob", lambda _self, _pattern: iter([Path("/run/live/rootfs/root.squashfs")]))
    monkeypatch.setattr(tool.os, "unshare", lambda _flags: None, raising=False)
    monkeypatch.setattr(tool.os, "CLONE_NEWNS", 0, raising=False)
    monkeypatch.setattr(tool.os, "execvp", lambda *_words: None)
    monkeypatch.setattr(tool, "run", lambda *_words: None)
    monkeypatch.setattr(tool, "output", lambda *_words: "")
    monkeypatch.setattr(tool, "read_disks", lambda: [disk])
    monkeypatch.setattr(tool, "installed", lambda _disk: note)
    monkeypatch.setattr(tool, "machine", lambda: {"product_uuid": "u", "product_serial": "s"})
    monkeypatch.setattr(tool, "install", lambda *_words: tool.say("written"))
    return int(tool.main(["--boot"]))


def test_what_was_installed_on_this_machine_is_no_fault_at_its_next_network_boot(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"image": "3f9c0a7be214", "machine": {"product_uuid": "u", "product_serial": "s"}}
    assert booted(tool, monkeypatch, held(tool), own) == 0
    said = "/dev/vda holds image 3f9c0a7be214, installed on this machine before; nothing was changed"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("note", [None, {}, {"image": "x", "machine": {"product_uuid": "another"}}])
def test_what_another_machine_or_nobody_installed_is_refused(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], note: dict[str, Any] | None
) -> None:
    assert booted(tool, monkeypatch, held(tool), note) == 1
    assert "refused: /dev/vda holds a partition table" in capsys.readouterr().out


def test_an_empty_disk_is_written(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (disk,) = tool.parse_disks({"blockdevices": [entry()]}, {})
    assert booted(tool, monkeypatch, disk, None) == 0
    assert "written" in capsys.readouterr().out


def test_partitions_are_asked_for_below_their_disk(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def told(*words: str) -> str:
        asked.extend(words)
        return '{"blockdevices": []}'

    monkeypatch.setattr(tool, "output", told)
    assert tool.read_disks() == []
    assert "--tree" in asked
    assert "NAME" in asked[-1].split(",")


def test_only_a_disk_of_our_layout_is_looked_into(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_words: Any, **_more: Any) -> None:
        raise AssertionError("nothing is mounted")

    monkeypatch.setattr(tool.subprocess, "run", refuse)
    assert tool.installed(tool.parse_disks({"blockdevices": [entry()]}, {})[0]) is None
    assert tool.installed(held(tool, "ntfs")) is None


def test_a_machine_is_told_by_its_firmware(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "product_serial").write_text("CZ1\n")
    assert tool.machine(tmp_path) == {"product_uuid": "", "product_serial": "CZ1"}


def test_the_installed_system_keeps_the_registrar_and_no_token(tool: ModuleType) -> None:
    kept = tool.kept_options(LINE)
    assert kept == "net.ifnames=0 console=ttyS0 updraft.registrar=https://c:7777 updraft.address=10.0.0.1"
    more = "mitigations=off nosmt updraft.keep=nosmt,mitigations"
    assert tool.kept_options(f"{LINE} {more}") == f"{kept} mitigations=off nosmt"
    assert f'GRUB_CMDLINE_LINUX="{kept}"' in tool.grub_defaults(LINE)
    assert 'GRUB_TERMINAL="serial console"' in tool.grub_defaults(LINE)
    assert 'GRUB_TERMINAL="console"' in tool.grub_defaults("quiet")


def test_the_initial_ram_disk_lies_beside_the_root_file_system(tool: ModuleType) -> None:
    assert tool.initrd_address(LINE) == "http://10.0.0.1/images/abc/initrd.img"
    with pytest.raises(tool.InstallError, match="this is no live system"):
        tool.initrd_address("quiet")


def test_partitions_of_disks_whose_names_end_in_a_digit(tool: ModuleType) -> None:
    assert tool.Disk("/dev/vda", 0, "").partition(2) == "/dev/vda2"
    assert tool.Disk("/dev/nvme0n1", 0, "").partition(2) == "/dev/nvme0n1p2"


def test_both_file_systems_are_mounted_by_uuid(tool: ModuleType) -> None:
    assert tool.fstab("r", "e").splitlines() == [
        "UUID=r / ext4 errors=remount-ro 0 1",
        "UUID=e /boot/efi vfat umask=0077,nofail 0 2",
    ]
