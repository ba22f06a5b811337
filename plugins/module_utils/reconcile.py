# SPDX-License-Identifier: GPL-3.0-or-later
"""Base of the modules which take a whole desired list: plan (pure), then apply.

    desired = {"demo": {"quota": 10, "password": "..."}}
    actual = read_from_the_service()            # {} where the service is not there yet, in check mode
    actions = plan(desired, actual, what="project", ignore={"password"})
    run(module, actions, apply, hidden={"password"})

`plan` compares only the fields which `desired` has, so that `actual` may hold more. In check mode `run` stops after the
plan; with --diff it prints it; a second run has an empty plan.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Kind = Literal["create", "update", "delete"]
Fields = Mapping[str, Any]
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a plan.

    `what` is the type of the thing (database, flavor, target), `name` its name among its like. `before` and `after`
    hold its fields: for create only `after`, for delete only `before`, for update only the fields that differ.
    """

    kind: Kind
    what: str
    name: str
    before: Fields | None = None
    after: Fields | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.what} {self.name}"


def plan(
    desired: Mapping[str, Fields],
    actual: Mapping[str, Fields],
    *,
    what: str = "object",
    purge: bool | Callable[[str, Fields], bool] = False,
    ignore: Collection[str] = (),
    same: Callable[[str, Any, Any], bool] | None = None,
) -> list[Action]:
    """Compare what is wanted with what is there, by name.

    `purge` says which objects that nobody wants are deleted: none, all, or those for which it is true (name, fields).
    `ignore` are fields which are set on creation and never compared (a password that cannot be read).
    `same(field, wanted, found)` replaces `==`, for a service that writes values in its own way.
    Creations and updates come in the order of `desired`, deletions after them in the reverse order of `actual`.
    """
    actions = []
    for name, fields in desired.items():
        if name not in actual:
            actions.append(Action("create", what, name, None, dict(fields)))
            continue
        differing = changed_fields(fields, actual[name], ignore=ignore, same=same)
        if differing:
            before = {field: actual[name].get(field) for field in differing}
            after = {field: fields[field] for field in differing}
            actions.append(Action("update", what, name, before, after))
    for name, fields in reversed(list(actual.items())):
        is_unwanted = name not in desired and (purge(name, fields) if callable(purge) else purge)
        if is_unwanted:
            actions.append(Action("delete", what, name, dict(fields), None))
    return actions


def changed_fields(
    wanted: Fields,
    found: Fields,
    *,
    ignore: Collection[str] = (),
    same: Callable[[str, Any, Any], bool] | None = None,
) -> list[str]:
    """Names of the fields of `wanted` whose value is another in `found`, or which it lacks."""

    def is_same(field: str) -> bool:
        if field not in found:
            return False
        return same(field, wanted[field], found[field]) if same else bool(wanted[field] == found[field])

    return [field for field in wanted if field not in ignore and not is_same(field)]


def diff_of(actions: Sequence[Action], hidden: Collection[str] = ()) -> list[dict[str, str]]:
    """Ansible's `diff` for a plan: one element for each action, values of `hidden` fields left out at any depth."""
    return [
        {
            "before_header": str(action),
            "after_header": str(action),
            "before": _text(action.before, hidden),
            "after": _text(action.after, hidden),
        }
        for action in actions
    ]


def _text(fields: Fields | None, hidden: Collection[str]) -> str:
    if fields is None:
        return ""
    return json.dumps(_masked(fields, hidden), indent=2, sort_keys=True, default=str, ensure_ascii=False) + "\n"


def _masked(value: Any, hidden: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {str(k): HIDDEN if k in hidden else _masked(v, hidden) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(element, hidden) for element in value]
    return sorted(value, key=str) if isinstance(value, set | frozenset) else value


def result_of(actions: Sequence[Action], *, diff: bool, hidden: Collection[str] = ()) -> dict[str, Any]:
    """What a module returns for a plan."""
    result: dict[str, Any] = {"changed": bool(actions), "actions": [str(action) for action in actions]}
    if diff:
        result["diff"] = diff_of(actions, hidden)
    return result


def run(
    module: AnsibleModule,
    actions: Sequence[Action],
    apply: Callable[[Action], Any],
    *,
    hidden: Collection[str] = (),
    **more: Any,
) -> NoReturn:
    """Apply a plan, or in check mode only tell it, and end the module.

    `apply` is called once for each action, in order; whatever it raises ends the module with a message which names the
    action and says how much was done before. `more` are further return values.
    """
    done = 0
    if not module.check_mode:
        for action in actions:
            try:
                apply(action)
            except Exception as error:
                text = f"cannot {action}: {error} ({done} of {len(actions)} actions were done)"
                module.fail_json(msg=text, changed=done > 0)
            done += 1
    module.exit_json(**result_of(actions, diff=module._diff, hidden=hidden), **more)
    raise AssertionError("exit_json ends the process")
