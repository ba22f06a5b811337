# SPDX-License-Identifier: GPL-3.0-or-later
"""Lab machines which are virtual: QEMU in the lab's namespace, the image's kernel, an overlay of the image's disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.lab_cpio import Entry, archive
from ansible_collections.updraft.cloud.plugins.module_utils.lab_host import kill, process_with, run, wait_until
from ansible_collections.updraft.cloud.plugins.module_utils.lab_image import Image
from ansible_collections.updraft.cloud.plugins.module_utils.lab_network import plan_port, read_interfaces
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import (
    LabError,
    Link,
    Machine,
    Site,
    size_bytes,
)
from ansible_collections.updraft.cloud.plugins.module_utils.lab_ssh import login

QEMU = "qemu-system-x86_64"
KVM = Path("/dev/kvm")
PROBE_SECONDS = 12
#: What the kernel of a machine is told.
OPTIONS = "console=ttyS0 quiet net.ifnames=0 systemd.getty_auto=no panic=10"
#: And under emulation: QEMU before 8.1 lets a processor stumble over code that the kernel patches on another one. With
#: cpusets the kernel patches its hottest path at each start of a guest, and panics now and then (int3).
#: What programs do is translated anew for each place in memory: if each start has the same one, it takes half as long.
EMULATED = "cgroup_disable=cpuset norandmaps"
_PROBING = threading.Lock()
_PROBE_MARK = b"updraft-probe-passed"


class VirtualMachine:
    """One machine under QEMU."""

    def __init__(self, site: Site, machine: Machine) -> None:
        """Take the lab and the machine; nothing is done yet."""
        self.site = site
        self.machine = machine
        self.state = site.machine_state(machine)
        self.runtime = site.machine_runtime(machine)
        self.console = self.state / "console.log"
        self.pid_file = self.runtime / "pid"

    def exists(self) -> bool:
        """Say whether anything of the machine is there."""
        return self.state.exists() or self.runtime.exists()

    def pid(self) -> int | None:
        """Return the id of its process, recognized by the path of its pid file among the arguments."""
        return process_with(self.pid_file, str(self.pid_file))

    def running(self) -> bool:
        """Say whether its process runs."""
        return self.pid() is not None

    def start(self, image: Image, seed: Sequence[Entry]) -> None:
        """Make what is missing of the machine and start it."""
        self.connect()
        image = self._disks(image)
        initrd = self.state / "initrd"
        with initrd.open("wb") as handle:
            initrd.chmod(0o600)
            handle.write(image.initrd.read_bytes())
            handle.write(archive(seed_entries(self.machine, seed)))
        accelerator = "kvm" if kvm_works(image, self.site.cache) else "tcg"
        self.launch(qemu_arguments(self, image, accelerator))

    def stop(self) -> None:
        """Shut the machine down in order, or at once when that takes longer than a minute."""
        pid = self.pid()
        if pid is None:
            return
        login(self.site, self.machine, "systemctl", "poweroff")
        if not wait_until(lambda: not self.running(), 60):
            kill(pid)

    def remove(self) -> None:
        """Cut the machine's power and remove all of it."""
        pid = self.pid()
        if pid is not None:
            kill(pid)
        interfaces = read_interfaces(self.site.namespace) or {}
        for link in self.machine.links:
            if link.port in interfaces:
                run(["ip", "-n", self.site.namespace, "link", "delete", link.port])
        shutil.rmtree(self.runtime, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def launch(self, command: Sequence[str]) -> None:
        """Start QEMU in the lab's namespace."""
        run(["nsenter", f"--net=/run/netns/{self.site.namespace}", *command], limit=30)

    def connect(self) -> None:
        """Make the machine's folders, and its ports at the lab's bridges."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
        actual = read_interfaces(self.site.namespace)
        if actual is None:
            raise LabError(f"the namespace {self.site.namespace} is not there, so {self.machine.name} has no network")
        for link in self.machine.links:
            for command in plan_port(self.site.namespace, self.machine, link, None, actual):
                run(command)

    def _disks(self, image: Image) -> Image:
        """Make the disks that are missing; return the image on which the root disk stands."""
        marker = self.state / "image"
        root = self.state / "root.qcow2"
        if not marker.exists():
            size = str(max(size_bytes(self.machine.root_disk), image.disk.stat().st_size))
            backing = ["-b", str(image.disk), "-F", "raw"]
            run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(root), size])
            marker.write_text(f"{image.name}\n")
        for number, size in enumerate(self.machine.disks):
            path = data_disk(self.state, number)
            if not path.exists():
                with path.open("wb") as handle:
                    handle.truncate(size_bytes(size))
        name = marker.read_text().strip()
        return Image(name, image.path.parent / name)


def data_disk(state: Path, number: int) -> Path:
    """Return the file of a data disk; the first is /dev/vdb in the machine."""
    return state / f"disk{number}.raw"


def seed_entries(machine: Machine, seed: Sequence[Entry]) -> list[Entry]:
    """Return what the initial RAM disk carries for this machine: its files, its id, the names of its network cards."""
    entries = [
        Entry(f"/seed{entry.path}", entry.content, entry.mode) for entry in seed if entry.path != "/etc/machine-id"
    ]
    entries += [Entry("/machine-id", entry.content) for entry in seed if entry.path == "/etc/machine-id"]
    names = "".join(f"{link.mac} {link.interface}\n" for link in machine.links)
    return [*entries, Entry("/names", names.encode())]


def qemu_arguments(vm: VirtualMachine, image: Image, accelerator: str) -> list[str]:
    """Return the command line of QEMU for this machine; it goes to the background when the machine is set up."""
    machine = vm.machine
    command = board(vm, accelerator)
    command += ["-kernel", str(image.kernel), "-initrd", str(vm.state / "initrd")]
    command += ["-append", " ".join([OPTIONS, *([EMULATED] if accelerator == "tcg" else [])])]
    disks = [(vm.state / "root.qcow2", "qcow2")]
    disks += [(data_disk(vm.state, number), "raw") for number in range(len(machine.disks))]
    for number, (path, form) in enumerate(disks):
        command += disk(number, path, form, "root" if number == 0 else f"{machine.name}-{number}")
    for number, link in enumerate(machine.links):
        command += card(number, link, "romfile=")
    return command


def board(vm: VirtualMachine, accelerator: str) -> list[str]:
    """Return what every machine under QEMU has, whatever it starts from."""
    machine = vm.machine
    command = [QEMU, "-name", f"{vm.site.namespace}-{machine.name}", "-daemonize", "-pidfile", str(vm.pid_file)]
    command += ["-nodefaults", "-no-user-config", "-display", "none", *_processor(accelerator)]
    command += ["-smp", str(_processors(machine, accelerator)), "-m", f"{machine.memory_mib}M", "-rtc", "base=utc"]
    command += ["-qmp", f"unix:{vm.runtime}/qmp.sock,server=on,wait=off", "-serial", f"file:{vm.console}"]
    return [*command, "-device", "virtio-rng-pci"]


def disk(number: int, path: Path, form: str, serial: str) -> list[str]:
    """Return a disk. Its serial number is cut to the 20 characters that virtio has for it."""
    # The lab's data needs to survive QEMU's end, not this computer's: flushes to its disk would cost most of the time.
    drive = f"file={_escape(str(path))},format={form},if=none,id=disk{number}"
    drive += ",cache=unsafe,discard=unmap,detect-zeroes=unmap"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive=disk{number},serial={serial[:20]}"]


def card(number: int, link: Link, boot: str) -> list[str]:
    """Return a network card; `boot` is its option that says whether firmware starts from it."""
    device = f"virtio-net-pci,netdev=net{number},mac={link.mac},host_mtu={link.mtu},{boot}"
    return ["-netdev", f"tap,id=net{number},ifname={link.port},script=no,downscript=no", "-device", device]


def kvm_works(image: Image, cache: Path) -> bool:
    """Say whether a stock guest really starts under KVM on this computer; asked once per start of the computer.

    /dev/kvm can be there and a guest hang in its firmware all the same (nested virtualization in some clouds).
    """
    if not os.access(KVM, os.R_OK | os.W_OK):
        return False
    key = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    record = cache / "kvm.json"
    with _PROBING:
        try:
            known = json.loads(record.read_text())
            if known["boot"] == key:
                return bool(known["works"])
        except (FileNotFoundError, ValueError, KeyError):
            pass
        works = _boot_probe(image)
        record.write_text(json.dumps({"boot": key, "works": works}))
        return works


def _boot_probe(image: Image) -> bool:
    command = [
        QEMU,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        *_processor("kvm"),
        "-m",
        "256M",
        "-no-reboot",
    ]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    command += ["-append", "console=ttyS0 quiet updraft.probe panic=-1", "-serial", "stdio"]
    try:
        result = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return _PROBE_MARK in result.stdout


def _processors(machine: Machine, accelerator: str) -> int:
    # With two, kernels met flags and pointers that no program can make, and lost timers (QEMU 7.2): most likely the
    # emulator's processors disturb each other. One takes less of this computer's time to start, too.
    return 1 if accelerator == "tcg" else machine.cpus


def _processor(accelerator: str) -> list[str]:
    if accelerator == "kvm":
        return ["-machine", "q35", "-accel", "kvm", "-cpu", "host"]
    # `max` has an emulated SVM: the machine's own guests then run under KVM in it, many times faster than without.
    return ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]


def _escape(path: str) -> str:
    return path.replace(",", ",,")
