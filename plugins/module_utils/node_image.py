# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the diskless image of a node: root.squashfs, kernel, initial RAM disk and a manifest, named by content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.image_build import (
    APART,
    bootstrap,
    lock,
    logged,
    newest_kernel,
)
from ansible_collections.updraft.cloud.plugins.module_utils.image_recipe import ImageError
from ansible_collections.updraft.cloud.plugins.module_utils.node_recipe import (
    PRESETS,
    RECORD,
    NodeRecipe,
    installed,
    mmdebstrap_command,
    presets,
    scripts,
    simulate_command,
    simulated,
    squashfs_command,
    version,
)

KERNEL, INITRD, ROOT, MANIFEST = "vmlinuz", "initrd.img", "root.squashfs", "manifest.json"
FILES = (KERNEL, INITRD, ROOT)
KEEP = 2


@dataclass(frozen=True, slots=True)
class Found:
    """An image in the cache of the controller."""

    version: str
    path: Path
    manifest: Mapping[str, Any]


class NodeCache:
    """The images of nodes on the controller, beside those of the lab; the packages are shared with them."""

    def __init__(self, path: Path) -> None:
        """Take the directory of all images; it is made when something is put there."""
        self.nodes = path / "nodes"
        self.packages = path / "packages"
        self.logs = path / "logs"
        self.locks = path / "locks"

    def find(self, recipe: NodeRecipe) -> Found | None:
        """Return the image which was made last of this recipe, whatever the archive has by now."""
        try:
            return self._read((self.nodes / f"recipe-{recipe.key}").read_text().strip())
        except FileNotFoundError:
            return None

    def predict(self, recipe: NodeRecipe) -> str:
        """Return the version which a build would make now. Asks the archive; changes nothing here."""
        root = self.nodes / f".simulate-{recipe.key}-{os.getpid()}"
        root.parent.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                [*APART, *simulate_command(recipe, str(root))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=600,
            )
        finally:
            shutil.rmtree(root, ignore_errors=True)
        if done.returncode:
            tail = "\n".join(done.stdout.splitlines()[-15:])
            raise ImageError(f"the archive cannot provide the packages of the image:\n{tail}")
        return version(recipe.key, simulated(done.stdout))

    def needed(self, recipe: NodeRecipe, *, refresh: bool) -> str | None:
        """Return why an image has to be built, None when there is one."""
        found = self.find(recipe)
        if found is None:
            return "no image has been made of this recipe"
        if refresh and self.predict(recipe) != found.version:
            return f"the archive has newer packages than version {found.version}"
        return None

    def build(self, recipe: NodeRecipe, *, refresh: bool) -> tuple[Found, bool]:
        """Return the image of the recipe and whether it was built now."""
        for directory in (self.nodes, self.packages, self.logs, self.locks):
            directory.mkdir(parents=True, exist_ok=True)
        with lock(self.locks / f"node-{recipe.key}"):
            found = self.find(recipe)
            if found and not self.needed(recipe, refresh=refresh):
                os.utime(found.path)
                return found, False
            found = self._make(recipe)
        self._prune(found.version)
        return found, True

    def _make(self, recipe: NodeRecipe) -> Found:
        work = self.nodes / f".build-{recipe.key}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        log = self.logs / f"node-{recipe.key}.log"
        begin = time.monotonic()
        try:
            root = work / "root"
            started = time.time() - 1
            overlay = write_overlay(recipe, work / "overlay")
            command = mmdebstrap_command(recipe, str(root))
            bootstrap(command, scripts(), self.packages, log, {"OVERLAY": str(overlay)})
            shutil.rmtree(overlay)
            packages = installed((root / "var/lib/dpkg/status").read_text())
            name = version(recipe.key, packages)
            date = settle_times(root, started)
            boot_files(root, work, date, log)
            record = {"version": name, "initrd_sha256": file_digest(work / INITRD)}
            (root / RECORD[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / RECORD[1:]).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
            settle_times(root, started)
            pack(root, work / ROOT, recipe.compression, date, log)
            shutil.rmtree(root)
            write_manifest(work, recipe.key, name, packages, date)
            (self.logs / f"node-{recipe.key}.seconds").write_text(f"{time.monotonic() - begin:.0f}\n")
            target = self.nodes / name
            shutil.rmtree(target, ignore_errors=True)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        (self.nodes / f"recipe-{recipe.key}").write_text(f"{name}\n")
        return self._read(name)

    def _read(self, name: str) -> Found:
        path = self.nodes / name
        return Found(name, path, json.loads((path / MANIFEST).read_text()))

    def _prune(self, keep: str) -> None:
        """Remove all but the images used last; the server has what is to be kept."""
        images = [path.parent for path in self.nodes.glob(f"[!.]*/{MANIFEST}") if path.parent.name != keep]
        for path in sorted(images, key=lambda path: -path.stat().st_mtime)[KEEP - 1 :]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self.nodes.glob("recipe-*"):
            if not (self.nodes / path.read_text().strip()).is_dir():
                path.unlink()


def write_overlay(recipe: NodeRecipe, overlay: Path) -> Path:
    """Write the files of the recipe below a directory, as they are to be in the image; return it."""
    wanted = [(file.path, file.content, file.mode, file.target) for file in recipe.files]
    for name, content, mode, target in [*wanted, (PRESETS, presets(recipe.units), 0o644, "")]:
        path = overlay / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target)
            continue
        path.write_text(content)
        path.chmod(mode)
    for path in (overlay, *overlay.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700 if path.name == ".ssh" or path == overlay / "root" else 0o755)
    return overlay


def settle_times(root: Path, started: float) -> int:
    """Give all that the build wrote the time of the youngest file that came out of a package; return that.

    Files out of packages have the times of their packages, so this is a property of the content.
    """
    paths = list(_walk(root))
    date = max(int(entry.stat(follow_symlinks=False).st_mtime) for entry in paths if _older(entry, started))
    for entry in paths:
        if not _older(entry, started):
            os.utime(entry.path, (date, date), follow_symlinks=False)
    os.utime(root, (date, date))
    return date


def _older(entry: os.DirEntry[str], than: float) -> bool:
    return entry.stat(follow_symlinks=False).st_mtime < than


def _walk(directory: Path | str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)


def boot_files(root: Path, work: Path, date: int, log: Path) -> None:
    """Make the initial RAM disk with the image's own tools, and put it and the kernel beside the root file system."""
    kernel = newest_kernel(root)
    release = kernel.name.removeprefix("vmlinuz-")
    inside = f"/boot/initrd.img-{release}"
    # Without /proc and /dev some hooks find less than there is.
    script = 'mount -t proc proc "$1/proc"; mount --bind /dev "$1/dev"; exec chroot "$1" mkinitramfs -o "$2" "$3"'
    command = [*APART, "sh", "-c", script, "sh", str(root), inside, release]
    logged(command, log, {"SOURCE_DATE_EPOCH": str(date), "LC_ALL": "C.UTF-8"})
    # A node has no use for it in its memory; whoever writes the image to a disk fetches it.
    shutil.move(root / inside[1:], work / INITRD)
    for link in (root / "boot", root):
        for name in ("initrd.img", "initrd.img.old"):
            (link / name).unlink(missing_ok=True)
    shutil.copyfile(kernel, work / KERNEL)


def pack(root: Path, file: Path, level: int, date: int, log: Path) -> None:
    """Pack a root file system; the same content gives the same bytes, whoever packs it and when."""
    # It takes one date only, and somebody's environment is no part of the content.
    logged(["env", "--unset=SOURCE_DATE_EPOCH", *squashfs_command(str(root), str(file), level, date)], log)


def write_manifest(work: Path, key: str, name: str, packages: Mapping[str, str], date: int) -> None:
    """Write what the image is, last of all: a directory without it is no image."""
    files = {
        file: {"sha256": file_digest(work / file), "bytes": (work / file).stat().st_size} for file in sorted(FILES)
    }
    manifest = {
        "version": name,
        "recipe": key,
        "date": date,
        "files": files,
        "packages": dict(sorted(packages.items())),
    }
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    for file in (*FILES, MANIFEST):
        (work / file).chmod(0o644)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
