# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a leg may take over from a server that is lost: not where that one served on after the leg had lost it.

A leg cannot know that: its session ended, whether the other one died or went on alone. The nodes know until when they
were served. Their clocks are compared with the leg's by way of the controller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .failover import Status, overdue

#: For a host: `answer` of updraft.cloud.iscsi_session_info, or why there is none, and when it was there (`answered`).
Answers = Mapping[str, Mapping[str, Any]]
NOT_ASKED: Mapping[str, Any] = {"answer": {"msg": "was not asked"}}


@dataclass(frozen=True, slots=True)
class Lost:
    """A server that does not answer, seen by the leg that is left.

    lost_at: when the leg lost it, by the leg's clock; of a leg that has not (`connected`) the time of its answer.
    ahead: the seconds by which that clock is ahead of the controller's. complete: whether the leg holds everything as
    far as it knows. portals: where the volumes are served.
    """

    old: str
    new: str
    lost_at: float | None
    ahead: float
    connected: bool
    complete: bool
    portals: list[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """refused: why the leg must not take over, or empty. unknown: of whom it is not known until when it was served."""

    refused: str
    unknown: list[str]


def lost(statuses: Mapping[str, Status | None]) -> Lost | None:
    """The server that does not answer while the other is a leg; None for anything else.

    A status is the answer of `updraft-mirror status`, with the controller's clock when it `asked` and was `answered`.
    """
    silent = [name for name, status in statuses.items() if status is None]
    legs = {name: status for name, status in statuses.items() if status and status["role"] == "leg"}
    if len(silent) != 1 or len(legs) != 1:
        return None
    new, status = next(iter(legs.items()))
    connected = bool(status["connected"])
    lost_at = status["time"] if connected else status["lost_at"]
    shift = ahead(status["asked"], status["time"], status["time"], status["answered"])
    return Lost(silent[0], new, lost_at, shift, connected, bool(status["complete"]), list(status["addresses"]))


def ahead(asked: float, began: float, ended: float, answered: float) -> float:
    """The seconds by which a host's clock is ahead of the controller's: none where that is possible.

    asked, answered: by the controller's clock; began, ended: when the host did so, by its own.
    """
    least, most = float(ended) - float(answered), float(began) - float(asked)
    return 0.0 if least <= 0.0 <= most else (least + most) / 2


def judge(found: Lost, answers: Answers, users: Iterable[str]) -> Verdict:
    """Decide by what the hosts answered. users: all that may have been served."""
    seen: dict[str, float | None] = {}
    served: set[str] = set()
    unknown: list[str] = []
    for name in users:
        answer: Mapping[str, Any] = answers.get(name, NOT_ASKED)["answer"]
        if "losses" not in answer:
            unknown.append(f"{name} ({_why(answer)})")
            continue
        unknown += [f"{name} ({loss['portal']})" for loss in answer["losses"] if _unknown(loss)]
        served |= {name for loss in answer["losses"] if loss["served"]}
        seen[name] = _moment(answer, _shift(answers[name]) - found.ahead)
    # One that is served still goes on when it has answered, and may have been asked before the leg was.
    late = served.union(overdue(found.lost_at, seen))
    return Verdict(_refusal(found, {name: seen[name] for name in sorted(late)}, served, unknown), unknown)


def incomplete(found: Lost) -> str:
    """Why nobody should be switched off for a leg that may not take over anyway; empty where it may."""
    if found.complete:
        return ""
    return (
        f"{found.new} does not hold everything as far as it knows (it was being brought up to date, or was started anew"
        f" after {found.old} went on without it): it cannot take over. Start {found.old} again. Where that is lost for"
        " good, and what only it has may be, too: -e storage_accept_loss=true"
    )


def _shift(one: Mapping[str, Any]) -> float:
    answer = one["answer"]
    return ahead(one["asked"], answer["began"], answer["ended"], one["answered"]) if "ended" in answer else 0.0


def _unknown(loss: Mapping[str, Any]) -> bool:
    return not loss["served"] and loss["until"] is None


def _moment(answer: Mapping[str, Any], shift: float) -> float | None:
    """Until when a host was served at least, by the leg's clock, from which its own is `shift` ahead."""
    moments = [answer["ended"] if loss["served"] else loss["until"] for loss in answer["losses"]]
    return max((float(moment) - shift for moment in moments if moment is not None), default=None)


def _why(answer: Mapping[str, Any]) -> str:
    text = str(answer.get("msg") or "no answer").strip().splitlines()[0]
    return "does not answer" if answer.get("unreachable") else text


def _refusal(found: Lost, late: Mapping[str, float | None], served: set[str], unknown: list[str]) -> str:
    if not late or found.lost_at is None:
        return ""
    told = []
    for name, moment in late.items():
        until = f"was served by it until {(moment or 0.0) - found.lost_at:.0f} s after that"
        told.append(f"{name} is served by it still" if name in served else f"{name} {until}")
    at = datetime.fromtimestamp(found.lost_at, UTC)
    others = f" Nothing is known of {', '.join(unknown)}." if unknown else ""
    return (
        f"{found.new} lost {found.old} at {at:%Y-%m-%d %H:%M:%S} UTC, and {'; '.join(told)}: what was acknowledged"
        f" then, {found.new} does not have.{others} Start {found.old} again: it has everything, and serves on. Where it"
        " is lost for good, and those writes may be, too: -e storage_accept_loss=true"
    )
