# SPDX-License-Identifier: GPL-3.0-or-later
"""The series of power cuts: its order, its table, and the files that are compared at its end."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "drill"))

from files import check
from power_cuts import KINDS, Cut, schedule, table


def test_every_kind_in_turn_and_the_same_for_the_same_seed() -> None:
    found = schedule(13, 7)
    assert found == schedule(13, 7)
    assert found != schedule(13, 8)
    assert {kind for kind, _ in found[:6]} == {kind for kind, _ in found[6:12]} == set(KINDS)
    assert all(2 <= seconds <= 12 for _, seconds in found)


def test_the_table_has_median_and_longest() -> None:
    cuts = [Cut(number, "leg", pause=pause) for number, pause in enumerate((6.0, 9.0, 5.0))]
    lines = table([*cuts, Cut(4, "serving", pause=30.0, after_word=21.5)])
    assert lines[1].split() == ["leg", "3", "6.0", "s", "9.0", "s", "-"]
    assert lines[2].split() == ["serving", "1", "30.0", "s", "30.0", "s", "21.5", "s"]


def test_files_are_compared_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "file0").write_bytes(b"right")
    (tmp_path / "file1").write_bytes(b"torn")
    log = tmp_path / "log"
    good = hashlib.sha256(b"right").hexdigest()
    log.write_text(f"file0 {good}\nfile1 {good}\nfile2 {good}\nfile3 {good}\nfile3 gone\n")
    assert check(tmp_path, log) == {"written": 4, "files": 3, "wrong": 2, "first": ["file1"]}
