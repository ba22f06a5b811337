# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on between the verbs: once a second a cheap look, and what has to follow from it by itself.

Serving: a disk that failed leaves its array, and comes back by itself when the peer offers it as a leg of the same
generation. Leg: what the serving side says is remembered, and when it went. Nothing here ever makes a leg serve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.mirror import Mirror, say
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Refused
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_protocol import Running
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_state import State

#: Seconds between attempts to go on, and between messages to the leg.
ATTEMPT = 5.0
MESSAGE = 5.0
Note = tuple[int, Mapping[str, Any]]


def leg_sees(state: State, session: bool, note: Note | None, known: int, now: float) -> State:
    """Return what a leg remembers after a look. `known` is the number of the last note before this session."""
    if session and not state.connected:
        # It may have missed writes: it is complete again when the serving side says so.
        state = state.with_(connected=True, complete=False, closed=False)
    fresh = note is not None and note[0] > known and note[1].get("generation") == state.generation
    if note is not None and fresh and state.connected:
        complete, closed = bool(note[1].get("complete")), bool(note[1].get("closed"))
        state = state.with_(complete=complete, closed=closed, lost_at=None if complete and session else state.lost_at)
    if not session and state.connected:
        state = state.with_(connected=False, lost_at=now)
    return state


class Watch:
    """The looks of one process. The caller holds the lock during a look."""

    def __init__(self, mirror: Mirror) -> None:
        """Remember nothing yet."""
        self.mirror = mirror
        self._reason = ""
        self._known = 0
        self._attempt = -ATTEMPT
        self._message = -MESSAGE
        self._missing: tuple[str, ...] | None = None

    def look(self, monotonic: float) -> None:
        """Do what is due."""
        state = self.mirror.store.read()
        try:
            if state.role == "leg":
                self._leg(state, monotonic)
            elif state.role == "serving":
                self._serving(state, monotonic)
        except Refused as error:
            self._once(str(error))

    def _once(self, text: str) -> None:
        if text != self._reason:
            say(text)
            self._reason = text

    def _leg(self, state: State, monotonic: float) -> None:
        system = self.mirror.system
        if state.boot != system.boot_id() or not system.exported():
            if monotonic - self._attempt < ATTEMPT:
                return
            self._attempt = monotonic
            self.mirror.boot()
            self._reason = ""
            state = self.mirror.store.read()
        session, note = system.session(), system.read_mark()
        if session and not state.connected:
            self._known = note[0] if note else 0
        seen = leg_sees(state, session, note, self._known, system.now())
        if seen != state:
            # A note alone comes every few seconds: only a change is written.
            self.mirror.store.write(seen)
            _tell_leg(state, seen, self.mirror.config.peer.name)

    def _serving(self, state: State, monotonic: float) -> None:
        due = monotonic - self._attempt >= ATTEMPT
        if not self.mirror.system.up():
            if due:
                self._attempt = monotonic
                self.mirror.boot()
                self._reason = ""
                say("serving")
            return
        arrays = self.mirror.system.running()
        self._lost(state, arrays)
        if due and any(len(array.active) + len(array.copying) < 2 for array in arrays.values()):
            self._attempt = monotonic
            self._take_back(state)
        if monotonic - self._message >= MESSAGE:
            self._message = monotonic
            leg = self.mirror.system.leg()
            if leg is not None and leg.generation == state.generation:
                self.mirror.tell_leg(leg)

    def _lost(self, state: State, arrays: Mapping[str, Running]) -> None:
        """Take failed disks out, and remember since when this server is alone."""
        for name, array in arrays.items():
            if array.faulty:
                say(f"{name}: {', '.join(array.faulty)} failed; writes go on on this server alone")
                self.mirror.system.remove_failed(name)
        missing = tuple(name for name, array in arrays.items() if len(array.active) < 2)
        if missing and state.alone_since is None:
            self.mirror.store.write(state.with_(alone_since=self.mirror.system.now()))
        if not missing and state.alone_since is not None:
            self.mirror.store.write(state.with_(alone_since=None))
            self.mirror.forget_told()
        if missing != self._missing and self._missing is not None:
            say("; ".join(array.words() for array in arrays.values()))
        self._missing = missing

    def _take_back(self, state: State) -> None:
        leg = self.mirror.system.log_in()
        if leg is None:
            return
        if leg.generation != state.generation:
            self.mirror.tell(
                f"{self.mirror.config.peer.name} is a leg of generation {leg.generation}: heal takes it in"
            )
            return
        self.mirror.take_back(leg, self.mirror.pairs(leg), full=False)


def _tell_leg(before: State, after: State, peer: str) -> None:
    if after.connected and not before.connected:
        say(f"{peer} uses this server's disks; whether they hold everything it says when they do")
    if before.connected and not after.connected:
        say(f"{peer} is gone" + (" after it had closed everything" if after.closed else ""))
    if after.complete and not before.complete:
        say("this leg holds everything")
