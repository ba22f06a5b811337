# SPDX-License-Identifier: GPL-3.0-or-later
"""Alarms: what was refused and a person should know. Kept in the database, shown on the page, told in the journal."""

from __future__ import annotations

import logging

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from .database import now_ms
from .models import Alarm, Host

log = logging.getLogger("updraft.registrar.alarms")

#: Older ones are forgotten, so that nobody can fill the database.
KEPT = 2000


class Refused(Exception):
    """A request that is refused, with its HTTP status. With `kind` it is an alarm, too."""

    def __init__(
        self, status: int, message: str, *, kind: str | None = None, subject: str = "", host_id: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.kind, self.subject, self.host_id = kind, subject, host_id


def record(session: Session, refused: Refused, address: str) -> None:
    """Keep an alarm, or count it up. One that was acknowledged and happens again is shown again."""
    if refused.kind is None:
        return
    subject, now = refused.subject[:255], now_ms()
    same = (Alarm.kind == refused.kind, Alarm.subject == subject, Alarm.address == address)
    known = session.scalar(select(Alarm).where(*same))
    if known is None:
        session.add(
            Alarm(
                kind=refused.kind,
                subject=subject,
                address=address,
                host_id=refused.host_id,
                message=refused.message,
                first=now,
                last=now,
            )
        )
        _forget(session)
    else:
        known.count, known.last, known.message, known.acknowledged = known.count + 1, now, refused.message, None


def tell(refused: Refused, address: str) -> None:
    """Write an alarm into the journal."""
    if refused.kind is not None:
        log.warning("ALARM %s from %s (%s): %s", refused.kind, address, refused.subject, refused.message)


def _forget(session: Session) -> None:
    if (session.scalar(select(func.count()).select_from(Alarm)) or 0) > KEPT:
        newest = select(Alarm.id).order_by(Alarm.last.desc(), Alarm.id.desc()).limit(1).offset(KEPT)
        border = session.scalar(newest)
        session.execute(delete(Alarm).where(Alarm.id == border))


def listed(session: Session) -> list[tuple[Alarm, str | None]]:
    """Alarms that nobody has acknowledged, the newest first, each with the name of its host."""
    wanted = select(Alarm, Host.name).outerjoin(Host, Host.id == Alarm.host_id).where(Alarm.acknowledged.is_(None))
    return [(alarm, name) for alarm, name in session.execute(wanted.order_by(Alarm.last.desc()).limit(200))]


def acknowledge(session: Session, number: int) -> None:
    """Take an alarm from the page. Raises Refused when there is none of this number."""
    if session.get(Alarm, number) is None:
        raise Refused(404, f"there is no alarm {number}")
    session.execute(update(Alarm).where(Alarm.id == number).values(acknowledged=now_ms()))
