# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill of the full thin pool: how much has to be written, and what counts as told."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "drill"))

from thin_pool import GIVES_UP, MIB, can_grow, missing_mib, says


@pytest.mark.parametrize(
    ("data", "percent", "mib"), [(10.0, 82, 720), (81.99, 82, 1), (82.0, 82, 0), (97.0, 82, 0), (95.5, 100, 45)]
)
def test_so_much_has_to_be_written(data: float, percent: float, mib: int) -> None:
    assert missing_mib({"data_percent": data, "size_bytes": 1000 * MIB}, percent) == mib


def test_it_grows_by_a_fifth_or_not_at_all() -> None:
    assert can_grow({"size_bytes": 1000 * MIB, "free_bytes": 200 * MIB})
    assert not can_grow({"size_bytes": 1000 * MIB, "free_bytes": 199 * MIB})


def test_the_weak_words_are_not_the_strong_ones() -> None:
    weak = "storage1: the data of the thin pool is 81% full: add disks"
    strong = "storage1: the data of the thin pool is 96% full: writes stop when it is full. Add disks now"
    assert says([weak], "of the thin pool is 8", "writes stop when it is full")
    assert not says([strong], "of the thin pool is 8", "writes stop when it is full")
    assert says([strong], "full: writes stop when it is full")
    assert not says([], "full")


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("device-mapper: thin: 254:4: switching pool to out-of-data-space (queue IO) mode", False),
        ("device-mapper: thin: 254:4: switching pool to out-of-data-space (error IO) mode", True),
        ("device-mapper: thin: 254:4: switching pool to read-only mode", True),
        ("device-mapper: thin: 254:4: switching pool to write mode", False),
    ],
)
def test_what_the_kernel_says_when_it_gives_up(line: str, bad: bool) -> None:
    assert bool(re.search(GIVES_UP, line)) is bad
