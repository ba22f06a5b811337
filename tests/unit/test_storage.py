# SPDX-License-Identifier: GPL-3.0-or-later
"""`./updraft storage`: the mirror in words, and when the other leg is to serve."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from updraft.storage import problems, told
from updraft.storage_watch import lost

Status = dict[str, Any]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def array(**more: Any) -> Status:
    words = "volumes0 is on both servers"
    return {"name": "volumes0", "action": "idle", "whole": True, "words": words, "done": 0, "total": 0, **more}


def serves(**more: Any) -> Status:
    return {
        "role": "serving", "generation": 3, "up": True, "words": "serves in generation 3", "arrays": [array()],
        "addresses": {"10.0.1.9": True}, "sessions": {"iqn.x:node1": 2},
        "pool": {"data_percent": 12.0, "metadata_percent": 3.0, "size_bytes": 5 << 30}, **more,
    }  # fmt: skip


def leg(**more: Any) -> Status:
    return {
        "role": "leg",
        "generation": 3,
        "up": False,
        "connected": True,
        "complete": True,
        "words": "a leg of storage1",
        "arrays": [],
        **more,
    }


class TestProblems:
    """What somebody has to see to."""

    def test_a_whole_mirror_has_none(self) -> None:
        assert problems({"storage1": serves(), "storage2": leg()}) == []

    def test_a_server_that_does_not_answer(self) -> None:
        assert problems({"storage1": serves(), "storage2": None}) == ["storage2 does not answer"]

    def test_nobody_serves(self) -> None:
        found = problems({"storage1": None, "storage2": leg()})
        assert found[1] == "nobody serves the volumes: playbooks/storage_failover.yml has the survivor serve"

    def test_a_copy_that_goes_on(self) -> None:
        copying = array(
            whole=False, words="volumes0 is being copied to the other server 40%", done=819200, total=2048000
        )
        status = serves(arrays=[copying])
        assert problems({"storage1": status, "storage2": leg()}) == [f"storage1: {copying['words']}"]
        assert "volumes0: 40% copied, 400 of 1000 MiB" in "\n".join(told({"storage1": status}, None, NOW))
        # md compares both disks once a month; nothing is wrong then.
        status = serves(arrays=[{**copying, "action": "check"}])
        assert "volumes0: 40% compared, 400 of 1000 MiB" in "\n".join(told({"storage1": status}, None, NOW))

    def test_an_old_one_that_returned(self) -> None:
        old = serves(generation=2, up=False)
        assert problems({"storage1": old, "storage2": serves()}) == [
            "storage1 returned, and is not a leg of storage2 yet: playbooks/storage_heal.yml"
        ]

    @pytest.mark.parametrize(
        ("share", "text"),
        [(79.9, None), (80.0, "is 80% full: add disks"), (95.0, "is 95% full: writes stop when it is full")],
    )
    def test_a_pool_that_fills(self, share: float, text: str | None) -> None:
        pool = {"data_percent": share, "metadata_percent": 3.0, "size_bytes": 5 << 30}
        found = problems({"storage1": serves(pool=pool), "storage2": leg()})
        assert (text is None and not found) or (text is not None and text in found[0])

    @pytest.mark.parametrize(
        ("more", "text"),
        [
            ({"data_percent": 100.0}, "the thin pool is full: writes wait until there is room"),
            ({"data_percent": 99.9, "health": "out_of_data"}, "the thin pool is full: writes wait"),
            ({"health": "metadata_read_only"}, "the thin pool is metadata_read_only: journalctl -k"),
            ({"fails_after": 60}, "writes to the thin pool fail 60 s after it is full, and should wait"),
            ({"waits": False}, "lvchange --errorwhenfull n"),
            ({"health": "", "waits": True, "fails_after": 0}, None),
        ],
    )
    def test_a_pool_that_is_full_or_would_fail(self, more: Status, text: str | None) -> None:
        pool = {"data_percent": 12.0, "metadata_percent": 3.0, "size_bytes": 5 << 30, **more}
        found = problems({"storage1": serves(pool=pool), "storage2": leg()})
        assert len(found) == (0 if text is None else 1)
        assert text is None or text in found[0]

    def test_an_address_that_is_missing(self) -> None:
        status = serves(addresses={"10.0.1.9": False})
        assert problems({"storage1": status, "storage2": leg()}) == ["storage1 lacks the address 10.0.1.9"]


def test_in_words() -> None:
    drill = {"ended": (NOW - timedelta(hours=2)).isoformat(), "result": "passed", "longest_pause": 8.25}
    text = "\n".join(told({"storage1": serves(), "storage2": None}, drill, NOW))
    for part in (
        "storage1     serves in generation 3",
        "volumes in use by: iqn.x:node1 (2)",
        "12.0% of 5.0 GiB in use",
    ):
        assert part in text
    assert "storage2     does not answer" in text
    assert "2026-11-21 10:00, 0 days ago: passed, longest pause 8.2 s" in text


def test_what_a_pool_can_grow_by_is_told() -> None:
    pool = {"data_percent": 12.0, "metadata_percent": 3.0, "size_bytes": 5 << 30, "free_bytes": 3 << 29}
    lines = told({"storage1": serves(pool=pool)}, None, NOW)
    assert any(line.endswith("3.0% of its metadata; it can grow by 1.5 GiB") for line in lines)


class TestLost:
    """When the other leg is to serve without anybody's word."""

    def test_one_that_is_silent_and_lost_by_its_leg(self) -> None:
        assert lost({"storage1": None, "storage2": leg(connected=False)}) == "storage1"

    def test_not_while_its_leg_is_still_written_to(self) -> None:
        assert lost({"storage1": None, "storage2": leg()}) is None

    def test_not_a_leg_that_is_silent(self) -> None:
        assert lost({"storage1": serves(), "storage2": None}) is None

    def test_not_when_nobody_answers(self) -> None:
        assert lost({"storage1": None, "storage2": None}) is None
