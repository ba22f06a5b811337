# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of a node: what names it, what must not be in it, and which versions stay on the server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import node_image, node_recipe
from ansible_collections.updraft.cloud.plugins.module_utils.image_recipe import ImageError
from ansible_collections.updraft.cloud.plugins.module_utils.node_image import (
    NodeCache,
    pack,
    settle_times,
    write_overlay,
)
from ansible_collections.updraft.cloud.plugins.module_utils.node_recipe import NodeRecipe, installed, simulated, version
from ansible_collections.updraft.cloud.plugins.module_utils.node_store import (
    Plan,
    State,
    Store,
    difference,
    plan,
    safe_versions,
)

FILES = Path(__file__).resolve().parents[2] / "roles/node_image/files"
STATUS = """\
Package: dash
Status: install ok installed
Version: 0.5.12-12

Package: gone
Status: deinstall ok config-files
Version: 1

Package: libc6
Status: install ok installed
Version: 2.41-12+deb13u4
"""


def made(**change: Any) -> NodeRecipe:
    wanted: dict[str, Any] = {
        "kernel": "linux-image-amd64",
        "packages": ["nova-compute", "open-iscsi"],
        "files": [{"path": "/etc/updraft/ca.pem", "content": "certificate"}],
        "units": ["ssh.service"],
        "compression": 9,
    }
    return node_recipe.recipe(**{**wanted, **change})


def test_the_same_wishes_in_another_order_are_the_same_recipe() -> None:
    assert made(packages=["open-iscsi", "nova-compute", "systemd"]) == made()


@pytest.mark.parametrize(
    "change",
    [
        {"packages": ["nova-compute"]},
        {"kernel": "linux-image-cloud-amd64"},
        {"files": [{"path": "/etc/updraft/ca.pem", "content": "another"}]},
        {"files": [{"path": "/etc/updraft/ca.pem", "content": "certificate", "mode": "0600"}]},
        {"units": []},
        {"compression": 3},
    ],
)
def test_whatever_changes_the_image_changes_its_key(change: dict[str, Any]) -> None:
    assert made(**change).key != made().key


def test_a_newer_package_is_a_newer_version() -> None:
    before = version("key", {"dash": "1", "libc6": "2"})
    assert version("key", {"libc6": "2", "dash": "1"}) == before
    assert version("key", {"dash": "1", "libc6": "3"}) != before
    assert version("other", {"dash": "1", "libc6": "2"}) != before


@pytest.mark.parametrize(
    "content", ["-----BEGIN OPENSSH PRIVATE KEY-----\nx", "-----BEGIN PRIVATE KEY-----", "$ANSIBLE_VAULT;1.1;AES256"]
)
def test_a_secret_is_refused(content: str) -> None:
    with pytest.raises(ImageError, match="an image can be read by everybody"):
        made(files=[{"path": "/etc/x", "content": content}])


@pytest.mark.parametrize("path", ["etc/x", "/etc/../x", "/etc/"])
def test_a_file_has_an_absolute_path(path: str) -> None:
    with pytest.raises(ImageError, match="is no absolute path"):
        made(files=[{"path": path, "content": ""}])


def test_only_the_named_units_are_enabled() -> None:
    assert node_recipe.presets(["a.service"]) == "enable a.service\ndisable *\n"


def test_installed_packages_are_those_that_dpkg_calls_installed() -> None:
    assert installed(STATUS) == {"dash": "0.5.12-12", "libc6": "2.41-12+deb13u4"}


def test_a_simulation_tells_the_versions() -> None:
    told = (
        "Inst dash (0.5.12-12 Debian:13.7/stable [amd64])\n"
        "Inst libc6 [2.40] (2.41-12+deb13u4 Debian:13.7/stable [amd64]) []\nConf dash (x)\n"
    )
    assert simulated(told) == {"dash": "0.5.12-12", "libc6": "2.41-12+deb13u4"}


def test_files_get_their_modes_and_links_their_targets(tmp_path: Path) -> None:
    files = [
        {"path": "/root/.ssh/authorized_keys", "content": "key\n", "mode": "0600"},
        {"path": "/etc/systemd/system/x.service", "target": "/dev/null"},
    ]
    overlay = write_overlay(made(files=files), tmp_path / "overlay")
    key = overlay / "root/.ssh/authorized_keys"
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("key\n", 0o600)
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert os.readlink(overlay / "etc/systemd/system/x.service") == "/dev/null"
    assert (overlay / "etc/systemd/system-preset/00-updraft.preset").read_text().endswith("disable *\n")


def test_what_the_build_wrote_gets_the_time_of_the_youngest_packaged_file(tmp_path: Path) -> None:
    for name, moment in {"old": 1000, "young": 2000, "built": 9000}.items():
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (moment, moment))
    (tmp_path / "link").symlink_to("nowhere")
    assert settle_times(tmp_path, 5000) == 2000
    assert [int((tmp_path / name).stat().st_mtime) for name in ("old", "young", "built")] == [1000, 2000, 2000]
    assert int((tmp_path / "link").lstat().st_mtime) == 2000


def tree(root: Path, names: list[str]) -> int:
    """A root file system as a build leaves it, its files made in this order; return its date."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashlib.sha256(name.encode()).digest() * (len(name) * 700))
        os.utime(path, (1000, 2000 if name.endswith("one") else 1000))
    os.link(root / "usr/lib/a/one", root / "usr/lib/b/link")
    (root / "etc").mkdir()
    (root / "etc/machine-id").touch()
    (root / "etc/mtab").symlink_to("../proc/mounts")
    (root / "etc/secret").write_text("x" * 5000)
    (root / "etc/secret").chmod(0o600)
    return settle_times(root, time.time() - 60)


def test_two_builds_of_one_content_are_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real mksquashfs: the digest in a manifest says what the content is, not when or where it was packed."""
    names = [f"usr/lib/{folder}/{name}" for folder in "abc" for name in ("one", "two", "three", "four" * 50)]
    digests = set()
    for number, order in enumerate([names, names[::-1], sorted(names, key=len)]):
        root, file = tmp_path / f"root{number}", tmp_path / f"{number}.squashfs"
        date = tree(root, order)
        assert date == 2000
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(number))
        pack(root, file, 3, date, tmp_path / "log")
        digests.add(node_image.file_digest(file))
        # As long as a time in it would take to differ.
        time.sleep(1.1)
    assert len(digests) == 1

    (root / "etc/secret").chmod(0o644)
    pack(root, tmp_path / "other.squashfs", 3, date, tmp_path / "log")
    assert node_image.file_digest(tmp_path / "other.squashfs") not in digests


def image(cache: NodeCache, recipe: NodeRecipe, name: str) -> None:
    directory = cache.nodes / name
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text(json.dumps({"version": name}))
    (cache.nodes / f"recipe-{recipe.key}").write_text(f"{name}\n")


def test_an_image_is_built_once_and_anew_when_the_archive_has_newer_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, recipe = NodeCache(tmp_path), made()
    built: list[str] = []

    def make(self: NodeCache, wanted: NodeRecipe) -> node_image.Found:
        name = f"{len(built):012x}"
        built.append(name)
        image(self, wanted, name)
        return self._read(name)

    monkeypatch.setattr(NodeCache, "_make", make)
    monkeypatch.setattr(NodeCache, "predict", lambda self, wanted: "0" * 12)
    assert cache.needed(recipe, refresh=False) == "no image has been made of this recipe"
    assert cache.build(recipe, refresh=False)[1]
    assert not cache.build(recipe, refresh=False)[1]
    assert not cache.build(recipe, refresh=True)[1]
    monkeypatch.setattr(NodeCache, "predict", lambda self, wanted: "1" * 12)
    assert not cache.build(recipe, refresh=False)[1]
    found, again = cache.build(recipe, refresh=True)
    assert again and found.version == f"{1:012x}"


def store(tmp_path: Path, *names: str) -> Store:
    for age, name in enumerate(names):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "manifest.json").write_text(json.dumps({"version": name, "files": {}, "packages": {"a": "1"}}))
        os.utime(directory / "manifest.json", (1000 - age, 1000 - age))
    return Store(tmp_path)


A, B, C, D = ("a" * 12, "b" * 12, "c" * 12, "d" * 12)


def test_the_youngest_stay_beside_the_current_one() -> None:
    state = State({A: 4, B: 3, C: 2, D: 1}, current=B)
    assert plan(state, A, 3) == Plan(current=A, remove=(D,))
    assert plan(state, D, 2) == Plan(current=D, remove=(B, C))


def test_a_version_in_use_is_never_removed() -> None:
    state = State({A: 4, B: 3, C: 2, D: 1}, current=A)
    assert plan(state, A, 2, [D, "not there"]) == Plan(remove=(C,), kept_in_use=(D,))
    assert not plan(state, A, 1, [B, C, D])


def test_a_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    place = store(tmp_path, A, B, C)
    todo = plan(place.read(), B, 2)
    place.apply(todo)
    assert place.read() == State({A: 1000, B: 999}, current=B)
    assert not plan(place.read(), B, 2)
    assert place.manifest(B) == {"version": B, "files": {}}


def test_what_a_cut_push_left_goes_and_other_directories_stay(tmp_path: Path) -> None:
    place = store(tmp_path, A)
    (tmp_path / B).mkdir()
    (tmp_path / "own").mkdir()
    assert place.read().partial == (B,)
    place.apply(plan(place.read(), A, 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == [A, "current", "own"]


def test_a_version_that_is_not_there_cannot_be_current() -> None:
    with pytest.raises(ImageError, match=f"version {A} of the image is not on the server; there are: {B}"):
        plan(State({B: 1}), A, 3)
    with pytest.raises(ImageError, match="at least the current version has to stay"):
        plan(State({A: 1}), A, 0)


def test_only_what_is_missing_or_differs_is_pushed(tmp_path: Path) -> None:
    directory = tmp_path / A
    directory.mkdir()
    for name in ("vmlinuz", "root.squashfs"):
        (directory / name).write_text(name)
    files = {
        name: {"sha256": node_image.file_digest(directory / name), "bytes": len(name)}
        for name in ("vmlinuz", "root.squashfs")
    }
    manifest = {"version": A, "files": files}
    assert Store(tmp_path).missing(manifest) == ["manifest.json"]
    (directory / "manifest.json").write_text(json.dumps({**manifest, "packages": {}}))
    assert Store(tmp_path).missing(manifest) == []
    (directory / "vmlinuz").write_text("another")
    assert Store(tmp_path).missing(manifest) == ["vmlinuz", "manifest.json"]


def test_the_diff_names_versions() -> None:
    shown = difference(State({A: 2, B: 1}, current=B), Plan(current=A, remove=(B,)))
    assert shown == {"before": f"{A}\n{B} (current)\n", "after": f"{A} (current)\n"}


def test_what_is_no_version_is_in_nobodys_use() -> None:
    assert safe_versions([A, "", "unknown", "../etc"]) == [A]


def test_the_script_of_the_initial_ram_disk_is_a_hook_without_needs() -> None:
    done = subprocess.run(["sh", FILES / "initramfs-boot", "prereqs"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_live_boots_only_try_becomes_several(tmp_path: Path) -> None:
    script = tmp_path / "usr/lib/live/boot/9990-mount-http.sh"
    script.parent.mkdir(parents=True)
    script.write_text('x)\n\twget "${url}" -O "${dest}/$(basename ${url})"\n\t;;\n')
    command, environment = ["sh", str(FILES / "initramfs-hook")], {**os.environ, "DESTDIR": str(tmp_path)}
    subprocess.run(command, env=environment, check=True)
    assert 'wget -q -T 60 "${url}" -O "${dest}/$(basename ${url})" && break; sleep 3; false; done' in script.read_text()
    script.write_text("fetch it\n")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "in another way than expected" in done.stderr) == (1, True)
