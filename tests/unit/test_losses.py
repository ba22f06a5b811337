# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a leg may take over: not where nodes were served for longer than it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils.losses import Lost, ahead, incomplete, judge, lost

FOUND = Lost("storage1", "storage2", 1000.0, 0.0, connected=False, complete=True, portals=["10.0.1.9"])
LEG: dict[str, Any] = {
    "role": "leg", "connected": False, "lost_at": 1000.0, "time": 1060.0, "complete": True,
    "asked": 1059.0, "answered": 1061.0, "addresses": {"10.0.1.9": False, "10.0.2.9": False},
}  # fmt: skip


def said(*losses: tuple[bool, float | None], clock: float = 0.0) -> dict[str, Any]:
    """What a host answers at 1060 of the controller's clock; its own is `clock` seconds ahead."""
    rows = [{"portal": f"10.0.{n}.9:3260", "served": served, "until": at} for n, (served, at) in enumerate(losses, 1)]
    times = {"began": 1060.5 + clock, "ended": 1061.0 + clock}
    return {"asked": 1060.0, "answer": {"losses": rows, **times}, "answered": 1062.0}


def refused(clock: float = 0.0, **hosts: dict[str, Any]) -> str:
    """Why, where the leg's clock is `clock` seconds ahead."""
    return judge(replace(FOUND, ahead=clock), hosts, list(hosts)).refused


class TestLost:
    """Who is lost, by what both say."""

    def test_the_one_that_is_silent_beside_a_leg(self) -> None:
        found = lost({"storage1": None, "storage2": LEG})
        assert found == Lost("storage1", "storage2", 1000.0, 0.0, False, True, ["10.0.1.9", "10.0.2.9"])

    def test_its_clock_is_compared_with_the_controllers(self) -> None:
        found = lost({"storage1": None, "storage2": {**LEG, "asked": 759.0, "answered": 761.0}})
        assert found is not None
        assert found.ahead == 300.0

    def test_a_leg_that_has_not_lost_it_had_all_until_now(self) -> None:
        found = lost({"storage1": None, "storage2": {**LEG, "connected": True, "lost_at": 900.0}})
        assert found is not None
        assert (found.connected, found.lost_at) == (True, 1060.0)

    @pytest.mark.parametrize(
        "statuses",
        [
            {"storage1": None, "storage2": None},
            {"storage1": {**LEG, "role": "serving"}, "storage2": LEG},
            {"storage1": {**LEG, "role": "serving"}, "storage2": None},
            {"storage1": None, "storage2": {**LEG, "role": "new"}},
        ],
    )
    def test_nobody(self, statuses: dict[str, Any]) -> None:
        assert lost(statuses) is None

    def test_a_leg_that_is_not_complete_cannot_take_over(self) -> None:
        assert incomplete(FOUND) == ""
        found = lost({"storage1": None, "storage2": {**LEG, "complete": False}})
        assert found is not None
        assert "storage2 does not hold everything" in incomplete(found)


class TestJudge:
    """What nodes say of their sessions."""

    def test_all_lost_it_together(self) -> None:
        assert refused(node1=said((False, 999.0), (False, 1003.0)), node2=said()) == ""

    def test_one_was_served_on(self) -> None:
        text = refused(node1=said((False, 999.0), (False, 1040.0)), node2=said((False, 998.0)))
        assert text.startswith(
            "storage2 lost storage1 at 1970-01-01 00:16:40 UTC, and node1 was served by it until 40 s"
        )
        assert "Start storage1 again" in text
        assert "-e storage_accept_loss=true" in text
        assert "node2" not in text

    def test_one_is_served_still(self) -> None:
        assert "node1 is served by it still: what" in refused(node1=said((True, None)))

    def test_one_that_was_asked_before_the_leg_is_served_still(self) -> None:
        found = replace(FOUND, connected=True, lost_at=1100.0)
        assert "node1 is served by it still: what" in judge(found, {"node1": said((True, None))}, ["node1"]).refused

    def test_clocks_are_compared(self) -> None:
        late, early = said((False, 1300.0), clock=300.0), said((False, 700.0), clock=-300.0)
        assert refused(node1=late, node2=early) == ""
        assert "node1 was served by it until 100 s" in refused(node1=said((False, 1400.0), clock=300.0))
        assert refused(clock=300.0, node1=said((False, 700.0))) == ""
        assert "until 40 s" in refused(clock=-300.0, node1=said((False, 1340.0)))

    def test_who_cannot_tell_is_named_and_hinders_nothing(self) -> None:
        gone = {"answer": {"unreachable": True, "msg": "Failed to connect"}, "answered": 1062.0}
        answers = {"node1": gone, "node2": {"answer": {"msg": "no journal\n..."}, "answered": 1062.0}}
        answers["node3"] = said((False, None))
        found = judge(FOUND, answers, ["node1", "node2", "node3", "node4"])
        assert found.refused == ""
        assert found.unknown == [
            "node1 (does not answer)", "node2 (no journal)", "node3 (10.0.1.9:3260)", "node4 (was not asked)"
        ]  # fmt: skip

    def test_nothing_to_compare_with(self) -> None:
        never = replace(FOUND, lost_at=None)
        assert judge(never, {"node1": said((True, None))}, ["node1"]).refused == ""


def test_clocks_that_may_agree_do() -> None:
    assert ahead(100.0, 101.0, 120.0, 121.0) == 0.0
    assert ahead(100.0, 131.0, 150.0, 121.0) == 30.0
    assert ahead(100.0, 71.0, 90.0, 121.0) == -30.0
