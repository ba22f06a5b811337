# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the registrar: who waits, who is approved, who may come back."""

from __future__ import annotations

import dataclasses

import pytest
from registrar_kit import Clock, address, machine, new_key, running, settings_for
from sqlalchemy import event

from updraft.registrar import codes, states
from updraft.registrar.limits import Buckets
from updraft.registrar.schemas import canonical_uuid
from updraft.registrar.settings import SettingsError, load


@pytest.fixture
def site(tmp_path):
    with running(settings_for(tmp_path)) as found:
        yield found


def test_codes():
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA comment"
    code = codes.code_of(key)
    assert len(code) == 8 and codes.typed(codes.shown(code).lower()) == code
    assert codes.typed("oil0-1234") == "01101234"
    for wrong in ("ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 !!", "ssh-ed25519 AAAA"):
        with pytest.raises(codes.CodeError):
            codes.code_of(wrong)
    for wrong in ("", "1234", "123456789", "UUUU-UUUU"):
        with pytest.raises(codes.CodeError):
            codes.typed(wrong)


def test_uuids_are_the_same_in_both_byte_orders():
    one, other = "33221100-5544-7766-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff"
    assert canonical_uuid(one) == canonical_uuid(other) != ""
    assert canonical_uuid("0" * 8 + "-0000-0000-0000-" + "0" * 12) == canonical_uuid("") == ""


def test_a_machine_that_nobody_knows_is_sent_on_to_cobbler_and_asks_again_where_that_is_away(site):
    cobbler, again = "http://10.77.0.10/cblr/svc/op/ipxe", "http://10.77.0.10/boot/ipxe"
    mac = machine(1)["boot_mac"]
    assert site.boot_client.get("/boot/ipxe", params={"mac": mac}).text.splitlines() == [
        "#!ipxe",
        "set updraft-token",
        f"chain {cobbler}/mac/{mac} || goto again",
        "exit",
        ":again",
        "echo Updraft: no answer from Cobbler; asking again",
        "sleep 5",
        f"chain --replace {again}?mac={mac.replace(':', '%3A')}&uuid=&serial=",
    ]


def test_a_setting_that_is_no_more_is_refused(tmp_path):
    file = tmp_path / "settings.ini"
    file.write_text(
        "[registrar]\noperator_password = 12345678\nsession_key = 0123456789abcdef\ndefault_profile = node\n"
    )
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="no setting default_profile"):
        load(file)


def test_silence_makes_away_and_nothing_else():
    assert states.effective("in_service", 91, 90) == "away"
    assert states.effective("in_service", 90, 90) == "in_service"
    assert states.effective("seen", 1000, 90) == "seen"
    assert not states.may("seen", "in_service") and not states.may("retired", "ready")


def test_from_seen_to_retired(site):
    told = machine(1)
    answer = site.post(1, told)
    assert answer.status_code == 201
    assert answer.json()["state"] == "seen"
    assert set(answer.json()) == {"id", "state", "code", "wait"}
    assert site.post(1, told).status_code == 200
    handle = answer.json()["id"]
    assert site.follow(handle).json() == {
        "state": "seen",
        "name": None,
        "message": "waiting for an operator to approve this code",
    }
    approved = site.approve(answer.json()["code"], "node1")
    assert approved.json()["state"] == "approved" and approved.json()["host_key"] == told["host_key"]
    assert site.follow(handle).json()["state"] == "ready"
    # The same again changes nothing; another pool is a change.
    assert site.approve(answer.json()["code"], "node1").json()["state"] == "ready"
    assert site.approve(answer.json()["code"], "node1", "big").json()["pool"] == "big"
    assert site.state("node1", "in_service").json()["state"] == "in_service"
    for _ in range(2):
        assert site.state("node1", "retired").json()["state"] == "retired"
    assert site.follow(handle).json()["state"] == "retired"
    assert site.state("node1", "ready").status_code == 409
    # Its name is free, and it may come again, by its code.
    assert site.approve(answer.json()["code"], "node7").json()["name"] == "node7"
    assert len(site.hosts()) == 1


def test_what_approval_refuses(site):
    first, second = site.post(1).json(), site.post(2).json()
    assert site.approve("0000-0000", "node1").status_code == 404
    assert site.approve(first["code"], "node1", "nowhere").status_code == 422
    assert site.approve(first["code"], "node1", roles=["control"]).status_code == 422
    assert site.approve(first["code"], "node1").status_code == 200
    assert site.approve(second["code"], "node1").status_code == 409
    assert site.approve(first["code"], "node2").json()["detail"] == "this code is node1 already"
    assert site.approve(second["code"], "node2").status_code == 200


def test_one_key_on_two_machines_is_ambiguous(site):
    key = new_key()
    first = site.post(1, machine(1, host_key=key)).json()
    site.post(2, machine(2, host_key=key))
    assert site.approve(first["code"], "node1").status_code == 409
    assert [entry["state"] for entry in site.hosts()] == ["seen", "seen"]


def test_address_of_another_is_refused(site):
    site.in_service(1, "node1")
    other = site.post(2, at=address(1)).json()
    answer = site.approve(other["code"], "node2")
    assert answer.status_code == 409 and "the address of node1" in answer.json()["detail"]


def test_a_token_brings_a_machine_back_once(site):
    told = site.in_service(1, "node1")
    handle = told.pop("id")
    # Awake: no token, and the machine asks again in a moment.
    assert "sleep 5" in site.boot(told, address(1)) and not site.token(told, address(1))
    silent(site, 60)
    token = site.token(told, address(1))
    assert len(token) == 32
    fresh = {**told, "host_key": new_key(), "boot_token": token}
    answer = site.post(1, fresh)
    assert answer.status_code == 200 and answer.json()["state"] == "ready"
    assert site.host("node1")["host_key"] == fresh["host_key"]
    assert site.follow(handle).status_code == 404
    # The answer was lost: the same again is no replay. By another key it is.
    assert site.post(1, fresh).status_code == 200
    again = site.post(1, {**fresh, "host_key": new_key()})
    assert again.status_code == 403 and site.alarms() == ["token-replayed"]
    assert site.host("node1")["host_key"] == fresh["host_key"]


def test_tokens_expire_and_belong_to_one_machine(site):
    one, two = site.in_service(1, "node1"), site.in_service(2, "node2")
    for told in (one, two):
        told.pop("id")
    silent(site, 60)
    token = site.token(one, address(1))
    assert site.post(2, {**two, "host_key": new_key(), "boot_token": token}).status_code == 403
    assert site.post(1, {**one, "host_key": new_key(), "boot_token": "0" * 32}).status_code == 403
    assert site.post(3, machine(3, boot_token=token)).status_code == 403
    assert sorted(site.alarms()) == ["token-foreign", "token-forged", "token-forged"]
    silent(site, 601)
    assert site.post(1, {**one, "host_key": new_key(), "boot_token": token}).status_code == 403
    assert "token-expired" in site.alarms()


def silent(site, seconds: float) -> None:
    """Time passes in which the registrar listens and nobody speaks."""
    while seconds > 0:
        site.clock.ahead += min(5, seconds)
        site.service.presence.beat(site.service.database)
        seconds -= 5


def test_who_gets_a_token(site):
    told = site.in_service(1, "node1")
    silent(site, 60)
    assert not site.token(told, "10.77.0.99"), "from another address"
    assert not site.token(told, None), "with no word of the web server"
    assert not site.token(told, f"{address(1)}, 10.77.0.99"), "with a forged header"
    assert not site.token(told, address(1), serial="other")
    assert not site.token(told, address(1), uuid="11223344-5566-7788-99aa-ffffffffffff")
    assert not site.token(machine(2), address(2))
    assert site.token(told, f"10.9.9.9, {address(1)}")
    silent(site, 5)
    site.follow(told["id"], address(1))
    assert not site.token(told, address(1)), "it is heard"


def test_a_token_is_void_once_the_machine_is_heard(site):
    told = site.in_service(1, "node1")
    handle = told.pop("id")
    silent(site, 60)
    token = site.token(told, address(1))
    site.clock.ahead += 1
    site.follow(handle, address(1))
    answer = site.post(1, {**told, "host_key": new_key(), "boot_token": token})
    assert answer.status_code == 403 and site.alarms() == ["double"]


def test_no_token_and_silent_waits_for_its_code(site):
    told = site.in_service(1, "node1")
    handle = told.pop("id")
    early = site.post(1, {**told, "host_key": new_key()})
    assert early.status_code == 403 and site.alarms() == ["double"]
    silent(site, 100)
    assert site.host("node1")["state"] == "away" and site.host("node1")["kept_state"] == "in_service"
    fresh = {**told, "host_key": new_key()}
    answer = site.post(1, fresh).json()
    assert answer["state"] == "seen"
    waiting = next(entry for entry in site.hosts() if entry["state"] == "seen")
    assert waiting["returns_as"] == "node1"
    assert site.approve(answer["code"], "node9").status_code == 409
    assert site.host("node1")["host_key"] == told["host_key"]
    assert site.approve(answer["code"], "node1").json()["host_key"] == fresh["host_key"]
    assert site.follow(answer["id"], address(1)).json() == {
        "state": "ready",
        "name": "node1",
        "message": "approved; waiting for its rollout",
    }
    assert site.follow(handle).status_code == 404
    assert len(site.hosts()) == 1


def test_a_machine_that_is_heard_again_is_where_it_was(site):
    told = site.in_service(1, "node1")
    silent(site, 100)
    assert site.host("node1")["state"] == "away"
    site.follow(told["id"], address(1))
    assert site.host("node1")["state"] == "in_service"


def test_a_restart_makes_nobody_away_and_forgets_nobody(tmp_path):
    settings, clock = settings_for(tmp_path), Clock()
    with running(settings, clock) as site:
        site.in_service(1, "node1")
        silent(site, 100)
        site.in_service(2, "node2")
    clock.ahead += 3600
    with running(settings, clock) as site:
        assert site.host("node1")["state"] == "away", "it was away before"
        assert site.host("node2")["state"] == "in_service", "nobody listened"
        silent(site, 95)
        assert site.host("node2")["state"] == "away"


def test_return_by_code_makes_no_token(tmp_path):
    with running(settings_for(tmp_path, returns="code")) as site:
        told = site.in_service(1, "node1")
        told.pop("id")
        silent(site, 100)
        assert not site.token(told, address(1))
        assert site.post(1, {**told, "host_key": new_key()}).json()["state"] == "seen"


def test_declared_machines(tmp_path):
    told = machine(1)
    declared = ({"name": "node1", "mac": told["boot_mac"], "serial": told["serial"], "pool": "big"},)
    with running(settings_for(tmp_path, approve="declared", declared=declared)) as site:
        assert site.post(2, {**machine(2), "serial": told["serial"]}).json()["state"] == "seen"
        assert site.post(1, {**told, "serial": "other"}).json()["state"] == "seen"
        assert site.post(1, told).json()["state"] == "ready"
        assert site.host("node1")["pool"] == "big"
        site.state("node1", "retired")
        assert site.post(1, {**told, "host_key": new_key()}).json()["state"] == "seen", "an operator's word stands"


def test_a_waiting_machine_that_restarts_leaves_one_row(site):
    told = machine(1)
    site.post(1, told)
    site.post(1, {**told, "host_key": new_key()})
    assert len(site.hosts()) == 2, "both are there: neither can push the other out"
    silent(site, 95)
    last = {**told, "host_key": new_key()}
    site.post(1, last)
    site.service._purge()
    assert [entry["host_key"] for entry in site.hosts()] == [last["host_key"]]


def test_progress_and_alarms(site):
    site.in_service(1, "node1")
    put = {"stage": "converge", "percent": 40, "status": "running", "message": "hypervisor"}
    answer = site.call("PUT", "/v1/hosts/node1/progress", json=put, operator=True)
    assert answer.json()["progress"] | {"updated": ""} == {**put, "updated": ""}
    for _ in range(3):
        site.post(1, machine(1, serial="clone"))
    alarm = site.all()["alarms"][0]
    assert (alarm["kind"], alarm["host"], alarm["count"]) == ("clone", "node1", 3)
    assert site.host("node1")["state"] == "in_service"
    assert site.call("POST", f"/v1/alarms/{alarm['id']}/acknowledge", operator=True).status_code == 200
    assert site.alarms() == []
    assert site.call("POST", "/v1/alarms/99/acknowledge", operator=True).status_code == 404


def test_who_may_ask(site):
    site.post(1)
    for method, path in (("GET", "/v1/hosts"), ("POST", "/v1/hosts/approve"), ("GET", "/v1/hosts/node1")):
        answer = site.call(method, path, json={})
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic")
    wrong = [site.call("GET", "/v1/hosts", auth=("operator", f"wrong{n}"), at="10.77.0.66") for n in range(7)]
    assert [answer.status_code for answer in wrong] == [401] * 5 + [429] * 2
    assert "login" in site.alarms()
    assert site.call("GET", "/v1/openapi.json").json()["info"]["title"] == "Updraft registrar"


def test_limits(tmp_path):
    with running(settings_for(tmp_path, rate_register=3, body_limit=4096)) as site:
        assert site.call("POST", "/v1/nodes", content=b"x" * 5000).status_code == 413
        assert site.call("POST", "/v1/nodes", content=iter([b"x" * 3000] * 3)).status_code == 413
        assert [site.post(9).status_code for _ in range(5)] == [201, 201, 201, 429, 429]
        assert site.post(8).status_code == 201, "another address"


def test_buckets():
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    assert [buckets.take("poll", "a", 2) > 0 for _ in range(3)] == [False, False, True]
    assert buckets.take("poll", "b", 2) == 0
    now[0] = 30
    assert buckets.take("poll", "a", 2) == 0


def test_settings(tmp_path):
    file = tmp_path / "settings.ini"
    file.write_text('[registrar]\noperator_password = %secret; #1\nsession_key = 0123456789abcdef\npools = ["a"]\n')
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="open to everybody"):
        load(file)
    file.chmod(0o640)
    found = load(file)
    assert found.operator_password == "%secret; #1" and found.pools == ("a",)
    assert "secret" not in repr(found)
    for line, text in (("port = x", "port"), ("nonsense = 1", "no setting nonsense"), ("approve = all", "approve")):
        file.write_text(f"[registrar]\noperator_password = 12345678\nsession_key = 0123456789abcdef\n{line}\n")
        with pytest.raises(SettingsError, match=text):
            load(file)
    assert dataclasses.replace(found, database_host="db").url().get_backend_name() == "mysql"


def test_many_machines_cost_no_more_questions_than_few(site):
    """What it costs to list five thousand is measured in tests/bench/test_registered_size.py."""

    def statements() -> int:
        asked: list[str] = []

        def note(_connection, _cursor, statement, *_rest) -> None:
            asked.append(statement)

        event.listen(site.service.database.engine, "before_cursor_execute", note)
        site.all()
        event.remove(site.service.database.engine, "before_cursor_execute", note)
        return len(asked)

    site.fill(range(5))
    few = statements()
    site.fill(range(5, 500))
    assert len(site.hosts()) == 500
    assert statements() == few > 0
