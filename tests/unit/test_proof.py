# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: what is asked, how it is judged, what a failure tells, what is seen on a machine."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import journals, tenant, traces
from ansible_collections.updraft.cloud.plugins.modules import probe
from ansible_collections.updraft.cloud.plugins.plugin_utils import proof

VOLUME, SERVER, PORT = "7d0c1f5e-v", "5a1b-s-e-r-ver", "p-o-r-t"
IQN = f"iqn.2026-11.internal.updraft.lab:volume-{VOLUME}"
INITIATOR = "iqn.2026-11.internal.updraft.lab:node1"
EMPTY: dict[str, dict[str, Any]] = {kind: {} for kind in traces.KINDS}


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def seen() -> dict[str, Any]:
    """What a proof sees that goes well."""
    pool = {"cinder-volumes/cinder-volumes-pool": {}}
    storage = EMPTY | {
        "volumes": pool | {f"cinder-volumes/volume-{VOLUME}": {}},
        "targets": {IQN: {"authentication": True, "anonymous": False, "users": {INITIATOR: "abc"}, "portals": []}},
    }
    node = EMPTY | {
        "sessions": {IQN: {"user": "abc", "state": "LOGGED_IN", "portal": "10.77.1.20"}},
        "records": {IQN: {"methods": ["CHAP"]}},
        "domains": {SERVER: {"name": "instance-00000001"}},
    }
    page = {"text": "This page lies on the volume\n", "seconds": 4.0}
    return {
        "project": "demo",
        "group": "cinder-volumes",
        "credentials": "clouds.yaml",
        "image": {"name": "tiny", "id": "i", "parts": {"disk": "i", "kernel": "k", "ramdisk": "r"}},
        "volume": {"id": VOLUME},
        "port": {"id": PORT, "fixed_address": "192.168.77.9", "floating_address": "10.77.2.100"},
        "server": {"name": "proof", "id": SERVER, "node": "node1", "volumes": [VOLUME], "roles": ["member", "reader"]},
        "outside": {"ping": {"text": "answers", "seconds": 3.1}, "page": page, "metadata": page},
        "before": {"storage1": EMPTY | {"volumes": pool}, "node1": EMPTY},
        "during": {"storage1": storage, "node1": node},
        "seconds": [{"volume": 70.0}, {"server": 120.0, "delete server": 46.0}],
    }


def refused(change: str, value: Any) -> list[str]:
    """The checks that fail when what was seen differs in one place (a path, its keys parted by |)."""
    facts = copy.deepcopy(seen())
    *path, last = change.split("|")
    place = facts
    for key in path:
        place = place[key]
    place[last] = value
    return [check["name"] for check in proof.record(facts)["checks"] if not check["ok"]]


def test_a_good_proof_is_recorded_whole() -> None:
    found = proof.record(seen())
    assert [check for check in found["checks"] if not check["ok"]] == []
    assert found["server"]["floating_address"] == "10.77.2.100"
    assert found["seconds"] == {
        "volume": 70.0,
        "server": 120.0,
        "delete server": 46.0,
        "ping": 3.1,
        "page": 4.0,
        "metadata": 4.0,
    }
    assert json.loads(json.dumps(found)) == found
    assert proof.story(found)[0] == "ok  tenant: roles of the tenant: member, reader"


@pytest.mark.parametrize(
    ("change", "value", "checks"),
    [
        ("server|roles", ["admin", "member"], ["tenant"]),
        ("image|parts", {"disk": "i"}, ["image"]),
        ("server|volumes", [], ["root"]),
        ("during|storage1|volumes", {}, ["logical volume"]),
        ("during|storage1|targets", {}, ["target"]),
        (f"during|storage1|targets|{IQN}|authentication", False, ["target"]),
        (f"during|storage1|targets|{IQN}|anonymous", True, ["target"]),
        (f"during|storage1|targets|{IQN}|users", {INITIATOR: ""}, ["target"]),
        ("during|node1|sessions", {}, ["session"]),
        (f"during|node1|sessions|{IQN}|user", "", ["session"]),
        (f"during|node1|records|{IQN}|methods", ["None"], ["session"]),
        ("during|node1|domains", {}, ["domain"]),
    ],
)
def test_each_thing_that_is_wrong_fails_its_own_check(change: str, value: Any, checks: list[str]) -> None:
    assert refused(change, value) == checks


def test_a_server_on_another_node_than_nova_says_is_noticed() -> None:
    assert refused("server|node", "node2") == ["session", "domain"]


def test_a_guest_without_a_page_is_only_pinged() -> None:
    assert proof.probes("10.77.2.100", SERVER, "") == [{"name": "ping", "ping": "10.77.2.100"}]
    assert [item["name"] for item in proof.probes("10.77.2.100", SERVER, "text")] == ["ping", "page", "metadata"]


def test_a_failure_names_step_complaints_and_console() -> None:
    results = [
        {"item": "node1", "complaints": {"nova-compute.service": ["ERROR no"]}},
        {"item": "storage1", "complaints": {}},
        {"item": "control1", "unreachable": True, "msg": "timed out"},
    ]
    text = proof.explanation("verify | Boot", {"msg": "server: ERROR"}, results, ["Linux"])
    assert text.splitlines() == [
        "The proof failed at: verify | Boot",
        "server: ERROR",
        "",
        "--- node1, nova-compute.service:",
        "ERROR no",
        "--- storage1: no service complained",
        "--- control1: timed out",
        "--- console of the guest:",
        "Linux",
    ]


def test_guests_of_two_tenants_reach_each_other_by_floating_addresses_only() -> None:
    first = {"network": {"name": "demo", "gateway": "192.168.77.1"}}
    first |= {"port": {"fixed_address": "192.168.77.9", "floating_address": "10.77.2.100"}}
    second = {"network": {"name": "other", "gateway": "192.168.78.1"}}
    second |= {"port": {"fixed_address": "192.168.78.9", "floating_address": "10.77.2.101"}}
    expected = proof.isolation([first, second])
    assert [item["silent"] for item in expected] == [["192.168.78.9"], ["192.168.77.9"]]
    assert expected[0]["outcome"] == {
        "name": "demo",
        "page": "http://10.77.2.100/probes",
        "contains": ["192.168.77.1 reached", "10.77.2.101 reached", "192.168.78.9 silent"],
    }


def test_a_failure_in_a_loop_tells_what_each_item_said() -> None:
    failed = {"msg": "One or more items failed", "results": [{"msg": "fine"}, {"failed": True, "msg": "not as it was"}]}
    assert proof.explanation("step", failed, [], []).splitlines()[1] == "not as it was"


# The tenant.


def test_a_wait_ends_with_what_it_found_or_says_what_it_saw_last() -> None:
    clock = Clock()
    states = iter([tenant.Pending("creating"), tenant.Pending("downloading"), "available"])
    assert tenant.wait("volume", lambda: next(states), 10, clock=clock, sleep=clock.sleep) == "available"
    assert clock.now == 2 * tenant.EVERY_SECONDS
    with pytest.raises(tenant.TenantError, match=r"^volume: not within 10 s; seen last: creating$"):
        tenant.wait("volume", lambda: tenant.Pending("creating"), 10, clock=clock, sleep=clock.sleep)


def test_what_must_be_up_before_a_tenant_comes() -> None:
    compute = [{"binary": "nova-compute", "host": "node1", "state": "up"}]
    volume = [{"binary": "cinder-volume", "host": "storage1@lvm", "state": "up"}]
    agents = [{"binary": name, "host": "node1", "alive": True} for name in tenant.AGENTS]
    assert tenant.missing_services(compute, volume, agents) == []
    assert tenant.missing_services([], volume, agents) == ["no nova-compute is up"]
    assert tenant.missing_services(compute, [], agents) == ["no cinder-volume is up"]
    elsewhere = [agents[0], agents[1] | {"host": "gateway1"}]
    assert tenant.missing_services(compute, volume, elsewhere) == ["the metadata agent is alive on none of node1"]


def test_a_server_boots_from_its_volume_or_from_an_image() -> None:
    body = tenant.server_body("proof", "f", "p", volume="v")["server"]
    assert "imageRef" not in body and "user_data" not in body
    assert body["block_device_mapping_v2"] == [
        {
            "boot_index": 0,
            "uuid": "v",
            "source_type": "volume",
            "destination_type": "volume",
            "delete_on_termination": False,
        }
    ]
    body = tenant.server_body("proof", "f", "p", image="i", probes=["10.0.0.1", "10.0.0.2"])["server"]
    assert (body["imageRef"], "block_device_mapping_v2" in body) == ("i", False)
    assert base64.b64decode(body["user_data"]) == b"probe 10.0.0.1\nprobe 10.0.0.2\n"
    body = tenant.server_body("proof", "f", "p", image="i", writes=True)["server"]
    assert base64.b64decode(body["user_data"]) == b"write\n"


def test_an_image_says_what_it_consists_of() -> None:
    assert tenant.image_parts({"id": "d", "kernel_id": "k", "ramdisk_id": "r"}) == {
        "disk": "d",
        "kernel": "k",
        "ramdisk": "r",
    }
    assert tenant.image_parts({"id": "d", "kernel_id": ""}) == {"disk": "d"}


# The view from outside.


def test_an_echo_request_has_the_right_sum_and_knows_its_answer() -> None:
    request = probe.echo_request(0x1234, 1)
    words = [int.from_bytes(request[i : i + 2], "big") for i in range(0, len(request), 2)]
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    header = b"\x45" + bytes(19)
    assert not probe.is_answer(header + request, 0x1234)
    answer = header + b"\0\0" + request[2:]
    assert probe.is_answer(answer, 0x1234)
    assert not probe.is_answer(answer, 0x1235)


def test_a_page_is_awaited_and_the_last_answer_told() -> None:
    clock = Clock()
    asked = {"name": "metadata", "page": "http://127.0.0.1:9/", "contains": ["abc"]}
    answers = iter([probe.NotYet("unknown"), "abc"])

    def ask(_: Any) -> str:
        answer = next(answers)
        if isinstance(answer, probe.NotYet):
            raise answer
        return answer

    assert probe.until(asked, 60, clock=clock, sleep=clock.sleep, ask=ask) == {"text": "abc", "seconds": 2.0}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(probe.NotYet, match=r"^metadata: not within 8 s; seen last: .*refused"):
            probe.until(asked | {"page": url}, 10, clock=clock, sleep=clock.sleep)


# The view on the machines.


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_targets_and_backstores_are_read_from_configfs(tmp_path: Path) -> None:
    group = tmp_path / "iscsi" / IQN / "tpgt_1"
    write(group / "attrib/authentication", "1\n")
    write(group / "attrib/generate_node_acls", "0\n")
    write(group / f"acls/{INITIATOR}/auth/userid", "abc\n")
    (group / "np/10.77.1.20:3260").mkdir(parents=True)
    write(tmp_path / "core/iblock_0/volume/udev_path", "/dev/x\n")
    write(tmp_path / "core/alua/lu_gps/x", "")
    assert traces.targets(tmp_path / "iscsi") == {
        IQN: {
            "authentication": True,
            "anonymous": False,
            "users": {INITIATOR: "abc"},
            "portals": ["10.77.1.20:3260"],
        }
    }
    assert traces.backstores(tmp_path / "core") == {"volume": {"path": "/dev/x"}}
    assert traces.targets(tmp_path / "absent") == {}


def test_sessions_and_records_are_read_without_any_password(tmp_path: Path) -> None:
    write(tmp_path / "iscsi_session/session3/targetname", IQN)
    write(tmp_path / "iscsi_session/session3/username", "abc")
    write(tmp_path / "iscsi_session/session3/state", "LOGGED_IN")
    write(tmp_path / "iscsi_connection/connection3:0/persistent_address", "10.77.1.20")
    assert traces.sessions(tmp_path) == {IQN: {"user": "abc", "state": "LOGGED_IN", "portal": "10.77.1.20"}}
    record = "node.session.auth.authmethod = CHAP\nnode.session.auth.password = hidden\n"
    write(tmp_path / f"nodes/{IQN}/10.77.1.20,3260,1/default", record)
    found = traces.records([tmp_path / "nodes", tmp_path / "absent"])
    assert found == {IQN: {"methods": ["CHAP"]}}


@pytest.mark.parametrize(
    ("state", "user", "shown"),
    [
        ("LOGGED_IN", "abc", ("LOGGED_IN", "abc")),
        ("FAILED", "abc", ("FAILED", "abc")),
        ("LOGGED_IN", "", ("LOGGED_IN", "")),
    ],
)
def test_sessions_with_one_target_are_its_paths_and_the_worst_counts(
    tmp_path: Path, state: str, user: str, shown: tuple[str, str]
) -> None:
    for number, portal, its_state, its_user in ((3, "10.77.2.9", state, user), (4, "10.77.1.9", "LOGGED_IN", "abc")):
        write(tmp_path / f"iscsi_session/session{number}/targetname", IQN)
        write(tmp_path / f"iscsi_session/session{number}/username", its_user)
        write(tmp_path / f"iscsi_session/session{number}/state", its_state)
        write(tmp_path / f"iscsi_connection/connection{number}:0/persistent_address", portal)

    assert traces.sessions(tmp_path) == {
        IQN: {"state": shown[0], "user": shown[1], "portal": "10.77.1.9, 10.77.2.9"},
    }  # fmt: skip


def test_tables_of_lvm_libvirt_and_the_switch() -> None:
    rows = [{"vg_name": "cinder-volumes", "lv_name": "volume-1"}, {"vg_name": "system", "lv_name": "root"}]
    report = {"report": [{"lv": rows}]}
    assert list(traces.volumes(report, ["cinder-volumes"])) == ["cinder-volumes/volume-1"]
    assert traces.volumes({}, ["cinder-volumes"]) == {}
    assert traces.domains(f"{SERVER} instance-00000001\n\n") == {SERVER: {"name": "instance-00000001"}}
    table = {"data": [["tap1", ["map", [["iface-id", PORT]]]], ["br-int", ["map", []]]]}
    assert traces.switch_ports(table) == {PORT: {"interface": "tap1"}}


def test_differences_are_told_in_words_and_others_may_be_left_out() -> None:
    after = EMPTY | {"sessions": {IQN: {}}, "domains": {"other": {}}}
    assert traces.difference(EMPTY, after) == ["domain other is left", f"iSCSI session {IQN} is left"]
    assert traces.difference(EMPTY, after, [VOLUME]) == [f"iSCSI session {IQN} is left"]
    assert traces.difference(after, EMPTY, ["other"]) == ["domain other is gone"]
    assert traces.difference(after, after) == []


# The journals.


def test_complaints_are_errors_since_the_proof_began_with_their_tracebacks() -> None:
    lines = [
        "2026-11-21 01:00:00.100 12 ERROR cinder [-] too old",
        "2026-11-21 01:10:00.100 12 INFO cinder [-] fine",
        "2026-11-21 01:10:01.100 12 ERROR cinder [-] this",
        "  and its second line",
        "2026-11-21 01:10:02.100 12 DEBUG cinder [-] more",
    ]
    since = dt.datetime(2026, 11, 21, 1, 5)
    assert journals.complaints(lines, since) == [lines[2], lines[3]]


def test_a_traceback_in_the_journal_is_kept_to_its_last_line() -> None:
    unit = "cinder-volume.service"
    messages = ["Started", "Traceback (most recent call last):", "  File x", "OSError: no", "Stopped"]
    lines = [json.dumps({"MESSAGE": text, "_SYSTEMD_UNIT": unit, "PRIORITY": "6"}) for text in messages]
    assert journals.by_unit(lines) == {unit: messages[1:4]}
    noise = [
        "Traceback (most recent call last):",
        '  File "threading.py", line 1573, in _after_fork',
        "AssertionError:",
    ]
    lines += [json.dumps({"MESSAGE": text, "_SYSTEMD_UNIT": unit, "PRIORITY": "6"}) for text in noise]
    assert journals.by_unit(lines) == {unit: messages[1:4]}
