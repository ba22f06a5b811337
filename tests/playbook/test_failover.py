# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/storage_failover.yml as a whole: what it asks, whom it switches off, and what it refuses.

The programs on storage servers and nodes are fakes (failover_site.py), so is the board (tests/drill/fake_redfish.py); a
process of this test is the machine that it switches off.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from failover_site import FailoverSite
from fake_shell import LOSSES, MIRROR

sys.path.insert(0, str(Path(__file__).parents[1] / "drill"))

from fake_redfish import Board, Mood, serving

PROMOTED = ["promote", "--generation", "4", "--peer-is-off"]


class Process:
    """A machine: a process that sleeps."""

    name = "storage1"

    def __init__(self) -> None:
        self.process = subprocess.Popen(["sleep", "600"])

    def running(self) -> bool:
        return self.process.poll() is None

    def cut(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        raise AssertionError("nobody switches it on")


@pytest.fixture
def machine() -> Iterator[Process]:
    found = Process()
    yield found
    found.cut()


@pytest.fixture
def site(tmp_path: Path) -> FailoverSite:
    found = FailoverSite(tmp_path)
    leg = status("leg", lost_at=time.time() - 60)
    found.answers(MIRROR, {"storage2": leg})
    nodes = {name: {"losses": [served_until(time.time() - 62)]} for name in ("node1", "node2")}
    found.answers(LOSSES, nodes)
    return found


def status(role: str, **more: Any) -> dict[str, Any]:
    return {
        "role": role, "generation": 3, "up": role == "serving", "complete": True, "connected": False, "lost_at": None,
        "arrays": [], "addresses": {"10.0.1.9": role == "serving"}, **more,
    }  # fmt: skip


def served_until(moment: float | None, *, served: bool = False) -> dict[str, Any]:
    state = "LOGGED_IN" if served else "FAILED"
    return {"target": "iqn.x:web", "portal": "10.0.1.9:3260", "state": state, "served": served, "until": moment}


def fenced(site: FailoverSite, machine: Process, mood: Mood | None, **extra: Any) -> tuple[int, str, list[str]]:
    """Run it with a board for storage1, which is silent; its exit code, what it said, the board's orders."""
    board = Board(machine, "admin", "secret")
    with ExitStack() as stack:
        port = 1
        if mood is not None:
            board.mood = mood
            port = stack.enter_context(serving(board, "127.0.0.1", 0))
        power = {"kind": "redfish", "address": f"127.0.0.1:{port}", "user": "admin", "insecure": True}
        site.inventory({"storage1"}, power)
        return (*site.run(**extra), board.orders)


def promoted(site: FailoverSite) -> list[tuple[str, list[str]]]:
    return [(host, words) for host, words in site.asked(MIRROR) if words[0] == "promote"]


def test_the_board_switches_off_and_the_other_one_takes_over(site: FailoverSite, machine: Process) -> None:
    code, said, orders = fenced(site, machine, "obeys")
    assert (code, orders, machine.running()) == (0, ["ForceOff"], False), said
    assert promoted(site) == [("storage2", PROMOTED)]


@pytest.mark.parametrize(
    ("mood", "text", "orders"),
    [
        ("stuck", "it took the order, and says that the power is On", ["ForceOff"]),
        ("refuses", "the power controller does not answer", ["ForceOff"]),
        (None, "URL Error", []),
    ],
)
def test_a_board_that_fails(
    site: FailoverSite, machine: Process, mood: Mood | None, text: str, orders: list[str]
) -> None:
    code, said, told = fenced(site, machine, mood)
    assert code != 0
    assert "storage1 is not proven to be off, and nothing was promoted. Its board at 127.0.0.1:" in said
    assert text in said
    assert "storage1 does not answer, which does not prove that it is off" in said
    assert (promoted(site), told, machine.running()) == ([], orders, True)


def test_a_node_that_was_served_on(site: FailoverSite, machine: Process) -> None:
    site.answers(
        LOSSES,
        {
            "node1": {"losses": [served_until(time.time() - 20)]},
            "node2": {"failed": "no journal"},
        },
    )
    code, said, orders = fenced(site, machine, "obeys")
    assert code != 0
    assert "and node1 was served by it until 4" in said
    assert "Nothing is known of node2 (no journal)" in said
    assert "-e storage_accept_loss=true. storage1 was not switched off" in said
    assert (promoted(site), orders, machine.running()) == ([], [], True)


def test_it_is_served_on_and_lost_on_your_word(site: FailoverSite, machine: Process) -> None:
    site.answers(LOSSES, {})
    code, said, orders = fenced(site, machine, "obeys", storage_accept_loss=True)
    assert (code, orders, site.asked(LOSSES)) == (0, ["ForceOff"], []), said
    assert promoted(site) == [("storage2", [*PROMOTED, "--accept-loss"])]


def test_your_word_that_it_is_off_does_not_say_what_it_served(site: FailoverSite) -> None:
    site.answers(
        LOSSES,
        {"node1": {"losses": [served_until(None, served=True)]}},
    )
    site.inventory({"storage1", "node2"}, None)
    code, said = site.run(storage_is_off="storage1")
    assert code != 0
    assert "and node1 is served by it still: what was acknowledged" in said
    assert "Nothing is known of node2 (does not answer)" in said
    assert promoted(site) == []


@pytest.mark.parametrize(("connected", "times"), [(False, 1), (True, 2)])
def test_a_leg_that_had_not_lost_it_is_asked_once_more(site: FailoverSite, connected: bool, times: int) -> None:
    """What one that had lost it said stays true, and who is served waits."""
    leg = status("leg", connected=connected, lost_at=None if connected else time.time() - 60)
    site.answers(MIRROR, {"storage2": leg})
    site.inventory({"storage1"}, None)
    code, said = site.run(storage_is_off="storage1")
    assert code == 0, said
    looks = [host for host, words in site.asked(MIRROR) if words == ["status"]]
    assert looks == ["storage2"] * times
    assert len(promoted(site)) == 1
    nodes = sorted(host for host, _ in site.asked(LOSSES))
    assert nodes == ["node1", "node2"], "with your word they are asked at the beginning, and that is enough"


def test_addresses_that_the_model_does_not_have_any_more_are_asked_for(site: FailoverSite) -> None:
    leg = status("leg", lost_at=time.time() - 60, addresses={"10.0.1.8": False})
    site.answers(MIRROR, {"storage2": leg})
    site.inventory({"storage1"}, None)
    code, said = site.run(storage_is_off="storage1")
    assert code == 0, said
    asked = sorted((host, words[2:]) for host, words in site.asked(LOSSES))
    assert asked == [(node, [portal]) for node in ("node1", "node2") for portal in ("10.0.1.8", "10.0.1.9")]


def test_those_that_do_not_answer_are_named(site: FailoverSite) -> None:
    site.inventory({"storage1", "node2"}, None)
    code, said = site.run(storage_is_off="storage1")
    assert code == 0, said
    assert "nothing is known of node2 (does not answer): whether storage1 served them" in said
    assert promoted(site) == [("storage2", PROMOTED)]


def test_for_a_leg_that_cannot_take_over_nobody_is_switched_off(site: FailoverSite, machine: Process) -> None:
    site.answers(MIRROR, {"storage2": status("leg", complete=False)})
    code, said, orders = fenced(site, machine, "obeys")
    assert code != 0
    assert "storage2 does not hold everything as far as it knows" in said
    assert (promoted(site), orders, machine.running()) == ([], [], True)


def test_a_leg_that_is_silent_is_not_switched_off(site: FailoverSite, machine: Process) -> None:
    site.answers(MIRROR, {"storage2": status("serving")})
    code, said, orders = fenced(site, machine, "obeys")
    assert code != 0
    assert "storage1 does not answer, so that storage2 has to go on serving" in said
    assert (orders, machine.running(), site.asked(LOSSES)) == ([], True, [])


def test_both_there_no_node_is_asked(site: FailoverSite) -> None:
    whole = status("serving", arrays=[{"whole": True, "words": "volumes0 is on both servers"}])
    site.answers(MIRROR, {"storage1": whole, "storage2": status("leg")})
    site.inventory(set(), None)
    code, said = site.run()
    assert (code, site.asked(LOSSES)) == (0, []), said
    moved = {host: words for host, words in site.asked(MIRROR) if words != ["status"]}
    assert moved == {
        "storage1": ["demote"],
        "storage2": ["promote", "--generation", "4", "--planned", "--wait", "120"],
    }
