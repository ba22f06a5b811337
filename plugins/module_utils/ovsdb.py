# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of Open vSwitch and OVN by their own commands: ovs-vsctl, ovn-nbctl, ovn-sbctl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


class OvsdbError(Exception):
    """The database cannot be asked or refused; the text says why."""


def parse_tables(text: str) -> list[list[Row]]:
    """Output of one or several `list` commands with --format=json, in their order."""
    decoder = json.JSONDecoder()
    tables = []
    position = 0
    text = text.strip()
    while position < len(text):
        table, position = decoder.raw_decode(text, position)
        tables.append([dict(zip(table["headings"], map(plain, row), strict=True)) for row in table["data"]])
        while position < len(text) and text[position].isspace():
            position += 1
    return tables


def plain(value: Any) -> Any:
    """An OVSDB value (RFC 7047, 5.1) as plain Python: sets become lists, maps dictionaries, UUIDs text."""
    if isinstance(value, list) and len(value) == 2:
        kind, content = value
        if kind == "set":
            return [plain(element) for element in content]
        if kind == "map":
            return {plain(key): plain(element) for key, element in content}
        if kind in ("uuid", "named-uuid"):
            return content
    return value


def as_list(value: Any) -> list[Any]:
    """A column of a set: OVSDB writes a set of one element as that element."""
    return value if isinstance(value, list) else [value]


def quoted(value: str) -> str:
    """A string as the commands parse it, whatever stands in it."""
    return json.dumps(value)


def map_changes(wanted: Mapping[str, str | None], found: Mapping[str, str]) -> dict[str, str | None]:
    """What to change in a map: values to set, None for keys to remove. Other keys stay."""
    return {key: value for key, value in wanted.items() if found.get(key) != value}


def map_commands(table: str, record: str, column: str, changes: Mapping[str, str | None]) -> Iterator[list[str]]:
    """The commands for these changes."""
    removed = [key for key, value in changes.items() if value is None]
    settings = [f"{column}:{key}={quoted(value)}" for key, value in changes.items() if value is not None]
    if removed:
        yield ["remove", table, record, column, *removed]
    if settings:
        yield ["set", table, record, *settings]


def transaction(commands: Iterable[Sequence[str]]) -> list[str]:
    """Several commands as the arguments of one transaction."""
    arguments: list[str] = []
    for command in commands:
        arguments += ["--", *command]
    return arguments


def call(program: str, *arguments: str, timeout: int = 30) -> str:
    """Run one of the commands. Raises OvsdbError."""
    command = [program, f"--timeout={timeout}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout + 5, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OvsdbError(f"{program}: {error}") from error
    if done.returncode:
        raise OvsdbError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout
