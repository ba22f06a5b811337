# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's sitecustomize.py: a real Python imports from a real archive."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "roles" / "host" / "files" / "sitecustomize.py"
PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
import runpy
import pack.deep.answer
print(pack.deep.answer.VALUE, pack.deep.answer.__file__.removeprefix(sys.argv[1]), type(pack.__loader__).__name__)
print(runpy.run_module("pack.main", run_name="__main__", alter_sys=True)["NAME"], os.environ.get("PYTHONPATH"))
"""
RIGHT = ["42 /pack/deep/answer.py Importer", "__main__ None"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kept").mkdir(mode=0o700)
    (tmp_path / "site").mkdir()
    text = SOURCE.read_text().replace("/var/cache/updraft/python", f"{tmp_path}/kept")
    (tmp_path / "site" / "sitecustomize.py").write_text(text)
    archive(tmp_path, "42")
    return tmp_path


def archive(folder: Path, value: str) -> None:
    with zipfile.ZipFile(folder / "payload.zip", "w") as stream:
        stream.writestr("pack/__init__.py", "")
        stream.writestr("pack/deep/__init__.py", "")
        stream.writestr("pack/deep/answer.py", f"VALUE = {value}\n")
        stream.writestr("pack/main.py", "NAME = __name__\n")


def run(folder: Path) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": f"{folder}/site"}
    command = [sys.executable, "-c", PROGRAM, f"{folder}/payload.zip"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def kept(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path.name: path.stat() for path in (folder / "kept").iterdir()}
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in found.items()}


def test_what_was_compiled_is_used_again(folder: Path) -> None:
    assert run(folder) == RIGHT
    first = kept(folder)
    # The two empty ones are the same text.
    assert len(first) == 3
    assert run(folder) == RIGHT
    assert kept(folder) == first


def test_another_source_is_compiled(folder: Path) -> None:
    run(folder)
    archive(folder, "43")
    assert run(folder)[0].startswith("43 ")
    assert len(kept(folder)) == 4


@pytest.mark.parametrize("content", [b"", b"not code at all", b"i\x01\0\0\0"], ids=["empty", "junk", "a number"])
def test_what_cannot_be_used_is_compiled_anew(folder: Path, content: bytes) -> None:
    run(folder)
    for path in (folder / "kept").iterdir():
        path.write_bytes(content)
    assert run(folder) == RIGHT
    assert all(path.read_bytes() != content for path in (folder / "kept").iterdir())


def test_without_a_folder_nothing_is_kept(folder: Path) -> None:
    (folder / "kept").rmdir()
    assert run(folder) == RIGHT
