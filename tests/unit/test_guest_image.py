# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiny guest: which kernel, which drivers in which order, the same bytes again."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import guest_image

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
