# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiny guest: which kernel, which drivers in which order, the same bytes again."""

from __future__ import annotations

import gzip
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import guest_image
from ansible_collections.updraft.cloud.plugins.module_utils.guest_files import WRITES

DEPENDENCIES = """\
kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko.xz kernel/net/core/failover.ko.xz
kernel/drivers/net/net_failover.ko.xz: kernel/net/core/failover.ko.xz
kernel/net/core/failover.ko.xz:
kernel/drivers/block/virtio-blk.ko:
"""


def machine(root: Path, *releases: str) -> Path:
    for release in releases:
        modules = root / "lib/modules" / release
        modules.mkdir(parents=True)
        (modules / "modules.dep").write_text("drivers/evdev.ko:\n")
        (modules / "modules.builtin").write_text(
            "".join(f"k/{name}.ko\n" for name in guest_image.DRIVERS if name != "evdev")
        )
        (modules / "drivers").mkdir()
        (modules / "drivers/evdev.ko").write_bytes(b"driver")
        (root / "boot").mkdir(exist_ok=True)
        (root / f"boot/vmlinuz-{release}").write_bytes(b"kernel")
    return root


def test_each_driver_comes_after_what_it_needs() -> None:
    order = guest_image.load_order(["virtio_net", "virtio_blk"], DEPENDENCIES, "")
    assert [guest_image.module_name(path) for path in order] == ["failover", "net_failover", "virtio_net", "virtio_blk"]


def test_a_driver_in_the_kernel_is_not_loaded() -> None:
    assert guest_image.load_order(["ext4"], "", "kernel/fs/ext4/ext4.ko\n") == []


def test_a_driver_that_is_missing_is_named() -> None:
    with pytest.raises(guest_image.GuestImageError, match="no driver virtio_net"):
        guest_image.load_order(["virtio_net"], "", "")


def test_the_running_kernel_is_taken_else_the_newest(tmp_path: Path) -> None:
    root = machine(tmp_path, "6.9.1", "6.12.3", "6.12.10")
    assert guest_image.find_kernel(root, "6.9.1").release == "6.9.1"
    assert guest_image.find_kernel(root, "6.1.0-removed").release == "6.12.10"


def test_a_container_without_a_kernel_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(guest_image.GuestImageError, match="not in a container"):
        guest_image.find_kernel(tmp_path, "6.12")


def test_the_same_input_gives_the_same_ramdisk(tmp_path: Path) -> None:
    kernel = guest_image.find_kernel(machine(tmp_path, "6.12.3"), "6.12.3")
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"box")
    first = guest_image.ramdisk(kernel, busybox)
    assert first == guest_image.ramdisk(kernel, busybox)
    content = gzip.decompress(first)
    assert content.startswith(b"070701")
    assert b"evdev.ko\n" in content


def test_the_recipe_changes_with_the_kernel() -> None:
    assert guest_image.recipe("6.12.3") != guest_image.recipe("6.12.4")


def test_building_leaves_the_three_files_and_nothing_else(tmp_path: Path) -> None:
    kernel = guest_image.find_kernel(machine(tmp_path / "root", "6.12.3"), "6.12.3")
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"box")
    target = tmp_path / "images/abc"
    guest_image.build(target, kernel, busybox)
    assert guest_image.is_built(target)
    assert sorted(path.name for path in target.parent.rglob("*")) == ["abc", "disk", "kernel", "ramdisk"]
    assert (target / "disk").stat().st_size == guest_image.DISK_MIB << 20


# Its writes, by this computer's shell, with few places and no waiting, to a file.


@contextmanager
def writing(folder: Path) -> Iterator[Callable[[str, int], dict[str, int]]]:
    """The guest's writes while it runs: a wait until a number is reached, and all numbers then."""
    script = folder / "writes.sh"
    text = WRITES.replace("places=60", "places=3").replace("sleep 1", "sleep 0.05")
    script.write_text(text.replace("/proc/sys/vm/drop_caches", "/dev/null"))
    process = subprocess.Popen(["sh", str(script), str(folder / "volume"), str(folder)])

    def until(name: str, least: int) -> dict[str, int]:
        end = time.monotonic() + 20
        found: dict[str, int] = {}
        while found.get(name, -1) < least:
            assert time.monotonic() < end, found
            time.sleep(0.05)
            if (folder / "writes").exists():
                lines = [line.split() for line in (folder / "writes").read_text().splitlines()]
                found = {key: int(value) for key, value in lines if key != "boot"}
        return found

    try:
        yield until
    finally:
        process.kill()
        process.wait()


def test_what_it_writes_is_read_once_more(tmp_path: Path) -> None:
    with writing(tmp_path) as until:
        found = until("compared", 5)
    assert (found["failed"], found["wrong"]) == (0, 0)
    assert found["written"] == found["compared"] + 2
    assert (tmp_path / "pauses").read_text() == "written ended took\n"


def test_a_block_that_holds_something_else_is_counted(tmp_path: Path) -> None:
    with writing(tmp_path) as until:
        until("compared", 2)
        with (tmp_path / "volume").open("r+b") as volume:
            volume.seek(16384 * 4096)
            volume.write(b"x" * 3 * 4096)
        assert until("wrong", 1)["failed"] == 0


def test_a_disk_that_fails_is_counted(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    with writing(tmp_path) as until:
        assert until("failed", 2)["written"] >= 2
