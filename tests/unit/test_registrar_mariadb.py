# SPDX-License-Identifier: GPL-3.0-or-later
"""The registrar on a real MariaDB server: the same rules hold, also when many ask at once."""

from __future__ import annotations

import pytest
from registrar_kit import address, new_key, running, settings_for
from registrar_process import mariadb, registrar
from test_registrar_process import assert_one_row
from test_registrar_rules import silent
from test_registrar_rules import test_a_token_brings_a_machine_back_once as by_token
from test_registrar_rules import test_no_token_and_silent_waits_for_its_code as by_code

from updraft.registrar.models import Base


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    # A socket's path has at most 107 characters.
    with mariadb(tmp_path_factory.mktemp("m")) as socket:
        yield socket


@pytest.fixture
def site(server, tmp_path):
    """A registrar on an empty database."""
    settings = settings_for(tmp_path, database_socket=str(server), database_user="root")
    with running(settings) as found:
        assert found.service.database.engine.dialect.name == "mysql"
        yield found
        Base.metadata.drop_all(found.service.database.engine)


def test_tokens(site):
    by_token(site)


def test_codes(site):
    by_code(site)


def test_purge_and_silence(site):
    told = site.in_service(1, "node1")
    told.pop("id")
    silent(site, 100)
    site.post(1, {**told, "host_key": new_key()})
    assert sorted(host["state"] for host in site.hosts()) == ["away", "seen"]
    site.clock.ahead += 200
    site.service.presence.beat(site.service.database)
    assert site.host("node1")["state"] == "away", "a gap brings nobody back"
    site.service._purge()
    assert len(site.hosts()) == 2
    assert site.token(told, address(1))


def test_at_once(server, tmp_path):
    with registrar(tmp_path, database_socket=server, database_user="root") as process:
        assert_one_row(process)
