# SPDX-License-Identifier: GPL-3.0-or-later
"""What all requests share: settings, database, who waits, who is heard; and how they run an operation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection

from . import alarms, operations
from .alarms import Refused
from .database import Database
from .limits import Buckets
from .notifier import Notifier
from .operations import Operations
from .presence import BEAT, Presence
from .registration import Registrar
from .sessions import Sessions
from .settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("updraft.registrar")

PURGE = 30.0


class Service:
    """One registrar. Operations run in a small pool of threads, so that the event loop never waits."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.presence = Presence(settings.away_after)
        self.notifier = Notifier()
        self.buckets = Buckets()
        self.sessions = Sessions(settings, self.buckets)
        self.registrar = Registrar(settings, self.presence)
        self.operations = Operations(settings, self.presence)
        self._pool = ThreadPoolExecutor(settings.workers, "registrar")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Make the tables, note that it listens, and go on doing so."""
        loop = asyncio.get_running_loop()

        def tell(ids: set[int]) -> None:
            loop.call_soon_threadsafe(self.notifier.notify, ids)

        self.database.on_change = tell
        await loop.run_in_executor(self._pool, self.database.prepare)
        await loop.run_in_executor(self._pool, self.presence.beat, self.database)
        self._tasks = [
            asyncio.create_task(self._every(BEAT, lambda: self.presence.beat(self.database))),
            asyncio.create_task(self._every(PURGE, self._purge)),
        ]

    async def stop(self) -> None:
        """Let those who wait go, write what was heard, and close."""
        self.notifier.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(SQLAlchemyError):
            await asyncio.get_running_loop().run_in_executor(self._pool, self.presence.beat, self.database)
        self._pool.shutdown()
        self.database.close()

    async def _every(self, seconds: float, work: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.get_running_loop().run_in_executor(self._pool, work)
            except SQLAlchemyError as error:
                log.error("the database: %s", str(error).splitlines()[0])

    def _purge(self) -> None:
        self.database.write(operations.purge, self.settings, self.presence)

    async def read(self, operation: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation that changes nothing."""
        call = lambda: self.database.read(operation, *args, **kwargs)  # noqa: E731
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def write(
        self, address: str, operation: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation for an address. What is refused changes nothing, and may be an alarm."""

        def call() -> T:
            try:
                return self.database.write(operation, *args, **kwargs)
            except Refused as refused:
                alarms.tell(refused, address)
                if refused.kind is not None:
                    with contextlib.suppress(IntegrityError):
                        self.database.write(alarms.record, refused, address)
                raise

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


def peer(connection: HTTPConnection) -> str:
    """The address that a request comes from. Headers that claim another are not believed."""
    host = connection.client.host if connection.client else ""
    return host.removeprefix("::ffff:")
