# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits before anything is parsed: how often an address may ask, and how large a body may be."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("updraft.registrar")

#: Addresses that are remembered; when there are more, those that have been quiet the longest are forgotten.
ADDRESSES = 50_000


class Buckets:
    """A token bucket for each address and kind of request: `rate` a minute, as many at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._level: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, kind: str, address: str, rate: float) -> float:
        """Take one. Returns 0, or the seconds to wait until there is one."""
        now, key = self._clock(), (kind, address)
        level, then = self._level.pop(key, (rate, now))
        level = min(rate, level + (now - then) * rate / 60)
        allowed = level >= 1
        self._level[key] = (level - 1 if allowed else level, now)
        if len(self._level) > ADDRESSES:
            del self._level[next(iter(self._level))]
        return 0.0 if allowed else (1 - level) * 60 / rate

    def empty(self, kind: str, address: str, rate: float) -> float:
        """Seconds until one may be taken, taking none."""
        level, then = self._level.get((kind, address), (rate, self._clock()))
        level = min(rate, level + (self._clock() - then) * rate / 60)
        return 0.0 if level >= 1 else (1 - level) * 60 / rate


class Limits:
    """ASGI middleware. rate: a function from a request's scope to its kind and rate a minute."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        buckets: Buckets,
        rate: Callable[[Scope], tuple[str, float]],
        address: Callable[[Scope], str],
        body_limit: int,
        body_time: float,
    ) -> None:
        self.app, self.buckets, self.rate, self.address = app, buckets, rate, address
        self.body_limit, self.body_time = body_limit, body_time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        kind, rate = self.rate(scope)
        address = self.address(scope)
        if pause := self.buckets.take(kind, address, rate):
            # One line a minute for an address that does not stop.
            if not self.buckets.take("log", address, 1):
                log.warning("%s asks too often (%s)", address, kind)
            await refuse(send, 429, "too many requests", {"retry-after": str(int(pause) + 1)})
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.body_limit:
            await refuse(send, 413, f"a body has at most {self.body_limit} bytes", {"connection": "close"})
            return
        try:
            body = await asyncio.wait_for(self._body(receive), self.body_time)
        except TimeoutError:
            await refuse(send, 408, "the body did not come", {"connection": "close"})
            return
        if body is None:
            await refuse(send, 413, f"a body has at most {self.body_limit} bytes", {"connection": "close"})
            return
        await self.app(scope, _replay(body, receive), send)

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body, or None for one that is too large."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(parts)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.body_limit:
                return None
            if not message.get("more_body"):
                return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body to the application, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def refuse(send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    """Answer with an error in JSON, as the API does."""
    body = json.dumps({"detail": text}).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
