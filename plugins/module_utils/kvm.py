# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether KVM is usable on this machine, found out by starting a guest under it.

`/dev/kvm` says little: where it is itself emulated (nested virtualization in some clouds), a guest passes its
firmware and stops at an instruction that the emulation does not know. So the machine's own kernel is started
with a RAM disk that says so and ends. The answer holds until the next start of the machine.
"""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.guest_image import (
    GuestImageError,
    Kernel,
    find_kernel,
)
from ansible_collections.updraft.cloud.plugins.module_utils.kvm_record import Answer, read_cache, write_cache
from ansible_collections.updraft.cloud.plugins.module_utils.lab_cpio import Entry, archive

MARK = "updraft-guest-runs"
#: What QEMU says when KVM gives up on a guest. It does not end by itself then.
FAILURES = ("KVM internal error", "emulation failure", "failed to initialize kvm", "Could not access KVM")
PROBE_INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
echo {MARK} >/dev/console
/bin/busybox reboot -f
"""
MODULES = {"svm": "kvm_amd", "vmx": "kvm_intel"}


def kernel_module(cpuinfo: str) -> str | None:
    """Return the module that drives this processor's virtualization, or None if it offers none."""
    for line in cpuinfo.splitlines():
        if line.startswith("flags"):
            flags = set(line.split(":", 1)[1].split())
            return next((module for flag, module in MODULES.items() if flag in flags), None)
    return None


def load_module(cpuinfo: str, device: Path) -> str:
    """Load the module when the device is missing. Return what keeps KVM away, empty when nothing does."""
    if device.exists():
        return ""
    module = kernel_module(cpuinfo)
    if module is None:
        return "the processor offers no virtualization (neither svm nor vmx), or it is off in the firmware"
    done = subprocess.run(["modprobe", module], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        return f"modprobe {module} failed: {done.stderr.strip()}"
    deadline = time.monotonic() + 5
    while not device.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return "" if device.exists() else f"{module} is loaded, but {device} is missing"


def probe_command(qemu: str, kernel: Path, ramdisk: Path) -> list[str]:
    """Return the command line of the guest: no disk, no network, its serial console on standard output."""
    return [
        *(qemu, "-machine", "pc,accel=kvm", "-cpu", "host", "-m", "192", "-smp", "1"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(kernel), "-initrd", str(ramdisk)),
        *("-append", "console=ttyS0 quiet loglevel=3 panic=-1"),
    ]


def judge(output: str, ended: bool, limit: float) -> Answer | None:
    """Return the answer that this output gives, or None while the guest is still on its way."""
    if MARK in output:
        return Answer(True, "a guest started under KVM")
    failure = next((line for line in output.splitlines() if any(text in line for text in FAILURES)), None)
    if failure:
        return Answer(False, f"a guest stopped under KVM: {failure.strip()}")
    if ended:
        last = output.strip().splitlines()[-1:] or ["no output"]
        return Answer(False, f"QEMU ended before the guest ran: {last[0].strip()[:200]}")
    if limit <= 0:
        return Answer(False, "a guest under KVM did not reach its own program in time")
    return None


def run_probe(command: list[str], limit: float) -> Answer:
    """Start the guest and watch it for at most `limit` seconds. Nothing of it is left afterwards."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            while True:
                passed = time.monotonic() - started
                ended = process.poll() is not None
                log.seek(0)
                answer = judge(log.read().decode(errors="replace"), ended, limit - passed)
                if answer is not None:
                    return Answer(answer.usable, answer.reason, round(passed, 1))
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def probe(kernel: Kernel, qemu: str, busybox: Path, limit: float) -> Answer:
    """Start this kernel under KVM with a RAM disk made for the occasion."""
    entries = [Entry("/init", PROBE_INIT.encode(), 0o755), Entry("/bin/busybox", busybox.read_bytes(), 0o755)]
    entries += [Entry("/dev", None, 0o755)]
    with tempfile.NamedTemporaryFile(prefix="updraft-kvm-") as ramdisk:
        ramdisk.write(gzip.compress(archive(entries), compresslevel=1))
        ramdisk.flush()
        return run_probe(probe_command(qemu, kernel.image, Path(ramdisk.name)), limit)


def ask(cache: Path, limit: float, qemu: str, busybox: Path, *, refresh: bool, keep: bool) -> Answer:
    """Return whether KVM is usable here: from the record, else by the probe, whose answer goes on record if `keep`."""
    release = os.uname().release
    answer = None if refresh else read_cache(cache, release)
    if answer is not None:
        return answer
    obstacle = load_module(Path("/proc/cpuinfo").read_text(), Path("/dev/kvm"))
    if obstacle:
        answer = Answer(False, obstacle)
    else:
        try:
            answer = probe(find_kernel(Path("/"), release), qemu, busybox, limit)
        except (GuestImageError, OSError) as error:
            answer = Answer(False, f"no guest could be started: {error}")
    if keep:
        write_cache(cache, release, answer)
    return answer
