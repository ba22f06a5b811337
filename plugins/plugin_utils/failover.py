# SPDX-License-Identifier: GPL-3.0-or-later
"""Who shall serve the volumes next, and whether that is safe: decided from what both storage servers say of themselves.

What a server says is the answer of `updraft-mirror status`; None stands for one that does not answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Mapping[str, Any]
#: Seconds by which nodes may have been served longer than the other leg: clocks differ, and an error that no silence
#: went before has its own pace. What is served alone for no longer than this after the leg's loss is not noticed.
GRACE = 5.0


class FailoverError(ValueError):
    """It is not safe, or not possible; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Move:
    """What is to be done. kind: `none`, `planned` (both take part) or `lost` (the old one is gone).

    generation: of the serving that begins; old, new: the servers' names.
    """

    kind: Literal["none", "planned", "lost"]
    old: str
    new: str
    generation: int
    why: str


def serving(statuses: Mapping[str, Status | None]) -> str | None:
    """The server that serves by the word of those that answer: the one with the highest generation."""
    claims = {name: status["generation"] for name, status in statuses.items() if status and status["role"] == "serving"}
    return max(claims, key=lambda name: claims[name]) if claims else None


def decide(statuses: Mapping[str, Status | None], wanted: str | None = None, off: Collection[str] = ()) -> Move:
    """Return the move. wanted: who shall serve, by default the one that does not; off: who is proven to be off.

    Raises FailoverError.
    """
    names = list(statuses)
    if wanted is not None and wanted not in statuses:
        raise FailoverError(f"'{wanted}' is no storage server of the mirror: write storage_to={' or '.join(names)}")
    silent = [name for name, status in statuses.items() if status is None]
    if len(silent) == len(names):
        raise FailoverError(f"neither {' nor '.join(names)} answers: start one of them")
    stale = _stale(statuses)
    if stale:
        raise FailoverError(stale)
    old = serving(statuses)
    if old is None:
        return _survivor(statuses, silent, wanted, off)
    new = wanted or next(name for name in names if name != old)
    highest = max(int(status["generation"]) for status in statuses.values() if status)
    if new == old:
        return Move("none", old, new, highest, f"{old} serves already")
    if new in silent:
        raise FailoverError(f"{new} does not answer, so that {old} has to go on serving; when {new} is back, heal")
    return _planned(statuses, old, new, highest)


def _stale(statuses: Mapping[str, Status | None]) -> str:
    """What is wrong when two claim to serve, or the one that claims it knows less than the other."""
    claims = [name for name, status in statuses.items() if status and status["role"] == "serving"]
    if not claims:
        return ""
    generations = {name: int(status["generation"]) for name, status in statuses.items() if status}
    newest = max(generations, key=lambda name: generations[name])
    behind = [name for name in claims if generations[name] < generations[newest]]
    if not behind:
        return ""
    return (
        f"{behind[0]} takes itself for the one that serves, of generation {generations[behind[0]]}, and {newest} is at"
        f" generation {generations[newest]}: {behind[0]} is an old one that returned. Take it in first:"
        " playbooks/storage_heal.yml"
    )


def _planned(statuses: Mapping[str, Status | None], old: str, new: str, highest: int) -> Move:
    before = statuses[old] or {}
    if not before["up"]:
        raise FailoverError(
            f"{old} is the one that serves, but does not at the moment. Its journal says why:"
            " journalctl -u updraft-mirror"
        )
    apart = [str(one["words"]) for one in before["arrays"] if not one["whole"]]
    if apart:
        raise FailoverError(
            f"{old}: {'; '.join(apart)}, so that {new} does not have all that was written."
            " Wait for the copy (./updraft storage), or heal: playbooks/storage_heal.yml"
        )
    return Move("planned", old, new, highest + 1, f"{old} hands over to {new}")


def _survivor(
    statuses: Mapping[str, Status | None], silent: Collection[str], wanted: str | None, off: Collection[str]
) -> Move:
    """Nobody who answers serves: the one that does not answer may."""
    if not silent:
        names = " and ".join(statuses)
        raise FailoverError(f"neither of {names} has served yet: run playbooks/site.yml")
    old = next(iter(silent))
    new = next(name for name, status in statuses.items() if status is not None)
    if wanted == old:
        raise FailoverError(f"{old} does not answer: it cannot serve")
    if old not in off:
        raise FailoverError(
            f"{old} does not answer, which does not prove that it is off: it may serve on, and two that write destroy"
            f" the volumes. Switch it off, then say so: -e storage_is_off={old} (with nodes.{old}.power in cloud.yml"
            " Updraft switches it off itself)"
        )
    generation = int((statuses[new] or {})["generation"]) + 1
    return Move("lost", old, new, generation, f"{old} is off, {new} takes over")


def overdue(lost_at: float | None, seen: Mapping[str, float | None], grace: float = GRACE) -> list[str]:
    """The nodes that were served by the old server after the other leg had lost it: what they wrote then is not there.

    lost_at: when the leg lost the old server; seen: for each node until when it was served (None: not known, or never).
    """
    if lost_at is None:
        return []
    return [name for name, moment in seen.items() if moment is not None and moment > lost_at + grace]


@dataclass(frozen=True, slots=True)
class Cure:
    """How the mirror becomes whole. returned: the server that becomes a leg; alone: the other has to serve first."""

    serving: str
    returned: str
    generation: int
    alone: bool


def cure(statuses: Mapping[str, Status | None]) -> Cure:
    """Return how a server that returned is taken in. Raises FailoverError."""
    silent = [name for name, status in statuses.items() if status is None]
    if silent:
        raise FailoverError(
            f"{silent[0]} does not answer: start it, or put a new machine in its place and run playbooks/site.yml on it"
        )
    source = serving(statuses)
    if source is None:
        raise FailoverError(f"neither of {' and '.join(statuses)} has served yet: run playbooks/site.yml")
    status = statuses[source] or {}
    returned = next(name for name in statuses if name != source)
    generation = int(status["generation"])
    if int((statuses[returned] or {})["generation"]) > generation:
        raise FailoverError(
            f"{returned} knows of generation {(statuses[returned] or {})['generation']}, {source} serves generation"
            f" {generation}: {source} is the old one. Have {returned} serve: playbooks/storage_failover.yml"
        )
    return Cure(source, returned, generation, not status["up"])
