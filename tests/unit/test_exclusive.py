# SPDX-License-Identifier: GPL-3.0-or-later
"""One at a time on a machine."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils.exclusive import BusyError, exclusive


def test_the_second_waits_and_gives_up(tmp_path):
    with (
        exclusive("demo", 1, str(tmp_path)),
        pytest.raises(BusyError, match="still at work"),
        exclusive("demo", 0, str(tmp_path)),
    ):
        pass


def test_it_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with exclusive("demo", 0, str(tmp_path)):
            pass


def test_other_names_are_other_locks(tmp_path):
    with exclusive("one", 0, str(tmp_path)), exclusive("two", 0, str(tmp_path)):
        pass


def test_a_child_holds_it_when_its_parent_is_gone(tmp_path):
    with exclusive("demo", 0, str(tmp_path)) as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    try:
        with pytest.raises(BusyError), exclusive("demo", 0, str(tmp_path)):
            pass
    finally:
        child.kill()
        child.wait()
    with exclusive("demo", 0, str(tmp_path)):
        pass
