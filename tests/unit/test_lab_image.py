# SPDX-License-Identifier: GPL-3.0-or-later
"""Images are named by what goes into them, and the cache keeps within its budget."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import lab_recipe
from ansible_collections.updraft.cloud.plugins.module_utils.lab_image import Cache, module_order
from ansible_collections.updraft.cloud.plugins.module_utils.lab_recipe import digest, mmdebstrap_command, recipe
from ansible_collections.updraft.cloud.plugins.module_utils.node_image import NodeCache


def test_the_same_packages_make_the_same_image() -> None:
    assert recipe("vm", ["lvm2", "chrony"]) == recipe("vm", ["chrony", "lvm2", "systemd"])


def test_packages_kind_and_recipe_change_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe("vm", ["lvm2"])
    assert before.name != recipe("vm", ["lvm2", "mdadm"]).name
    assert before.name.removeprefix("vm-") != recipe("container", ["lvm2"]).name.removeprefix("container-")
    name = before.name
    monkeypatch.setattr(lab_recipe, "CUSTOMIZE_SCRIPT", "#!/bin/sh\n")
    assert digest(before) not in name


def test_only_a_virtual_machine_gets_a_kernel() -> None:
    assert lab_recipe.KERNEL_PACKAGE in recipe("vm", []).packages
    assert lab_recipe.KERNEL_PACKAGE not in recipe("container", []).packages


def test_the_command_names_every_package_once() -> None:
    command = mmdebstrap_command(recipe("container", ["chrony"]), "/root", "/scripts")
    (include,) = [word for word in command if word.startswith("--include=")]
    packages = include.removeprefix("--include=").split(",")
    assert len(packages) == len(set(packages))
    assert {"chrony", "openssh-server", "python3"} <= set(packages)
    assert command[-2:] == ["trixie", "/root"]


def test_modules_come_after_what_they_need() -> None:
    dependencies = (
        "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n"
        "kernel/fs/jbd2/jbd2.ko.xz:\n"
        "kernel/lib/crc16.ko.xz:\n"
        "kernel/drivers/net/virtio_net.ko.xz: kernel/net/net-failover.ko.xz\n"
        "kernel/net/net-failover.ko.xz:\n"
    )
    assert module_order(dependencies, ["ext4", "not_there", "virtio_net"]) == [
        "kernel/fs/jbd2/jbd2.ko.xz",
        "kernel/lib/crc16.ko.xz",
        "kernel/fs/ext4/ext4.ko.xz",
        "kernel/net/net-failover.ko.xz",
        "kernel/drivers/net/virtio_net.ko.xz",
    ]


def test_the_images_used_longest_ago_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for age, name in enumerate(("wanted", "young", "middle", "old")):
        directory = cache.images / name
        directory.mkdir(parents=True)
        (directory / "disk.raw").write_bytes(b"x" * 100_000)
        os.utime(directory, (1000 - age, 1000 - age))
    cache.packages.mkdir()
    assert cache.prune({"wanted"}, 250_000) == ["old", "middle"]
    assert sorted(path.name for path in cache.images.iterdir()) == ["wanted", "young"]


def test_an_image_in_use_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    directory = cache.images / "old"
    directory.mkdir(parents=True)
    (directory / "disk.raw").write_bytes(b"x")
    cache.packages.mkdir()
    with (directory / "disk.raw").open():
        assert cache.prune(set(), 0) == []
    assert cache.prune(set(), 0) == ["old"]


def test_what_a_cut_build_left_is_removed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    left = cache.images / ".build-vm-1"
    left.mkdir(parents=True)
    cache.packages.mkdir()
    cache.prune(set(), 0)
    assert not left.exists()


def test_purge_removes_the_cache_and_nothing_beside_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "updraft")
    assert not cache.purge()
    (cache.images / "vm-1").mkdir(parents=True)
    assert cache.purge()
    assert not (tmp_path / "updraft").exists()
    # What machines boot by network is made beside them.
    (NodeCache(tmp_path / "updraft").nodes / "0123456789ab").mkdir(parents=True)
    assert cache.purge()
    assert not (tmp_path / "updraft").exists()
    (cache.images / "vm-1").mkdir(parents=True)
    (tmp_path / "updraft/other").mkdir()
    assert cache.purge()
    assert (tmp_path / "updraft/other").is_dir()
