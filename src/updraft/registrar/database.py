# SPDX-License-Identifier: GPL-3.0-or-later
"""The database: one writer at a time on SQLite and MariaDB alike, so that every rule is checked on what holds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from .models import Base, Meta
from .settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("updraft.registrar")

VERSION = 1
TRIES = 5
#: MariaDB: lock wait timeout, deadlock, server gone, connection lost.
PASSING = {1205, 1213, 2006, 2013}


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Database:
    """Runs operations: functions whose first argument is a Session.

    An operation puts the ids of hosts whose state it changed into `session.info["changed"]`; after the commit
    `on_change` gets them (in the thread of the operation).
    """

    def __init__(self, settings: Settings) -> None:
        self.engine = _engine(settings)
        self.on_change: Callable[[set[int]], None] = lambda ids: None

    def prepare(self, patience: float = 60) -> None:
        """Make the tables. Waits `patience` seconds for a server that is not there yet, then raises its error."""
        until = time.monotonic() + patience
        while True:
            try:
                return self._prepare()
            except OperationalError as error:
                if time.monotonic() > until:
                    raise
                log.warning("the database does not answer yet: %s", error.orig)
                time.sleep(2)

    def _prepare(self) -> None:
        Base.metadata.create_all(self.engine)
        for name, value in (("lock", 0), ("version", VERSION)):
            try:
                with Session(self.engine) as session, session.begin():
                    if session.get(Meta, name) is None:
                        session.add(Meta(name=name, value=value))
            except IntegrityError:  # another one was faster
                pass

    def read(self, operation: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation that changes nothing, on one state of the database."""
        return self._run(False, operation, *args, **kwargs)

    def write(self, operation: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation alone. All of it is committed, or, when it raises, nothing."""
        return self._run(True, operation, *args, **kwargs)

    def _run(self, writes: bool, operation: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        for turn in range(TRIES):
            try:
                with self._session(writes) as session:
                    result = operation(session, *args, **kwargs)
                    session.flush()
                    changed = set(session.info.get("changed", ()))
            except DBAPIError as error:
                if turn + 1 == TRIES or not _passes(error):
                    raise
                time.sleep(0.05 * 2**turn)
                continue
            if changed:
                self.on_change(changed)
            return result
        raise AssertionError("unreachable")

    @contextmanager
    def _session(self, writes: bool) -> Iterator[Session]:
        with self.engine.connect() as plain:
            connection = plain.execution_options(writes=writes)
            with connection.begin(), Session(connection, autoflush=True, expire_on_commit=False) as session:
                if writes and self.engine.dialect.name != "sqlite":
                    session.execute(select(Meta.value).where(Meta.name == "lock").with_for_update())
                yield session
                session.flush()

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def changed(session: Session, host_id: int) -> None:
    """Note that a host's state changed; whoever waits for it is told after the commit."""
    session.info.setdefault("changed", set()).add(host_id)


def _passes(error: DBAPIError) -> bool:
    """Whether the same may go well a moment later."""
    if isinstance(error, IntegrityError) or error.connection_invalidated:
        return True
    arguments: list[object] = list(getattr(error.orig, "args", ()))
    return bool(arguments) and (arguments[0] in PASSING or "locked" in str(arguments[0]))


def _engine(settings: Settings) -> Engine:
    url = settings.url()
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, pool_size=settings.workers, max_overflow=4, connect_args={"timeout": 20})
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    arguments: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 30, "write_timeout": 30}
    if settings.database_ca:
        arguments |= {"ssl_ca": settings.database_ca, "ssl_verify_cert": True, "ssl_verify_identity": True}
    return create_engine(
        url,
        pool_size=settings.workers,
        max_overflow=4,
        pool_pre_ping=True,
        pool_recycle=1800,
        isolation_level="READ COMMITTED",
        connect_args=arguments,
    )


def _sqlite_connect(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin too late, and never for a SELECT: they are begun below.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=20000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
