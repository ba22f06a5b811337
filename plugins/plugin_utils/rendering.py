# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the list of updraft.cloud.files on the controller."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.template import Templar, trust_as_template

from ansible_collections.updraft.cloud.plugins.module_utils.units import UNIT_SPEC, Unit

MANAGED = "Managed by Updraft. Changes made here are lost at the next run."

ENTRY_SPEC: dict[str, dict[str, Any]] = {
    "path": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"]},
    "template": {"type": "str"},
    "src": {"type": "str"},
    "content": {"type": "raw"},
    "target": {"type": "str"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "raw"},
    "validate": {"type": "str"},
    "sensitive": {"type": "bool"},
    "vars": {"type": "dict", "default": {}},
    "purge": {"type": "list", "elements": "str", "default": []},
    "recurse": {"type": "bool", "default": False},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "files": {"type": "list", "elements": "dict", "required": True, "options": ENTRY_SPEC},
    "validate": {"type": "list", "elements": "str", "default": []},
    "units": {"type": "list", "elements": "dict", "options": UNIT_SPEC},
    "timeout": {"type": "int"},
    "changed_paths": {"type": "list", "elements": "path"},
}
REQUIRED_BY = {"timeout": ["units"], "changed_paths": ["units"]}
# What the target is told beside the files.
SERVICE = ("units", "timeout", "changed_paths")
SOURCES = ("template", "src", "content")


def problems_of(files: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong in a list that has the right types; one text for each problem."""
    problems: list[str] = []
    seen: set[str] = set()
    for entry in files:
        path = entry["path"]
        if not path.startswith("/") or os.path.normpath(path) != path:
            problems.append(f"{path}: write an absolute path without '..' and without a slash at its end")
        if path in seen:
            problems.append(f"{path}: is in the list twice")
        seen.add(path)
        problems += [f"{path}: {text}" for text in _entry_problems(entry)]
    return problems


def _entry_problems(entry: Mapping[str, Any]) -> list[str]:
    state = entry.get("state") or "file"
    sources = [key for key in SOURCES if entry.get(key) is not None]
    problems = []
    if state == "file" and len(sources) != 1:
        problems.append(f"a file has exactly one of {', '.join(SOURCES)}")
    if state != "file" and sources:
        problems.append(f"{sources[0]} does not go with state {state}")
    if (state == "link") != bool(entry.get("target")):
        problems.append("a link has a target, and only a link has one")
    if entry.get("validate") and (state != "file" or "%s" not in entry["validate"]):
        problems.append("validate is for a file, and has %s where the path of the new text goes")
    if entry.get("purge") and state != "directory":
        problems.append("purge is for a directory")
    try:
        mode_of(entry.get("mode"))
    except ValueError as error:
        problems.append(str(error))
    return problems


def unit_problems(units: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """What is wrong in a list of units (perhaps none) that has the right types; one text for each problem."""
    problems: list[str] = []
    seen: set[str] = set()
    for given in units or ():
        try:
            name = Unit.of(given).name
        except ValueError as error:
            problems.append(str(error))
            continue
        if name in seen:
            problems.append(f"{name}: is in the list of units twice")
        seen.add(name)
    return problems


def mode_of(mode: Any) -> int | None:
    """The number that an octal text stands for. Raises ValueError for a number: YAML has read it by then."""
    if mode is None:
        return None
    if not isinstance(mode, str) or not 3 <= len(mode) <= 5 or set(mode) - set("01234567"):
        raise ValueError(f'mode {mode}: write it as quoted octal digits, such as "0640"')
    return int(mode, 8)


def text_of(value: Any) -> str:
    """What a template or `content` gave, as text; data becomes JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


class Renderer:
    """Turns entries as written in a task into entries as the target wants them.

    `find` is the action's search (`_find_needle`): kind of folder and name to path.
    `variables` are the task's.
    """

    def __init__(
        self, templar: Templar, loader: Any, variables: Mapping[str, Any], find: Callable[[str, str], str]
    ) -> None:
        self._templar = templar
        self._loader = loader
        self._find = find
        self._templars: dict[str, Templar] = {}
        self._variables = {"ansible_managed": MANAGED, **variables}
        folders = [*variables.get("ansible_search_path", []), loader.get_basedir()]
        self._searchpath = [path for folder in folders for path in (os.path.join(folder, "templates"), folder)]

    def render(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """One entry with its content as bytes. Raises AnsibleActionFail which names the path."""
        state = entry.get("state") or "file"
        rendered: dict[str, Any] = {
            "path": str(entry["path"]),
            "state": state,
            "mode": mode_of(entry.get("mode")),
            "sensitive": entry.get("sensitive"),
            "recurse": bool(entry.get("recurse")),
            "purge": [str(pattern) for pattern in entry.get("purge") or []],
        }
        for key in ("owner", "group", "validate"):
            rendered[key] = None if entry.get(key) is None else str(entry[key])
        if state == "link":
            rendered["target"] = str(entry["target"])
        if state == "file":
            rendered["content"] = self._content(entry)
        return rendered

    def _content(self, entry: Mapping[str, Any]) -> bytes:
        try:
            if entry.get("template") is not None:
                return self._template(entry["template"], entry.get("vars") or {}).encode()
            if entry.get("src") is not None:
                with open(self._find("files", entry["src"]), "rb") as stream:
                    return stream.read()
        except (AnsibleError, OSError) as error:
            source = entry.get("template") or entry.get("src")
            raise AnsibleActionFail(f"{entry['path']}: cannot be made from {source}") from error
        return text_of(entry["content"]).encode()

    def _template(self, name: str, extra: Mapping[str, Any]) -> str:
        source = self._find("templates", name)
        # The text of a file in the project is trusted, as in ansible.builtin.template.
        text = trust_as_template(self._loader.get_text_file_contents(source))
        templar = self._templar_for(os.path.dirname(source), extra)
        return text_of(templar.template(text, escape_backslashes=False, overrides={"trim_blocks": True}))

    def _templar_for(self, folder: str, extra: Mapping[str, Any]) -> Templar:
        """One templar serves all templates of a folder that have no variables of their own: it is dear to make."""
        if extra or folder not in self._templars:
            templar = self._templar.copy_with_new_env(
                searchpath=[*self._searchpath, folder], available_variables={**self._variables, **extra}
            )
            if extra:
                return templar
            self._templars[folder] = templar
        return self._templars[folder]
