# SPDX-License-Identifier: GPL-3.0-or-later
"""Wakes those who wait for a machine's state. One future each, no thread: thousands may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Notifier:
    """Futures by host id. Used in the event loop only."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}
        self._closed = False

    @contextmanager
    def waiting(self, host_id: int) -> Iterator[asyncio.Future[None]]:
        """A future that is done when the host changes, or when the service ends."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_result(None)
        self._waiting.setdefault(host_id, set()).add(future)
        try:
            yield future
        finally:
            self._waiting[host_id].discard(future)
            if not self._waiting[host_id]:
                del self._waiting[host_id]

    def notify(self, host_ids: set[int]) -> None:
        """These hosts changed."""
        for host_id in host_ids:
            for future in self._waiting.get(host_id, ()):
                if not future.done():
                    future.set_result(None)

    def close(self) -> None:
        """Let everybody go: the service ends."""
        self._closed = True
        self.notify(set(self._waiting))
