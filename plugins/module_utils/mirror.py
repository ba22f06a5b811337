# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror of two storage servers: the verbs of `updraft-mirror`, step by step.

`mirror_decisions` says what may be done, `System` does it, and this puts both in an order in which a power cut at any
point leaves at most one server that can write: what a step permits is on the disk before the step.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import mirror_decisions as decide
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_config import Config
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Leg, Member, Pair, Refused, Scene
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_protocol import System
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_state import State, Store

#: Seconds in which a session of a peer without power ends (LIO's own questions and their time limit).
SESSION_ENDS = 20.0
#: Seconds for which a peer that has closed everything is waited for.
LEG_COMES = 10.0


def say(text: str) -> None:
    """Tell the journal."""
    print(text, file=sys.stderr, flush=True)


class Mirror:
    """The verbs. The caller holds the lock."""

    def __init__(self, config: Config, system: System, store: Store) -> None:
        """Bind configuration, machine and memory."""
        self.config = config
        self.system = system
        self.store = store
        self._told: set[str] = set()

    # What was found.

    def scene(self, *, log_in: bool, peer: bool, ask: bool = True) -> Scene:
        """Look: log in to the peer's leg where wanted, and ask who answers: on the service addresses, and the peer.

        Asking takes seconds of silence, which a hand-over need not wait for: it has the peer's leg for a proof, and
        without that nothing to compare.
        """
        system = self.system
        leg = system.log_in() if log_in else system.leg()
        return Scene(
            boot=system.boot_id(),
            pairs=self.pairs(leg) if leg or ask else [],
            leg=leg,
            answers=system.answers(peer=peer) if ask else [],
            session=system.session(),
            running={name: array.active for name, array in system.running().items()},
        )

    def pairs(self, leg: Leg | None) -> list[Pair]:
        """Return the disks of each array."""
        own = self.system.own_members()
        theirs: Sequence[Member | None] = self.system.peer_members(leg) if leg else [None] * len(own)
        return [Pair(name, mine, other) for name, mine, other in zip(self.config.arrays, own, theirs, strict=True)]

    # Serving, and no longer serving.

    def serve(self, starts: Mapping[str, bool], scene: Scene, *, closed: bool = False) -> list[str]:
        """Go all the way from disks to addresses. The state says `serving` already. `closed`: see `above`."""
        system = self.system
        system.withdraw_leg()
        changed = []
        for pair in scene.pairs:
            if pair.array in scene.running or pair.array not in starts:
                continue
            peer = [pair.peer.path] if starts[pair.array] and pair.peer is not None else []
            system.start_array(pair.array, [pair.own.path, *peer])
            changed.append(f"start array {pair.array}")
        if scene.leg is not None:
            changed += self.take_back(scene.leg, scene.pairs, full=False)
        return changed + self.above(closed=closed)

    def above(self, *, closed: bool = False) -> list[str]:
        """Bring up what stands on the arrays, in order; what is there already stays as it is.

        `closed` says that the other server has just closed all of it in order.
        """
        system = self.system
        # What is there already is served at once, and looked after when nobody waits any more.
        ready = system.activate_group(closed=closed)
        changed = [] if ready else system.prepare_group()
        changed += [*system.make_targets(), *system.add_addresses()]
        system.hurry(False)
        system.set_up(True)
        if ready:
            changed += system.prepare_group()
        return changed + system.start_units()

    def clear(self, *, keep: bool) -> None:
        """Take everything down. Addresses go before targets: initiators see silence, and no error.

        `keep` is for who holds the truth: what the volume service made to its end is kept for who serves next. Not of
        one that was not up: it may not have restored them yet.
        """
        system = self.system
        keep = keep and system.up()
        system.set_up(False)
        system.stop_units()
        if keep:
            system.save_targets(closing=True)
        system.unmonitor_group()
        system.remove_addresses()
        system.remove_targets()
        system.deactivate_group()
        system.stop_arrays()

    def take_back(self, leg: Leg, pairs: Sequence[Pair], *, full: bool) -> list[str]:
        """Take in the peer's disks that are missing; `full` also those of which all has to be copied."""
        taken: list[str] = []
        running = self.system.running()
        for pair in pairs:
            array = running.get(pair.array)
            if array is None or pair.peer is None or len(array.active) + len(array.copying) > 1:
                continue
            how, why = decide.takes(pair.own, pair.peer)
            if not how or (how == "add" and not full):
                self.tell(f"{pair.array}: {pair.peer.path} stays out until it is healed: {why}")
                continue
            if array.faulty:
                self.system.remove_failed(pair.array)
            if not taken:
                self._write_mark(leg, complete=False)
            self.system.take(pair.array, pair.peer.path, how)
            taken.append(f"{how} {pair.peer.path} to {pair.array}: {why}")
            say(taken[-1])
        return taken

    def tell_leg(self, leg: Leg) -> bool:
        """Tell the leg whether it holds all that was acknowledged; return whether nothing is left to be copied."""
        running = self.system.running()
        count = len(self.config.arrays)
        self._write_mark(leg, complete=len(running) == count and all(array.safe for array in running.values()))
        return len(running) == count and all(array.whole for array in running.values())

    def _write_mark(self, leg: Leg | None, *, complete: bool, closed: bool = False) -> None:
        if leg is None:
            return
        body = {
            "generation": self.store.read().generation,
            "complete": complete,
            "closed": closed,
            "time": self.system.now(),
        }
        try:
            self.system.write_mark(leg, body)
        except OSError as error:
            # The leg goes just now. It knows by itself that its session went.
            self.tell(f"the leg of {self.config.peer.name} could not be told: {error}")

    def tell(self, text: str) -> None:
        """Say it in the journal, the same text once."""
        if text not in self._told:
            say(text)
            self._told.add(text)

    def forget_told(self) -> None:
        """Say again what was said before, should it happen again."""
        self._told.clear()

    # Verbs.

    def boot(self) -> dict[str, Any]:
        """Go on as what this server is by its state, if that is safe without anybody's word."""
        state = self.store.read()
        if state.role == "new":
            return self._done(state, [])
        if state.role == "leg":
            return self._done(*self._be_leg(state))
        if self.system.up():
            return self._done(state, [])
        scene = self.scene(log_in=True, peer=False)
        starts = decide.boot(state, scene, self.config.peer.name)
        return self._done(state, self.serve(starts, scene))

    def _be_leg(self, state: State) -> tuple[State, list[str]]:
        boot = self.system.boot_id()
        changed = []
        if state.boot != boot:
            # The peer may have gone on alone: only the peer knows.
            state = state.with_(complete=False, boot=boot, connected=False)
            self.store.write(state)
        if self.system.running():
            raise Refused(f"arrays run here, and this server is a leg: {', '.join(self.system.running())}")
        self.system.remove_addresses()
        # A package starts what it brings, and an operator may have.
        self.system.stop_units()
        changed += self.system.export_leg(state.generation)
        return state, changed

    def demote(self) -> dict[str, Any]:
        """Hand over: from serving to leg, with everything written."""
        state = self.store.read()
        if state.role == "leg":
            return self._done(*self._be_leg(state))
        if state.role == "serving" and not self.system.up():
            self._serve_again(state)
        scene = self.scene(log_in=False, peer=False)
        arrays = self.system.running()
        degraded = [array.words() for array in arrays.values() if not array.whole]
        decide.demote(state, scene, degraded)
        self.system.hurry(True)
        self.clear(keep=True)
        self._write_mark(scene.leg, complete=True, closed=True)
        self.system.log_out()
        state = state.leg(state.generation + 1, self.system.boot_id(), complete=True)
        self.store.write(state)
        return self._done(state, ["demote", *self.system.export_leg(state.generation)])

    def _serve_again(self, state: State) -> None:
        """Undo a demote that was cut: only what serves can be handed over whole."""
        try:
            self.boot()
        except Refused as error:
            raise Refused(
                f"this server does not serve now, so there is nothing to hand over ({error})."
                f" If the peer was promoted: updraft-mirror rejoin --generation {state.generation + 1}"
            ) from None

    def promote(self, generation: int, *, planned: bool, off: bool, accept_loss: bool) -> dict[str, Any]:
        """Become the one that serves."""
        state = self.store.read()
        if state.role == "serving" and state.generation == generation and self.system.up():
            return self._done(state, [])
        if state.role != "new":
            self.system.get_ready()
        self.system.hurry(True)
        if off:
            self._session_ends()
        scene = self.scene(log_in=planned and state.role != "new", peer=off, ask=not planned)
        if planned and scene.leg is None and not scene.session and self._closed(state.generation):
            scene = self._give_way()
        try:
            starts = decide.promote(
                state, generation, scene, self.config.peer.name, planned=planned, off=off, accept_loss=accept_loss
            )
        except Refused:
            if state.role == "leg":
                self.system.log_out()
            raise
        lost = self.system.now() if state.connected and state.lost_at is None else state.lost_at
        proof = {"lost_at": lost, "closed": state.closed, "was_complete": state.complete}
        self.store.write(state.serving(generation))
        changed = self.serve(starts, scene, closed=planned)
        return {**self._done(self.store.read(), ["promote", *changed]), **proof}

    def _give_way(self) -> Scene:
        """Take the own disks back from a peer that has closed everything, while it gets ready to offer its own."""
        self.system.withdraw_leg()
        end = self.system.now() + LEG_COMES
        while not (scene := self.scene(log_in=True, peer=False, ask=False)).leg and self.system.now() < end:
            self.system.sleep(0.2)
        return scene

    def _closed(self, generation: int) -> bool:
        """Say whether the serving side, of this generation, has written its last to this leg."""
        mark = self.system.read_mark()
        return mark is not None and mark[1].get("generation") == generation and bool(mark[1].get("closed"))

    def _session_ends(self) -> None:
        """Wait for the session of a peer that lost its power; one that answers is not waited for."""
        end = self.system.now() + SESSION_ENDS
        while self.system.session() and self.system.now() < end and not self.system.answers(peer=True):
            self.system.sleep(1)

    def serve_alone(self, generation: int | None) -> dict[str, Any]:
        """Serve with the own disks only, on the word of an operator; with the peer's leg if it is there."""
        state = self.store.read()
        if state.role == "serving" and state.generation == generation and self.system.up():
            return self._done(state, [])
        scene = self.scene(log_in=state.role == "serving", peer=False)
        starts = decide.alone(state, generation, scene, self.config.peer.name)
        if not all(starts.values()):
            state = state.with_(alone_since=state.alone_since or self.system.now())
            self.store.write(state)
        return self._done(state, ["serve alone", *self.serve(starts, scene)])

    def rejoin(self, generation: int) -> dict[str, Any]:
        """Give the disks to the peer, which serves in this generation."""
        state = self.store.read()
        scene = self.scene(log_in=False, peer=False)
        decide.rejoin(state, generation, scene)
        changed = []
        if (state.role, state.generation) != ("leg", generation):
            self.clear(keep=False)
            self.system.log_out()
            state = state.leg(generation, self.system.boot_id(), complete=False)
            self.store.write(state)
            changed.append("rejoin")
        state, more = self._be_leg(state)
        return self._done(state, changed + more)

    def heal(self, wait: float) -> dict[str, Any]:
        """Take in the peer's disks, and wait until everything is on both servers."""
        state = self.store.read()
        scene = self.scene(log_in=state.role == "serving", peer=False)
        decide.heal(state, scene, self.config.peer.name)
        assert scene.leg is not None
        for name, array in self.system.running().items():
            if array.faulty:
                self.system.remove_failed(name)
        self._refuse_foreign(scene.pairs)
        changed = self.take_back(scene.leg, scene.pairs, full=True)
        end, told = self.system.now() + wait, ""
        while not (complete := self.tell_leg(scene.leg)) and self.system.now() < end:
            words = "; ".join(array.words() for array in self.system.running().values() if not array.whole)
            if words != told:
                say(words)
                told = words
            self.system.sleep(1)
        if complete and state.alone_since is not None:
            state = state.with_(alone_since=None)
            self.store.write(state)
        return {**self._done(state, changed), "complete": complete, "arrays": self.arrays()}

    def _refuse_foreign(self, pairs: Sequence[Pair]) -> None:
        missing = [p for p in pairs if p.peer and len(self.system.running()[p.array].active) < 2]
        ways = [(pair, *decide.takes(pair.own, pair.peer)) for pair in missing if pair.peer]
        problems = [f"{pair.array}: {why}" for pair, how, why in ways if not how]
        if problems:
            raise Refused("; ".join(problems))

    def mark(self, generation: int, *, complete: bool) -> dict[str, Any]:
        """Take an operator's word for whether this leg holds everything."""
        state = self.store.read()
        decide.mark(state, generation)
        wanted = state.with_(complete=complete, boot=self.system.boot_id(), lost_at=None if complete else state.lost_at)
        if wanted == state:
            return self._done(state, [])
        self.store.write(wanted)
        return self._done(wanted, ["mark complete" if complete else "mark incomplete"])

    def down(self) -> dict[str, Any]:
        """Take everything down in order before the computer is switched off; the state stays what it is."""
        state = self.store.read()
        if state.role != "serving" or not self.system.running():
            return self._done(state, [])
        leg = self.system.leg()
        complete = all(array.safe for array in self.system.running().values())
        self.clear(keep=True)
        self._write_mark(leg, complete=complete, closed=True)
        self.system.log_out()
        return self._done(state, ["down"])

    def save_targets(self) -> dict[str, Any]:
        """Keep the targets which the volume service made, so that the other server has them after a failover.

        Other verbs are not waited for: the volume service waits for this one, and a heal takes hours.
        """
        state = self.store.read()
        saved = state.role == "serving" and self.system.up() and self.system.save_targets()
        return self._done(state, ["save targets"] if saved else [])

    def arrays(self) -> list[dict[str, Any]]:
        """Return the arrays that run here."""
        return [
            {
                "name": array.name, "whole": array.whole, "active": list(array.active), "copying": list(array.copying),
                "faulty": list(array.faulty), "action": array.action, "done": array.done, "total": array.total,
                "words": array.words(),
            }
            for array in self.system.running().values()
        ]  # fmt: skip

    def _done(self, state: State, changed: Sequence[str]) -> dict[str, Any]:
        return {
            "role": state.role,
            "generation": state.generation,
            "up": self.system.up(),
            "changed": list(changed),
        }
