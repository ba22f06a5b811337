# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions about machines (`hardware.memory_gib >= 64 and pool == 'community'`), for `smart_pools`.

A small part of Python's expressions, read with `ast` and answered by walking over it: nothing is
evaluated, called or looked up beyond the names in FIELDS and HARDWARE. A machine that does not tell
what is asked for (one that never registered has no hardware) does not belong to the pool.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

from .problems import did_you_mean

#: What can be asked of a machine, and of its hardware. `memory_gib`, `disk_gib` and the counts are derived.
FIELDS = ("name", "pool", "roles", "state", "firmware", "image", "address", "mac", "serial", "hardware")
HARDWARE = (
    "vendor",
    "product",
    "cpus",
    "cpu_model",
    "memory_mib",
    "memory_gib",
    "disk_count",
    "disk_gib",
    "nic_count",
    "speed_mbit",
)
MOST = 1000  # characters
DEEPEST = 30

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}
EXAMPLE = "write a comparison such as hardware.memory_gib >= 64 and pool == 'community'"


def parse_query(text: str) -> str:
    """The text of a question that can be answered. Raises ValueError saying what is wrong, and the cure."""
    _compiled(text)
    return text


def answer(text: str, machine: Mapping[str, Any]) -> bool:
    """Whether a machine is meant. machine: its FIELDS, what is unknown None or left out."""
    return bool(_value(_compiled(text), machine))


def about(hardware: Mapping[str, Any] | None) -> dict[str, Any]:
    """HARDWARE of a machine, from what it told when it registered."""
    if not hardware:
        return {}
    known = {name: hardware.get(name) for name in HARDWARE}
    disks, nics = hardware.get("disks") or [], hardware.get("nics") or []
    memory = hardware.get("memory_mib")
    return {
        **known,
        # Firmware and kernel keep some: a machine with 64 GiB tells a little less.
        "memory_gib": None if memory is None else -(-memory // 1024),
        "disk_count": len(disks),
        "disk_gib": sum(disk.get("size_gib") or 0 for disk in disks),
        "nic_count": len(nics),
        "speed_mbit": max((nic.get("speed_mbit") or 0 for nic in nics), default=0),
    }


@functools.lru_cache(maxsize=256)
def _compiled(text: str) -> ast.expr:
    if len(text) > MOST:
        raise ValueError(f"is longer than {MOST} characters", "write a shorter one, or two smart pools")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError("is no expression", EXAMPLE) from None
    _check(tree, DEEPEST)
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
        raise ValueError("is no question with the answer yes or no", EXAMPLE)
    return tree


def _check(node: ast.expr, depth: int) -> None:
    """Refuse everything but what is known to be harmless."""
    if depth == 0:
        raise ValueError("is nested too deeply", "write it with fewer brackets")
    for part in _parts(node):
        _check(part, depth - 1)


def _parts(node: ast.expr) -> list[ast.expr]:
    """The expressions in an expression that is allowed."""
    match node:
        case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            return parts
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [operand]
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            if any(type(op) not in _COMPARE for op in ops):
                raise ValueError("uses 'is'", "write == or !=")
            return [left, *comparators]
    _leaf(node)
    return []


def _leaf(node: ast.expr) -> None:
    """Refuse what is neither a value nor the name of something that machines tell."""
    match node:
        case ast.Constant(value=str() | int() | float() | None):
            return
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            return
        case ast.Name(id=name):
            _known(name, FIELDS, name)
        case ast.Attribute(value=ast.Name(id="hardware"), attr=name):
            _known(name, HARDWARE, f"hardware.{name}")
        case ast.Attribute():
            raise ValueError(f"asks for '{ast.unparse(node)}'", f"known are: {', '.join(FIELDS)}")
        case _:
            raise ValueError(
                f"holds '{ast.unparse(node)}', which is not allowed",
                "write comparisons, and, or, not, in, numbers, texts and names only",
            )


def _known(name: str, names: tuple[str, ...], shown: str) -> None:
    if name not in names:
        raise ValueError(f"asks for '{shown}', which no machine tells", did_you_mean(name, names))


def _value(node: ast.expr, machine: Mapping[str, Any]) -> Any:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(part, machine) for part in values)
        case ast.BoolOp(values=values):
            return any(_value(part, machine) for part in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, machine)
        case ast.UnaryOp(operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Compare():
            return _compare(node, machine)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, machine) for item in items]
        case ast.Constant(value=value):
            return value
        case ast.Attribute(attr=name):
            return (machine.get("hardware") or {}).get(name)
        case ast.Name(id=name):
            return machine.get(name)
    raise AssertionError(ast.dump(node))  # _check lets nothing else through


def _compare(node: ast.Compare, machine: Mapping[str, Any]) -> bool:
    """A chain such as 4 < hardware.cpus <= 16. What is not told, or cannot be compared, is not so."""
    left = _value(node.left, machine)
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, machine)
        unknown = None in (left, right) and not _asks_for_none(node)
        try:
            if unknown or not _COMPARE[type(op)](left, right):
                return False
        except TypeError:
            return False
        left = right
    return True


def _asks_for_none(node: ast.Compare) -> bool:
    """Whether None is written in the comparison: `pool == None` means machines without one."""
    return any(isinstance(part, ast.Constant) and part.value is None for part in (node.left, *node.comparators))
