# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run shows, from recorded shapes of ansible-runner's events."""

from __future__ import annotations

import io
from typing import Any

import pytest

from updraft.display import PlainDisplay, duration, recap, waiting_text
from updraft.progress import Counts, Failure, Note, Progress, failure_text


def event(name: str, host: str = "node1", task: str = "host | Install", **data: Any) -> dict[str, Any]:
    return {"event": name, "event_data": {"host": host, "task": task, "task_uuid": task, **data}}


def run(*events: tuple[float, dict[str, Any]]) -> tuple[Progress, list[Note]]:
    progress, notes = Progress(), []
    for now, one in events:
        notes += progress.handle(one, now)
    return progress, notes


def test_a_task_is_waited_for_until_it_ends() -> None:
    progress, _ = run((0, event("runner_on_start")), (3, event("runner_on_start", "control1", "pki | Sign")))
    assert waiting_text(progress.waiting(), 10) == "node1: host | Install (10 s); control1: pki | Sign (7 s)"
    progress.handle(event("runner_on_ok", res={"changed": False}), 11)
    assert [task.host for task in progress.waiting()] == ["control1"]


def test_hosts_at_the_same_task_stand_together() -> None:
    progress, _ = run((0, event("runner_on_start", "a")), (2, event("runner_on_start", "b")))
    assert waiting_text(progress.waiting(), 30) == "a, b: host | Install (30 s)"
    assert waiting_text([], 30) == "nothing"


def test_changes_and_what_took_long_get_a_line_and_the_rest_does_not() -> None:
    _, notes = run(
        (0, event("runner_on_start")),
        (1, event("runner_on_ok", res={"changed": False})),
        (1, event("runner_on_start")),
        (2, event("runner_on_ok", res={"changed": True})),
        (2, event("runner_on_start")),
        (30, event("runner_on_ok", res={"changed": False})),
        (31, event("runner_on_skipped")),
    )
    assert [(note.kind, note.seconds) for note in notes] == [("changed", 1), ("slow", 28)]


def test_what_a_task_says_is_shown() -> None:
    says = {"task_action": "ansible.builtin.debug"}
    _, notes = run(
        (1, event("runner_on_ok", res={"msg": "nothing is known of node2"}, **says)),
        (2, event("runner_on_ok", res={"msg": [1, 2]}, **says)),
        (3, event("runner_on_ok", res={"msg": "All assertions passed"}, task_action="ansible.builtin.assert")),
    )
    assert notes == [Note("text", "node1", "nothing is known of node2")]


def test_tasks_of_two_hosts_are_counted_apart() -> None:
    progress, _ = run(
        (1, event("runner_on_ok", "a", res={"changed": True})),
        (1, event("runner_on_ok", "b", res={})),
        (1, event("runner_on_failed", "b", res={"msg": "no"})),
        (1, event("runner_on_failed", "a", ignore_errors=True, res={"msg": "allowed"})),
    )
    assert progress.hosts == {"a": Counts(ok=2, changed=1), "b": Counts(ok=1, failed=1)}
    assert [failure.host for failure in progress.failures] == ["b"]


def test_what_a_rescue_saved_is_no_failure_at_the_end() -> None:
    stats = {
        "event": "playbook_on_stats",
        "event_data": {"processed": {"a": 1}, "ok": {"a": 3}, "changed": {"a": 1}, "rescued": {"a": 1}},
    }
    progress, _ = run((1, event("runner_on_failed", "a", res={"msg": "tried"})), (2, stats))
    assert progress.failures == []
    assert progress.hosts == {"a": Counts(ok=3, changed=1)}


def test_the_role_stands_before_a_task_once() -> None:
    progress, _ = run(
        (0, event("runner_on_start", task="Start", role="updraft.cloud.database")),
        (1, event("runner_on_start", task="ovn | Start", role="updraft.cloud.ovn")),
    )
    assert [task.task for task in progress.waiting()] == ["database | Start", "ovn | Start"]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"msg": "no disk"}, "no disk"),
        ({"msg": "non-zero", "stderr": "boom\n", "stdout": ""}, "non-zero\nstderr:\nboom"),
        ({"censored": "hidden", "msg": "secret"}, "hidden"),
        ({}, "no message"),
        (
            {
                "msg": "items failed",
                "results": [{"item": "a"}, {"item": "b", "failed": True, "msg": "refused"}],
            },
            "items failed\nb: refused",
        ),
    ],
)
def test_a_failure_is_told_in_full(result: dict[str, Any], expected: str) -> None:
    assert failure_text(result) == expected


def test_recap_names_the_task_and_indents_its_message() -> None:
    text = recap({"node1": Counts(ok=2, failed=1)}, [Failure("node1", "host | Install", "first\nsecond")])
    assert "node1     2        0       1            0" in text
    assert text.endswith("node1: host | Install:\n  first\n  second")


def test_plain_display_says_still_at_growing_distances() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    progress, _ = run((0, event("runner_on_start")))
    for now in range(100):
        display.tick(progress, float(now))
    assert [line.split("] ")[1] for line in stream.getvalue().splitlines()] == [
        f"still node1: host | Install ({duration(seconds)})" for seconds in (20, 40, 80)
    ]


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.2, "59 s"), (60, "1 min 00 s"), (185, "3 min 05 s")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
