# SPDX-License-Identifier: GPL-3.0-or-later
"""From the text of a cloud.yml to plain data, with the faults that only the text shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from .problems import Problems, join

_JINJA = re.compile(r"\{\{|\{%|\{#")
_SECRET_KEY = re.compile(
    r"(.*[_-])?(password|passwd|passphrase|pass|secret|token|credential|api_?key|private_?key|key)s?", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|^\$ANSIBLE_VAULT;")


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Plain YAML: no tags, and only true, false, null and decimal numbers are not text.

    YAML 1.1 also reads `no` as false and 52:54:00:12:34:56 as a number, which a person does not expect.
    """


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|false|True|False|TRUE|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?", "-+0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def read(text: str, problems: Problems) -> dict[str, Any]:
    """Parse the text; faults of its form are reported, and {} is returned where there is nothing to go on.

    Reported: text that is no YAML, a key written twice, Jinja, a secret in clear.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        _report_twice(root, "", problems)
        data = yaml.load(text, Loader=_Loader)
    except RecursionError:
        problems.add("", "a part refers to itself, or is nested too deeply", "write it without anchors and aliases")
        return {}
    except yaml.constructor.ConstructorError as error:
        tag = re.search(r"'(!\S+)'", str(error))
        problems.add("", f"{_where(error)}the tag {tag[1] if tag else ''} is not known here", _tag_cure(tag))
        return {}
    except yaml.YAMLError as error:
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        problems.add("", f"{_where(error)}{what}", "correct the YAML there (often an indent, a bracket or a colon)")
        return {}
    if not isinstance(data, dict):
        cure = "write keys and values, beginning with 'plugin: updraft.cloud.cloud'"
        problems.add("", "the file does not hold keys and values", cure)
        return {}
    _report_texts(data, "", problems)
    return data


def lines(text: str) -> dict[str, int]:
    """The line (from 1) of every path in the text; {} if it is no YAML."""
    try:
        root = yaml.compose(text, Loader=_Loader)
        return {} if root is None else dict(_lines(root, ""))
    except (yaml.YAMLError, RecursionError):
        return {}


def is_secret(key: str) -> bool:
    """Whether what stands under this key is a secret, by its name."""
    return _SECRET_KEY.fullmatch(key) is not None


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _tag_cure(tag: re.Match[str] | None) -> str:
    if tag and tag[1] == "!vault":
        return "secrets do not belong here: './updraft secrets' keeps them in group_vars/all/secrets.yml"
    return "write plain text, numbers, true, false, lists and mappings only"


def _lines(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = join(path, str(key.value))
            for inner, line in _lines(value, below):
                yield inner, key.start_mark.line + 1 if inner == below else line
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, f"{path}[{number}]")


def _report_twice(node: yaml.Node | None, path: str, problems: Problems) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            below = join(path, name)
            if name in seen and name != "<<":
                text = f"written twice, in line {seen[name]} and in line {line}"
                problems.add(below, text, "keep one of them: the second would silently replace the first")
            seen.setdefault(name, line)
            _report_twice(value, below, problems)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _report_twice(value, f"{path}[{number}]", problems)


def _report_texts(value: Any, path: str, problems: Problems) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            below = join(path, str(key))
            if is_secret(str(key)) and not isinstance(inner, dict | list) and inner not in (None, ""):
                cure = "remove it; './updraft secrets' keeps secrets encrypted in group_vars/all/secrets.yml"
                problems.add(below, "a secret in clear text", cure)
            else:
                _report_texts(inner, below, problems)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _report_texts(inner, f"{path}[{number}]", problems)
    elif isinstance(value, str):
        if _SECRET_VALUE.search(value):
            cure = "remove it; './updraft secrets' keeps secrets encrypted in group_vars/all/secrets.yml"
            problems.add(path, "a secret in the value", cure)
        elif _JINJA.search(value):
            cure = "write the value itself: cloud.yml is plain data and nothing is substituted in it"
            problems.add(path, f"'{value}' is a Jinja expression", cure)
