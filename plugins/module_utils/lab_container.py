# SPDX-License-Identifier: GPL-3.0-or-later
"""Lab machines which are systemd containers: podman and runc on an overlay of the image, in a namespace of their own.

podman keeps its records in the lab's own directory, so the computer's containers and settings are not involved.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.lab_cpio import Entry
from ansible_collections.updraft.cloud.plugins.module_utils.lab_host import NAMESPACES, namespace_exists, run
from ansible_collections.updraft.cloud.plugins.module_utils.lab_image import Image
from ansible_collections.updraft.cloud.plugins.module_utils.lab_network import (
    plan_namespace,
    plan_port,
    read_interfaces,
)
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import LabError, Machine, Site

# A container must not set this computer's clock, load its modules or reach its hardware.
WITHHELD = (
    "SYS_TIME",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_BOOT",
    "WAKE_ALARM",
    "AUDIT_CONTROL",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
)
MOUNTS = Path("/proc/self/mounts")


class Container:
    """One machine as a container."""

    def __init__(self, site: Site, machine: Machine) -> None:
        """Take the lab and the machine; nothing is done yet."""
        self.site = site
        self.machine = machine
        self.state = site.machine_state(machine)
        self.runtime = site.machine_runtime(machine)
        self.namespace = site.container_namespace(machine)
        self.name = f"{site.namespace}-{machine.name}"
        self.console = self.state / "console.log"
        self.root = self.runtime / "root"

    def exists(self) -> bool:
        """Say whether anything of the machine is there."""
        return self.state.exists() or self.runtime.exists() or namespace_exists(self.namespace)

    def running(self) -> bool:
        """Say whether its init runs."""
        if not self.runtime.exists():
            return False
        result = run(
            [*podman(self.site), "ps", "--format", "json", "--filter", f"name=^{self.name}$"], check=False, limit=30
        )
        found = json.loads(result.stdout or "[]") if result.returncode == 0 else []
        return any(self._alive(int(one.get("Pid") or 0)) for one in found)

    def _alive(self, pid: int) -> bool:
        """Say whether this is the machine's init: podman does not see that a container and its monitor were killed."""
        try:
            return os.path.samefile(f"/proc/{pid}/ns/net", NAMESPACES / self.namespace)
        except OSError:
            return False

    def start(self, image: Image, seed: Sequence[Entry]) -> None:
        """Make what is missing of the machine and start it."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connect()
        self._mount(image, seed)
        run([*podman(self.site), "rm", "--force", "--time", "0", "--ignore", self.name], limit=60)
        self.console.unlink(missing_ok=True)
        run([*podman(self.site), *run_arguments(self)], limit=60)

    def stop(self) -> None:
        """Shut the machine down in order, or at once when that takes longer than half a minute."""
        run([*podman(self.site), "stop", "--ignore", "--time", "30", self.name], limit=90)

    def remove(self) -> None:
        """End the machine at once and remove all of it."""
        if self.runtime.exists():
            run([*podman(self.site), "rm", "--force", "--time", "0", "--ignore", self.name], limit=60)
        if self._mounted():
            run(["umount", str(self.root)])
        if namespace_exists(self.namespace):
            run(["ip", "netns", "delete", self.namespace])
        shutil.rmtree(self.runtime, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def _connect(self) -> None:
        for command in plan_namespace(self.namespace, read_interfaces(self.namespace)):
            run(command)
        actual = read_interfaces(self.site.namespace)
        if actual is None:
            raise LabError(f"the namespace {self.site.namespace} is not there, so {self.machine.name} has no network")
        for link in self.machine.links:
            for command in plan_port(self.site.namespace, self.machine, link, self.namespace, actual):
                run(command)

    def _mounted(self) -> bool:
        return any(line.split()[1] == str(self.root) for line in MOUNTS.read_text().splitlines())

    def _mount(self, image: Image, seed: Sequence[Entry]) -> None:
        marker = self.state / "image"
        if self._mounted():
            return
        upper, work = self.state / "upper", self.state / "work"
        if not marker.exists():
            shutil.rmtree(upper, ignore_errors=True)
            write_entries(upper, seed)
            marker.write_text(f"{image.name}\n")
        base = image.path.parent / marker.read_text().strip() / "root"
        for directory in (upper, work, self.root):
            directory.mkdir(parents=True, exist_ok=True)
        if any(character in f"{base}{upper}" for character in ":,"):
            raise LabError(
                f"the paths {base} and {upper} must not contain ':' or ',' (overlay mounts cannot take them)"
            )
        options = f"lowerdir={base},upperdir={upper},workdir={work}"
        run(["mount", "-t", "overlay", self.name, "-o", options, str(self.root)])


def podman(site: Site) -> list[str]:
    """Return podman with the lab's own storage, so that it shares nothing with the computer's."""
    base = site.runtime / ".podman"
    return [
        "podman",
        f"--root={base}/storage",
        f"--runroot={base}/run",
        f"--tmpdir={base}/tmp",
        "--storage-driver=vfs",
        "--cgroup-manager=cgroupfs",
        "--events-backend=none",
        "--runtime=runc",
    ]


def run_arguments(container: Container) -> list[str]:
    """Return the arguments of podman which start the machine."""
    machine = container.machine
    arguments = ["run", "--detach", "--tty", f"--name={container.name}", f"--hostname={machine.name}"]
    arguments += [f"--network=ns:/run/netns/{container.namespace}", "--no-hosts", "--systemd=always"]
    arguments += ["--cap-add=all", *(f"--cap-drop={name}" for name in WITHHELD)]
    arguments += [
        f"--security-opt={option}" for option in ("seccomp=unconfined", "apparmor=unconfined", "label=disable")
    ]
    arguments += ["--security-opt=unmask=/proc/sys", "--device=/dev/net/tun"]
    arguments += [f"--memory={machine.memory_mib}m", f"--memory-swap={machine.memory_mib}m", "--pids-limit=-1"]
    arguments += [f"--ulimit={limit}" for limit in limits()] + ["--shm-size=256m"]
    arguments += ["--log-driver=k8s-file", f"--log-opt=path={container.console}", "--log-opt=max-size=8mb"]
    return [*arguments, "--rootfs", str(container.root), "/sbin/updraft-lab-init"]


def limits() -> list[str]:
    """Return the limits for open files and processes: podman's own defaults are higher than some computers allow."""
    wanted = {"nofile": (resource.RLIMIT_NOFILE, 1048576), "nproc": (resource.RLIMIT_NPROC, 32768)}
    texts = []
    for name, (number, most) in wanted.items():
        hard = resource.getrlimit(number)[1]
        value = most if hard == resource.RLIM_INFINITY else min(hard, most)
        texts.append(f"{name}={value}:{value}")
    return texts


def write_entries(root: Path, entries: Sequence[Entry]) -> None:
    """Write files below `root`, with their modes; directories above them are made like a system's own."""
    for entry in entries:
        path = root / entry.path.strip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(entry.content)
        path.chmod(entry.mode)
