# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators log in: HTTP Basic for programs, a signed cookie with a CSRF token for people."""

from __future__ import annotations

import base64
import binascii
import logging
import secrets
import time
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import Response

from . import tokens
from .alarms import Refused
from .limits import Buckets
from .settings import Settings

log = logging.getLogger("updraft.registrar")

USER = "operator"
COOKIE = "__Host-updraft"
CSRF_HEADER = "x-csrf-token"
SAFE = {"GET", "HEAD"}


@dataclass(frozen=True, slots=True)
class Login:
    """A person's session; `csrf` goes into each form."""

    value: str
    csrf: str


class Sessions:
    """Logins of one registrar. Nothing is stored: the cookie carries its end and is signed."""

    def __init__(self, settings: Settings, buckets: Buckets) -> None:
        self.settings, self.buckets = settings, buckets
        # Another password ends the sessions that began with the old one.
        self._key = tokens.sign(settings.session_key, "sessions", settings.operator_password)

    def check_password(self, user: str, password: str, address: str) -> None:
        """Raises Refused: wrong (401), or too many were wrong from this address (429)."""
        rate = self.settings.login_failures
        if pause := self.buckets.empty("login", address, rate):
            raise Refused(429, f"too many wrong passwords; try again in {int(pause) + 1} s")
        # Both are compared always, so that time tells nothing.
        right = tokens.same(password, self.settings.operator_password) & tokens.same(user, USER)
        if not right:
            self.buckets.take("login", address, rate)
            log.warning("a wrong password from %s", address)
            raise Refused(401, "wrong user or password", kind="login", subject="operator")

    def begin(self, response: Response) -> None:
        """Give a person a session."""
        seconds = self.settings.session_hours * 3600
        value = f"{int(time.time()) + seconds}.{secrets.token_hex(16)}"
        response.set_cookie(
            COOKIE,
            f"{value}.{tokens.sign(self._key, 'session', value)}",
            max_age=seconds,
            path="/",
            secure=True,
            httponly=True,
            samesite="strict",
        )

    def end(self, response: Response) -> None:
        """Take it away."""
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")

    def of(self, connection: HTTPConnection) -> Login | None:
        """The session of a request, if it has a good one."""
        value, _, signature = connection.cookies.get(COOKIE, "").rpartition(".")
        if not value or not tokens.same(signature, tokens.sign(self._key, "session", value)):
            return None
        end = value.partition(".")[0]
        if not end.isdigit() or int(end) < time.time():
            return None
        return Login(value, tokens.sign(self._key, "csrf", value))

    def check_csrf(self, login: Login, given: str) -> None:
        """Raises Refused unless the form came from our own page."""
        if not tokens.same(given, login.csrf):
            raise Refused(403, "this form is not of this session: load the page again")

    def operator(self, connection: HTTPConnection, method: str, address: str) -> None:
        """Raises Refused unless an operator asks: by Basic, or by session (to change something, with its token)."""
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            user, password = _basic(given)
            return self.check_password(user, password, address)
        login = self.of(connection)
        if login is None:
            raise Refused(401, "log in as operator")
        if method not in SAFE:
            self.check_csrf(login, connection.headers.get(CSRF_HEADER, ""))
        return None


def _basic(given: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Refused(400, "the Authorization header makes no sense") from None
    return user, password
