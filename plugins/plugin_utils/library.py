# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program on a machine needs of this collection's code: a file of module_utils, and all that it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PACKAGE = "ansible_collections.updraft.cloud.plugins.module_utils"
HERE = Path(__file__).resolve().parents[1] / "module_utils"


def closure(name: str, folder: Path = HERE) -> list[str]:
    """Return the names of the files, without .py, sorted. Raises FileNotFoundError."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += imported((folder / f"{one}.py").read_text(encoding="utf-8"))
    return sorted(found)


def imported(source: str) -> Iterator[str]:
    """Yield what a source imports of module_utils when it runs; not what only its types need."""
    tree = ast.parse(source)
    for_types = {id(node) for branch in ast.walk(tree) if _for_types(branch) for node in ast.walk(branch)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in for_types or node.module is None:
            continue
        if node.module == PACKAGE:
            yield from (item.name for item in node.names)
        elif node.module.startswith(PACKAGE + "."):
            yield node.module.removeprefix(PACKAGE + ".").partition(".")[0]


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def files(name: str, destination: str, folder: Path = HERE) -> list[dict[str, str]]:
    """Return the elements of updraft.cloud.files which put them below `destination`, for its Python path.

    The packages need no __init__.py: without one Python takes a folder for a part of a namespace.
    """
    there = PurePosixPath(destination, *PACKAGE.split("."))
    return [
        {"path": f"{there}/{one}.py", "src": str(folder / f"{one}.py"), "mode": "0644"} for one in closure(name, folder)
    ]
