# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the registrar, for the inventory, the command line and the modules. The standard library only.

The server is known by the site's CA alone, whatever the computer trusts. In a lab the connection is made
inside the lab's network namespace: a thread of its own enters it, connects and ends; the socket stays in
the namespace that it was made in, and nothing else of the process ever is in it.
"""

from __future__ import annotations

import base64
import ctypes
import http.client
import json
import os
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

OPERATOR = "operator"
PORT = 7777
CLONE_NEWNET = 0x40000000

#: An answer may have so many bytes: 5,000 hosts, each with 100 disks, are less.
MOST_BYTES = 256 * 1024 * 1024

#: States that a host can be given; `seen` and `approved` come from the host and from its code.
STATES = ("ready", "in_service", "away", "retired")


class RegistrarError(Exception):
    """The registrar refused, or said what makes no sense. status: of HTTP, if there was an answer."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Unreachable(RegistrarError):
    """No answer: it is down, the network is, or it is not the one that was meant."""


class NotFound(RegistrarError):
    """There is no such code or host."""


class Conflict(RegistrarError):
    """The name is taken, or the code is that of several machines."""


class Denied(RegistrarError):
    """The password is not the operator's."""


def plain_code(text: str) -> str:
    """A code as the registrar writes it, XXXX-XXXX, from what a person typed. ValueError if it is none."""
    letters = re.sub(r"[\s-]", "", text).upper().translate(str.maketrans("OIL", "011"))
    if not re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{8}", letters):
        raise ValueError(f"'{text}' is no code: type the eight characters that the machine shows, such as 7K3M-Q2XZ")
    return f"{letters[:4]}-{letters[4:]}"


class Registrar:
    """One registrar. ca: the site's CA, PEM. address: where it is, if not where its name says.

    Every call raises RegistrarError: Unreachable, Denied, NotFound, Conflict, or itself for other refusals.
    """

    def __init__(
        self,
        url: str,
        password: str,
        *,
        ca: str,
        address: str | None = None,
        namespace: str | None = None,
        user: str = OPERATOR,
        timeout: float = 10.0,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise RegistrarError(f"'{url}' is no https:// address")
        self.url = url.rstrip("/")
        self.name, self.port = parts.hostname, parts.port or PORT
        self.address, self.namespace, self.timeout = address or self.name, namespace, timeout
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode()
        try:
            self._context = ssl.create_default_context(cadata=ca)
        except (ssl.SSLError, ValueError) as error:
            raise RegistrarError(f"the site's CA cannot be read: {error}") from error

    def listing(self, state: str | None = None, *, timeout: float | None = None) -> dict[str, Any]:
        """Everything: {hosts: [...], alarms: [...]}, or the hosts in one state."""
        query = f"?{urllib.parse.urlencode({'state': state})}" if state else ""
        found = self._ask("GET", f"/v1/hosts{query}", timeout=timeout)
        if not isinstance(found.get("hosts"), list):
            raise RegistrarError(f"{self.url} answers, but not as a registrar does")
        return found

    def hosts(self, state: str | None = None) -> list[dict[str, Any]]:
        """The hosts, or those in one state."""
        return list(self.listing(state)["hosts"])

    def host(self, name: str) -> dict[str, Any] | None:
        """The host with this name that is not retired."""
        return next((host for host in self.hosts() if host.get("name") == name and host["state"] != "retired"), None)

    def approve(self, code: str, name: str, pool: str | None = None, roles: Sequence[str] = ()) -> dict[str, Any]:
        """Approve the machine that shows this code. Again with the same words changes nothing."""
        body: dict[str, Any] = {"code": plain_code(code), "name": name, "pool": pool}
        return self._ask("POST", "/v1/hosts/approve", {**body, "roles": list(roles)} if roles else body)

    def set_state(self, name: str, state: str) -> dict[str, Any]:
        """Say what has become of a host: one of STATES."""
        return self._ask("POST", f"/v1/hosts/{urllib.parse.quote(name, safe='')}/state", {"state": state})

    def progress(
        self, name: str, stage: str, status: str = "running", percent: int | None = None, message: str = ""
    ) -> None:
        """Tell people what is being done with a host. status: running, ok or failed."""
        body = {"stage": stage, "status": status, "percent": percent, "message": message}
        known = {key: value for key, value in body.items() if value is not None}
        self._ask("PUT", f"/v1/hosts/{urllib.parse.quote(name, safe='')}/progress", known)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        status, reason, data = self._exchange(method, path, body, timeout or self.timeout)
        try:
            found = json.loads(data) if data else {}
        except ValueError:
            found = {}
        if 200 <= status < 300:
            return found if isinstance(found, dict) else {}
        text = _message(found) or reason
        kinds: dict[int, type[RegistrarError]] = {401: Denied, 403: Denied, 404: NotFound, 409: Conflict}
        raise kinds.get(status, RegistrarError)(f"the registrar says: {text} ({status})", status)

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float
    ) -> tuple[int, str, bytes]:
        headers = {"Authorization": f"Basic {self._login}", "Accept": "application/json"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        link = _Connection(self, timeout)
        try:
            link.request(method, path, data, headers)
            answer = link.getresponse()
            content = answer.read(MOST_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            why = f"its certificate is not one of this site's CA for {self.name}: {error.verify_message}"
            raise Unreachable(f"{self._where()}: {why}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self._where()}: {_reason(error, timeout)}") from error
        finally:
            link.close()
        if len(content) > MOST_BYTES:
            raise RegistrarError(f"{self._where()}: an answer of more than {MOST_BYTES} bytes")
        return answer.status, answer.reason, content

    def _where(self) -> str:
        inside = f" in the network namespace {self.namespace}" if self.namespace else ""
        return f"{self.url} at {self.address}{inside}"


class _Connection(http.client.HTTPSConnection):
    """A connection to the registrar's address which asks for its name, made in its namespace."""

    def __init__(self, registrar: Registrar, timeout: float) -> None:
        super().__init__(registrar.name, registrar.port, timeout=timeout, context=registrar._context)
        self._registrar = registrar

    def connect(self) -> None:
        registrar = self._registrar
        bare = dial(registrar.address, registrar.port, float(self.timeout or 10), registrar.namespace)
        try:
            self.sock = registrar._context.wrap_socket(bare, server_hostname=registrar.name)
        except BaseException:
            bare.close()
            raise


def dial(address: str, port: int, timeout: float, namespace: str | None = None) -> socket.socket:
    """A connected socket, made inside a network namespace if one is named. Raises OSError."""
    if namespace is None:
        return socket.create_connection((address, port), timeout)
    return _inside(namespace, lambda: socket.create_connection((address, port), timeout))


def _inside(namespace: str, make: Callable[[], socket.socket]) -> socket.socket:
    """Let a thread of its own, which ends with that, do something in a network namespace."""
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def work() -> None:
        try:
            enter(namespace)
            made.append(make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def enter(namespace: str) -> None:
    """Move the calling thread into a network namespace. Raises OSError when it is not there or not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"the network namespace {namespace} cannot be entered: {os.strerror(number)}")


def patiently(ask: Callable[[], Any], seconds: float, *, every: float = 2.0) -> Any:
    """Ask again while nobody answers, for so many seconds: a service that restarts is away for some."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except Unreachable:
            if time.monotonic() + every >= end:
                raise
        time.sleep(every)


def _message(found: Any) -> str:
    """What an error of the registrar says, whichever form it has."""
    detail = found.get("detail", found.get("message", "")) if isinstance(found, dict) else ""
    if isinstance(detail, list):  # of validation: one entry for each fault
        parts = [item for item in detail if isinstance(item, dict)]
        return "; ".join(f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg')}" for item in parts)
    if isinstance(detail, dict):
        return str(detail.get("message") or detail)
    return str(detail)


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return str(error) or type(error).__name__
