# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions whose disk somebody uses are not ended. The kernel's tree, and dmsetup, are not real."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import iscsi_usage as usage
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_sessions import Session
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

TARGET = "iqn.2026-11.x:updraft.pool.vms.db"
SESSIONS = [
    Session(number, TARGET, f"10.78.{number}.9", 3260, "LOGGED_IN", 5, {0: f"/dev/sd{number}"}) for number in (1, 2)
]
ENDING = [Action("delete", "session", f"{TARGET} at 10.78.{number}.9:3260") for number in (1, 2)]


@pytest.fixture(autouse=True)
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both paths are of one map."""
    for name in ("sd1", "sd2"):
        (tmp_path / name / "holders" / "dm-4").mkdir(parents=True)
    monkeypatch.setattr(usage, "BLOCK", tmp_path)


def count(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    def call(words: list[str]) -> str:
        assert words[-1] == "/dev/dm-4"
        if answer == "failed":
            raise DisksError("no such device")
        return answer

    monkeypatch.setattr(usage, "call", call)


@pytest.mark.parametrize("answer", ["2\n", "failed", "?"])
def test_a_session_whose_volume_is_open_is_not_ended(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    count(monkeypatch, answer)
    (problem,) = usage.refusals(ENDING, SESSIONS)
    assert problem == (
        "compute.storage_pools.vms.volumes.db is no longer in cloud.yml, and in use on this machine"
        " (/dev/sd1, /dev/sd2): stop what uses it (`virsh list`, `lsblk -s`), or write it again. Nothing was changed"
    )


def test_a_session_that_nobody_uses_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    count(monkeypatch, "0\n")
    assert usage.refusals(ENDING, SESSIONS) == []


def test_sessions_that_stay_are_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    count(monkeypatch, "2\n")
    assert usage.refusals([Action("delete", "record", ENDING[0].name)], SESSIONS) == []


@pytest.mark.parametrize(("code", "found"), [(errno.EBUSY, True), (errno.ENXIO, False), (0, False)])
def test_a_disk_without_a_map_tells_of_mounts(monkeypatch: pytest.MonkeyPatch, code: int, found: bool) -> None:
    def look(_path: str, flags: int) -> int:
        assert flags & os.O_EXCL
        if code:
            raise OSError(code, "refused")
        return os.dup(0)

    monkeypatch.setattr(usage.os, "open", look)
    assert usage.opened("/dev/sd9") is found


def test_only_pools_have_a_place_in_cloud_yml() -> None:
    assert usage.where(TARGET) == "compute.storage_pools.vms.volumes.db"
    assert usage.where("iqn.2026-11.x:updraft.drill") == ""
