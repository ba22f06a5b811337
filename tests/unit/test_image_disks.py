# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of the image are disks by iSCSI, and what the initial RAM disk does with one."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

FILES = Path(__file__).resolve().parents[2] / "roles/node_image/files"
PREFIX = "iqn.2026-11.org.example:updraft.image."
ONE, TWO = "0123456789ab", "3f9c0a7be214"
# As tgtadm 1.0.85 prints it: one that somebody reads, one that nobody does, one that a cut run left.
SHOWN = f"""\
Target 1: {PREFIX}{ONE}
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 1
            Initiator: iqn.2026-11.org.updraft:boot.525400000001 alias: none
            Connection: 0
                IP Address: 10.0.0.31
    LUN information:
        LUN: 0
            Type: controller
            Backing store path: None
        LUN: 1
            Type: disk
            Readonly: Yes
            Backing store path: /images/{ONE}/root.squashfs
    Account information:
    ACL information:
        ALL
Target 4: {PREFIX}{TWO}
    I_T nexus information:
    LUN information:
        LUN: 1
            Backing store path: /images/{TWO}/root.squashfs
    ACL information:
        ALL
Target 5: {PREFIX}half
    I_T nexus information:
    LUN information:
        LUN: 0
            Backing store path: None
    ACL information:
"""


@pytest.fixture
def disks() -> ModuleType:
    specification = importlib.util.spec_from_file_location("image_disks", FILES / "image_disks.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def files(*versions: str) -> dict[str, str]:
    return {f"{PREFIX}{name}": f"/images/{name}/root.squashfs" for name in versions}


def test_only_complete_versions_are_offered(disks: ModuleType, tmp_path: Path) -> None:
    for name in (ONE, TWO, "lost+found"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "root.squashfs").touch()
    (tmp_path / ONE / "manifest.json").touch()
    (tmp_path / "lost+found/manifest.json").touch()
    (tmp_path / "current").symlink_to(ONE)
    assert disks.wanted(tmp_path, PREFIX) == {f"{PREFIX}{ONE}": f"{tmp_path}/{ONE}/root.squashfs"}


def test_what_is_there_is_told_apart(disks: ModuleType) -> None:
    found = disks.parse(SHOWN)
    assert found[f"{PREFIX}{ONE}"] == disks.Target(1, f"/images/{ONE}/root.squashfs", ready=True, used=True)
    assert found[f"{PREFIX}{TWO}"] == disks.Target(4, f"/images/{TWO}/root.squashfs", ready=True, used=False)
    assert found[f"{PREFIX}half"] == disks.Target(5)


def test_a_new_version_is_read_only_before_anybody_gets_in(disks: ModuleType) -> None:
    calls = disks.plan(files(ONE), {})
    assert [call[0] for call in calls] == ["new", "new", "update", "bind"]
    assert calls[2][-2:] == ["--params", "readonly=1"]


def test_a_second_time_there_is_nothing_to_do(disks: ModuleType) -> None:
    found = disks.parse(SHOWN)
    del found[f"{PREFIX}half"]
    assert disks.plan(files(ONE, TWO), found) == []


def test_what_is_gone_or_half_made_goes_and_what_somebody_reads_stays(disks: ModuleType) -> None:
    calls = disks.plan({}, disks.parse(SHOWN))
    assert sorted(call[-1] for call in calls) == ["4", "5"] and {call[0] for call in calls} == {"delete"}


@pytest.mark.parametrize("script", ["initramfs-root", "initramfs-boot", "initramfs-hook"])
def test_the_scripts_of_the_initial_ram_disk_are_scripts_of_its_shell(script: str) -> None:
    subprocess.run(["sh", "-n", str(FILES / script)], check=True)
    assert subprocess.run(["sh", str(FILES / script), "prereqs"], check=True, capture_output=True, text=True).stdout


def test_the_port_opens_when_all_is_there_and_once(
    disks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ONE).mkdir()
    (tmp_path / ONE / "manifest.json").touch()
    portals, calls = ["Portal: 127.0.0.1:3261,1"], []

    def tgtadm(*words: str) -> str:
        if words[0] == "show":
            return "\n".join(portals) if words[-1] == "portal" else ""
        calls.append(words)
        return ""

    monkeypatch.setattr(disks, "tgtadm", tgtadm)
    disks.main(str(tmp_path), PREFIX, "10.0.0.10:3261")
    assert [call[0] for call in calls] == ["new", "new", "update", "bind", "new"]
    assert calls[-1][-1] == "portal=10.0.0.10:3261"
    portals.append("Portal: 10.0.0.10:3261,1")
    disks.main(str(tmp_path), PREFIX, "10.0.0.10:3261")
    assert [call[2] for call in calls].count("portal") == 1


CARD = "52:54:00:00:00:01"
WHERE = f"updraft.iscsi=10.0.0.10:3261:{PREFIX}{ONE} updraft.iscsi_below=1536"
LINE = f"boot=live fetch=http://10.0.0.10/images/{ONE}/root.squashfs {WHERE} panic=10 live-netdev={CARD}"
# What stands in for the programs of the initial RAM disk: each writes down how it was called.
STAND_IN = """#!/bin/sh
echo "${0##*/} $*" >> "$CALLS"
"""


class RamDisk:
    """The scripts of the initial RAM disk in a folder, with its own /proc, /sys and /run, and no kernel behind them."""

    def __init__(self, folder: Path, line: str, memory_mib: int) -> None:
        self.folder, self.calls = folder, folder / "calls"
        self.calls.touch()
        files = {"proc/cmdline": line, "proc/meminfo": f"MemTotal: {memory_mib * 1024} kB\nMemFree: 1 kB\n"}
        files |= {"sys/class/net/eth0/address": "52:54:00:00:00:09\n", "sys/class/net/eth0/device": ""}
        files |= {"sys/class/net/eth1/address": f"{CARD}\n", "sys/class/net/eth1/device": ""}
        files |= {
            "run/net-eth1.conf": "DEVICE='eth1'\nIPV4ADDR='10.0.0.31'\n",
            "conf/param.conf": "",
            "dev/console": "",
        }
        files |= {"scripts/functions": "panic() { echo panic >> $CALLS; exit 1; }\n", "root/etc/machine-id": ""}
        files |= {"root/etc/default/open-iscsi": "", "root/etc/iscsi/iscsid.conf": ""}
        files |= {"proc/sys/kernel/hostname": ""}
        files |= {"sys/class/iscsi_session/session1/device/target0:0:0/0:0:0:1/block/sda/dev": "8:0"}
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        for name in ("ip", "ipconfig", "iscsistart", "modprobe", "udevadm", "sleep"):
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(STAND_IN)
            program.chmod(0o755)

    def run(self, script: str) -> str:
        """Run a script; return what it called."""
        paths = r"(?<![\w/])/(?=(proc|sys|run|conf|dev/console|scripts/functions)\b)"
        text = re.sub(paths, f"{self.folder}/", (FILES / script).read_text())
        # There is no block device in a folder.
        text = text.replace("[ -b ", "[ -n ")
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "CALLS": str(self.calls)}
        subprocess.run(["sh", "-c", text], check=True, env={**environment, "rootmnt": f"{self.folder}/root"})
        return self.calls.read_text()

    def settings(self) -> str:
        """What live-boot gets to know."""
        return (self.folder / "conf/param.conf").read_text()


@pytest.mark.parametrize(
    ("line", "memory_mib", "by_iscsi"),
    [
        (LINE, 700, True),
        (LINE, 1535, True),
        (LINE, 1536, False),
        (f"{LINE} updraft.root=iscsi", 8000, True),
        (f"{LINE} updraft.root=memory", 700, False),
        (LINE.replace(WHERE, ""), 700, False),
    ],
)
def test_memory_decides_where_the_root_is_unless_it_is_said(
    tmp_path: Path, line: str, memory_mib: int, by_iscsi: bool
) -> None:
    disk = RamDisk(tmp_path, line, memory_mib)
    assert ("iscsistart" in disk.run("initramfs-root")) == by_iscsi
    assert bool(disk.settings()) == by_iscsi
    assert (tmp_path / "run/updraft/iscsi-root").exists() == by_iscsi


def test_live_boot_gets_the_disk_and_nothing_to_fetch(tmp_path: Path) -> None:
    disk = RamDisk(tmp_path, LINE, 700)
    calls = disk.run("initramfs-root")
    assert "ipconfig -t 15 eth1\n" in calls and "eth0" not in calls
    assert f" -t {PREFIX}{ONE} -g 1 -a 10.0.0.10 -p 3261 -P node.session.timeo.replacement_timeout=-1" in calls
    assert "-i iqn.2026-11.org.updraft:boot.525400000001 " in calls
    told = dict(text.removeprefix("export ").split("=", 1) for text in disk.settings().splitlines())
    assert told["ROOT"] == "'/dev/sda'"
    words = told["LIVE_BOOT_CMDLINE"].strip("'").split()
    assert {"boot=live", "plainroot", "panic=10"} <= set(words) and not any(word.startswith("fetch=") for word in words)


def test_a_session_is_made_again_whenever_it_breaks(tmp_path: Path) -> None:
    disk = RamDisk(tmp_path, LINE, 700)
    disk.run("initramfs-root")
    disk.run("initramfs-boot")
    record = tmp_path / f"root/var/lib/iscsi/nodes/{PREFIX}{ONE}/10.0.0.10,3261,1/default"
    assert "node.session.timeo.replacement_timeout = -1\n" in record.read_text()
    assert (tmp_path / "run/systemd/system/multi-user.target.wants/iscsid.service").is_symlink()
    assert "Restart=" in (tmp_path / "run/systemd/system/iscsid.service.d/updraft-root.conf").read_text()
    assert "KeepConfiguration=yes" in (tmp_path / "run/systemd/network/80-updraft-boot.network").read_text()
    assert (tmp_path / "run/systemd/network/10-updraft-eth1.network.d/updraft-root.conf").is_file()


def test_a_machine_with_its_root_in_memory_has_nothing_of_that(tmp_path: Path) -> None:
    disk = RamDisk(tmp_path, LINE, 4096)
    disk.run("initramfs-root")
    disk.run("initramfs-boot")
    assert "KeepConfiguration=no" in (tmp_path / "run/systemd/network/80-updraft-boot.network").read_text()
    assert not (tmp_path / "root/var").exists() and not (tmp_path / "run/systemd/system").exists()


def test_what_serves_the_disks_is_killed_and_comes_back() -> None:
    """tgtd does not hear SIGTERM: without this a stop takes the 90 s that systemd waits, and serves meanwhile."""
    text = (FILES.parent / "templates/updraft-image-disks.service.j2").read_text()
    settings = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    assert (settings["KillSignal"], settings["SuccessExitStatus"]) == ("SIGKILL", "SIGKILL")
    # Killed by somebody else, it did not fail either.
    assert settings["Restart"] == "always"
