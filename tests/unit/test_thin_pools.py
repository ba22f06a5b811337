# SPDX-License-Identifier: GPL-3.0-or-later
"""A thin pool that gets full: what LVM tells of it, and that writes wait."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils.logical_volumes import patience, wait_for_room
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_status import parse_pool

ROW = {
    "data_percent": "97.50", "metadata_percent": "12.01", "lv_size": "1929379840", "lv_health_status": "",
    "lv_when_full": "queue", "vg_free": "16777216",
}  # fmt: skip


def report(**more: str) -> str:
    return json.dumps({"report": [{"lv": [ROW | more]}]})


def test_a_pool_is_read() -> None:
    assert parse_pool(report()) == {
        "data_percent": 97.5, "metadata_percent": 12.01, "size_bytes": 1929379840, "free_bytes": 16777216,
        "health": "", "waits": True,
    }  # fmt: skip


def test_a_full_one_that_fails_writes() -> None:
    found = parse_pool(report(lv_health_status="out_of_data", lv_when_full="error"))
    assert (found["health"], found["waits"]) == ("out_of_data", False)


def test_a_pool_that_is_not_active_has_no_numbers() -> None:
    with pytest.raises(ValueError, match="could not convert string to float"):
        parse_pool(report(data_percent=""))


def test_the_kernel_is_told_to_wait_and_only_when_it_would_not(tmp_path: Path) -> None:
    setting = tmp_path / "no_space_timeout"
    wait_for_room(setting)
    assert patience(setting) is None and not setting.exists()
    setting.write_text("60\n")
    wait_for_room(setting)
    assert setting.read_text() == "0"
    assert patience(setting) == 0


def test_a_node_does_not_abort_a_write_that_a_full_pool_keeps_waiting() -> None:
    templates = Path(__file__).parents[2] / "roles/iscsi_initiator/templates"
    rules = (templates / "volumes.rules.j2").read_text()
    assert 'ATTRS{vendor}=="LIO-ORG*", ATTR{device/timeout}="3600"' in rules
    # What asks the paths would otherwise have as long.
    assert "checker_timeout 30" in (templates / "multipath.conf.j2").read_text()
