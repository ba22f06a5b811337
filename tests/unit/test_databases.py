# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases and accounts: what is planned, and the SQL that does it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import databases as subject

NOVA = "`nova`@`10.77.0.0/255.255.255.0`"
# SELECT PASSWORD('secret') of MariaDB 11.8
SECRET_HASH = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"


def accounts(**more: Any) -> subject.Accounts:
    user = {
        "name": "nova",
        "host": "10.77.0.0/24",
        "password": "secret",
        "databases": ["nova", "nova_api"],
        "privileges": ["ALL"],
        "require_ssl": True,
    }
    return subject.desired_accounts([{**user, **more}])


def as_found() -> dict[str, Any]:
    stored = {"plugin": "mysql_native_password", "authentication_string": SECRET_HASH, "ssl_type": 1, "access": 0}
    lines = [
        f"GRANT USAGE ON *.* TO {NOVA} IDENTIFIED BY PASSWORD '{SECRET_HASH}' REQUIRE SSL",
        f"GRANT ALL PRIVILEGES ON `nova`.* TO {NOVA}",
        rf"GRANT ALL PRIVILEGES ON `nova\_api`.* TO {NOVA}",
    ]
    return subject.account_fields("nova", json.dumps(stored), lines)


def test_password_is_compared_as_the_servers_hash() -> None:
    assert subject.native_hash("secret") == SECRET_HASH


@pytest.mark.parametrize(
    ("host", "pattern"), [("10.77.0.0/24", "10.77.0.0/255.255.255.0"), ("%", "%"), ("10.0.0.1", "10.0.0.1")]
)
def test_network_is_written_as_the_server_has_it(host: str, pattern: str) -> None:
    assert subject.host_pattern(host) == pattern


def test_what_is_there_needs_nothing() -> None:
    found = ({"nova": {}}, {NOVA: as_found()})
    assert subject.plan_all({"nova": {"charset": "utf8mb4"}}, accounts(), found) == []


def test_new_account_is_closed_from_its_first_moment() -> None:
    (action,) = subject.plan_all({}, accounts(), ({}, {}))
    assert subject.account_statements(action) == [
        f"CREATE OR REPLACE USER {NOVA} IDENTIFIED VIA mysql_native_password USING '{SECRET_HASH}' REQUIRE SSL",
        f"GRANT ALL ON `nova`.* TO {NOVA}",
        rf"GRANT ALL ON `nova\_api`.* TO {NOVA}",
    ]
    assert not any("'secret'" in statement for statement in subject.account_statements(action))


def test_only_what_differs_is_changed() -> None:
    (action,) = subject.plan_all({}, accounts(password="other", databases=["nova"]), ({}, {NOVA: as_found()}))
    assert action.kind == "update"
    first, second = subject.account_statements(action)
    assert first.startswith(f"ALTER USER {NOVA} IDENTIFIED VIA mysql_native_password USING '*")
    assert second == rf"REVOKE ALL ON `nova\_api`.* FROM {NOVA}"


def test_tls_that_was_switched_off_comes_back() -> None:
    found = {**as_found(), "require_ssl": False}
    (action,) = subject.plan_all({}, accounts(), ({}, {NOVA: found}))
    assert subject.account_statements(action) == [f"ALTER USER {NOVA} REQUIRE SSL"]


def test_global_privilege_is_taken_away() -> None:
    found = {**as_found(), "grants": {**as_found()["grants"], "*.*": ["SELECT"]}}
    (action,) = subject.plan_all({}, accounts(), ({}, {NOVA: found}))
    assert subject.account_statements(action) == [f"REVOKE SELECT ON *.* FROM {NOVA}"]


def test_account_of_the_same_name_from_elsewhere_is_dropped_and_no_other() -> None:
    found = {"`nova`@`%`": {**as_found()}, NOVA: as_found(), "`operator`@`%`": {**as_found(), "user": "operator"}}
    actions = subject.plan_all({}, accounts(), ({"old": {}}, found))
    assert [str(action) for action in actions] == ["delete account `nova`@`%`"]
    assert subject.account_statements(actions[0]) == ["DROP USER IF EXISTS `nova`@`%`"]


def test_database_is_made_and_then_its_services() -> None:
    wanted = {"nova": {"charset": "utf8mb4", "collation": "utf8mb4_bin"}}
    (action,) = subject.plan_all(wanted, {}, ({"mysql": {}}, {}))
    assert subject.database_statements(action) == [
        "CREATE DATABASE IF NOT EXISTS `nova` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    ]
    assert subject.plan_all(wanted, {}, ({"nova": {"charset": "utf8mb3", "collation": "other"}}, {})) == []


def test_grants_are_read_as_the_server_shows_them() -> None:
    lines = ["GRANT `role` TO `x`@`%`", "GRANT SELECT, INSERT ON `a`.`t` TO `x`@`%` WITH GRANT OPTION"]
    assert subject.parse_grants(lines) == {"`a`.`t`": ["GRANT OPTION", "INSERT", "SELECT"]}
