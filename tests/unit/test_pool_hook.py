# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's hook of the storage pools: a machine that could lose what it wrote does not start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOOK = Path(__file__).parents[2] / "roles/storage_pools/files/updraft-pools"
RIGHT = "<driver name='qemu' type='raw' cache='directsync' io='native'/>"
ON_VOLUME = "<source dev='{volumes}/vms/web'/>"


@pytest.fixture(name="hook")
def fixture_hook(tmp_path: Path) -> Path:
    """The hook, for volumes that are links in a folder of ours."""
    (tmp_path / "dm-0").touch()
    (tmp_path / "volumes/vms").mkdir(parents=True)
    (tmp_path / "volumes/vms/web").symlink_to(tmp_path / "dm-0")
    hook = tmp_path / "hook.py"
    hook.write_text(HOOK.read_text().replace('"/dev/updraft"', f'"{tmp_path}/volumes"'))
    return hook


def called(
    hook: Path, driver: str, source: str = ON_VOLUME, *, kind: str = "block", more: str = "", operation: str = "prepare"
) -> tuple[int, str]:
    """Call the hook as libvirt does, for a machine with one disk; exit code, and what it said."""
    source = source.format(volumes=hook.parent / "volumes", device=hook.parent / "dm-0")
    disk = f"<disk type='{kind}' device='disk'>{driver}{source}<target dev='vda' bus='virtio'/>{more}</disk>"
    described = f"<domain><name>shop</name><devices>{disk}</devices></domain>"
    words = [sys.executable, str(hook), "shop", operation, "begin", "-"]
    done = subprocess.run(words, input=described, capture_output=True, text=True, check=False)
    assert done.stdout == "", "libvirt takes what a hook prints for another description"
    return done.returncode, done.stderr


@pytest.mark.parametrize("way", ["native", "io_uring"])
def test_a_disk_that_asks_with_each_write_starts(hook: Path, way: str) -> None:
    assert called(hook, RIGHT.replace("native", way)) == (0, "")


@pytest.mark.parametrize(
    "driver",
    [
        "",
        "<driver name='qemu' type='raw' cache='none' io='native'/>",
        "<driver name='qemu' type='raw' cache='writethrough'/>",
        "<driver name='qemu' type='raw' cache='directsync'/>",
        "<driver name='qemu' type='raw' cache='directsync' io='threads'/>",
    ],
)
def test_any_other_disk_is_refused_with_what_to_write(hook: Path, driver: str) -> None:
    code, said = called(hook, driver)
    assert code == 1
    assert f"disk vda is the volume {hook.parent}/volumes/vms/web: what it writes could be lost" in said
    assert RIGHT in said


@pytest.mark.parametrize(
    ("source", "kind"), [("<source dev='{device}'/>", "block"), ("<source pool='vms' volume='web'/>", "volume")]
)
def test_a_volume_is_known_by_its_other_names(hook: Path, source: str, kind: str) -> None:
    assert called(hook, "", source, kind=kind)[0] == 1


def test_what_is_no_volume_what_only_reads_and_what_runs_already_is_left_alone(hook: Path) -> None:
    assert called(hook, "", "<source file='/var/lib/libvirt/images/own.raw'/>", kind="file") == (0, "")
    assert called(hook, "", "") == (0, "")
    assert called(hook, "", more="<readonly/>") == (0, "")
    assert called(hook, "", operation="reconnect") == (0, "")
