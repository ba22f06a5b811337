# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is awaited: never seen, down, or not heard of for long."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import attendance

NOW = datetime.datetime(2026, 11, 20, 12, 0, 0)


def report(**more: Any) -> dict[str, Any]:
    return {"host": "node1", "state": "up", "updated_at": "2026-11-20T11:59:50.000000", **more}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([], "has not reported yet"),
        ([report(state="down")], "is down"),
        ([report(updated_at="2026-11-20T11:50:00.000000")], "last heard of at"),
        ([report(updated_at=None)], "last heard of at None"),
    ],
)
def test_a_host_that_does_not_serve_is_awaited_with_the_reason(found: list[dict[str, Any]], reason: str) -> None:
    (awaited,) = attendance.missing("compute", ["node1"], found, NOW)
    assert reason in awaited.reason
    assert str(awaited).startswith("node1 as compute (")


def test_a_host_that_reports_is_there_whatever_its_backend() -> None:
    assert attendance.missing("compute", ["node1"], [report()], NOW) == []
    assert attendance.missing("volume", ["storage1"], [report(host="storage1@lvm")], NOW) == []


def test_only_a_living_controller_of_ovn_counts() -> None:
    agents = [
        {"host": "node1", "alive": True, "agent_type": "OVN Controller Gateway agent"},
        {"host": "node2", "alive": False, "agent_type": "OVN Controller agent"},
        {"host": "node3", "alive": True, "agent_type": "OVN Metadata agent"},
    ]
    awaited = attendance.missing_agents(["node1", "node2", "node3"], agents)
    assert [item.host for item in awaited] == ["node2", "node3"]


def test_a_compute_host_without_a_cell_is_found() -> None:
    assert attendance.unmapped(["node1", "node2"], [{"service": {"host": "node1"}}]) == ["node2"]


def test_the_volume_service_of_a_mirror_is_awaited_once_and_its_legs_tell_why_it_does_not_come() -> None:
    there = report(host="mirror@lvm")
    assert attendance.missing("volume", ["mirror"], [there], NOW) == []
    awaited = attendance.missing("volume", ["mirror"], [report(host="storage1@lvm")], NOW)
    assert [str(item) for item in awaited] == ["mirror as volume (it has not reported yet)"]
    found = attendance.journals(awaited, {"mirror": ["storage1", "storage2"]})
    assert [(item["host"], item["unit"]) for item in found] == [
        ("storage1", "cinder-volume"),
        ("storage2", "cinder-volume"),
    ]


def test_a_machine_tells_itself_why_it_does_not_come() -> None:
    awaited = attendance.missing("backup", ["backup1"], [], NOW)
    assert attendance.journals(awaited, {}) == [
        {"host": "backup1", "unit": "cinder-backup", "reason": "it has not reported yet"}
    ]
