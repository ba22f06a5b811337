# SPDX-License-Identifier: GPL-3.0-or-later
"""Cobbler's XML-RPC API, as far as Updraft uses it, and the record of what was written last."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import subprocess
import time
import xmlrpc.client
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from .cobbler import INTERFACE, KINDS, OWNER, SYNC, SYNCS, Actual, CobblerError, found
from .reconcile import Action

RECORD = Path("/var/lib/updraft/cobbler.synced")
#: A full sync of 2,000 systems takes 10 s on a quiet machine.
CALL_SECONDS: Final = 300
RELOAD_SECONDS: Final = 60

T = TypeVar("T")


class AbsentError(CobblerError):
    """Nobody answers."""


class _Plain(xmlrpc.client.Transport):
    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = CALL_SECONDS
        return connection


class _Secure(xmlrpc.client.SafeTransport):
    def make_connection(self, host: Any) -> http.client.HTTPSConnection:
        connection = super().make_connection(host)
        connection.timeout = CALL_SECONDS
        return connection


class Cobbler:
    """A login at cobblerd."""

    def __init__(self, url: str, username: str, password: str, ca: str | None = None) -> None:
        """Log in. Raises AbsentError where nobody answers, CobblerError where the login is refused."""
        if url.startswith("https:"):
            transport: xmlrpc.client.Transport = _Secure(context=ssl.create_default_context(cafile=ca))
        else:
            transport = _Plain()
        self.server: Any = xmlrpc.client.ServerProxy(url, transport=transport, allow_none=True)
        self.url = url
        try:
            self.token = self._call(lambda: self.server.login(username, password))
        except CobblerError as error:
            if not isinstance(error.__cause__, xmlrpc.client.Fault):
                raise
            raise CobblerError(f"{url} does not let the account {username} in: is the password right?") from error

    def _call(self, what: Callable[[], T]) -> T:
        try:
            return what()
        except xmlrpc.client.Fault as fault:
            raise CobblerError(fault.faultString) from fault
        except xmlrpc.client.ProtocolError as error:
            # A proxy tells with these that there is nobody behind it; all else is an answer.
            kind = AbsentError if error.errcode in (502, 503) else CobblerError
            raise kind(f"cobblerd does not answer at {self.url}: {error.errcode} {error.errmsg}") from error
        except ssl.SSLError as error:
            raise CobblerError(f"no TLS with {self.url}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise AbsentError(f"cobblerd does not answer at {self.url}: {error}") from error

    def read(self) -> Actual:
        """All that is there, in one call for each kind."""
        raw = {
            kind: self._call(lambda kind=kind: getattr(self.server, f"get_{kind}s")(None, None, self.token))  # type: ignore[misc]
            for kind in KINDS
        }
        return found(raw)

    def apply(self, action: Action) -> None:
        """Do one step."""
        if action.what == SYNC:
            self._call(lambda: (self.server.sync if action.name == SYNCS[0] else self.server.sync_dhcp)(self.token))
            return
        if action.kind == "delete":
            self._call(lambda: getattr(self.server, f"remove_{action.what}")(action.name, self.token, False))
            return
        attributes: dict[str, Any] = {name: _written(value) for name, value in (action.after or {}).items()}
        if action.kind == "create":
            attributes |= {"name": action.name, "owners": [OWNER], "comment": "Made by Updraft"}
            if action.what != "distro":
                attributes["autoinstall"] = ""
        if action.what == "system":
            attributes["interface"] = INTERFACE
        edit = "add" if action.kind == "create" else "edit"
        self._call(lambda: self.server.xapi_object_edit(action.what, action.name, edit, attributes, self.token))

    def close(self) -> None:
        """Give the token back."""
        try:
            self._call(lambda: self.server.logout(self.token))
        except CobblerError:
            return


def _written(value: Any) -> Any:
    """A value as the API takes it: an option without a value is None there."""
    if isinstance(value, dict):
        return {name: _written(element) for name, element in value.items()}
    if isinstance(value, list):
        return [_written(element) for element in value]
    return None if value == "~" else value


def connect(url: str, username: str, password: str, ca: str | None, timeout: float) -> Cobbler:
    """Log in, and wait for at most `timeout` seconds until somebody answers."""
    end = time.monotonic() + timeout
    while True:
        try:
            return Cobbler(url, username, password, ca)
        except AbsentError:
            if time.monotonic() >= end:
                raise
            time.sleep(1)


def digest(paths: Iterable[str]) -> str:
    """Stands for the content of files, and of the files in directories. What is not there counts as such."""
    hasher = hashlib.sha256()
    for name in paths:
        path = Path(name)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            content = file.read_bytes() if file.is_file() else b""
            hasher.update(f"{file}\0{len(content)}\0".encode() + content)
    return hasher.hexdigest()


class Record:
    """Says whether all that was applied has been written out too, by which templates. A run that is cut leaves none."""

    def __init__(self, paths: Iterable[str], file: Path = RECORD) -> None:
        """Take the templates and other files that are rendered."""
        self.digest = digest(paths)
        self.file = file

    def stale(self) -> bool:
        """Whether everything has to be written out again."""
        return not self.file.is_file() or self.file.read_text() != self.digest

    def begin(self) -> None:
        """From now on something is applied and not yet written out."""
        self.file.unlink(missing_ok=True)

    def end(self) -> None:
        """All is written out."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(self.digest)
        new.replace(self.file)


def reload(unit: str) -> None:
    """Let dnsmasq read its reservations again (SIGHUP), if it runs. Raises CobblerError."""
    if _systemctl("is-active", "--quiet", unit).returncode:
        return
    result = _systemctl("kill", "--kill-whom=main", "--signal=HUP", unit)
    if result.returncode:
        raise CobblerError(f"{unit} cannot be told of its reservations: {result.stderr.strip()}")


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemctl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=RELOAD_SECONDS)
