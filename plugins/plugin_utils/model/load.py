# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a cloud.yml: either a whole, checked site, or all that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .build import Builder
from .check import check
from .expand import Expanded, expand
from .problems import Problem, Problems
from .source import lines, read
from .types import Site


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a cloud.yml. Only without problems do site and expanded describe a cloud."""

    site: Site
    expanded: Expanded
    problems: list[Problem]


class ModelError(ValueError):
    """A cloud.yml with faults; the text names each with its path and its cure."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.problems = problems
        count = "1 thing is" if len(problems) == 1 else f"{len(problems)} things are"
        super().__init__("\n".join([f"{file}: {count} wrong; no machine was contacted.", *_told(file, problems)]))


def load(file: Path) -> Loaded:
    """Read and check a cloud.yml. Raises OSError if it cannot be read; contacts nobody."""
    return load_text(file.read_text(encoding="utf-8", errors="replace"))


def load_text(text: str) -> Loaded:
    """Read and check the text of a cloud.yml."""
    problems = Problems()
    data = read(text, problems)
    if not data:
        data = {} if problems.list() else data
    builder = Builder(problems if data else Problems())
    site: Site = builder.build(Site, data, "")  # the outermost mapping is always built
    expanded = expand(site, problems)
    if data:
        check(site, expanded, problems)
    return Loaded(site, expanded, _with_lines(problems.list(), text))


def _with_lines(problems: list[Problem], text: str) -> list[Problem]:
    if not problems:
        return problems
    at = lines(text)

    def line(path: str) -> int | None:
        while path and path not in at:
            cut = max(path.rfind("."), path.rfind("["))
            path = path[: max(cut, 0)]
        return at.get(path) if path else None

    numbered = [replace(problem, line=line(problem.path)) for problem in problems]
    return sorted(numbered, key=lambda problem: problem.line or 0)


def _told(file: str, problems: list[Problem]) -> list[str]:
    return [f"  {file}:{problem.line}: {problem}" if problem.line else f"  {problem}" for problem in problems]
