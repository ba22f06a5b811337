# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines with real firmware boot by network: BIOS and UEFI, with iPXE in the card and without."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from testinfra.host import Host

testinfra_hosts = ["ssh://provision1"]

SPACE = "updraft-provision"
TAP = "boot-test"
FIRMWARE = Path("/usr/share/OVMF")
#: A boot takes 40 s on a computer without KVM that does nothing else.
LIMIT = 300
#: With one processor: QEMU 7.2 was seen to lose the timer of the second one while the kernel started (rcu stall).
MACHINE = (
    *("-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "tcg,thread=multi"),
    *("-cpu", "max", "-m", "1024M", "-no-reboot", "-device", "virtio-rng-pci"),
)


def boot(log: Path, mac: str, *, uefi: bool, own_ipxe: bool) -> str:
    """Switch a machine without a disk on, wait until it is off again, and return what it wrote to its console."""
    inside = ["nsenter", f"--net=/run/netns/{SPACE}"]
    subprocess.run([*inside, "ip", "link", "delete", TAP], capture_output=True, check=False)
    subprocess.run([*inside, "ip", "tuntap", "add", TAP, "mode", "tap"], check=True)
    subprocess.run([*inside, "ip", "link", "set", TAP, "master", "br-management", "up"], check=True)
    card = f"virtio-net-pci,netdev=net0,mac={mac},bootindex=1" + ("" if own_ipxe else ",romfile=")
    command = [*inside, "nice", "-n", "19", "qemu-system-x86_64", *MACHINE, "-serial", f"file:{log}", "-device", card]
    command += ["-netdev", f"tap,id=net0,ifname={TAP},script=no,downscript=no"]
    if uefi:
        settings = log.with_suffix(".fd")
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", settings)
        flash = "if=pflash,format=raw"
        command += [
            "-drive",
            f"{flash},readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd",
            "-drive",
            f"{flash},file={settings}",
        ]
    try:
        subprocess.run(command, capture_output=True, check=False, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        pytest.fail(f"not booted after {LIMIT} s:\n{log.read_text(errors='replace')[-2000:]}")
    finally:
        subprocess.run([*inside, "ip", "link", "delete", TAP], capture_output=True, check=False)
    return log.read_text(errors="replace")


@pytest.mark.parametrize(
    ("name", "mac", "uefi", "own_ipxe"),
    [
        ("bios1", "52:54:00:c0:bb:01", False, True),
        ("uefi1", "52:54:00:c0:bb:02", True, True),
        # The firmware's own PXE: it gets iPXE by TFTP, which asks again and gets its script.
        ("unknown", "52:54:00:c0:bb:0f", True, False),
    ],
)
def test_a_machine_boots_by_network(
    host: Host, tmp_path: Path, name: str, mac: str, uefi: bool, own_ipxe: bool
) -> None:
    since = host.check_output("date +%s")
    console = boot(tmp_path / "console.log", mac, uefi=uefi, own_ipxe=own_ipxe)
    told = re.search(r"tiny-booted (.*) tiny-end", console)
    assert told, console[-2000:]
    words = told[1].split()
    assert f"firmware={'uefi' if uefi else 'bios'}" in words
    # Nobody made a token, so that what iPXE filled in is empty.
    assert "updraft.token=" in words
    if name == "unknown":
        assert "updraft.profile=default" in words
        journal = host.check_output("journalctl -u cobbler-dhcp --since=@%s --no-pager", since)
        assert re.search(r"bootfile-name +ipxe\.efi", journal)
        assert len(re.findall(r"DHCPACK\(eth0\)", journal)) <= 4, "the machine loads iPXE again and again"
    else:
        assert {"updraft.profile=known", f"updraft.system={name}"} <= set(words)
