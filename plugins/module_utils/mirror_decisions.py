# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may serve: every decision of the mirror, as functions of what was found. None of them touches anything.

What may never be is two servers which write. So whoever serves by its own state needs both disks of each pair, and the
peer gives its disks away only as long as it is a leg; and a leg serves only after proof that the other does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.updraft.cloud.plugins.module_utils.mirror_state import State

#: md writes the superblocks of an array one after the other: a power cut leaves them one event apart.
CUT = 1


class Refused(RuntimeError):
    """It is not done; the text says why and what to do."""


class Waits(Refused):
    """It is not done yet, and may be when the peer is there."""


@dataclass(frozen=True, slots=True)
class Member:
    """One disk of a pair as its superblock tells it.

    `slot` is its place in the array, `states` what it last knew of each place (`A` active, `.` gone), `recovering`
    whether it was still being copied to. `holds` is what lies there instead of a member; a blank disk has neither.
    """

    path: str
    uuid: str = ""
    events: int = 0
    slot: int = -1
    states: str = ""
    recovering: bool = False
    holds: tuple[str, ...] = ()

    @property
    def blank(self) -> bool:
        """Whether nothing is on it."""
        return not self.uuid and not self.holds

    def misses(self, other: Member) -> bool:
        """Say whether this one was written while the other was out."""
        return other.slot >= 0 and other.slot < len(self.states) and self.states[other.slot] != "A"


@dataclass(frozen=True, slots=True)
class Pair:
    """The two disks of an array; `peer` is None where the peer's disk cannot be reached."""

    array: str
    own: Member
    peer: Member | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """The peer's leg, logged in to: its disks in the order of the arrays, and the generation which it is a leg of."""

    disks: tuple[str, ...]
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What was found before somebody is to serve."""

    boot: str
    pairs: Sequence[Pair] = ()
    leg: Leg | None = None
    #: Addresses of the peer, or on which volumes are served, that answered; each with how.
    answers: Sequence[str] = ()
    #: Whether the peer is logged in to the disks of this server.
    session: bool = False
    #: Arrays of the mirror which run here.
    running: Mapping[str, Sequence[str]] = field(default_factory=dict)


def members(pairs: Sequence[Pair], *, alone: bool) -> dict[str, bool]:
    """Return for each array whether it starts with both disks (true) or with the own alone. Raises Refused.

    Where the own disk is the newer one it starts alone, and the peer's is brought up to it afterwards.
    """
    return {pair.array: _both(pair, alone=alone) for pair in pairs}


def _both(pair: Pair, *, alone: bool) -> bool:
    own, peer, name = pair.own, pair.peer, pair.array
    _own_usable(pair)
    if peer is None:
        if not alone:
            raise Waits(f"{name}: the peer's disk is not there")
        return False
    if not peer.uuid:
        return False
    if peer.uuid != own.uuid:
        raise Refused(
            f"{name}: the peer's {peer.path} belongs to another array ({peer.uuid}, here {own.uuid})."
            " Look which of both holds the volumes; nothing was touched"
        )
    if own.slot == peer.slot:
        raise Refused(f"{name}: both disks say that they are place {own.slot} of the array: one is a copy of the other")
    if own.misses(peer) and peer.misses(own):
        raise Refused(
            f"{name}: both servers were written to without the other ({own.path}: {own.events} events, {peer.path}:"
            f" {peer.events}). Choose whose data stays; on the other: updraft-mirror rejoin after wiping its disk"
        )
    if peer.misses(own) or peer.events > own.events + CUT:
        raise Refused(
            f"{name}: the peer's disk is newer ({peer.events} events, {own.path} has {own.events}): it went on without"
            " this server. Let the peer serve (promote it), and heal this one"
        )
    return not (own.misses(peer) or own.events > peer.events + CUT or peer.recovering)


def _own_usable(pair: Pair) -> None:
    own, name = pair.own, pair.array
    if own.holds:
        raise Refused(f"{name}: {own.path} holds {' and '.join(own.holds)}, and no member of the mirror")
    if not own.uuid:
        if pair.peer is not None and pair.peer.uuid:
            raise Refused(f"{name}: {own.path} is blank, and the data lies on the peer: promote it, and heal this one")
        raise Refused(f"{name}: {own.path} is blank. The first `updraft-mirror converge` makes the mirror")
    if own.recovering:
        raise Refused(f"{name}: {own.path} was still being copied to when it was last used: it is not whole")


def boot(state: State, scene: Scene, peer: str) -> dict[str, bool]:
    """Decide whether the one which serves by its own state may start without anybody's word. Raises Refused."""
    if state.role != "serving":
        raise Refused(f"this server is {_role(state)}, and serves only after `promote`")
    if scene.pairs and all(pair.array in scene.running for pair in scene.pairs):
        # Started before under the same proof, and then cut: nobody else can have these disks.
        return {}
    if scene.session:
        raise Refused(f"{peer} uses this server's disks: it serves")
    if scene.leg is None:
        raise Waits(
            f"waiting for the leg of {peer}: it is off, or was promoted, or cannot be reached. If {peer} is off for"
            f" certain: updraft-mirror serve --alone --generation {state.generation}"
        )
    _same_generation(state.generation, scene.leg, peer)
    if scene.answers and not scene.running:
        taken = [text for text in scene.answers if text.startswith("service")]
        if taken:
            raise Refused(f"somebody serves already: {', '.join(taken)}")
    return members(scene.pairs, alone=False)


def _same_generation(generation: int, leg: Leg, peer: str) -> None:
    if leg.generation is None:
        raise Refused(f"the leg of {peer} does not tell its generation. On {peer}: updraft-mirror status")
    if leg.generation != generation:
        raise Refused(
            f"{peer} is a leg of generation {leg.generation}, and this server of {generation}: the roles changed"
            f" meanwhile. `updraft-mirror status` on both; the newer one serves, the older one rejoins"
        )


def promote(
    state: State, generation: int, scene: Scene, peer: str, *, planned: bool, off: bool, accept_loss: bool
) -> dict[str, bool]:
    """Decide whether a leg may become the one that serves. Raises Refused."""
    again = state.role == "serving" and state.generation == generation
    if state.role == "serving" and not again:
        raise Refused(f"this server serves already, in generation {state.generation}")
    if state.role == "new":
        raise Refused("this server was never a part of the mirror: it holds nothing to serve")
    if planned == off:
        raise Refused(
            f"it must be proven that {peer} does not serve: --planned after its `demote`, or --peer-is-off once its"
            " power is off"
        )
    if not again and generation <= state.generation:
        raise Refused(f"generation {generation} is not newer than {state.generation}, which this server knows")
    # While the other one is being demoted, this one may be on its way already.
    refused = Waits if planned else Refused
    if scene.session:
        raise refused(f"{peer} is still logged in to the disks of this server")
    if off:
        _is_off(scene, peer)
    elif scene.leg is None:
        raise Waits(f"{peer} does not offer its disks as a leg, so it is not proven that it was demoted")
    else:
        _same_generation(generation, scene.leg, peer)
    both = members(scene.pairs, alone=off)
    if not again and not _proven(scene.pairs) and not accept_loss:
        _is_complete(state, scene.boot, peer)
    return both


def _proven(pairs: Sequence[Pair]) -> bool:
    """Say whether the peer's disks themselves show that nothing was written there without this server."""
    return bool(pairs) and all(pair.peer is not None and pair.peer.uuid == pair.own.uuid for pair in pairs)


def _is_off(scene: Scene, peer: str) -> None:
    if scene.answers:
        raise Refused(f"{peer} is not off: {', '.join(scene.answers)}. Cut its power, or demote it")


def _is_complete(state: State, boot: str, peer: str) -> None:
    how = f" If {peer} is lost for good, and what was written there alone may be lost: --accept-loss"
    if not state.complete:
        raise Refused(f"this server's copy is not complete: it was being brought up to date.{how}")
    if state.boot != boot:
        raise Refused(f"this server was started anew meanwhile, and {peer} may have gone on without it.{how}")


def alone(state: State, generation: int | None, scene: Scene, peer: str) -> dict[str, bool]:
    """Decide whether the one that serves may do so with its own disks only. Raises Refused."""
    if state.role != "serving":
        raise Refused(f"this server is {_role(state)}; a leg is promoted, not served from")
    if generation is None:
        raise Refused(f"say of which generation: look at both servers first; this one is in {state.generation}")
    if generation != state.generation:
        raise Refused(f"this server is in generation {state.generation}, not {generation}: look at both again")
    if scene.session:
        raise Refused(f"{peer} uses this server's disks: it serves")
    taken = [text for text in scene.answers if text.startswith("service")]
    if taken and not scene.running:
        raise Refused(f"somebody serves already: {', '.join(taken)}")
    return members(scene.pairs, alone=True)


def demote(state: State, scene: Scene, degraded: Sequence[str]) -> None:
    """Decide whether the one that serves may hand over. `degraded` are arrays not in sync, in words."""
    if state.role != "serving":
        raise Refused(f"this server does not serve: it is {_role(state)}")
    if not scene.running:
        raise Refused(
            "this server serves by its state, but no array runs: there is nothing to hand over."
            f" If the peer was promoted: updraft-mirror rejoin --generation {state.generation + 1}"
        )
    if degraded:
        raise Refused(f"not all is on both servers: {'; '.join(degraded)}. Heal first")


def rejoin(state: State, generation: int, scene: Scene) -> None:
    """Decide whether this server may give its disks to the peer. Raises Refused."""
    if scene.running:
        raise Refused(f"{', '.join(scene.running)} run here: this server serves. Demote it instead")
    if generation < state.generation:
        raise Refused(f"generation {generation} is older than {state.generation}, which this server knows")
    if state.role == "serving" and generation == state.generation:
        raise Refused(
            f"this server is the one that serves in generation {generation}: only a newer one, in which the peer was"
            " promoted, makes it a leg"
        )


def heal(state: State, scene: Scene, peer: str) -> None:
    """Decide whether the missing disks may be taken in. Raises Refused."""
    if state.role != "serving":
        raise Refused(f"this server is {_role(state)}: heal runs on the one that serves")
    if not scene.running:
        raise Refused("this server serves by its state, but no array runs: see `updraft-mirror status`")
    if scene.leg is None:
        raise Waits(f"{peer} does not offer its disks. There: updraft-mirror rejoin --generation {state.generation}")
    _same_generation(state.generation, scene.leg, peer)


def mark(state: State, generation: int) -> None:
    """Decide whether a leg may be told that it is (in)complete. Raises Refused."""
    if state.role != "leg":
        raise Refused(f"this server is {_role(state)}: only a leg is complete or not")
    if generation != state.generation:
        raise Refused(f"this leg is of generation {state.generation}, not {generation}")


def takes(own: Member, peer: Member) -> tuple[str, str]:
    """Return how a missing disk comes back ("re-add", "add" for all of it, "" for not at all), and why.

    The bitmap of this side knows what was written here. What the peer wrote alone stands in the peer's bitmap only,
    so after that all has to be copied: a re-add would leave blocks which differ.
    """
    if peer.holds:
        return "", f"{peer.path} holds {' and '.join(peer.holds)}: name it in wipe, on the peer, if that may go"
    if peer.blank:
        return "add", "it is blank"
    if peer.uuid != own.uuid:
        return "", f"{peer.path} belongs to another array ({peer.uuid})"
    if peer.misses(own) or peer.events > own.events + CUT:
        return "add", "it was written to without this server"
    if peer.recovering:
        return "re-add", "its copy was not finished"
    return "re-add", "only what changed is copied"


def _role(state: State) -> str:
    return {"new": "new", "leg": "a leg", "serving": "the one that serves"}[state.role]
