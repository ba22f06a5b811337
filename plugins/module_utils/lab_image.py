# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the images of lab machines, and keeps them by content in a cache which all labs on this computer share."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.image_build import bootstrap, lock, logged, newest_kernel
from ansible_collections.updraft.cloud.plugins.module_utils.lab_cpio import Entry, archive
from ansible_collections.updraft.cloud.plugins.module_utils.lab_recipe import (
    BOOT_MODULES,
    CONTAINER_INIT,
    INITRD_INIT,
    Recipe,
    mmdebstrap_command,
    scripts,
)
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import ROOT_DISK, size_bytes

# Of the 12 GiB which a lab may take on disk: what the images may, and the packages they are made of.
IMAGES_BUDGET = 9 * 1024**3
IMAGE_ESTIMATE = 1024**3
PACKAGES_BUDGET = 1536 * 1024**2
SIDE_BY_SIDE = 2


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the cache."""

    name: str
    path: Path

    @property
    def root(self) -> Path:
        """The root file system of a container."""
        return self.path / "root"

    @property
    def disk(self) -> Path:
        """The root file system of a virtual machine, ext4 in a sparse file."""
        return self.path / "disk.raw"

    @property
    def kernel(self) -> Path:
        """The kernel of a virtual machine."""
        return self.path / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Its initial RAM disk, to which a machine's own files are appended."""
        return self.path / "initrd"


class Cache:
    """The images and packages below one directory."""

    def __init__(self, path: Path) -> None:
        """Take the directory; it is made when something is put there."""
        self.images = path / "images"
        self.nodes = path / "nodes"  # made by node_image of the same packages
        self.packages = path / "packages"
        self.logs = path / "logs"
        self.locks = path / "locks"

    def image(self, recipe: Recipe) -> Image:
        """Return where the image of this recipe is, or would be."""
        return Image(recipe.name, self.images / recipe.name)

    def missing(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Return those which have to be built, each once, the largest first."""
        absent = {recipe.name: recipe for recipe in recipes if not self.image(recipe).path.is_dir()}
        return sorted(absent.values(), key=lambda recipe: -len(recipe.packages))

    def build(self, recipes: Sequence[Recipe]) -> list[str]:
        """Build what is missing, two at a time, and return the names of the images that were built."""
        for directory in (self.images, self.packages, self.logs, self.locks):
            directory.mkdir(parents=True, exist_ok=True)
        missing = self.missing(recipes)
        if missing:
            self.prune({recipe.name for recipe in recipes}, IMAGES_BUDGET - len(missing) * IMAGE_ESTIMATE)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            built = list(pool.map(self._build_one, missing))
        for recipe in recipes:
            os.utime(self.image(recipe).path)
        return [name for name in built if name]

    def prune(self, keep: set[str], budget: int) -> list[str]:
        """Remove what a cut build left, and the images used longest ago until the rest takes `budget` bytes at most.

        What is to be kept or in use stays, whatever it takes. Returns the names of the images that were removed.
        """
        removed = []
        for directory in self.images.glob(".build-*"):
            with lock(self.locks / directory.name.removeprefix(".build-"), wait=False) as free:
                if free:
                    shutil.rmtree(directory, ignore_errors=True)
        images = sorted(
            (path for path in self.images.iterdir() if not path.name.startswith(".") and path.name not in keep),
            key=lambda path: path.stat().st_mtime,
        )
        kept = [self.images / name for name in keep if (self.images / name).is_dir()]
        total = sum(_disk_use(path) for path in (*images, *kept))
        in_use = _paths_in_use()
        for path in images:
            if total <= budget:
                break
            if any(used.startswith(f"{path}/") for used in in_use):
                continue
            total -= _disk_use(path)
            shutil.rmtree(path, ignore_errors=True)
            (self.logs / f"{path.name}.log").unlink(missing_ok=True)
            removed.append(path.name)
        self._prune_packages()
        return removed

    def exists(self) -> bool:
        """Say whether anything is in the cache."""
        return any(path.is_dir() for path in self._folders())

    def purge(self) -> bool:
        """Remove everything in the cache; False when there was nothing."""
        existed = self.exists()
        for directory in self._folders():
            shutil.rmtree(directory, ignore_errors=True)
        (self.images.parent / "kvm.json").unlink(missing_ok=True)
        if existed and not any(self.images.parent.iterdir()):
            self.images.parent.rmdir()
        return existed

    def _folders(self) -> tuple[Path, ...]:
        return (self.images, self.nodes, self.packages, self.logs, self.locks)

    def _prune_packages(self) -> None:
        packages = sorted(self.packages.glob("*.deb"), key=lambda path: path.stat().st_ctime)
        total = sum(path.stat().st_size for path in packages)
        for path in packages:
            if total <= PACKAGES_BUDGET:
                break
            total -= path.stat().st_size
            path.unlink()

    def _build_one(self, recipe: Recipe) -> str | None:
        image = self.image(recipe)
        with lock(self.locks / recipe.name):
            if image.path.is_dir():
                return None
            work = self.images / f".build-{recipe.name}"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            started = time.monotonic()
            try:
                self._make(recipe, work)
                record = {"packages": recipe.packages, "seconds": round(time.monotonic() - started)}
                (work / "image.json").write_text(json.dumps(record, indent=1))
                work.rename(image.path)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return recipe.name

    def _make(self, recipe: Recipe, work: Path) -> None:
        built = Image(recipe.name, work)
        log = self.logs / f"{recipe.name}.log"
        command = mmdebstrap_command(recipe, str(built.root), "SCRIPTS")
        bootstrap(command, scripts(), self.packages, log)
        if recipe.kind == "container":
            init = built.root / "sbin/updraft-lab-init"
            init.write_text(CONTAINER_INIT)
            init.chmod(0o755)
            return
        built.initrd.write_bytes(initial_ram_disk(built.root))
        shutil.copyfile(newest_kernel(built.root), built.kernel)
        with built.disk.open("wb") as disk:
            disk.truncate(size_bytes(ROOT_DISK))
        command = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-L", "root", "-d", str(built.root), str(built.disk)]
        logged(command, log)
        shutil.rmtree(built.root)


def initial_ram_disk(root: Path) -> bytes:
    """Return an initial RAM disk which mounts /dev/vda, made of the modules and the busybox in `root`."""
    modules_directory = next((root / "lib/modules").iterdir())
    order = module_order((modules_directory / "modules.dep").read_text(), BOOT_MODULES)
    entries = [
        Entry("/init", INITRD_INIT.encode(), 0o755),
        Entry("/bin/busybox", (root / "usr/bin/busybox").read_bytes(), 0o755),
        Entry("/modules/order", "".join(f"{_plain_name(path)}\n" for path in order).encode()),
    ]
    for path in order:
        content = (modules_directory / path).read_bytes()
        if path.endswith(".xz"):
            content = lzma.decompress(content)
        entries.append(Entry(f"/modules/{_plain_name(path)}", content))
    return archive(entries)


def module_order(dependencies: str, wanted: Sequence[str]) -> list[str]:
    """Return the paths of the wanted modules and of what they need, each after what it needs.

    `dependencies` is the text of modules.dep. A module that is not there is built into the kernel.
    """
    needs: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in dependencies.splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        by_name[_plain_name(path).removesuffix(".ko").replace("-", "_")] = path
    order: list[str] = []

    def add(path: str) -> None:
        if path not in order:
            for need in needs[path]:
                add(need)
            order.append(path)

    for name in wanted:
        if name in by_name:
            add(by_name[name])
    return order


def _plain_name(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".xz")


def _disk_use(path: Path) -> int:
    result = subprocess.run(["du", "-sk", "--", str(path)], capture_output=True, text=True, check=False)
    return int(result.stdout.split()[0]) * 1024 if result.stdout else 0


def _paths_in_use() -> list[str]:
    """Return the command lines' files of running processes, and the layers of mounts: what an image must not lose."""
    used = []
    for process in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            used.append(os.readlink(process))
        except OSError:
            continue
    for line in Path("/proc/mounts").read_text().splitlines():
        for option in line.split()[3].split(","):
            if option.startswith("lowerdir="):
                used += [f"{layer}/" for layer in option.removeprefix("lowerdir=").split(":")]
    return used
