# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill under a tenant's server: what its guest tells, and what counts as a restart or an error of its volume."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "drill"))

import tenant
from machines import Wrong

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


class Told(tenant.Cloud):
    """A cloud that is not real: its guest tells these pages, one after the other."""

    def __init__(self, *pages: str) -> None:
        self.pages = list(pages)
        self.first = tenant.Writes.parse(page(written=5))

    def page(self, name: str) -> str:
        assert name == "writes"
        return self.pages.pop(0)


def test_what_the_guest_tells() -> None:
    assert tenant.Writes.parse(page()) == tenant.Writes("a-b", 123.45, 9, 3, 0, 0)
    assert tenant.Writes.parse("") is None
    assert tenant.Writes.parse(page(failed="?")) is None
    assert tenant.pauses("7 1200 450\n8 1900 101\n9\n") == [(12.0, 4.5), (19.0, 1.01)]
    # What is read here is what the guest writes there.
    assert f"places={tenant.PLACES}\n" in WRITES.replace(" ", "\n")
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
    last = tenant.Writes("a-b", 60.0, 30, 20, 0, 0)
    monkeypatch.setattr(cloud, "writes", lambda _blocks: last)
    monkeypatch.setattr(cloud, "page", lambda _name: "1 900 5000\n2 2000 700\n3 4000 1250\n")
    step = tenant.Step("planned failover", 10.0)
    cloud.end(step)
    assert (step.ended, step.pause) == (60.0, 12.5)
