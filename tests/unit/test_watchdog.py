# SPDX-License-Identifier: GPL-3.0-or-later
"""A silent run is warned of at growing distances, then ended; any sound starts it anew."""

from __future__ import annotations

from updraft.watchdog import Watchdog


def test_warnings_double_and_the_limit_ends_it() -> None:
    dog = Watchdog(warn=10, limit=100)
    verdicts = {second: dog.check(second) for second in range(101)}
    assert [second for second, verdict in verdicts.items() if verdict == "warn"] == [10, 20, 40, 80]
    assert [second for second, verdict in verdicts.items() if verdict == "expired"] == [100]


def test_a_sound_starts_it_anew() -> None:
    dog = Watchdog(warn=10, limit=30)
    assert dog.check(29) == "warn"
    dog.touch(29)
    assert dog.check(38) == "fine"
    assert dog.check(39) == "warn"
    assert dog.silence(40) == 11
