# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was heard when, and since when they are silent.

Signs of life are kept in memory and written together every few seconds: thousands of machines ask every 25 s.

Silence counts only while the registrar listened. It notes every few seconds that it does; after a gap (it was down,
or cut off from its database) every machine that was not away before the gap is given the gap's length, so that it is
not called away for a silence which was the registrar's own. One that was away already stays away.
"""

from __future__ import annotations

import threading

from sqlalchemy import bindparam, case, update
from sqlalchemy.orm import Session

from .database import Database, now_ms
from .models import Host, Meta

BEAT = 2.0
#: Seconds without a beat which count as not having listened.
DEAF = 10.0


class Presence:
    """Signs of life by host id. Safe for threads."""

    def __init__(self, away_after: int) -> None:
        self.away_after = away_after
        self._lock = threading.Lock()
        self._heard: dict[int, int] = {}
        self._late: dict[int, int] = {}

    def touch(self, host_id: int, at: int | None = None) -> None:
        """A host gave a sign of life."""
        with self._lock:
            self._heard[host_id] = at or now_ms()

    def drop(self, host_id: int) -> None:
        """Forget what is not written yet of a host."""
        with self._lock:
            self._heard.pop(host_id, None)
            self._late.pop(host_id, None)

    def last(self, host_id: int, written: int) -> int:
        """When a host was last heard, in milliseconds."""
        with self._lock:
            return max(written, self._heard.get(host_id, 0), self._late.get(host_id, 0))

    def silence(self, host_id: int, silent_from: int, now: int | None = None) -> float:
        """Seconds for which a host has been silent."""
        return ((now or now_ms()) - self.last(host_id, silent_from)) / 1000

    def beat(self, database: Database) -> None:
        """Write what was heard, and that the registrar listens."""
        with self._lock:
            batch, self._heard = self._heard, {}
            self._late = batch
        try:
            database.write(_beat, batch, self.away_after * 1000)
        except BaseException:
            with self._lock:
                self._heard = {**batch, **self._heard}
            raise
        with self._lock:
            self._late = {}


def _beat(session: Session, batch: dict[int, int], away_after: int) -> None:
    now = now_ms()
    if batch:
        table = Host.__table__
        statement = (
            update(Host)
            .where(table.c.id == bindparam("host"), table.c.last_seen < bindparam("at"))
            .values(last_seen=bindparam("at"), silent_from=bindparam("at"))
        )
        rows = [{"host": host, "at": at} for host, at in batch.items()]
        session.connection().execute(statement, rows)
    listening = session.get(Meta, "listening")
    if listening is None:
        session.add(Meta(name="listening", value=now))
        return
    gap = now - listening.value
    if gap > DEAF * 1000 or gap < 0:
        moved = case((Host.silent_from + gap > now, now), else_=Host.silent_from + gap)
        session.execute(update(Host).where(Host.silent_from > listening.value - away_after).values(silent_from=moved))
    listening.value = now
