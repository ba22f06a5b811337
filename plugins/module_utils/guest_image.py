# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiny guest: a Debian kernel, an initial RAM disk of busybox and some modules, and a small disk with a page.

It is made from what a hypervisor has anyway (its kernel and busybox-static), so a site without a way to
the internet can make it too. The guest shows what a tenant's machine needs: it asks for its address by DHCP,
for its identity at the metadata service, mounts its volume and serves the page that lies on it by HTTP.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ansible_collections.updraft.cloud.plugins.module_utils.guest_files import DHCP_SCRIPT, INIT, PAGE, WRITES
from ansible_collections.updraft.cloud.plugins.module_utils.lab_cpio import Entry, archive

#: Drivers of the guest. One that is built into the kernel costs nothing.
DRIVERS = ("virtio_pci", "virtio_net", "virtio_blk", "ext4", "evdev", "button")
#: Files of an image, in the order in which Glance wants them: the disk refers to the others.
FILES = ("kernel", "ramdisk", "disk")
DISK_MIB = 16
#: No serial console for the kernel's own messages: it costs most of the time of a boot under emulation.
# Without high-resolution timers: on an emulated processor that is busy, their interrupts have been seen to leave a
# guest no time for anything else.
COMMAND_LINE = "quiet loglevel=3 console=ttyS0 panic=10 highres=off"


class GuestImageError(RuntimeError):
    """The image cannot be made; the text says what is missing and where it comes from."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel on this machine: its release, its file and the folder of its modules."""

    release: str
    image: Path
    modules: Path


def recipe(kernel_release: str = "") -> str:
    """Return what identifies the guest's content: a digest over everything that goes into it but the kernel's bytes."""
    parts = [INIT, DHCP_SCRIPT, WRITES, PAGE, COMMAND_LINE, str(DISK_MIB), ",".join(DRIVERS), kernel_release]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def find_kernel(root: Path, running: str) -> Kernel:
    """Return the running kernel, or the newest with modules when an update has removed its files.

    Raises GuestImageError when there is no kernel at all, as in a container.
    """
    found = {}
    for image in sorted((root / "boot").glob("vmlinuz-*")):
        release = image.name.removeprefix("vmlinuz-")
        modules = root / "lib/modules" / release
        if (modules / "modules.dep").is_file():
            found[release] = Kernel(release, image, modules)
    if not found:
        raise GuestImageError(
            f"{root / 'boot'} has no kernel with its modules: the tiny guest is made on a machine with a kernel"
            " of its own (package linux-image-amd64 or linux-image-cloud-amd64), not in a container"
        )
    return found.get(running) or found[max(found, key=_version)]


def _version(release: str) -> list[int]:
    digits = "".join(character if character.isdigit() else " " for character in release)
    return [int(number) for number in digits.split()]


def module_name(path: str) -> str:
    """Return the name of a module from its path: kernel/net/core/failover.ko.xz is `failover`."""
    return PurePosixPath(path).name.split(".ko")[0].replace("-", "_")


def load_order(wanted: Iterable[str], dependencies: str, builtin: str) -> list[str]:
    """Return the paths of the modules for these drivers, each after what it needs.

    `dependencies` and `builtin` are the texts of modules.dep and modules.builtin.
    Raises GuestImageError for a driver which the kernel does not have.
    """
    needs: dict[str, list[str]] = {}
    for line in dependencies.splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {module_name(path): path for path in needs}
    inside = {module_name(line) for line in builtin.split()}
    order: list[str] = []
    for driver in wanted:
        if driver in inside:
            continue
        if driver not in by_name:
            raise GuestImageError(f"the kernel has no driver {driver}, which a guest needs")
        # modules.dep names the nearest dependency first; the furthest must be loaded first.
        path = by_name[driver]
        order += [item for item in [*reversed(needs[path]), path] if item not in order]
    return order


def unpack_module(path: Path) -> bytes:
    """Return a kernel module without its compression."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq"], input=data, check=True, capture_output=True, timeout=60).stdout
    return data


def ramdisk(kernel: Kernel, busybox: Path) -> bytes:
    """Return the guest's initial RAM disk, compressed; the same input gives the same bytes."""
    if not busybox.is_file():
        raise GuestImageError(f"{busybox} is missing: install the package busybox-static")
    dependencies = (kernel.modules / "modules.dep").read_text()
    builtin = (kernel.modules / "modules.builtin").read_text()
    order = load_order(DRIVERS, dependencies, builtin)
    entries = [
        Entry("/init", INIT.encode(), 0o755),
        Entry("/dhcp", DHCP_SCRIPT.encode(), 0o755),
        Entry("/writes", WRITES.encode(), 0o755),
        Entry("/bin/busybox", busybox.read_bytes(), 0o755),
        Entry("/drivers/order", "".join(f"{module_name(path)}.ko\n" for path in order).encode()),
    ]
    entries += [Entry(f"/{name}", None, 0o755) for name in ("dev", "proc", "sys", "run", "www", "volume")]
    for path in order:
        entries.append(Entry(f"/drivers/{module_name(path)}.ko", unpack_module(kernel.modules / path)))
    return gzip.compress(archive(entries), compresslevel=9, mtime=0)


def make_disk(target: Path, files: Mapping[str, str]) -> None:
    """Write an ext4 file system with these files (name to text) to `target`; no mount, no loop device."""
    with tempfile.TemporaryDirectory(prefix="updraft-guest-") as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        with target.open("wb") as handle:
            handle.truncate(DISK_MIB << 20)
        # Without a journal: the guest mounts it read-only, and a snapshot of a running guest mounts as well.
        command = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-L", "updraft", "-d", folder, str(target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise GuestImageError(f"mke2fs could not make the guest's disk: {done.stderr.strip()}")


def build(target: Path, kernel: Kernel, busybox: Path) -> None:
    """Make the three files of the image in the folder `target`; it appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        shutil.copyfile(kernel.image, work / "kernel")
        (work / "ramdisk").write_bytes(ramdisk(kernel, busybox))
        make_disk(work / "disk", {"index.html": PAGE})
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def is_built(target: Path) -> bool:
    """Say whether the folder holds a finished image."""
    return all((target / name).is_file() for name in FILES)
