# SPDX-License-Identifier: GPL-3.0-or-later
"""Client, inventory, modules and commands against a real registrar."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

pytest.importorskip("fastapi", reason="the registrar's libraries are not in this environment")

from ansible_collections.updraft.cloud.plugins.module_utils import registrar_client
from ansible_collections.updraft.cloud.plugins.module_utils.host_registration import (
    HostRegistrationError,
    Wanted,
    apply,
    plan,
)
from ansible_collections.updraft.cloud.plugins.module_utils.registrar_client import (
    Conflict,
    Denied,
    NotFound,
    Registrar,
    RegistrarError,
    Unreachable,
    plain_code,
)
from ansible_collections.updraft.cloud.plugins.modules import host_registration, host_registration_info
from ansible_collections.updraft.cloud.plugins.plugin_utils import registry
from ansible_collections.updraft.cloud.plugins.plugin_utils.ca import make_authority
from ansible_collections.updraft.cloud.plugins.plugin_utils.model import Derived, ModelError
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import read
from tests.unit.registrar_site import PASSWORD, RealSite, host_key, make
from updraft import hosts, vault
from updraft.site import Refusal


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSite]:
    """One registrar for all tests; each uses machines of its own."""
    made = make(tmp_path_factory.mktemp("joining"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def real(running: RealSite, monkeypatch: pytest.MonkeyPatch) -> RealSite:
    monkeypatch.delenv(registry.VARIABLE, raising=False)
    monkeypatch.setattr(registry, "PATIENCE", 0.1)
    for file in running.site.state.glob("*"):
        if file.is_file():
            file.unlink()
    running.write()
    if running.process is None:
        running.start()
    return running


def inventory(real: RealSite, warnings: list[str] | None = None) -> Derived:
    """What the inventory plugin gets."""

    def ask(*given: Any) -> Any:
        answer = registry.registered(*given, lambda: real.secrets)
        if answer.warning and warnings is not None:
            warnings.append(answer.warning)
        return answer.found

    return read(real.file, ask)[1]


def approved(real: RealSite, number: int, name: str, pool: str = "community", **more: Any) -> str:
    code = real.register(number, **more)
    real.client().approve(code, name, pool)
    real.wake(number)
    return code


@pytest.mark.parametrize("typed", ["7K3M-Q2XZ", "7k3mq2xz", " 7K3M Q2XZ "])
def test_a_code_is_read_as_people_type_it(typed: str) -> None:
    assert plain_code(typed) == "7K3M-Q2XZ"
    assert plain_code("OIL0-0000") == "0110-0000"


@pytest.mark.parametrize("typed", ["", "7K3M", "7K3M-Q2XZ-1", "UUUU-UUUU", "../../etc"])
def test_what_is_no_code_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="is no code: type the eight characters"):
        plain_code(typed)


def test_approve_twice_and_put_in_service(real: RealSite) -> None:
    code = real.register(130)
    client = real.client()
    assert client.host("node130") is None

    first = client.approve(code.lower(), "node130", "community")
    again = client.approve(code, "node130", "community")

    assert (first["name"], first["pool"]) == (again["name"], again["pool"]) == ("node130", "community")
    client.progress("node130", "hypervisor", "running", 40, "half way")
    told = client.set_state("node130", "in_service")
    assert told["state"] == "in_service"
    assert told["progress"]["percent"] == 40


def test_refusals_say_what_and_change_nothing(real: RealSite) -> None:
    approved(real, 131, "node131")
    other = real.register(132)
    client = real.client()

    with pytest.raises(NotFound, match="no machine waits with the code 0000-0000"):
        client.approve("0000-0000", "node132", "community")
    with pytest.raises(Conflict, match="node131 is taken"):
        client.approve(other, "node131", "community")
    with pytest.raises(RegistrarError, match="there is no pool nowhere"):
        client.approve(other, "node132", "nowhere")
    with pytest.raises(NotFound, match="no machine has the name nobody"):
        client.set_state("nobody", "in_service")
    assert [host["state"] for host in client.hosts() if host["code"] == other] == ["seen"]


def test_a_wrong_password_is_denied(real: RealSite) -> None:
    with pytest.raises(Denied, match="the registrar says"):
        real.client(password="wrong").hosts()


def test_only_the_sites_ca_is_believed(real: RealSite) -> None:
    foreign, _key = make_authority("another site")

    with pytest.raises(Unreachable, match="its certificate is not one of this site's CA"):
        real.client(ca=foreign).hosts()
    with pytest.raises(Unreachable, match=r"not one of this site's CA for elsewhere\.example\.org"):
        Registrar("https://elsewhere.example.org:7777", PASSWORD, ca=real.ca, address=real.address).hosts()


def test_nobody_there_is_said_in_words(real: RealSite) -> None:
    with pytest.raises(Unreachable, match=r"at 127\.0\.0\.9: Connection refused"):
        real.client(address="127.0.0.9").hosts()
    with pytest.raises(Unreachable, match=r"in the network namespace updraft-nowhere: No such file"):
        real.client(namespace="updraft-nowhere").hosts()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to make a network namespace")
def test_a_namespace_is_entered_by_the_connection_alone(real: RealSite) -> None:
    subprocess.run(["ip", "netns", "add", "merge-test"], check=True)
    try:
        before = os.readlink("/proc/self/ns/net")
        with pytest.raises(Unreachable, match="namespace merge-test: Network is unreachable"):
            real.client(namespace="merge-test").hosts()
        assert os.readlink("/proc/self/ns/net") == before
        assert real.client().hosts() is not None
    finally:
        subprocess.run(["ip", "netns", "delete", "merge-test"], check=True)


def test_approved_machines_become_nodes(real: RealSite) -> None:
    approved(real, 140, "node140", memory_mib=65536)
    approved(real, 141, "node141", "general")
    real.client().set_state("node141", "in_service")
    real.register(142)
    approved(real, 143, "node143")
    real.client().set_state("node143", "retired")

    found = inventory(real)

    assert {"node140", "node141"} <= set(found.groups["compute"])
    assert not {"node142", "node143"} & set(found.hosts)
    assert "node140" in found.groups["pool_community"]
    assert "node140" in found.groups["state_ready"]
    assert "node141" in found.groups["state_in_service"]
    assert found.groups["big"] == ["node140"]
    assert "node140" in found.groups["community_ones"]
    assert "node141" not in found.groups["community_ones"]
    host = found.hosts["node140"]
    assert host["ansible_host"] == f"{real.net}.140"
    assert host["registration_state"] == "ready"
    assert host["hardware"]["memory_mib"] == 65536
    node = host["cloud_node"]
    assert node["addresses"] == {"management": f"{real.net}.140", "storage": "10.0.1.140"}
    assert node["interfaces"] == {"management": "eth0", "storage": "eth1"}  # by what it told, not eno1
    assert node["registered"]["state"] == "ready"
    assert {"name": "node140", "mac": "52:54:00:00:01:8c", "address": f"{real.net}.140"}.items() <= next(
        system for system in found.cloud["provisioning"]["systems"] if system["name"] == "node140"
    ).items()
    # The registrar's own settings name those that are written alone: it need not restart for each new machine.
    assert [one["name"] for one in found.cloud["provisioning"]["declared"]] == ["node9"]
    (port,) = (entry for entry in found.hosts["control1"]["cloud_node"]["ports"] if entry["name"] == "messaging")
    assert any(f"{real.net}.140" in source or "/32" not in source for source in port["sources"])


def test_ssh_takes_the_approved_key_alone(real: RealSite) -> None:
    approved(real, 144, "node144")

    found = inventory(real)

    file = real.site.state / "known_hosts.registered"
    assert f"UserKnownHostsFile={file}" in found.hosts["node144"]["ansible_ssh_common_args"]
    assert str(real.site.state / "known_hosts ") in f"{found.hosts['control1']['ansible_ssh_common_args']} "
    line = next(line for line in file.read_text().splitlines() if line.startswith("node144,"))
    assert line == f"node144,node144.joining.example.org,{real.net}.144 {host_key(144)}"
    for name in ("known_hosts.registered", "registered.json", "registrar.json"):
        assert stat.S_IMODE((real.site.state / name).stat().st_mode) == 0o600


def test_a_machine_that_is_away_stays_a_node(real: RealSite) -> None:
    approved(real, 145, "node145")
    real.client().set_state("node145", "in_service")
    real.client().set_state("node145", "away")

    found = inventory(real)

    assert "node145" in found.groups["state_away"]
    assert "node145" in found.cloud["away"]
    assert "node145" in found.cloud["nodes"]
    assert found.cloud["registered"]["node145"]["served"]


def test_a_node_that_is_written_keeps_what_is_written(real: RealSite) -> None:
    approved(real, 39, "node9", "general", mac="52:54:00:00:00:39", serial="NINE")
    try:
        found = inventory(real)

        assert found.cloud["provisioning"]["expected"] == []
        assert found.hosts["node9"]["cloud_node"]["pool"] == "general"
    finally:
        real.client().set_state("node9", "retired")


def test_what_does_not_fit_the_model_is_told(real: RealSite) -> None:
    approved(real, 146, "gate1")
    approved(real, 20, "node147")
    approved(real, 148, "big")
    try:
        with pytest.raises(ModelError) as error:
            inventory(real)
    finally:
        for name in ("gate1", "node147", "big"):
            real.client().set_state(name, "retired")
    text = str(error.value)
    assert "registrar.gate1: is also nodes.gate1, which boots from its disk; ./updraft retire gate1" in text
    assert f"registrar.node147: its address {real.net}.20 is also that of storage1" in text
    assert "registrar.big: 'big' has another meaning already" in text


def test_a_site_that_was_never_built_has_nobody(real: RealSite) -> None:
    real.stop()

    assert sorted(inventory(real).hosts) == ["control1", "gate1", "storage1"]
    assert not (real.site.state / "registrar.json").exists()


def test_a_registrar_that_is_down_is_an_error(real: RealSite) -> None:
    inventory(real)
    real.stop()

    with pytest.raises(registry.RegistryError) as error:
        inventory(real)

    text = str(error.value)
    assert f"https://control1.joining.example.org:7777 at {real.address}: Connection refused" in text
    assert "systemctl status updraft-registrar" in text
    assert "UPDRAFT_REGISTRAR=cache" in text


@pytest.mark.parametrize("by", ["cloud.yml", "environment"])
def test_or_its_last_answer_with_a_warning(real: RealSite, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if real.client().host("node149") is None:
        approved(real, 149, "node149")
    before = inventory(real)
    real.stop()
    if by == "cloud.yml":
        real.write("cache")
    else:
        monkeypatch.setenv(registry.VARIABLE, "cache")
    warnings: list[str] = []

    after = inventory(real, warnings)

    assert after.hosts == before.hosts
    assert "Connection refused" in warnings[0]
    assert "minutes old" in warnings[0]


def test_the_last_answer_without_asking(real: RealSite, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory(real)
    monkeypatch.setenv(registry.VARIABLE, "off")
    monkeypatch.setattr(registrar_client, "dial", lambda *_: pytest.fail("it was asked"))

    assert inventory(real).hosts


def run_module(
    real: RealSite, capsys: pytest.CaptureFixture[str], module: Any, *, check: bool = False, **given: Any
) -> dict[str, Any]:
    """Run a module to its end; what it returns."""
    arguments = {"url": real.url, "address": real.address, "password": PASSWORD, "ca_certificate": real.ca, **given}
    capsys.readouterr()
    inner = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": str(real.folder)}
    with patch_module_args({**arguments, **inner}), pytest.raises(SystemExit):
        module.main()
    text = capsys.readouterr().out
    assert PASSWORD not in text
    return dict(json.loads(text))


def test_the_module_approves_serves_and_retires(real: RealSite, capsys: pytest.CaptureFixture[str]) -> None:
    code = real.register(150)
    run = partial(run_module, real, capsys, host_registration)
    wanted = {"name": "node150", "code": code, "pool": "general"}

    checked = run(check=True, **wanted)
    assert checked["changed"]
    assert checked["diff"]["before"] == {}
    assert checked["diff"]["after"]["state"] == "approved"
    assert real.client().host("node150") is None
    assert run(**wanted)["changed"]
    assert not run(**wanted)["changed"]
    served = run(name="node150", state="in_service")
    assert (served["diff"]["before"]["state"], served["diff"]["after"]["state"]) == ("approved", "in_service")
    assert not run(name="node150", state="in_service")["changed"]
    assert not run(**wanted)["changed"]
    told = run_module(real, capsys, host_registration_info, name="node150")
    assert [host["state"] for host in told["hosts"]] == ["in_service"]
    assert run(check=True, name="node150", state="retired")["changed"]
    assert run(name="node150", state="retired")["changed"]
    assert not run(name="node150", state="retired")["changed"]
    refused = run(name="node150", state="in_service")
    assert "no machine node150 is approved" in refused["msg"]
    assert "Connection refused" in run(name="node150", state="in_service", address="127.0.0.9")["msg"]


def test_what_the_module_refuses(real: RealSite) -> None:
    approved(real, 151, "node151")
    waits = real.register(152)
    known = real.client().hosts()

    with pytest.raises(HostRegistrationError, match="no machine waits with the code 0000-0000"):
        plan(Wanted("node152", "approved", "0000-0000", "general"), known)
    with pytest.raises(HostRegistrationError, match="the name node151 is another machine's"):
        plan(Wanted("node151", "approved", waits, "general"), known)
    with pytest.raises(HostRegistrationError, match="no machine nobody is approved"):
        plan(Wanted("nobody", "in_service"), known)
    moved = plan(
        Wanted("node151", "approved", next(h["code"] for h in known if h["name"] == "node151"), "general"), known
    )
    assert (moved.before["pool"], moved.after["pool"]) == ("community", "general")
    apply(real.client(), Wanted("node151", "approved", moved.after["code"], "general"), moved)
    host = real.client().host("node151")
    assert host is not None
    assert host["pool"] == "general"


@pytest.fixture
def command(real: RealSite, monkeypatch: pytest.MonkeyPatch) -> RealSite:
    """The command line, with the secrets of the tests."""
    monkeypatch.setattr(vault, "secrets_of", lambda _site: real.secrets)
    return real


def test_hosts_are_shown(command: RealSite) -> None:
    code = command.register(160, memory_mib=3000)
    approved(command, 161, "node161")
    out = io.StringIO()

    assert hosts.show(command.site, as_json=False, out=out) == 0

    lines = out.getvalue().splitlines()
    assert lines[0].split() == list(hosts.COLUMNS)
    waiting = next(line for line in lines if code in line)
    assert waiting.startswith("seen")
    assert f"{command.net}.160" in waiting
    assert "3 GiB" in waiting
    assert "100 GiB" in waiting
    assert any(line.startswith("ready") and "node161" in line for line in lines)
    out = io.StringIO()
    hosts.show(command.site, as_json=True, out=out)
    assert any(host["code"] == code for host in json.loads(out.getvalue())["hosts"])


def test_approve_says_what_comes_next(command: RealSite, capsys: pytest.CaptureFixture[str]) -> None:
    code = command.register(162)

    assert hosts.approve(command.site, code, "node162", "community", []) == 0

    assert "node162 is approved, in pool community: its host key is pinned" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "pool", "text"),
    [
        ("Node2", "general", "'Node2' is no name of a node"),
        ("storage1", "general", "the name storage1 is another node's"),
        ("node2", "nowhere", "there is no pool 'nowhere': there are general, community"),
        ("node2", None, "say which pool node2 belongs to with --pool"),
        ("node9", "community", r"nodes\.node9 of cloud\.yml is in the pool general"),
    ],
)
def test_what_does_not_fit_is_not_approved(command: RealSite, name: str, pool: str | None, text: str) -> None:
    with pytest.raises(Refusal, match=text):
        hosts.approve(command.site, "7K3M-Q2XZ", name, pool, [])


def test_only_what_registered_can_be_retired(command: RealSite) -> None:
    with pytest.raises(Refusal, match="storage1 boots from its disk"):
        hosts.retirable(command.site, "storage1")
    with pytest.raises(Refusal, match="no machine nobody is approved"):
        hosts.retirable(command.site, "nobody")
