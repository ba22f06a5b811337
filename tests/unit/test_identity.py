# SPDX-License-Identifier: GPL-3.0-or-later
"""What the identity catalogue needs, from what is wanted and what is there."""

from __future__ import annotations

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils.identity import Item, plan, wanted
from ansible_collections.updraft.cloud.plugins.module_utils.keystone import _key, _scope

PARAMS = {
    "roles": ["service"],
    "projects": [{"name": "service", "description": "Services"}],
    "users": [{"name": "nova", "password": "secret1"}],
    "assignments": [{"user": "nova", "role": "service", "project": "service"}],
    "services": [
        {
            "type": "compute",
            "name": "nova",
            "endpoints": [{"interface": "public", "region": "RegionOne", "url": "https://api:8774/v2.1"}],
        }
    ],
}


def steps(changes):
    return [str(change.action) for change in changes]


def never(_user):
    raise AssertionError("nobody to ask")


def test_on_an_empty_service_all_is_made_in_an_order_that_works():
    assert steps(plan(wanted(PARAMS), [], never)) == [
        "create region RegionOne",
        "create role service",
        "create service compute",
        "create endpoint compute/public/RegionOne",
        "create project service/Default",
        "create user nova/Default",
        "create assignment service/nova/Default/service/Default",
    ]


def test_users_come_after_the_whole_catalogue():
    kinds = [item.kind for item in wanted(PARAMS)]
    assert kinds.index("user") > max(kinds.index("endpoint"), kinds.index("project"))


def test_what_is_there_is_left_alone():
    desired = wanted(PARAMS)
    there = [Item(item.kind, item.key, {**item.attributes, "id": "1", "enabled": True}) for item in desired]
    assert plan(desired, there, lambda _user: True) == []


def test_only_the_attributes_that_differ_change():
    desired = wanted(PARAMS)
    there = [Item(item.kind, item.key, dict(item.attributes)) for item in desired]
    there[3] = Item("endpoint", there[3].key, {"url": "http://old:8774", "enabled": True})
    changes = plan(desired, there, lambda _user: True)
    assert steps(changes) == ["update endpoint compute/public/RegionOne"]
    assert changes[0].action.before == {"url": "http://old:8774"}
    assert changes[0].item.attributes == {"url": "https://api:8774/v2.1"}


def test_a_password_is_set_again_when_it_does_not_work():
    desired = wanted(PARAMS)
    there = [Item(item.kind, item.key, dict(item.attributes)) for item in desired]
    changes = plan(desired, there, lambda user: user.key != ("nova", "Default"))
    assert steps(changes) == ["update user nova/Default"]
    assert changes[0].item.attributes == {"password": "secret1"}


def test_a_user_without_a_password_in_the_list_keeps_its_own():
    desired = wanted({"users": [{"name": "eve", "description": "Eve"}]})
    there = [Item("user", ("eve", "Default"), {"description": "Eve"})]
    assert plan(desired, there, never) == []


def test_what_nobody_asked_for_stays():
    there = [Item("project", ("tenant", "Default"), {}), Item("user", ("tenant", "Default"), {})]
    assert plan([], there, never) == []


def test_an_assignment_without_a_project_is_for_the_whole_system():
    (item,) = wanted({"assignments": [{"user": "root", "role": "admin"}]})
    assert item.key == ("admin", "root", "Default", "system", "all")


@pytest.mark.parametrize(
    ("kind", "entry", "key"),
    [
        ("region", {"id": "RegionOne"}, ("RegionOne",)),
        ("service", {"id": "s", "type": "image", "name": "glance"}, ("image",)),
        (
            "endpoint",
            {"service_id": "s", "interface": "public", "region_id": "RegionOne"},
            ("image", "public", "RegionOne"),
        ),
        ("user", {"name": "nova", "domain_id": "default"}, ("nova", "Default")),
        ("role", {"name": "member", "domain_id": None}, ("member",)),
        ("role", {"name": "member", "domain_id": "other"}, None),
    ],
)
def test_answers_are_known_by_name(kind, entry, key):
    assert _key(kind, entry, {"default": "Default"}, {"s": "image"}) == key


def test_scopes_of_assignments():
    project = {"project": {"name": "demo", "domain": {"name": "Default"}}}
    assert _scope(project) == ("demo", "Default")
    assert _scope({"system": {"all": True}}) == ("system", "all")
    assert _scope({"domain": {"name": "Default"}}) is None
