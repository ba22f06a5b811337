# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a cloud.yml, collected so that all of it is told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault: where it is, what is wrong, what to write instead."""

    path: str
    text: str
    cure: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.path or 'cloud.yml'}: {self.text}; {self.cure}"


@dataclass(slots=True)
class Problems:
    """A collection which keeps the order of discovery and drops repetitions."""

    found: dict[tuple[str, str], Problem] = field(default_factory=dict)

    def add(self, path: str, text: str, cure: str) -> None:
        self.found.setdefault((path, text), Problem(path, text, cure))

    def under(self, *paths: str) -> bool:
        """Whether something at or below one of these paths is already known to be wrong.

        Checks which compare things use it: a node that could not be read must not also be reported
        as missing.
        """
        return any(
            known == path or known.startswith((f"{path}.", f"{path}[")) for known, _ in self.found for path in paths
        )

    def at(self, path: str) -> bool:
        """Whether exactly this path is known to be wrong."""
        return any(known == path for known, _ in self.found)

    def list(self) -> list[Problem]:
        return list(self.found.values())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The cure for an unknown name: the near one if there is one, else all that are known."""
    names = [str(name) for name in known]
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known are: {', '.join(names)}" if names else "none is defined"


def join(path: str, key: str) -> str:
    """The path of a key below a path: `nodes` and `node1` give `nodes.node1`."""
    return f"{path}.{key}" if path else key
