# SPDX-License-Identifier: GPL-3.0-or-later
"""From definitions of services to what a host gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils import services

ROLE = Path(__file__).parents[2] / "roles" / "openstack"
NAMES = sorted(path.stem for path in (ROLE / "services").glob("*.yml"))
SMALL = {
    "user": "demo",
    "catalogue": [{"name": "demo", "type": "demo", "description": "Demo", "port": 80, "path": "/v1"}],
    "files": [{"path": "/etc/demo/demo.conf", "template": "demo.conf.j2"}],
    "components": {
        "api": {
            "on": ["control"],
            "certificates": [{"directory": "/etc/demo/tls"}],
            "schemas": [{"name": "schema", "command": ["true"], "done": {"path": "/x"}}],
            "wsgi": [{"unit": "demo-api", "application": "/a", "port": 80, "ready": "/", "log": "/l"}],
        },
        "agent": {
            "on": ["compute"],
            "files": [{"path": "/etc/demo/agent.conf", "template": "a.j2"}, {"path": "/d", "state": "directory"}],
            "units": [
                {"name": "demo-agent.service"},
                {"name": "haproxy.service", "state": "stopped", "unless": "control"},
            ],
            "daemons": [{"name": "demo-worker", "description": "Worker", "command": ["/w"]}],
        },
    },
}


@pytest.fixture(scope="module")
def definitions():
    return services.load(NAMES, str(ROLE / "services"))


def unit(plan, name):
    (found,) = [entry for entry in plan["units"] if entry["name"] == name]
    return found


def test_a_host_gets_the_components_of_its_roles():
    control = services.plan({"demo": services.checked("demo", SMALL)}, ["control"])
    compute = services.plan({"demo": SMALL}, ["compute"])
    assert control["components"] == ["demo.api"]
    assert compute["components"] == ["demo.agent"]
    assert [chain["name"] for chain in control["schemas"]] == ["demo"]
    assert compute["schemas"] == []


def test_a_host_without_any_gets_nothing():
    assert not any(services.plan({"demo": SMALL}, ["database"]).values())


def test_an_api_comes_with_its_ini_and_listens_where_it_is_awaited():
    plan = services.plan({"demo": SMALL}, ["control"])
    paths = [entry["path"] for entry in plan["files"]]
    assert "/etc/demo/demo-api-uwsgi.ini" in paths
    assert "/etc/systemd/system/demo-api.service.d/updraft.conf" in paths
    api = unit(plan, "demo-api.service")
    assert api["ready"] == {"http": "http://127.0.0.1:80/", "status": [200, 300]}
    assert {"/etc/demo/demo.conf", "/etc/demo/tls", services.TRUST} <= set(api["depends"])


def test_a_unit_restarts_for_the_files_of_its_own_component_alone():
    plan = services.plan({"demo": SMALL}, ["control", "compute"])
    assert "/etc/demo/agent.conf" in unit(plan, "demo-agent.service")["depends"]
    assert "/etc/demo/agent.conf" not in unit(plan, "demo-api.service")["depends"]
    assert "/etc/demo/tls" not in unit(plan, "demo-agent.service")["depends"]


def test_a_role_can_rule_out_a_unit():
    names = [entry["name"] for entry in services.plan({"demo": SMALL}, ["control", "compute"])["units"]]
    assert "haproxy.service" not in names
    assert unit(services.plan({"demo": SMALL}, ["compute"]), "haproxy.service")["state"] == "stopped"


def test_settings_are_readable_by_their_service_alone():
    plan = services.plan({"demo": SMALL}, ["compute"])
    (settings,) = [entry for entry in plan["files"] if entry["path"] == "/etc/demo/demo.conf"]
    assert (settings["owner"], settings["group"], settings["mode"]) == ("root", "demo", "0640")
    assert settings["vars"] == {"user": "demo", "components": ["demo.agent"]}


def test_accounts_are_for_services_with_a_password():
    accounts = services.accounts(["keystone", "nova"], {"nova": "p", "heat": "q"}, "service")
    assert [user["name"] for user in accounts["users"]] == ["nova"]
    assert [entry["role"] for entry in accounts["assignments"]] == ["admin", "service"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"user": None}, "'user' is missing"),
        ({"port": 1}, "unknown key port"),
        ({"components": {"api": {"packages": []}}}, 'components.api: "on"'),
        ({"components": {"api": {"on": ["control"], "unit": []}}}, "components.api: unknown key unit"),
        ({"components": None}, "'components'"),
    ],
)
def test_a_faulty_definition_is_refused(change, text):
    with pytest.raises(services.DefinitionError, match=text):
        services.checked("demo", {**SMALL, **change})


def test_a_service_without_a_definition_is_refused(tmp_path):
    with pytest.raises(services.DefinitionError, match="service heat has no definition"):
        services.load(["heat"], str(tmp_path))


def test_the_definitions_have_templates_for_their_files(definitions):
    plan = services.plan(definitions, ["control", "storage", "compute", "gateway", "backup"])
    for entry in plan["files"]:
        if "template" in entry:
            assert (ROLE / "templates" / entry["template"]).is_file(), entry["path"]


def test_no_path_is_written_twice(definitions):
    plan = services.plan(definitions, ["control", "storage", "compute", "gateway", "backup"])
    paths = [entry["path"] for entry in plan["files"]]
    assert len(paths) == len(set(paths))


def test_what_the_catalogue_names_is_a_declared_port(definitions):
    for name, definition in definitions.items():
        declared = {port["port"] for component in definition["components"].values() for port in component["ports"]}
        assert {entry["port"] for entry in definition["catalogue"]} <= declared, name


def test_urls_of_the_catalogue():
    (entry,) = services.catalogue({"demo": SMALL}, "https://api.example.org", "RegionOne")
    assert [endpoint["interface"] for endpoint in entry["endpoints"]] == ["public", "internal"]
    assert entry["endpoints"][0]["url"] == "https://api.example.org:80/v1"


def test_a_unit_that_somebody_else_starts_is_configured_and_left_as_it_is(definitions):
    plan = services.plan(definitions, ["storage"], ["cinder-volume.service"])
    kept = unit(plan, "cinder-volume.service")
    own = unit(services.plan(definitions, ["storage"]), "cinder-volume.service")
    assert kept == {**own, "state": "kept"}
    assert "state" not in own
    assert plan["files"] == services.plan(definitions, ["storage"])["files"]


def test_what_two_components_need_alike_is_there_once(definitions):
    paths = [entry["path"] for entry in services.plan(definitions, ["storage", "backup"])["files"]]
    assert paths.count("/etc/sudoers.d/updraft-cinder") == 1
    backup = services.plan(definitions, ["backup"])
    assert [entry["name"] for entry in backup["units"]] == ["cinder-backup.service"]
    assert "/etc/sudoers.d/updraft-cinder" in [entry["path"] for entry in backup["files"]]
