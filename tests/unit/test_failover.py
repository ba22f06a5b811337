# SPDX-License-Identifier: GPL-3.0-or-later
"""Who serves the volumes next: what is safe is decided, and what could make two servers write is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils.failover import FailoverError, Move, cure, decide, overdue

Status = dict[str, Any]


def serves(generation: int = 1, *, now: bool = True, whole: bool = True) -> Status:
    words = "volumes0 is on both servers" if whole else "volumes0 is being copied to the other server 40%"
    array = {"name": "volumes0", "whole": whole, "words": words}
    return {"role": "serving", "generation": generation, "up": now, "arrays": [array] if now else []}


def leg(generation: int = 1) -> Status:
    return {"role": "leg", "generation": generation, "up": False, "arrays": []}


NEW: Status = {"role": "new", "generation": 0, "up": False, "arrays": []}


class TestPlanned:
    """Both servers answer."""

    def test_the_other_one_takes_over(self) -> None:
        move = decide({"storage1": serves(4), "storage2": leg(4)})
        assert (move.kind, move.old, move.new, move.generation) == ("planned", "storage1", "storage2", 5)

    def test_and_back(self) -> None:
        move = decide({"storage1": leg(5), "storage2": serves(5)}, "storage1")
        assert (move.kind, move.old, move.new, move.generation) == ("planned", "storage2", "storage1", 6)

    def test_nothing_to_do_for_the_one_that_serves(self) -> None:
        move = decide({"storage1": serves(4), "storage2": leg(4)}, "storage1")
        assert move == Move("none", "storage1", "storage1", 4, "storage1 serves already")

    def test_not_while_the_other_lacks_something(self) -> None:
        with pytest.raises(
            FailoverError, match=r"volumes0 is being copied .* 40%, so that storage2.*storage_heal\.yml"
        ):
            decide({"storage1": serves(whole=False), "storage2": leg()})

    def test_not_while_the_one_that_serves_waits(self) -> None:
        with pytest.raises(FailoverError, match=r"does not at the moment.*journalctl -u updraft-mirror"):
            decide({"storage1": serves(now=False), "storage2": leg()})

    def test_unknown_names(self) -> None:
        with pytest.raises(FailoverError, match="'storage3' is no storage server of the mirror: write storage_to="):
            decide({"storage1": serves(), "storage2": leg()}, "storage3")


class TestLoss:
    """One does not answer."""

    def test_silence_is_no_proof(self) -> None:
        with pytest.raises(FailoverError, match=r"does not prove that it is off.*-e storage_is_off=storage1"):
            decide({"storage1": None, "storage2": leg()})

    def test_the_word_for_another_server_is_none(self) -> None:
        with pytest.raises(FailoverError, match="does not prove that it is off"):
            decide({"storage1": None, "storage2": leg()}, None, ["storage2"])

    def test_proven_off_the_other_takes_over(self) -> None:
        move = decide({"storage1": None, "storage2": leg(7)}, None, ["storage1"])
        assert (move.kind, move.old, move.new, move.generation) == ("lost", "storage1", "storage2", 8)

    def test_the_silent_one_cannot_be_chosen(self) -> None:
        with pytest.raises(FailoverError, match="storage1 does not answer: it cannot serve"):
            decide({"storage1": None, "storage2": leg()}, "storage1", ["storage1"])

    def test_the_leg_is_lost_and_the_other_goes_on(self) -> None:
        with pytest.raises(FailoverError, match="storage2 does not answer, so that storage1 has to go on serving"):
            decide({"storage1": serves(), "storage2": None})

    def test_nobody_answers(self) -> None:
        with pytest.raises(FailoverError, match="neither storage1 nor storage2 answers"):
            decide({"storage1": None, "storage2": None})

    def test_nobody_has_served(self) -> None:
        with pytest.raises(FailoverError, match=r"has served yet: run playbooks/site\.yml"):
            decide({"storage1": NEW, "storage2": NEW})


class TestOldPrimary:
    """One that served before returns, and still takes itself for the one that serves."""

    def test_it_is_not_handed_anything(self) -> None:
        with pytest.raises(FailoverError, match=r"storage1 is an old one that returned.*storage_heal\.yml"):
            decide({"storage1": serves(1, now=False), "storage2": serves(2)})

    def test_it_becomes_the_other_leg(self) -> None:
        found = cure({"storage1": serves(1, now=False), "storage2": serves(2)})
        assert (found.serving, found.returned, found.generation, found.alone) == ("storage2", "storage1", 2, False)

    def test_it_is_not_served_from_by_mistake(self) -> None:
        with pytest.raises(FailoverError, match="storage1 is the old one"):
            cure({"storage1": serves(1), "storage2": leg(2)})


class TestCure:
    """A mirror becomes whole."""

    def test_a_replaced_server_is_taken_in_by_the_one_that_waits_for_it(self) -> None:
        found = cure({"storage1": serves(3, now=False), "storage2": NEW})
        assert (found.serving, found.returned, found.alone) == ("storage1", "storage2", True)

    def test_both_have_to_answer(self) -> None:
        with pytest.raises(FailoverError, match="storage2 does not answer: start it, or put a new machine"):
            cure({"storage1": serves(), "storage2": None})

    def test_somebody_has_to_have_served(self) -> None:
        with pytest.raises(FailoverError, match="has served yet"):
            cure({"storage1": NEW, "storage2": NEW})


class TestOverdue:
    """A leg that lost the other cannot tell whether that died, or wrote on alone: the nodes can."""

    def test_nodes_which_were_served_for_longer(self) -> None:
        assert overdue(1000.0, {"node1": 1004.0, "node2": 1090.0, "node3": None}) == ["node2"]

    def test_nothing_was_lost(self) -> None:
        assert overdue(None, {"node1": 1090.0}) == []
