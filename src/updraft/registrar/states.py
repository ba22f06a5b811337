# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of a machine: pure rules, no clock, no database.

Kept is the state of which an operator or the registrar has decided; `away` is not kept but follows from silence,
so that it is true whenever it is asked for, and a machine that is heard again is where it was.
"""

from __future__ import annotations

SEEN = "seen"
APPROVED = "approved"
READY = "ready"
IN_SERVICE = "in_service"
AWAY = "away"
RETIRED = "retired"

EVERY = (SEEN, APPROVED, READY, IN_SERVICE, AWAY, RETIRED)
#: Whose host key is pinned and whose name is taken.
TRUSTED = (APPROVED, READY, IN_SERVICE)

#: From a kept state to those that an operator (or the rollout) may ask for.
ASKED = {
    APPROVED: (READY, IN_SERVICE, RETIRED),
    READY: (READY, IN_SERVICE, RETIRED),
    IN_SERVICE: (READY, IN_SERVICE, RETIRED),
    RETIRED: (RETIRED,),
    SEEN: (),
}

MESSAGES = {
    SEEN: "waiting for an operator to approve this code",
    APPROVED: "approved",
    READY: "approved; waiting for its rollout",
    IN_SERVICE: "in service",
    AWAY: "silent",
    RETIRED: "retired: it is no longer part of the cloud",
}


def effective(kept: str, silence: float, away_after: float) -> str:
    """The state to show. silence: seconds, while the registrar listened, since the machine was last heard."""
    return AWAY if kept in TRUSTED and silence > away_after else kept


def heard(kept: str) -> str:
    """The state to keep once an approved machine gives a sign of life: it is awake, so it is ready."""
    return READY if kept == APPROVED else kept


def may(kept: str, wanted: str) -> bool:
    """Whether an operator may set this state. `away` may be told of any trusted machine: it says that it was
    switched off on purpose, so that its return need not wait for silence to be noticed."""
    return kept in TRUSTED if wanted == AWAY else wanted in ASKED[kept]
