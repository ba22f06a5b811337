#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many machines that boot at once: 200 clients fetch an image from one Apache, set up as the role cobbler does.

An Apache of its own runs on the loopback interface with the role's configuration (but for its port and its folders).
All clients connect at the same moment and read to the end; a client is lost when it gets another status, fewer bytes or
other bytes. The size is bounded, so that it runs on any computer; the time of a real image follows from the rate.

    tests/bench/images.py [--clients 200] [--mib 8]      exit code 1 when a client was lost
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "roles/cobbler/templates/http.conf.j2"
ADDRESS = "127.0.0.1"
LIMIT_SECONDS = 300
CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a client got: seconds to the end, bytes, their checksum, and what went wrong."""

    seconds: float
    size: int = 0
    checksum: int = 0
    error: str = ""


async def fetch(port: int, path: str, begin: float) -> Fetched:
    """Get one file as a machine's initial RAM disk does: HTTP/1.0, one try."""
    try:
        reader, writer = await asyncio.open_connection(ADDRESS, port, limit=CHUNK)
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {ADDRESS}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            return Fetched(time.monotonic() - begin, error=head.split(b"\r\n")[0].decode())
        size = checksum = 0
        while chunk := await reader.read(CHUNK):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
        writer.close()
    except (OSError, asyncio.IncompleteReadError) as error:
        return Fetched(time.monotonic() - begin, error=f"{type(error).__name__}: {error}")
    return Fetched(time.monotonic() - begin, size, checksum)


async def crowd(port: int, path: str, clients: int) -> list[Fetched]:
    """Let all clients fetch at the same moment."""
    begin = time.monotonic()
    return await asyncio.wait_for(
        asyncio.gather(*(fetch(port, path, begin) for _ in range(clients))), timeout=LIMIT_SECONDS
    )


def lost(results: Sequence[Fetched], size: int, checksum: int) -> list[str]:
    """Say of each client that did not get the file what it got instead."""
    return [
        result.error or f"{result.size} of {size} bytes"
        for result in results
        if result.error or (result.size, result.checksum) != (size, checksum)
    ]


def configuration(template: Path, folder: Path, port: int, api_port: int) -> str:
    """Return the role's configuration of Apache for the loopback interface; its files lie in `folder`."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)
    text = environment.from_string(template.read_text()).render(
        ansible_managed="Managed by Updraft.",
        cobbler_address=ADDRESS,
        cobbler_api_address=ADDRESS,
        cobbler_api_port=api_port,
        cobbler_boot_url="",
        cobbler_certificates=str(folder),
        cobbler_http_clients=512,
        cobbler_images_directory=str(folder / "images"),
    )
    for old, new in (
        (f"{ADDRESS}:80\n", f"{ADDRESS}:{port}\n"),
        (f"{ADDRESS}:80>", f"{ADDRESS}:{port}>"),
        ("/run/cobbler-http", str(folder)),
    ):
        text = text.replace(old, new)
    return re.sub(r"^ErrorLog .*$", f"ErrorLog {folder}/error.log", text, flags=re.MULTILINE)


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers; RuntimeError when it ended or takes too long."""
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((ADDRESS, port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("Apache does not answer on its port; it said:")


def measure(template: Path, apache: str, clients: int, mib: int) -> dict[str, object]:
    """Run the server and the clients once; return what was found."""
    with tempfile.TemporaryDirectory(prefix="updraft-bench-") as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        (folder / "images/v1").mkdir(parents=True)
        content = os.urandom(1024 * 1024) * mib
        (folder / "images/v1/root.squashfs").write_bytes(content)
        command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=bench", "-days", "1"]
        command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
        subprocess.run(command, check=True, capture_output=True)
        port, api_port = free_port(), free_port()
        (folder / "http.conf").write_text(configuration(template, folder, port, api_port))
        server = subprocess.Popen([apache, "-DFOREGROUND", "-f", str(folder / "http.conf")])
        try:
            try:
                wait_for(port, server)
            except RuntimeError as error:
                log = folder / "error.log"
                raise RuntimeError(f"{error}\n{log.read_text() if log.exists() else ''}") from error
            begin = time.monotonic()
            results = asyncio.run(crowd(port, "/images/v1/root.squashfs", clients))
            seconds = time.monotonic() - begin
        finally:
            server.terminate()
            server.wait(30)
    missing = lost(results, len(content), zlib.crc32(content))
    times = sorted(result.seconds for result in results)
    return {
        "clients": clients,
        "mib_each": mib,
        "lost": len(missing),
        "why": sorted(set(missing))[:5],
        "seconds": round(seconds, 1),
        "first_done": round(times[0], 1),
        "last_done": round(times[-1], 1),
        "mib_per_second": round(clients * mib / seconds),
    }


def main() -> int:
    """Run; 0 when no client was lost."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--mib", type=int, default=8, help="size of the file")
    parser.add_argument("--template", type=Path, default=TEMPLATE, help="the role's configuration of Apache")
    parser.add_argument("--apache", default=shutil.which("apache2") or "/usr/sbin/apache2")
    asked = parser.parse_args()
    found = measure(asked.template, asked.apache, asked.clients, asked.mib)
    print(json.dumps(found, indent=1))
    return 1 if found["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
