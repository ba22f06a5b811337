# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to get two servers which write: each is refused, says why, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import mirror_converge
from ansible_collections.updraft.cloud.plugins.module_utils import mirror_decisions as decide
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Leg, Member, Pair, Refused, Scene
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_state import State
from tests.unit.mirror_fake import NAMES, World
from tests.unit.mirror_site import OFF, PLANNED, Site, whole

ONE, TWO = NAMES
OWN = Member("/dev/vdb", "uuid", 100, 0, "AA")
PEER = Member("/dev/sda", "uuid", 100, 1, "AA")
HELD = Member("/dev/vdb", holds=("a signature of ext4",))


def off(site: World, name: str) -> None:
    site.servers[name].power_off()


def lose(site: Site) -> None:
    """Storage1 is off, and storage2 has seen it."""
    off(site, ONE)
    site.look(3)


def promoted(site: Site) -> None:
    """Storage2 took over, and storage1 is back, sure that it serves."""
    lose(site)
    site.mirrors[TWO].promote(2, **OFF)
    site.write()
    site.servers[ONE].power_on()


def restarted_leg(site: Site) -> None:
    site.cycle(TWO)
    lose(site)


def alone(site: Site) -> None:
    off(site, TWO)
    site.look(3)


def waiting(site: Site) -> None:
    """Storage1 was started anew without its peer."""
    alone(site)
    site.cycle(ONE)


def stranger(site: Site) -> None:
    waiting(site)
    site.strangers = ["service address 10.78.1.9 answers"]


Act = Callable[[Site], Any]
WAYS: list[tuple[str, Callable[[Site], Any], Act, str]] = [
    ("promote while the peer answers", lambda site: None,
     lambda site: site.mirrors[TWO].promote(2, **OFF), "is still logged in"),
    ("promote while the peer answers, its session lost", lambda site: site.servers[ONE].lose_leg(),
     lambda site: site.mirrors[TWO].promote(2, **OFF), "storage1 is not off: service address 10.78.1.9 answers"),
    ("promote without proof", lose,
     lambda site: site.mirrors[TWO].promote(2, planned=False, off=False, accept_loss=True), "it must be proven"),
    ("promote as planned without a demote", lose,
     lambda site: site.mirrors[TWO].promote(2, **PLANNED), "does not offer its disks as a leg"),
    ("promote a leg that was restarted", restarted_leg,
     lambda site: site.mirrors[TWO].promote(2, **OFF), "not complete"),
    ("promote the one that serves", lambda site: None,
     lambda site: site.mirrors[ONE].promote(2, **OFF), "serves already, in generation 1"),
    ("promote in the same generation", lose,
     lambda site: site.mirrors[TWO].promote(1, **OFF), "generation 1 is not newer than 1"),
    ("promote in an older generation", lose,
     lambda site: site.mirrors[TWO].promote(0, **OFF), "generation 0 is not newer than 1"),
    ("boot the old primary", promoted,
     lambda site: site.mirrors[ONE].boot(), "waiting for the leg of storage2"),
    ("converge the old primary", promoted,
     lambda site: mirror_converge.converge(site.mirrors[ONE]), "waiting for the leg of storage2"),
    ("demote the old primary", promoted,
     lambda site: site.mirrors[ONE].demote(), "updraft-mirror rejoin --generation 2"),
    ("serve alone on the old primary while the other serves", promoted,
     lambda site: site.mirrors[ONE].serve_alone(1), "somebody serves already: service address 10.78.1.9 answers"),
    ("serve alone without a generation", waiting,
     lambda site: site.mirrors[ONE].serve_alone(None), "say of which generation"),
    ("serve alone with another generation", waiting,
     lambda site: site.mirrors[ONE].serve_alone(2), "is in generation 1, not 2"),
    ("serve alone while a stranger answers", stranger,
     lambda site: site.mirrors[ONE].serve_alone(1), "somebody serves already"),
    ("serve alone from a leg", lose,
     lambda site: site.mirrors[TWO].serve_alone(1), "a leg is promoted"),
    ("rejoin while an array is assembled", lambda site: None,
     lambda site: site.mirrors[ONE].rejoin(2), "volumes0 run here"),
    ("rejoin in the generation in which it serves", waiting,
     lambda site: site.mirrors[ONE].rejoin(1), "only a newer one"),
    ("rejoin in an older generation", promoted,
     lambda site: site.mirrors[ONE].rejoin(0), "older than 1"),
    ("demote while not all is on both", alone,
     lambda site: site.mirrors[ONE].demote(), "not all is on both servers: volumes0 is on this server only"),
    ("heal from the leg", lambda site: None,
     lambda site: site.mirrors[TWO].heal(0), "heal runs on the one that serves"),
    ("heal with a leg that was not rejoined", promoted,
     lambda site: site.mirrors[TWO].heal(0), "updraft-mirror rejoin --generation 2"),
    ("mark one that serves", lambda site: None,
     lambda site: site.mirrors[ONE].mark(1, complete=True), "only a leg"),
    ("mark in another generation", lambda site: None,
     lambda site: site.mirrors[TWO].mark(2, complete=True), "of generation 1, not 2"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "act", "said"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_it_is_refused_with_the_reason(before: Callable[[Site], Any], act: Act, said: str) -> None:
    site = whole()
    before(site)
    steps, states = len(site.steps), [server.store.state for server in site.servers.values()]
    serving = site.serving()
    with pytest.raises(Refused) as caught:
        act(site)
    assert said in str(caught.value)
    assert [step for step in site.steps[steps:] if "log" not in step] == []
    assert [server.store.state for server in site.servers.values()] == states
    assert site.serving() == serving
    site.check()


def test_an_old_primary_waits_for_ever_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    site = whole()
    promoted(site)
    capsys.readouterr()
    site.look(60)
    assert site.serving() == [TWO]
    assert capsys.readouterr().err.count("waiting for the leg of storage2") == 1


def boot(own: Member, peer: Member | None, *, generation: int | None = 1, **more: Any) -> dict[str, bool]:
    leg = Leg(("/dev/sda",), generation)
    scene = Scene("boot-1", [Pair("volumes0", own, peer)], leg, **more)
    return decide.boot(State("serving", 1), scene, TWO)


@pytest.mark.parametrize(
    ("own", "peer", "both"),
    [
        (OWN, PEER, True),
        (OWN, replace(PEER, events=101), True),
        (replace(OWN, events=101), PEER, True),
        (replace(OWN, events=130, states="A."), PEER, False),
        (OWN, replace(PEER, recovering=True), False),
        (OWN, Member("/dev/sda"), False),
    ],
    ids=["equal", "cut before ours", "cut before theirs", "was alone", "copy not finished", "blank"],
)
def test_what_an_array_is_started_of(own: Member, peer: Member, both: bool) -> None:
    assert boot(own, peer) == {"volumes0": both}


@pytest.mark.parametrize(
    ("own", "peer", "said"),
    [
        (OWN, replace(PEER, uuid="other"), "belongs to another array (other, here uuid)"),
        (OWN, replace(PEER, events=130), "the peer's disk is newer (130 events, /dev/vdb has 100)"),
        (OWN, replace(PEER, states=".A"), "the peer's disk is newer"),
        (replace(OWN, states="A."), replace(PEER, states=".A"), "both servers were written to without the other"),
        (OWN, replace(PEER, slot=0), "one is a copy of the other"),
        (replace(OWN, recovering=True), PEER, "it is not whole"),
        (Member("/dev/vdb"), PEER, "the data lies on the peer: promote it"),
        (Member("/dev/vdb"), Member("/dev/sda"), "is blank"),
        (HELD, PEER, "holds a signature of ext4"),
        (OWN, None, "the peer's disk is not there"),
    ],
)
def test_what_no_array_is_started_of(own: Member, peer: Member | None, said: str) -> None:
    with pytest.raises(Refused) as caught:
        boot(own, peer)
    assert said in str(caught.value)


@pytest.mark.parametrize("generation", [0, 2, None])
def test_a_leg_of_another_generation_is_not_used(generation: int | None) -> None:
    with pytest.raises(Refused, match="generation"):
        boot(OWN, PEER, generation=generation)


def test_a_server_whose_disks_the_peer_uses_does_not_start() -> None:
    with pytest.raises(Refused, match="storage2 uses this server's disks"):
        boot(OWN, PEER, session=True)


def test_a_leg_in_the_middle_of_a_copy_is_never_promoted() -> None:
    pairs = [Pair("volumes0", replace(OWN, recovering=True))]
    state = State("leg", 1, complete=True, boot="boot-1")
    with pytest.raises(Refused, match="was still being copied to"):
        decide.promote(state, 2, Scene("boot-1", pairs), ONE, planned=False, off=True, accept_loss=True)


def test_a_reinstalled_first_server_makes_no_second_mirror() -> None:
    site = whole()
    site.servers[ONE].power_off()
    site.servers[ONE].store.state = State()
    site.servers[ONE].power_on()
    with pytest.raises(Refused, match="hold a mirror already, and this server does not remember it"):
        mirror_converge.converge(site.mirrors[ONE])
    site.servers[ONE].wipe(f"/dev/{ONE}")
    with pytest.raises(Refused, match="the peer's /dev/iscsi-storage2 holds a mirror"):
        mirror_converge.converge(site.mirrors[ONE])


def test_a_disk_that_holds_something_is_never_taken() -> None:
    site = Site()
    for name in NAMES:
        site.servers[name].disk.member = Member(f"/dev/{name}", holds=("a signature of xfs",))
        with pytest.raises(Refused, match=rf"it holds a signature of xfs.*volumes_wipe: \[/dev/{name}\]"):
            mirror_converge.converge(site.mirrors[name])
    assert site.steps == []
