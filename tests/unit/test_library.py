# SPDX-License-Identifier: GPL-3.0-or-later
"""The code that goes with a program: complete, and free of Ansible."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils.library import HERE, PACKAGE, closure, files, imported


def test_imports_within_functions_count_and_those_for_types_do_not() -> None:
    source = f"""
from {PACKAGE} import disks
from {PACKAGE}.reconcile import Action
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from {PACKAGE}.files import Entry
def later():
    from {PACKAGE}.lio import Lio
"""
    assert sorted(imported(source)) == ["disks", "lio", "reconcile"]


@pytest.mark.parametrize(("name", "word"), [("mirror_cli", "promote"), ("iscsi_losses_cli", "--wait")])
def test_a_program_runs_with_its_library_alone(tmp_path: Path, name: str, word: str) -> None:
    for one in files(name, str(tmp_path)):
        target = Path(one["path"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(one["src"]).read_bytes())
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from {PACKAGE}.{name} import main; main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert word in done.stdout


def test_nothing_is_listed_that_is_not_there() -> None:
    assert all((HERE / f"{name}.py").is_file() for name in closure("mirror_cli"))
