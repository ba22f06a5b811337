# SPDX-License-Identifier: GPL-3.0-or-later
"""Which schemas are behind, and how their commands are run."""

from __future__ import annotations

import getpass

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import schemas
from ansible_collections.updraft.cloud.plugins.module_utils.schemas import Chain, Step

EXPAND = '"""one"""\nrevision = "e1"\ndown_revision = None\n'
CONTRACT = 'revision: str = "c1"\ndown_revision = None\ndepends_on = ("e1",)\n'


def test_heads_are_what_nobody_builds_on():
    revisions = [
        {"revision": "a"},
        {"revision": "b", "down_revision": "a"},
        {"revision": "c", "down_revision": ("a",), "depends_on": None},
    ]
    assert schemas.heads(revisions) == {"b", "c"}


def test_a_head_that_another_depends_on_is_not_stored_by_alembic():
    revisions = [schemas.read_revision(EXPAND), schemas.read_revision(CONTRACT)]
    assert schemas.heads(filter(None, revisions)) == {"c1"}


def test_a_file_without_a_revision_is_no_migration():
    assert schemas.read_revision("import os\nvalue = os.name\n") is None


def test_migrations_are_found_on_the_path_of_python(tmp_path):
    folder = tmp_path / "site" / "nova" / "versions" / "2025.1"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text(EXPAND)
    assert schemas.wanted_heads("nova/versions", ["/nowhere", str(tmp_path / "site")]) == {"e1"}


def test_migrations_that_are_not_installed_are_unknown():
    with pytest.raises(schemas.UnknownStateError, match="not installed"):
        schemas.wanted_heads("nova/versions", ["/nowhere"])


def test_the_database_is_read_from_the_settings(tmp_path):
    path = tmp_path / "nova.conf"
    path.write_text(
        "[DEFAULT]\nhost = a\n[api_database]\n"
        "connection = mysql+pymysql://nova:p%40ss@10.0.0.1:3307/nova_api?charset=utf8mb4&ssl_ca=/ca.crt\n"
    )
    connection = schemas.read_connection(str(path), "api_database")
    assert connection == schemas.Connection("10.0.0.1", 3307, "nova", "p@ss", "nova_api", "/ca.crt")


def test_settings_that_are_not_there_yet_are_unknown(tmp_path):
    with pytest.raises(schemas.UnknownStateError, match="names no database"):
        schemas.read_connection(str(tmp_path / "absent"), "database")


def step(path, *command):
    return Step("keys", command, {"path": str(path)})


def chain(*steps):
    return Chain("keystone", getpass.getuser(), steps)


def test_only_what_is_missing_is_pending(tmp_path):
    there = tmp_path / "there"
    there.touch()
    unknown = Step("schema", ("true",), {"config": "/absent", "section": "database", "migrations": "x"})
    assert schemas.pending([chain(step(there, "true"), step(tmp_path / "missing", "true"), unknown)]) == [
        "keystone: keys",
        "keystone: schema",
    ]


@pytest.fixture
def as_root():
    if getpass.getuser() != "root":
        pytest.skip("changing to another user needs root")


@pytest.mark.usefixtures("as_root")
def test_a_step_runs_once(tmp_path):
    key = tmp_path / "key"
    chains = [chain(step(key, "touch", str(key)))]
    assert schemas.apply(chains, 10)["keystone"].done == ["keys"]
    assert schemas.apply(chains, 10)["keystone"].done == []


@pytest.mark.usefixtures("as_root")
def test_a_failure_stops_its_chain_and_shows_the_end_of_the_output(tmp_path):
    steps = (step(tmp_path / "a", "sh", "-c", "echo why; exit 3"), step(tmp_path / "b", "touch", "b"))
    outcome = schemas.apply([chain(*steps)], 10)["keystone"]
    assert outcome.done == []
    assert outcome.error is not None
    assert "exit code 3\nwhy" in outcome.error


@pytest.mark.usefixtures("as_root")
def test_a_command_that_made_nothing_is_a_failure(tmp_path):
    outcome = schemas.apply([chain(step(tmp_path / "a", "true"))], 10)["keystone"]
    assert outcome.error is not None
    assert "is not there" in outcome.error


def test_secrets_are_struck_out():
    assert schemas.tail("one\ntwo hush three\n", ["hush", ""]) == "one\ntwo ******** three"
