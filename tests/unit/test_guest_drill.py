# SPDX-License-Identifier: GPL-3.0-or-later
"""The drills under a guest that writes: what it tells, and what counts as a restart or an error of its volume."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "drill"))

import guest
from machines import Wrong
from virsh_machine import told

from ansible_collections.updraft.cloud.plugins.module_utils.guest_files import WRITES


def page(**other: object) -> str:
    told = {
        "boot": "a-b",
        "uptime": 12345,
        "written": 9,
        "compared": 3,
        "longest": 210,
        "failed": 0,
        "wrong": 0,
        **other,
    }
    return "".join(f"{name} {value}\n" for name, value in told.items())


class Told(guest.Guest):
    """A machine that is not real: its guest tells these pages, one after the other."""

    def __init__(self, *pages: str) -> None:
        self.pages = list(pages)
        self.first = guest.Writes.parse(page(written=5))

    def make(self) -> None:
        raise AssertionError

    finish = make

    def page(self, name: str) -> str:
        assert name == "writes"
        return self.pages.pop(0)


def test_what_the_guest_tells() -> None:
    assert guest.Writes.parse(page()) == guest.Writes("a-b", 123.45, 9, 3, 0, 0)
    assert guest.Writes.parse("") is None
    assert guest.Writes.parse(page(failed="?")) is None
    assert guest.pauses("[ 9.1] sda: slow\nwritten ended took\n7 1200 450\n8 1900 101\n9\n") == [
        (12.0, 4.5),
        (19.0, 1.01),
    ]
    # What is read here is what the guest writes there.
    assert f"places={guest.PLACES}\n" in WRITES.replace(" ", "\n")
    assert all(f"\n{name} $" in WRITES for name in ("boot", "uptime", "written", "compared", "failed", "wrong"))


def test_silence_is_waited_for() -> None:
    assert Told("", page()).now().written == 9


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"boot": "c-d"}, "the server was restarted"),
        ({"written": 2}, "the server was restarted"),
        ({"failed": 1}, "the server's volume failed"),
        ({"wrong": 1}, "the server's volume failed"),
    ],
)
def test_another_start_and_an_error_end_it(told: dict[str, object], reason: str) -> None:
    with pytest.raises(Wrong, match=reason):
        Told(page(**told)).look()


def test_a_step_has_the_longest_pause_that_ended_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Told()
    last = guest.Writes("a-b", 60.0, 30, 20, 0, 0)
    monkeypatch.setattr(cloud, "writes", lambda _blocks: last)
    # Asked once more where it does not answer.
    pages = ["written ended took\n1 900 5000\n2 2000 700\n3 4000 1250\n", ""]
    monkeypatch.setattr(cloud, "page", lambda _name: pages.pop())
    step = guest.Step("planned failover", 10.0)
    cloud.end(step, moved=True)
    assert (step.ended, step.pause) == (60.0, 12.5)


def test_a_move_without_a_pause_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Told()
    monkeypatch.setattr(cloud, "writes", lambda _blocks: guest.Writes("a-b", 60.0, 30, 20, 0, 0))
    monkeypatch.setattr(cloud, "page", lambda _name: "written ended took\n")
    cloud.end(guest.Step("return and heal", 10.0), moved=False)
    with pytest.raises(Wrong, match="loss: the guest tells of no pause"):
        cloud.end(guest.Step("loss", 10.0), moved=True)


def test_the_newest_whole_page_of_a_console_counts() -> None:
    console = "noise\r\npage writes\r\nboot a\r\nend writes\r\npage pauses\r\nend pauses\r\n"
    console += "page writes\r\nboot b\r\nwritten 2\r\nend writes\r\npage writes\r\nboot b\r\nwrit"

    assert told(console, "writes") == "boot b\nwritten 2\n"
    assert told(console, "pauses") == ""
    assert told("boot", "writes") == ""
