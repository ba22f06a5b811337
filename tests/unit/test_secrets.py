# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets of a site: only what is missing is made, and each has a value of its own."""

from __future__ import annotations

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils import secrets


def authority() -> tuple[str, str]:
    return "certificate", "key"


def flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in tree.items():
        found.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return found


def make(existing: dict[str, object], *projects: str) -> tuple[dict[str, object], list[str]]:
    return secrets.complete(existing, secrets.wanted(["keystone", "nova"], projects), authority)


def test_everything_is_made_once_and_differs() -> None:
    tree, added = make({}, "demo")
    values = flat(tree)
    assert sorted(values) == added
    assert len(set(values.values())) == len(values)
    assert {"databases.keystone", "databases.nova", "messaging.nova", "users.nova", "projects.demo"} <= set(added)
    assert "users.keystone" not in values
    assert "messaging.keystone" not in values
    passwords = [value for name, value in values.items() if "ca_" not in name]
    assert all(str(value).isalnum() for value in passwords)


def test_second_time_changes_nothing() -> None:
    tree, _ = make({}, "demo")
    again, added = make(tree, "demo")
    assert (again, added) == (tree, [])


def test_only_the_missing_is_added() -> None:
    before, _ = make({}, "demo")
    after, added = make(before, "demo", "other")
    assert added == ["projects.other"]
    assert {name: value for name, value in flat(after).items() if name not in added} == flat(before)
    assert "projects.other" not in flat(before)


def test_what_nobody_wants_any_more_stays() -> None:
    tree, added = make({"projects": {"gone": "kept"}, "mine": "kept"})
    assert "mine" not in added
    assert tree["mine"] == "kept"
    assert tree["projects"] == {"gone": "kept"}


@pytest.mark.parametrize("half", ["ca_certificate", "ca_key"])
def test_half_an_authority_is_refused(half: str) -> None:
    with pytest.raises(secrets.SecretsError, match=f"only {half}"):
        make({half: "PEM"})


def test_value_in_place_of_a_group_is_refused() -> None:
    with pytest.raises(secrets.SecretsError, match=r"users is a value.*users\.nova"):
        make({"users": "secret"})


def test_a_site_whose_machines_boot_by_network_has_more() -> None:
    plain = {secret.name for secret in secrets.wanted(["keystone"], [])}
    more = {secret.name for secret in secrets.wanted(["keystone"], [], provisioning=True)}

    assert more - plain == {
        "registrar_operator_password", "registrar_session_key", "cobbler_password", "databases.registrar",
    }  # fmt: skip
