# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.files on the controller: what a task may say, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleFileNotFound
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.updraft.cloud.plugins.plugin_utils.rendering import (
    MANAGED,
    Renderer,
    mode_of,
    problems_of,
    text_of,
)


def renderer(root: Path, **variables: Any) -> Renderer:
    loader = DataLoader()
    loader.set_basedir(str(root))

    def find(kind: str, name: str) -> str:
        path = root / kind / name
        if not path.exists():
            raise AnsibleFileNotFound(file_name=name)
        return str(path)

    templar = Templar(loader=loader, variables=variables)
    return Renderer(templar, loader, {**variables, "ansible_search_path": [str(root)]}, find)


def template(root: Path, name: str, text: str) -> None:
    (root / "templates").mkdir(exist_ok=True)
    (root / "templates" / name).write_text(text)


def test_a_template_sees_the_tasks_variables_its_own_and_the_header(tmp_path: Path) -> None:
    template(tmp_path, "a.j2", "# {{ ansible_managed }}\n{% for x in xs %}\n{{ x }}={{ y }}\n{% endfor %}\n")
    entry = {"path": "/a", "template": "a.j2", "vars": {"y": "own"}, "mode": "0640"}
    rendered = renderer(tmp_path, xs=[1, 2], y="task's").render(entry)
    assert rendered["content"].decode() == f"# {MANAGED}\n1=own\n2=own\n"
    assert rendered["mode"] == 0o640


def test_a_template_may_include_another_of_its_role(tmp_path: Path) -> None:
    template(tmp_path, "a.j2", "{% include 'part.j2' %}\n")
    template(tmp_path, "part.j2", "part of {{ name }}\n")
    rendered = renderer(tmp_path, name="a").render({"path": "/a", "template": "a.j2"})
    assert rendered["content"] == b"part of a\n"


def test_a_variable_that_is_a_template_itself_is_not_run_unless_trusted(tmp_path: Path) -> None:
    template(tmp_path, "a.j2", "{{ given }}\n")
    rendered = renderer(tmp_path, given="{{ 6 * 7 }}").render({"path": "/a", "template": "a.j2"})
    assert rendered["content"] == b"{{ 6 * 7 }}\n"


def test_src_is_sent_byte_by_byte(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/x").write_bytes(b"{{ no }}\0\xff")
    assert renderer(tmp_path).render({"path": "/a", "src": "x"})["content"] == b"{{ no }}\0\xff"


@pytest.mark.parametrize("name", ["missing.j2", "broken.j2", "undefined.j2"])
def test_a_template_that_fails_names_the_path(tmp_path: Path, name: str) -> None:
    template(tmp_path, "broken.j2", "{% if %}")
    template(tmp_path, "undefined.j2", "{{ not_there }}")
    with pytest.raises(AnsibleActionFail, match=f"/etc/a: cannot be made from {name}"):
        renderer(tmp_path).render({"path": "/etc/a", "template": name})


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "x"), (None, ""), ({"b": 1, "a": [True]}, '{\n  "a": [\n    true\n  ],\n  "b": 1\n}\n')],
)
def test_content_may_be_data(value: Any, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(("mode", "number"), [("0640", 0o640), ("755", 0o755), ("02750", 0o2750), (None, None)])
def test_modes(mode: Any, number: int | None) -> None:
    assert mode_of(mode) == number


@pytest.mark.parametrize("mode", [416, "rw", "0800", "u=rw", "77", "7777777"])
def test_modes_that_yaml_may_have_changed_are_refused(mode: Any) -> None:
    with pytest.raises(ValueError, match="quoted octal digits"):
        mode_of(mode)


@pytest.mark.parametrize(
    ("entry", "cure"),
    [
        ({"path": "etc/x", "content": ""}, "absolute path"),
        ({"path": "/etc/../x", "content": ""}, "absolute path"),
        ({"path": "/etc/x/", "content": ""}, "absolute path"),
        ({"path": "/x"}, "exactly one of template, src, content"),
        ({"path": "/x", "content": "", "src": "y"}, "exactly one of"),
        ({"path": "/x", "state": "directory", "content": ""}, "does not go with state directory"),
        ({"path": "/x", "state": "link"}, "a link has a target"),
        ({"path": "/x", "content": "", "target": "y"}, "a link has a target"),
        ({"path": "/x", "content": "", "validate": "true"}, "has %s"),
        ({"path": "/x", "state": "absent", "validate": "true %s"}, "validate is for a file"),
        ({"path": "/x", "content": "", "purge": ["*"]}, "purge is for a directory"),
        ({"path": "/x", "content": "", "mode": 420}, "quoted octal"),
    ],
)
def test_what_a_task_may_not_say(entry: dict[str, Any], cure: str) -> None:
    (problem,) = problems_of([entry])
    assert cure in problem
    assert problem.startswith(entry["path"])


def test_a_path_twice_is_refused() -> None:
    assert problems_of([{"path": "/x", "content": "1"}, {"path": "/x", "content": "2"}]) == ["/x: is in the list twice"]
