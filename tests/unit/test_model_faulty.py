# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file in faulty/ is a cloud.yml that must be refused, in the words at its head, and with no other."""

from __future__ import annotations

import io
import re
import socket
import subprocess
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils.model import load
from updraft.check import check

FILES = sorted((Path(__file__).parent / "faulty").glob("*.yml"))
EXPECTED = re.compile(r"^# expect: (?P<path>.*?): (?P<text>.*); (?P<cure>.+)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def _no_host_is_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_named: object) -> None:
        raise AssertionError("a check must not contact anybody or start anything")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


def test_there_are_enough() -> None:
    assert len(FILES) >= 35


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_refused_with_path_and_cure(file: Path) -> None:
    expected = [line.removeprefix("# expect: ") for line in file.read_text().splitlines() if "# expect:" in line]
    assert expected, "the head of the file says what is expected, as '# expect: path: what is wrong; cure'"
    assert all(EXPECTED.match(f"# expect: {line}") for line in expected)

    found = load(file).problems

    assert [str(problem) for problem in found] == expected


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_problem_is_placed_in_the_file(file: Path) -> None:
    text = file.read_text().splitlines()
    for problem in load(file).problems:
        if problem.line is not None:
            line = text[problem.line - 1]
            assert not line.startswith("#")
            assert any(key in line for key in re.split(r"[.\[]", problem.path))


@pytest.mark.parametrize("file", FILES[:3], ids=lambda file: file.stem)
def test_the_command_refuses_it(file: Path) -> None:
    out, err = io.StringIO(), io.StringIO()

    assert check(file, out=out, err=err) == 2

    assert out.getvalue() == ""
    for problem in load(file).problems:
        assert f"{problem}" in err.getvalue()
    assert str(file) in err.getvalue()


def test_a_secret_is_not_repeated() -> None:
    err = io.StringIO()

    check(Path(__file__).parent / "faulty" / "secret_clear.yml", err=err)

    assert "hunter2" not in err.getvalue()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    err = io.StringIO()

    assert check(tmp_path, err=err) == 2

    assert "cloud.yml" in err.getvalue()
