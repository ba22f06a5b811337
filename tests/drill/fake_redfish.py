# SPDX-License-Identifier: GPL-3.0-or-later
"""A FAKE management board: the part of Redfish by which a machine is switched off, for machines of a lab.

It is no board of any maker: it answers what community.general.redfish_command and redfish_info ask to switch a machine
on and off, on an address of the loopback network, by HTTPS with a certificate that nobody signed. Behind it is a
process (the machine's QEMU): whether that lives is what PowerState says, and ForceOff kills it. In its moods it fails
as boards do:

  obeys     does what it is told
  stuck     takes the order, and does nothing: the power stays on
  refuses   answers an order with an error
  (away: it is not served at all)
"""

from __future__ import annotations

import base64
import hmac
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Protocol

from ansible_collections.updraft.cloud.plugins.plugin_utils.ca import make_authority

Mood = Literal["obeys", "stuck", "refuses"]
ROOT = "/redfish/v1/"
SYSTEM = f"{ROOT}Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
PORT = 443


class Machine(Protocol):
    """What a board switches."""

    @property
    def name(self) -> str: ...
    def running(self) -> bool: ...
    def cut(self) -> object: ...
    def start(self) -> None: ...


class Board:
    """One machine's board. `orders` are the resets that it was told, in order."""

    def __init__(self, machine: Machine, user: str, password: str) -> None:
        self.machine = machine
        self.mood: Mood = "obeys"
        self.orders: list[str] = []
        self._login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def knows(self, header: str) -> bool:
        """Say whether somebody may come in."""
        return hmac.compare_digest(header.encode(), self._login.encode())

    def resource(self, path: str) -> dict[str, Any] | None:
        """What is at a path; None for nothing."""
        known: dict[str, dict[str, Any]] = {
            ROOT: {
                "Name": "fake board of a lab",
                "RedfishVersion": "1.6.0",
                "Systems": {"@odata.id": f"{ROOT}Systems"},
            },
            f"{ROOT}Systems": {"Members": [{"@odata.id": SYSTEM}], "Members@odata.count": 1},
            SYSTEM: {
                "Id": "1",
                "Name": self.machine.name,
                "PowerState": "On" if self.machine.running() else "Off",
                "Actions": {
                    "#ComputerSystem.Reset": {
                        "target": RESET,
                        "ResetType@Redfish.AllowableValues": ["On", "ForceOff"],
                    }
                },
            },
        }
        found = known.get(path) or known.get(path.rstrip("/")) or known.get(f"{path}/")
        return found and {"@odata.id": path, **found}

    def reset(self, kind: str) -> tuple[int, str]:
        """Carry out an order; a status of HTTP, and what is said with it."""
        self.orders.append(kind)
        if kind not in ("On", "ForceOff"):
            return 400, f"{kind} is no ResetType of this board"
        if self.mood == "refuses":
            return 500, "the power controller does not answer"
        if self.mood == "obeys" and (kind == "On") != self.machine.running():
            if kind == "On":
                self.machine.start()
            else:
                self.machine.cut()
        return 204, ""


class Handler(BaseHTTPRequestHandler):
    """Speaks for the board of its server."""

    protocol_version = "HTTP/1.1"
    board: Board

    def do_GET(self) -> None:
        """Show a resource. The root is shown to everybody."""
        found = self.board.resource(self.path)
        if self.path.rstrip("/") != ROOT.rstrip("/") and not self._known():
            return
        if found is None:
            self._error(404, f"nothing is at {self.path}")
        else:
            self._send(200, found)

    def do_POST(self) -> None:
        """Take an order."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._known():
            return
        if self.path != RESET:
            self._error(404, f"nothing can be ordered at {self.path}")
            return
        try:
            kind = str(json.loads(body)["ResetType"])
        except (ValueError, KeyError, TypeError):
            self._error(400, "an order is {ResetType: ...}")
            return
        status, text = self.board.reset(kind)
        if status == 204:
            self._send(204, None)
        else:
            self._error(status, text)

    def _known(self) -> bool:
        if self.board.knows(self.headers.get("Authorization") or ""):
            return True
        self._error(401, "user or password is wrong")
        return False

    def _error(self, status: int, text: str) -> None:
        # As the DMTF's schema has it, by which clients find the text.
        self._send(status, {"error": {"message": text, "@Message.ExtendedInfo": [{"Message": text}]}})

    def _send(self, status: int, content: dict[str, Any] | None) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("OData-Version", "4.0")
        if content is not None:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: `orders` is the record."""


@contextmanager
def serving(board: Board, address: str, port: int = PORT) -> Iterator[int]:
    """Serve a board while the block runs; its port. Raises OSError where that is taken."""
    handler = type("BoardHandler", (Handler,), {"board": board})
    server = ThreadingHTTPServer((address, port), handler)
    server.daemon_threads = True
    server.socket = _tls().wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _tls() -> ssl.SSLContext:
    """A certificate of its own, signed by itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "board.pem")
        file.touch(mode=0o600)
        file.write_text("".join(make_authority("fake board of a lab", days=7)))
        context.load_cert_chain(file)
    return context
