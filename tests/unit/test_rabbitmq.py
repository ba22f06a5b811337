# SPDX-License-Identifier: GPL-3.0-or-later
"""The message bus: what is planned, and what is imported."""

from __future__ import annotations

from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import rabbitmq as subject

ALL = {"configure": ".*", "write": ".*", "read": ".*"}
# Example of https://www.rabbitmq.com/docs/passwords: password test12, salt 908D C60A.
EXAMPLE = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
# Exported by RabbitMQ 4.0.5.
EXPORTED: dict[str, Any] = {
    "vhosts": [{"default_queue_type": "quorum", "limits": [], "metadata": {"tags": []}, "name": "/"}],
    "users": [
        {"hashing_algorithm": subject.ALGORITHM, "limits": {}, "name": "nova", "password_hash": EXAMPLE, "tags": []}
    ],
    "permissions": [{"user": "nova", "vhost": "/", **ALL}],
    "queues": [],
}


def desired(password: str = "test12", **more: Any) -> dict[str, subject.Objects]:
    user = {"name": "nova", "password": password, "tags": [], "permissions": [{"vhost": "/", **ALL}], **more}
    return subject.desired_objects([{"name": "/", "default_queue_type": "quorum"}], [user])


def plan(wanted: dict[str, subject.Objects], exported: dict[str, Any]) -> list[str]:
    return [str(action) for action in subject.plan_all(wanted, subject.found_objects(exported), ["guest"])]


def test_password_is_compared_by_its_salted_hash() -> None:
    assert subject.is_password("test12", EXAMPLE)
    assert not subject.is_password("test13", EXAMPLE)
    assert not subject.is_password("test12", "not base64!")
    assert not subject.is_password("", "")


def test_what_is_there_needs_nothing() -> None:
    assert plan(desired(), EXPORTED) == []


def test_fresh_broker_loses_its_guest() -> None:
    guest = {"name": "guest", "password_hash": EXAMPLE, "tags": ["administrator"]}
    fresh = {
        "vhosts": [{"name": "/", "default_queue_type": "classic"}],
        "users": [guest],
        "permissions": [{"user": "guest", "vhost": "/", **ALL}],
    }
    assert plan(desired(), fresh) == [
        "update vhost /",
        "create user nova",
        "delete user guest",
        "create permission nova on /",
    ]


def test_operators_own_users_stay() -> None:
    other = {"name": "operator", "password_hash": EXAMPLE, "tags": []}
    permission = {"user": "operator", "vhost": "/", **ALL}
    exported = {
        **EXPORTED,
        "users": [*EXPORTED["users"], other],
        "permissions": [*EXPORTED["permissions"], permission],
    }
    assert plan(desired(), exported) == []


def test_permission_beyond_the_list_is_taken_away() -> None:
    exported = {**EXPORTED, "permissions": [*EXPORTED["permissions"], {"user": "nova", "vhost": "other", **ALL}]}
    assert plan(desired(), exported) == ["delete permission nova on other"]


def test_import_holds_whole_objects_and_no_password() -> None:
    wanted = desired("new", tags=["monitoring"])
    actions = subject.plan_all(wanted, subject.found_objects(EXPORTED), ["guest"])
    definitions = subject.definitions_of(actions, wanted)
    assert list(definitions) == ["users"]
    (user,) = definitions["users"]
    assert user["tags"] == ["monitoring"]
    assert "password" not in user
    assert subject.is_password("new", user["password_hash"])
