# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes which tell whether a unit serves: a port, an HTTP answer, a command, a path."""

from __future__ import annotations

import os
import socket
import subprocess
import urllib.parse
from collections.abc import Mapping
from typing import Any

PROBE_SECONDS = 5.0


def describe(ready: Mapping[str, Any]) -> str:
    """What is waited for, in words."""
    parts = []
    if ready.get("tcp"):
        parts.append(f"a listener on {ready['tcp']}")
    if ready.get("http"):
        codes = " or ".join(str(code) for code in ready.get("status") or [200])
        parts.append(f"{codes} from {ready['http']}")
    if ready.get("command"):
        parts.append(f"`{' '.join(ready['command'])}` to succeed")
    if ready.get("path"):
        parts.append(f"{ready['path']} to exist")
    return " and ".join(parts) or "it to be active"


def probe(ready: Mapping[str, Any], seconds: float = PROBE_SECONDS) -> str:
    """Ask once. Returns an empty text when all holds, otherwise what does not, in words."""
    if ready.get("path") and not os.path.exists(ready["path"]):
        return f"{ready['path']} does not exist"
    if ready.get("tcp"):
        problem = probe_tcp(ready["tcp"], seconds)
        if problem:
            return problem
    if ready.get("http"):
        problem = probe_http(ready["http"], ready.get("status") or [200], ready.get("ca"), seconds)
        if problem:
            return problem
    return probe_command(ready["command"], max(seconds, 30)) if ready.get("command") else ""


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{address}: write host:port")
    return host.strip("[]"), int(port)


def probe_tcp(address: str, seconds: float) -> str:
    """Connect once."""
    try:
        with socket.create_connection(split_address(address), timeout=seconds):
            return ""
    except (OSError, ValueError) as error:
        return f"{address}: {error}"


def probe_http(url: str, status: list[int], ca: str | None, seconds: float) -> str:
    """Get once, without following anything. TLS is verified, by `ca` or the system's authorities."""
    # On a slow machine these two take a second, and few units are asked this way.
    import http.client
    import ssl

    parts = urllib.parse.urlsplit(url)
    host, path = parts.hostname or "", parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    connection: http.client.HTTPConnection
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca)
            connection = http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=context)
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=seconds)
        try:
            connection.request("GET", path, headers={"User-Agent": "updraft", "Accept": "*/*"})
            code = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error or type(error).__name__}"
    return "" if code in status else f"{url}: answered {code}"


def probe_command(command: list[str], seconds: float) -> str:
    """Run once, without a shell."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"`{' '.join(command)}` did not end within {seconds:.0f} s"
    except OSError as error:
        return f"`{' '.join(command)}`: {error.strerror}"
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
    return f"`{' '.join(command)}` gave {done.returncode}" + (f": {said[0]}" if said else "")
