# SPDX-License-Identifier: GPL-3.0-or-later
"""The series of power cuts: its order, its table, and the files that are compared at its end."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "drill"))

import places
from files import check
from machines import Wrong
from mirror_lab import Cut, bad, verdict
from power_cuts import KINDS, counted, earlier, schedule, table


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


def test_what_a_drill_found_is_bad_when_anything_is(tmp_path: Path) -> None:
    load = {"written": 9, "compared": 9, "failed": 0, "kernel_errors": 0}
    good = {"load": load, "lost": 0, "checked": {}, "mismatches": [0, 0], "problem": "", "seconds": 1}
    worse = [{"lost": 1}, {"mismatches": [0, 8]}, {"problem": "Wrong: x"}, {"load": load | {"failed": 1}}]
    worse += [{"load": load | {"kernel_errors": 1}}, {"load": load | {"written": 0}}]

    assert not bad(good)
    assert "nothing was lost" in verdict(good, tmp_path)
    for one in worse:
        assert bad(good | one)
        assert "FAILED" in verdict(good | one, tmp_path)


def test_a_series_goes_on_where_nothing_was_lost(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    load = {"written": 9, "compared": 9, "failed": 0, "kernel_errors": 0}
    good = {"load": load, "lost": 0, "checked": {}, "mismatches": [0], "problem": "", "seconds": 1, "cuts": []}

    with pytest.raises(Wrong, match="nothing to go on with"):
        earlier(report)
    report.write_text(json.dumps(good))
    assert earlier(report) == good
    report.write_text(json.dumps(good | {"problem": "Wrong: storage1 answers: not within 300 s"}))
    with pytest.raises(Wrong, match="that series failed: Wrong: storage1 answers"):
        earlier(report)


def test_what_is_lost_is_told_also_when_that_ends_the_series() -> None:
    series = SimpleNamespace(totals={"wrong": 2}, cuts=[Cut(1, "rack", machines=2)])

    found = counted({"checked": {"places": {"wrong": 1}}, "load": {"wrong": 0}}, series, time.time() - 60)

    assert (found["lost"], found["load"], found["seconds"]) == (3, {"wrong": 2}, 60)
    assert [cut["machines"] for cut in found["cuts"]] == [2]


def test_a_place_that_does_not_hold_what_was_acknowledged_is_wrong(tmp_path: Path) -> None:
    device, log = tmp_path / "device", tmp_path / "log"
    with device.open("wb") as handle:
        handle.truncate(places.BEGIN + 3 * places.CHUNK)
        for number in (3, 1):
            handle.seek(places.BEGIN + number % 3 * places.CHUNK)
            handle.write(places.content(number))
    log.write_text("0\n1\n2\n3\n")

    found = places.check(str(device), log)

    assert found == {"written": 4, "places": 3, "wrong": 1, "first": [[2, "\0" * 16]]}


def test_the_series_on_record_lost_nothing_and_can_be_gone_on_with() -> None:
    found = earlier(Path(__file__).parents[1] / "drill/records/power-cuts.json")
    kinds = [cut["kind"] for cut in found["cuts"]]
    assert kinds == [kind for kind, _ in schedule(100, found["seed"], found["kinds"])][: len(kinds)]
    assert found["commits"] and found["checked"]["places"]["written"] and not bad(found)
