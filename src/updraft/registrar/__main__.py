# SPDX-License-Identifier: GPL-3.0-or-later
"""python3 -m updraft.registrar --settings FILE: serves TLS to machines and operators, plain HTTP to the web server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from .app import make_app, make_boot_app
from .service import Service
from .settings import Settings, SettingsError, load

log = logging.getLogger("updraft.registrar")

#: syslog's levels, as the journal reads them from the start of a line.
LEVELS = {logging.ERROR: "<3>", logging.WARNING: "<4>", logging.INFO: "<6>", logging.DEBUG: "<7>"}


class Server(uvicorn.Server):
    """A server which leaves signals alone: there are two in this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are taken by `serve`."""
        yield


class Journal(logging.Formatter):
    """Lines with their level, where the journal reads them; and without line breaks that came from outside."""

    def __init__(self) -> None:
        super().__init__("%(message)s")
        self.levels = LEVELS if "JOURNAL_STREAM" in os.environ else {}

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not record.exc_info:
            text = "".join(character if character.isprintable() else "?" for character in text)
        return self.levels.get(record.levelno, "") + text


def main() -> int:
    """Read the settings and serve until a signal. Exit code 2 for settings that cannot be used."""
    parser = argparse.ArgumentParser(prog="updraft-registrar", description=__doc__)
    parser.add_argument("--settings", type=Path, default=Path("/etc/updraft/registrar/settings.ini"))
    arguments = parser.parse_args()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Journal())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        settings = load(arguments.settings)
        return asyncio.run(serve(settings))
    except SettingsError as error:
        print(f"updraft-registrar: {error}", file=sys.stderr)
        return 2


async def serve(settings: Settings) -> int:
    """Serve both ports in this process until SIGTERM or SIGINT."""
    service = Service(settings)
    servers = [
        Server(_config(settings, make_app(settings, service), settings.address, settings.port, tls=True)),
        Server(
            _config(settings, make_boot_app(settings, service), settings.boot_address, settings.boot_port, tls=False)
        ),
    ]
    # The first one's lifespan starts the service; the other must not answer before.
    loop = asyncio.get_running_loop()

    def end() -> None:
        service.notifier.close()
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    first = asyncio.create_task(servers[0].serve(), name="tls")
    while not servers[0].started and not first.done():
        await asyncio.sleep(0.02)
    second = asyncio.create_task(servers[1].serve(), name="boot")
    await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
    end()
    done = await asyncio.gather(first, second, return_exceptions=True)
    faults = [fault for fault in done if isinstance(fault, BaseException)]
    for fault in faults:
        log.error("%s", fault)
    return 1 if faults or not all(server.started for server in servers) else 0


def _config(settings: Settings, app: object, address: str, port: int, *, tls: bool) -> uvicorn.Config:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=address,
        port=port,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on" if tls else "off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=4096,
        limit_concurrency=settings.connections,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        ssl_certfile=settings.certificate or None if tls else None,
        ssl_keyfile=settings.key or None if tls else None,
    )
    if tls:
        if not (settings.certificate and settings.key):
            raise SettingsError("certificate and key: there is no service without TLS")
        config.load()
        if config.ssl is not None:
            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


if __name__ == "__main__":
    sys.exit(main())
