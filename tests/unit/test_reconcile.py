# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of reconciling modules: plans and what is told of them."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, diff_of, plan, result_of, run

DESIRED = {"a": {"size": 1}, "b": {"size": 2, "colour": "red"}}


def test_nothing_to_do_gives_an_empty_plan() -> None:
    actual = {"b": {"size": 2, "colour": "red", "id": 77}, "a": {"size": 1, "id": 78}}
    assert plan(DESIRED, actual) == []


def test_from_nothing_everything_is_created_in_order() -> None:
    actions = plan(DESIRED, {}, what="disk")
    assert [str(action) for action in actions] == ["create disk a", "create disk b"]
    assert actions[1].after == {"size": 2, "colour": "red"}


def test_an_update_holds_only_what_differs() -> None:
    actions = plan(DESIRED, {"a": {"size": 1}, "b": {"size": 3, "colour": "red"}}, what="disk")
    assert actions == [Action("update", "disk", "b", {"size": 3}, {"size": 2})]


def test_a_missing_field_counts_as_different() -> None:
    assert plan({"a": {"note": None}}, {"a": {}})[0].kind == "update"


@pytest.mark.parametrize(
    ("purge", "gone"),
    [(False, []), (True, ["y", "x"]), (lambda name, fields: fields["mine"], ["x"])],
)
def test_what_nobody_wants_is_deleted_only_on_request(purge: Any, gone: list[str]) -> None:
    actual = {"x": {"mine": True}, "y": {"mine": False}}
    assert [action.name for action in plan({}, actual, purge=purge)] == gone


def test_deletions_come_last() -> None:
    kinds = [action.kind for action in plan({"new": {}}, {"old": {}}, purge=True)]
    assert kinds == ["create", "delete"]


def test_ignored_fields_are_set_once_and_never_compared() -> None:
    wanted = {"u": {"password": "new"}}
    assert plan(wanted, {"u": {}}, ignore={"password"}) == []
    assert plan(wanted, {}, ignore={"password"})[0].after == {"password": "new"}


def test_a_service_may_write_values_in_its_own_way() -> None:
    def same(_field: str, wanted: Any, found: Any) -> bool:
        return str(wanted) == found

    assert plan({"a": {"size": 1}}, {"a": {"size": "1"}}, same=same) == []


def test_hidden_fields_are_not_in_the_diff() -> None:
    action = Action("create", "user", "u", None, {"password": "s3cret", "nested": [{"password": "s3cret"}], "n": 1})
    (element,) = diff_of([action], hidden={"password"})
    assert "s3cret" not in str(element)
    assert '"n": 1' in element["after"]
    assert element["before"] == ""


def test_the_result_has_a_diff_only_when_asked() -> None:
    actions = plan(DESIRED, {}, what="disk")
    assert result_of(actions, diff=False) == {"changed": True, "actions": ["create disk a", "create disk b"]}
    assert len(result_of(actions, diff=True)["diff"]) == 2
    assert result_of([], diff=False) == {"changed": False, "actions": []}


class Ended(Exception):
    """What this recorder raises where a module would exit."""


class Recorder:
    """Stands where AnsibleModule does: keeps what `run` reports."""

    def __init__(self, check_mode: bool) -> None:
        self.check_mode = check_mode
        self._diff = False
        self.result: dict[str, Any] = {}

    def exit_json(self, **result: Any) -> NoReturn:
        self.result = result
        raise Ended

    fail_json = exit_json


def drive(check_mode: bool, apply: Any) -> dict[str, Any]:
    recorder = Recorder(check_mode)
    with pytest.raises(Ended):
        run(recorder, plan(DESIRED, {}, what="disk"), apply, extra=5)  # type: ignore[arg-type]
    return recorder.result


def test_check_mode_stops_after_the_plan() -> None:
    applied: list[str] = []
    result = drive(True, lambda action: applied.append(action.name))
    assert applied == []
    assert result["changed"] is True
    assert result["extra"] == 5


def test_all_actions_are_applied_in_order() -> None:
    applied: list[str] = []
    drive(False, lambda action: applied.append(action.name))
    assert applied == ["a", "b"]


def test_a_failure_names_the_action_and_how_far_it_came() -> None:
    def apply(action: Action) -> None:
        if action.name == "b":
            raise OSError("no space")

    result = drive(False, apply)
    assert result["msg"] == "cannot create disk b: no space (1 of 2 actions were done)"
    assert result["changed"] is True
