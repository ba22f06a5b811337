# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.files on the target: real files in a temporary directory."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import files
from ansible_collections.updraft.cloud.plugins.module_utils.files import Entry, FilesError, reconcile
from ansible_collections.updraft.cloud.plugins.module_utils.files_payload import Payload, pack, unpack


def make(entries: list[Entry], *commands: str, check: bool = False) -> dict[str, Any]:
    return reconcile(entries, commands, check=check, diff=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def everything(root: Path) -> dict[str, Any]:
    """All paths under a directory with what they hold; hidden leftovers show, too."""
    return {
        str(path.relative_to(root)): (
            mode(path),
            os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(root.rglob("*"))
    }


def some(root: Path) -> list[Entry]:
    return [
        Entry(f"{root}/conf", "directory", mode=0o750),
        Entry(f"{root}/conf/a", content=b"a\n", mode=0o640),
        Entry(f"{root}/deep/er/b", content=b"b\n"),
        Entry(f"{root}/link", "link", target="conf/a"),
        Entry(f"{root}/old", "absent"),
    ]


def test_the_list_is_made_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    first = make(some(tmp_path))
    assert first["changed_paths"] == [f"{tmp_path}/{name}" for name in ("conf", "conf/a", "deep/er/b", "link", "old")]
    assert everything(tmp_path) == {
        "conf": (0o750, None),
        "conf/a": (0o640, b"a\n"),
        "deep": (0o755, None),
        "deep/er": (0o755, None),
        "deep/er/b": (0o644, b"b\n"),
        "link": (0o777, "conf/a"),
    }
    second = make(some(tmp_path))
    assert second["changed"] is False
    assert second["changed_paths"] == second["diff"] == []


def test_check_mode_tells_the_same_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    before = everything(tmp_path)
    told = make(some(tmp_path), check=True)
    assert everything(tmp_path) == before
    done = make(some(tmp_path))
    assert told == done


def test_only_what_differs_is_replaced(tmp_path: Path) -> None:
    make(some(tmp_path))
    kept = (tmp_path / "deep/er/b").stat().st_ino
    (tmp_path / "conf/a").write_text("changed by hand")
    result = make(some(tmp_path))
    assert result["changes"] == {f"{tmp_path}/conf/a": ["content"]}
    assert (tmp_path / "deep/er/b").stat().st_ino == kept


def test_mode_alone_is_mended_in_place(tmp_path: Path) -> None:
    make(some(tmp_path))
    target = tmp_path / "conf/a"
    inode = target.stat().st_ino
    target.chmod(0o666)
    assert make(some(tmp_path))["changes"] == {str(target): ["mode"]}
    assert (mode(target), target.stat().st_ino) == (0o640, inode)


def test_a_file_without_a_mode_in_the_list_keeps_its_own(tmp_path: Path) -> None:
    target = tmp_path / "own"
    target.write_text("old")
    target.chmod(0o600)
    make([Entry(str(target), content=b"new")])
    assert mode(target) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owner_and_group_are_kept_and_set(tmp_path: Path) -> None:
    target = tmp_path / "x"
    make([Entry(str(target), content=b"1", owner="daemon", group="mail", mode=0o4755)])
    make([Entry(str(target), content=b"2")])
    info = target.stat()
    assert (info.st_uid, info.st_gid) == (files.identity("daemon", "owner"), files.identity("mail", "group"))
    assert mode(target) == 0o4755
    result = make([Entry(str(target), content=b"2", owner="0", group="0")])
    assert result["changes"] == {str(target): ["owner", "group"]}


def test_an_owner_who_does_not_exist_yet(tmp_path: Path) -> None:
    entries = [Entry(f"{tmp_path}/x", content=b"1", owner="nobody-of-this-name")]
    told = make(entries, check=True)
    assert told["changed"] is True
    assert "nobody-of-this-name does not exist yet" in told["warnings"][0]
    with pytest.raises(FilesError, match="nobody-of-this-name does not exist on this machine"):
        make(entries)
    assert everything(tmp_path) == {}


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "d/full").mkdir(parents=True)
    (tmp_path / "f").write_text("")
    entries = [
        Entry(f"{tmp_path}/d", content=b""),
        Entry(f"{tmp_path}/f", "directory"),
        Entry(f"{tmp_path}/d", "absent"),
        Entry(f"{tmp_path}/d/full", "link", target="x"),
        Entry(f"{tmp_path}/fresh", content=b"x"),
    ]
    with pytest.raises(FilesError) as caught:
        make(entries)
    assert len(str(caught.value).splitlines()) == 4
    assert not (tmp_path / "fresh").exists()


def test_a_directory_goes_only_when_told_to(tmp_path: Path) -> None:
    (tmp_path / "d/full").mkdir(parents=True)
    make([Entry(f"{tmp_path}/d", "absent", recurse=True)])
    assert everything(tmp_path) == {}


def test_purge_removes_what_matches_and_nobody_declared(tmp_path: Path) -> None:
    for name in ("50-mine-a", "50-mine-b", "50-other"):
        (tmp_path / name).write_text(name)
    (tmp_path / "50-mine-folder").mkdir()
    entries = [
        Entry(str(tmp_path), "directory", purge=("50-mine-*",)),
        Entry(f"{tmp_path}/50-mine-a", content=b"50-mine-a"),
    ]
    assert make(entries)["changed_paths"] == [f"{tmp_path}/50-mine-b"]
    assert sorted(everything(tmp_path)) == ["50-mine-a", "50-mine-folder", "50-other"]


class TestValidation:
    """Commands see the new text, and nothing is replaced when one refuses."""

    def test_a_refusal_leaves_all_files_as_they_were(self, tmp_path: Path) -> None:
        (tmp_path / "b").write_text("old")
        before = everything(tmp_path)
        entries = [
            Entry(f"{tmp_path}/a", content=b"good"),
            Entry(f"{tmp_path}/b", content=b"bad", validate="grep -q good %s"),
        ]
        with pytest.raises(FilesError, match=r"(?s)Nothing was written.*/b: refused by `grep -q good %s`"):
            make(entries)
        assert everything(tmp_path) == before

    def test_what_the_command_says_is_shown(self, tmp_path: Path) -> None:
        with pytest.raises(FilesError, match="No such file"):
            make([Entry(f"{tmp_path}/a", content=b"", validate="ls /nowhere %s")])

    def test_unchanged_files_are_not_validated_again(self, tmp_path: Path) -> None:
        make([Entry(f"{tmp_path}/a", content=b"1")])
        assert make([Entry(f"{tmp_path}/a", content=b"1", validate="false %s")])["changed"] is False

    def test_files_are_validated_together(self, tmp_path: Path) -> None:
        entries = [Entry(f"{tmp_path}/{name}", content=name.encode()) for name in ("x", "y")]
        make(entries)
        entries[0] = Entry(f"{tmp_path}/x", content=b"new")
        with pytest.raises(FilesError, match="the files together"):
            make(entries, f"grep -q x %s{tmp_path}/x")
        assert make(entries, f"grep -q new %s{tmp_path}/x", f"grep -q y %s{tmp_path}/y")["changed"] is True

    def test_copies_keep_the_name_and_are_private(self, tmp_path: Path) -> None:
        seen = tmp_path / "seen"
        script = f"import os,sys; p=sys.argv[1]; open('{seen}','w').write(p)"
        make([Entry(f"{tmp_path}/unit.service", content=b"", validate=f'python3 -c "{script}" %s')])
        copy = Path(seen.read_text())
        assert copy.name == "unit.service"
        assert not copy.exists()

    def test_check_mode_warns(self, tmp_path: Path) -> None:
        entries = [Entry(f"{tmp_path}/a", content=b"", validate="no-such-program-here %s")]
        told = make(entries, check=True)
        assert told["changed"] is True
        assert "no-such-program-here is not installed" in told["warnings"][0]
        with pytest.raises(FilesError, match="no-such-program-here is not installed"):
            make(entries)


class TestAtomic:
    """A reader sees the old text or the new one; what a cut run leaves is cleared."""

    def test_leftovers_of_a_run_that_was_cut_are_removed(self, tmp_path: Path) -> None:
        entries = [Entry(f"{tmp_path}/a", content=b"1")]
        make(entries)
        Path(files.temporary(f"{tmp_path}/a")).write_text("half a te")
        assert make(entries)["changed"] is False
        assert sorted(everything(tmp_path)) == ["a"]

    def test_a_text_that_cannot_be_written_replaces_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("old")
        (tmp_path / "file").write_text("")
        changes = files.plan([Entry(f"{tmp_path}/a", content=b"new")], check=False).changes
        impossible = files.Change(Entry(f"{tmp_path}/file/b", content=b""), files.Found("absent"), ("content",))
        with pytest.raises(FilesError, match="nothing was replaced"):
            files.apply([*changes, impossible])
        assert everything(tmp_path) == {"a": (0o644, b"old"), "file": (0o644, b"")}

    def test_open_files_keep_the_old_text(self, tmp_path: Path) -> None:
        target = tmp_path / "a"
        target.write_text("old")
        with target.open() as stream:
            make([Entry(str(target), content=b"new")])
            assert stream.read() == "old"
        assert target.read_text() == "new"

    def test_a_link_is_replaced_and_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real").write_text("real")
        (tmp_path / "a").symlink_to("real")
        assert make([Entry(f"{tmp_path}/a", content=b"new")])["changes"] == {f"{tmp_path}/a": ["type"]}
        assert (tmp_path / "real").read_text() == "real"
        assert not (tmp_path / "a").is_symlink()

    def test_a_link_to_a_directory_counts_as_one(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir(mode=0o755)
        (tmp_path / "a").symlink_to("real")
        assert make([Entry(f"{tmp_path}/a", "directory", mode=0o755)])["changed"] is False


class TestDiff:
    """What is told of a change, and what never is."""

    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("old\n")
        (element,) = make([Entry(f"{tmp_path}/a", content=b"new\n", mode=0o644)])["diff"]
        assert (element["before"], element["after"]) == ("old\n", "new\n")
        assert element["after_header"] == f"{tmp_path}/a (content)"

    @pytest.mark.parametrize(
        ("entry", "old_mode"),
        [
            (Entry("a", content=b"n3w\n", sensitive=True), 0o644),
            (Entry("a", content=b"n3w\n", mode=0o640), 0o644),
            (Entry("a", content=b"n3w\n"), 0o600),
            (Entry("a", content=b"n3w\n", mode=0o644), 0o600),
            (Entry("a", "absent"), 0o600),
        ],
    )
    def test_secrets_are_not_told(self, tmp_path: Path, entry: Entry, old_mode: int) -> None:
        target = tmp_path / "a"
        target.write_text("0ld\n")
        target.chmod(old_mode)
        entry = files.replace(entry, path=str(target))
        result = make([entry])
        assert "0ld" not in json.dumps(result)
        assert "n3w" not in json.dumps(result)
        assert "not shown" in result["diff"][0]["prepared"]

    def test_a_private_file_without_secrets_may_be_shown(self, tmp_path: Path) -> None:
        (element,) = make([Entry(f"{tmp_path}/a", content=b"x\n", mode=0o600, sensitive=False)])["diff"]
        assert element["after"] == "x\n"

    def test_bytes(self, tmp_path: Path) -> None:
        (element,) = make([Entry(f"{tmp_path}/a", content=b"\0\xff")])["diff"]
        assert element["prepared"].endswith("0 -> 2 bytes, not shown\n")

    def test_attributes(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("same")
        (tmp_path / "a").chmod(0o644)
        (element,) = make([Entry(f"{tmp_path}/a", content=b"same", mode=0o600)])["diff"]
        assert "mode 0644" in element["before"]
        assert "mode 0600" in element["after"]
        assert "same" not in element["after"]


def test_pack_and_unpack_are_inverse() -> None:
    item = {"path": "/x", "state": "file", "content": b"\0\xff", "mode": 0o640, "purge": ["a*"]}
    service = {"units": [{"name": "x"}], "timeout": 9}
    entry = Entry("/x", content=b"\0\xff", mode=0o640, purge=("a*",))
    assert unpack(pack([item], ["true %s"], service)) == Payload([entry], ["true %s"], service)
    assert unpack(pack([], [])) == Payload([], [], {})


WRITER = """
import sys
from ansible_collections.updraft.cloud.plugins.module_utils.files import Entry, reconcile
print("ready", flush=True)
while True:
    for text in (b"old" * 5000, b"new" * 5000):
        entries = [Entry(f"{sys.argv[1]}/{n}", content=text, mode=0o640) for n in range(10)]
        reconcile(entries, [], check=False, diff=False)
"""


def test_killed_at_any_moment_each_file_is_old_or_new_and_the_next_run_ends_right(tmp_path: Path) -> None:
    whole = {b"old" * 5000, b"new" * 5000}
    entries = [Entry(f"{tmp_path}/{n}", content=b"new" * 5000, mode=0o640) for n in range(10)]
    make(entries)
    dice = random.Random(2026)
    for _round in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as writer:
            assert writer.stdout
            writer.stdout.readline()
            time.sleep(dice.uniform(0, 0.05))
            writer.kill()
        assert all((tmp_path / str(n)).read_bytes() in whole for n in range(10))
    make(entries)
    assert everything(tmp_path) == {str(n): (0o640, b"new" * 5000) for n in range(10)}
    assert make(entries)["changed"] is False
