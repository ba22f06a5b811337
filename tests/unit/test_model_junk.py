# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is written in whatever place: problems are told, nothing breaks, and what passes can be derived."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.updraft.cloud.plugins.plugin_utils.model import derive
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.load import load_text

ROOT = Path(__file__).parents[2]
DUMPER = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
JUNK: list[Any] = [
    None, "", " ", 0, -1, 10**30, 1.5, True, [], [None], [[]], ["x", "x"], {}, {"x": None}, {1: 2},
    "10.0.0.0/0", "0.0.0.0", "255.255.255.255", "10.0.0.1-", "-", "x" * 300, "ä", "\n", "[1:2]", "node[1:2]", "a.b",
]  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    result = copy.deepcopy(data)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return result


@pytest.mark.parametrize("site", ["lab", "lab-mirror", "lab-storage", "rack"])
def test_any_value_in_any_place(site: str, tmp_path: Path) -> None:
    base = yaml.safe_load((ROOT / "inventories" / site / "cloud.yml").read_text())
    for path in places(base):
        for junk in JUNK:
            text = yaml.dump(put(base, path, junk), Dumper=DUMPER, allow_unicode=True)
            loaded = load_text(text)
            for problem in loaded.problems:
                assert problem.text, (path, junk)
                assert problem.cure, (path, junk)
            if not loaded.problems:
                derive(loaded.site, loaded.expanded, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
     "", "\n", "---\n", "null", "[]", "x", "a: &a [*a]", "? [1]\n: 2", "? {}\n: 2", "a: *b", "%", "\t", "a: b: c", "\0",
     "--- a\n--- b", "nodes:\n", "nodes: &x\n  a: *x\n", "<<: {name: x}\n", "<<: 5\n",
     "2026-01-01: 1", "$ANSIBLE_VAULT;1.1;AES256\n6162",
    ],
)  # fmt: skip
def test_any_text(text: str) -> None:
    assert load_text(text).problems


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    from ansible_collections.updraft.cloud.plugins.plugin_utils.model import load

    (tmp_path / "cloud.yml").write_bytes(bytes(range(256)))

    assert load(tmp_path / "cloud.yml").problems
