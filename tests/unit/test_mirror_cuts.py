# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror's verbs with the power cut, or the program ended, before every change: each can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import mirror_converge
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Waits
from tests.unit.mirror_fake import PowerCut
from tests.unit.mirror_site import OFF, PLANNED, Site, fail_over, whole


def _demote(site: Site) -> Any:
    return site.mirrors["storage1"].demote()


def _count(make: Callable[[], Site], act: Callable[[Site], Any], name: str) -> int:
    site = make()
    before = len(site.steps)
    act(site)
    return sum(step.startswith(name) for step in site.steps[before:])


def _cut(site: Site, name: str, step: int, act: Callable[[Site], Any], *, power: bool) -> None:
    """Do it up to a change, where the power of that server goes, or only the program ends."""
    site.cut_name, site.cut_at = name, step
    with pytest.raises(PowerCut):
        act(site)
    site.cut_at = None
    if power:
        site.cycle(name)


def _each_cut(make: Callable[[], Site], act: Callable[[Site], Any], name: str, *, power: bool) -> Iterator[Site]:
    """A site for each change that it makes on that server, cut just before it."""
    for step in range(_count(make, act, name)):
        site = make()
        _cut(site, name, step, act, power=power)
        yield site


@pytest.mark.parametrize("power", [True, False])
def test_a_handover_that_was_cut_anywhere_on_the_old_side_can_be_repeated(power: bool) -> None:
    for site in _each_cut(whole, _demote, "storage1", power=power):
        site.look(20)
        site.check()
        fail_over(site, "storage1", "storage2")
        site.write()
        site.look(20)
        site.healthy("storage2")


@pytest.mark.parametrize("power", [True, False])
def test_a_promotion_that_was_cut_anywhere_can_be_repeated(power: bool) -> None:
    def ready() -> Site:
        site = whole()
        site.mirrors["storage1"].demote()
        return site

    def promote(site: Site) -> Any:
        return site.mirrors["storage2"].promote(2, **PLANNED)

    for site in _each_cut(ready, promote, "storage2", power=power):
        site.look(20)
        promote(site)
        site.write()
        site.look(20)
        site.healthy("storage2")


@pytest.mark.parametrize("power", [True, False])
def test_a_promotion_of_the_survivor_that_was_cut_anywhere_can_be_repeated(power: bool) -> None:
    def ready() -> Site:
        site = whole()
        site.servers["storage1"].power_off()
        site.look(2)
        return site

    def promote(site: Site) -> Any:
        return site.mirrors["storage2"].promote(2, planned=False, off=True, accept_loss=power)

    for site in _each_cut(ready, promote, "storage2", power=power):
        site.look(5)
        promote(site)
        site.write()
        site.servers["storage1"].power_on()
        site.look(20)
        assert site.serving() == ["storage2"]
        site.mirrors["storage1"].rejoin(2)
        site.mirrors["storage2"].heal(30)
        site.look(20)
        site.healthy("storage2")


@pytest.mark.parametrize("power", [True, False])
def test_a_rejoin_and_a_heal_that_were_cut_anywhere_can_be_repeated(power: bool) -> None:
    def ready() -> Site:
        site = whole()
        site.servers["storage1"].power_off()
        site.look(2)
        site.mirrors["storage2"].promote(2, **OFF)
        site.write()
        site.servers["storage1"].power_on()
        return site

    def rejoin(site: Site) -> Any:
        return site.mirrors["storage1"].rejoin(2)

    for site in _each_cut(ready, rejoin, "storage1", power=power):
        site.look(20)
        rejoin(site)
        site.mirrors["storage2"].heal(30)
        site.look(20)
        site.healthy("storage2")


@pytest.mark.parametrize("power", [True, False])
def test_the_first_run_can_be_cut_anywhere(power: bool) -> None:
    def ready() -> Site:
        site = Site()
        mirror_converge.converge(site.mirrors["storage2"])
        return site

    def converge(site: Site) -> Any:
        return mirror_converge.converge(site.mirrors["storage1"])

    for site in _each_cut(ready, converge, "storage1", power=power):
        site.look(20)
        converge(site)
        site.write()
        site.look(20)
        site.healthy("storage1")


def test_the_leg_is_taken_back_from_one_that_has_closed_everything_and_offered_again_if_that_one_goes() -> None:
    site = whole()
    # The last step of a hand-over is to offer the own disks; it is cut just before.
    last = _count(whole, _demote, "storage1") - 1
    _cut(site, "storage1", last, _demote, power=False)
    site.servers["storage1"].power_off()
    with pytest.raises(Waits, match="storage1 does not offer its disks as a leg"):
        site.mirrors["storage2"].promote(2, **PLANNED)
    assert "storage2: withdraw leg" in site.steps
    site.look()
    assert site.servers["storage2"].offers == 1
