# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the reference of cloud.yml and of the ports, from the types and from the footprints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from .build import doc, fields_of, note, peel
from .footprints import ROOT, footprints
from .types import SERVICES, Site
from .values import Number, Text

HEAD = "<!-- Written by updraft.reference from the code: change that, not this. -->"
WORDS = {
    "all": "every node",
    "network": "the whole network",
    "controller": "the management network",
    "any": "anywhere",
}


def keys() -> str:
    """The reference of cloud.yml: a table for each mapping, the outermost first."""
    lines = [
        "# What can be written in cloud.yml",
        "",
        HEAD,
        "",
        "Plain YAML, without Jinja and without secrets. `./updraft check INVENTORY` tells everything that is wrong",
        "with a file, and editors that know JSON Schema complete and check it by `cloud.schema.json`.",
        "",
        "A key without a default has to be written.",
    ]
    waiting, seen = [("cloud.yml", Site)], {Site}
    while waiting:
        title, cls = waiting.pop(0)
        lines += [
            "",
            f"## `{title}`",
            "",
            (cls.__doc__ or "").strip(),
            "",
            "| Key | Value | Default | |",
            "|---|---|---|---|",
        ]
        for field in fields_of(cls):
            bare, notes, _ = peel(field.hint)
            default = _default(field.default) if not field.required else ""
            lines.append(f"| `{field.name}` | {_kind(bare, notes)} | {default} | {_text(doc(notes))} |")
            for inner, below in _mappings(bare, field.name):
                if inner not in seen:
                    seen.add(inner)
                    waiting.append((below if title == "cloud.yml" else f"{title}.{below}", inner))
    return "\n".join(lines) + "\n"


def ports(root: Path = ROOT) -> str:
    """The ledger of ports: everything else is closed."""
    lines = [
        "# What listens where",
        "",
        HEAD,
        "",
        "The firewall of a node opens exactly these ports, each only to those that need it. All else is closed.",
        "",
        "| Port | Of | On nodes with the role | Network | Open to | Process |",
        "|---|---|---|---|---|---|",
    ]
    rows = []
    for item in footprints(SERVICES, root):
        for port in item.ports:
            sometimes = " (while in use)" if port.optional else ""
            first = int(port.port.partition("-")[0])
            row = (
                f"{port.port}/{port.protocol} {port.name}{sometimes}",
                item.name,
                _roles(port.on),
                port.network,
                _roles(port.sources),
                port.process,
            )
            rows.append((first, f"| {' | '.join(row)} |"))
    return "\n".join([*lines, *(row for _, row in sorted(rows))]) + "\n"


def _text(text: str | None) -> str:
    return (text or "").replace("<", "&lt;")


def _roles(names: tuple[str, ...]) -> str:
    return ", ".join(WORDS.get(name, name) for name in names)


def _mappings(bare: Any, name: str) -> Iterator[tuple[Any, str]]:
    if note(peel(bare)[1], Text):
        return
    if dataclasses.is_dataclass(bare) and bare.__module__ == Site.__module__:
        yield bare, name
    elif get_origin(bare) is dict:
        inner = peel(get_args(bare)[1])[0]
        yield from _mappings(inner, f"{name}.<name>")


def _kind(bare: Any, notes: tuple[Any, ...]) -> str:
    text, number = note(notes, Text), note(notes, Number)
    if text is not None:
        return f"{text.what}, such as `{text.example}`"
    if number is not None:
        return f"{number.low} to {number.high}{f' {number.unit}' if number.unit else ''}"
    if get_origin(bare) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(bare))
    if get_origin(bare) is tuple:
        inner, inner_notes, _ = peel(get_args(bare)[0])
        return f"list of: {_kind(inner, inner_notes)}"
    if get_origin(bare) is dict:
        inner, inner_notes, _ = peel(get_args(bare)[1])
        return f"names, each with: {_kind(inner, inner_notes)}"
    return {bool: "`true` or `false`", int: "a whole number", str: "text"}.get(bare, "keys, see below")


def _default(value: Any) -> str:
    if value is None or value == () or value == {}:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    return "as below" if dataclasses.is_dataclass(value) else f"`{value}`"
