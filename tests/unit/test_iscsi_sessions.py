# SPDX-License-Identifier: GPL-3.0-or-later
"""iSCSI sessions: the plan, records as open-iscsi 2.1.11 of Debian 13 writes them, and what sysfs tells."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import iscsi_sessions as iscsi
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import diff_of

PREFIX = "iqn.2026-11.x:updraft.leg."
TARGET = f"{PREFIX}storage2"
PORTAL = "10.78.1.22:3260"
KEY = f"{TARGET} at {PORTAL}"
# What `iscsiadm -m node -o new` left, shortened.
RECORD = f"""\
# BEGIN RECORD 2.1.11
node.name = {TARGET}
node.tpgt = 1
node.startup = manual
node.leading_login = No
iface.iscsi_ifacename = default
iface.transport_name = tcp
node.discovery_type = static
node.session.auth.authmethod = None
node.session.auth.chap_algs = MD5
node.session.timeo.replacement_timeout = 120
node.session.scan = auto
node.conn[0].address = 10.78.1.22
node.conn[0].port = 3260
node.conn[0].startup = manual
node.conn[0].timeo.noop_out_interval = 5
# END RECORD
"""


def item(**more: Any) -> dict[str, Any]:
    chap = {"user": "u", "password": "secret-password", "mutual_user": "m", "mutual_password": "other-password"}
    settings = {"node.session.timeo.replacement_timeout": 3}
    return {"target": TARGET, "portals": ["10.78.1.22"], "settings": settings, **chap, **more}


def wanted(**more: Any) -> list[iscsi.Wanted]:
    return iscsi.wanted_sessions([item(**more)])


def record(text: str = RECORD, target: str = TARGET, portal: str = PORTAL) -> dict[str, dict[str, Any]]:
    return {iscsi.key_of(target, portal): {"target": target, "portal": portal, **iscsi.parse_record(text)}}


def session(target: str = TARGET, address: str = "10.78.1.22", seconds: int = 3) -> iscsi.Session:
    return iscsi.Session(1, target, address, 3260, "LOGGED_IN", seconds, {0: "/dev/sda"})


def test_a_target_gets_a_record_and_then_a_session() -> None:
    actions = iscsi.plan(wanted(), {}, [], PREFIX)
    assert [str(action) for action in actions] == [f"create record {KEY}", f"create session {KEY}"]
    assert "-password" not in str(diff_of(actions, iscsi.SECRETS))


def test_each_portal_has_a_session() -> None:
    actions = iscsi.plan(wanted(portals=["10.78.1.22", "10.78.2.22:3261"]), {}, [session()], "")
    assert [str(action) for action in actions] == [
        f"create record {KEY}",
        f"create record {TARGET} at 10.78.2.22:3261",
        f"create session {TARGET} at 10.78.2.22:3261",
    ]


def test_what_is_there_needs_nothing() -> None:
    text = iscsi.merge_record(RECORD, wanted()[0].fields)
    assert iscsi.plan(wanted(), record(text), [session()], PREFIX) == []
    plain = wanted(user=None, password=None, mutual_user=None, mutual_password=None, settings={})
    assert iscsi.plan(plain, record(), [session(seconds=120)], PREFIX) == []


def test_a_record_that_changes_drops_no_session() -> None:
    text = iscsi.merge_record(RECORD, wanted(password="former-password")[0].fields)
    actions = iscsi.plan(wanted(), record(text), [session(seconds=120)], PREFIX)
    assert [str(action) for action in actions] == [f"update record {KEY}", f"update session {KEY}"]
    assert actions[1].after == {"recovery_tmo": "3"}
    assert "-password" not in str(diff_of(actions, iscsi.SECRETS))


def test_what_is_ours_and_unwanted_is_logged_out_before_it_is_forgotten() -> None:
    other = "iqn.2026-11.x:volume-1"
    records = {**record(), **record(target=other)}
    actions = iscsi.plan([], records, [session(), session(other)], PREFIX)
    assert [str(action) for action in actions] == [f"delete session {KEY}", f"delete record {KEY}"]
    assert iscsi.plan([], records, [session(), session(other)], "") == []


def test_a_portal_that_is_no_more_wanted_goes() -> None:
    text = iscsi.merge_record(RECORD, wanted()[0].fields)
    records = {**record(text), **record(text, portal="10.78.2.22:3260")}
    actions = iscsi.plan(wanted(), records, [session(), session(address="10.78.2.22")], PREFIX)
    assert [str(action) for action in actions] == [
        f"delete session {TARGET} at 10.78.2.22:3260",
        f"delete record {TARGET} at 10.78.2.22:3260",
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"password": None}, "CHAP needs both user and password"),
        ({"mutual_password": None}, "CHAP needs both mutual_user and mutual_password"),
        ({"user": None, "password": None}, "mutual CHAP comes on top of CHAP"),
        ({"mutual_password": "secret-password"}, "the same password in both directions"),
        ({"portals": []}, "give each portal once, and one at least"),
        ({"portals": ["10.0.0.1", "10.0.0.1:3260"]}, "give each portal once"),
        ({"portals": ["fd00::1"]}, r"fd00::1 is no portal: write address:port, or \[address\]:port for IPv6"),
        ({"password": "a\nnode.startup = automatic"}, "a value of node.session.auth.password has a line end"),
    ],
)
def test_a_wish_that_contradicts_itself_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(DisksError, match=said) as caught:
        wanted(**more)
    assert "secret-password" not in str(caught.value)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(DisksError, match=r"CHAP needs both.*; .*is no portal.*; the target .* is in the list twice"):
        iscsi.wanted_sessions([item(password=None), item(portals=["a b:c:d"])])


def test_portals_of_both_families_are_read_and_written() -> None:
    assert iscsi.split_portal("[fd00::1]:3261") == ("fd00::1", 3261)
    assert iscsi.split_portal("10.0.0.1") == ("10.0.0.1", 3260)
    assert iscsi.portal_of("fd00::1", 3260) == "[fd00::1]:3260"
    # iscsiadm names the folder without the brackets.
    assert str(iscsi.record_path(TARGET, "[fd00::1]:3260")).endswith(f"{TARGET}/fd00::1,3260,1/default")


def test_a_record_keeps_what_nobody_asked_for() -> None:
    text = iscsi.merge_record(RECORD, wanted()[0].fields)
    read = iscsi.parse_record(text)
    assert read["node.session.auth.password"] == "secret-password"
    assert read["node.session.timeo.replacement_timeout"] == "3"
    assert read["node.conn[0].timeo.noop_out_interval"] == "5"
    assert text.startswith("# BEGIN RECORD 2.1.11\n") and text.endswith("# END RECORD\n")
    bare = iscsi.merge_record(text, {"node.session.auth.password": "", "node.session.auth.authmethod": "None"})
    assert "password =" not in bare and "authmethod = None" in bare


def test_a_password_stands_in_a_private_file_and_on_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []

    def call(command: list[str], limit: float) -> str:
        commands.append(" ".join(command))
        path = iscsi.record_path(TARGET, PORTAL)
        path.parent.mkdir(parents=True)
        path.write_text(RECORD)
        return ""

    monkeypatch.setattr(iscsi, "NODES", tmp_path / "nodes")
    monkeypatch.setattr(iscsi, "call", call)
    assert iscsi.write_record(TARGET, PORTAL, wanted()[0].fields) is True
    assert commands == [f"iscsiadm -m node -o new -T {TARGET} -p {PORTAL},1"]
    path = iscsi.record_path(TARGET, PORTAL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["default"]
    assert iscsi.write_record(TARGET, PORTAL, wanted()[0].fields) is False
    assert iscsi.plan(wanted(), iscsi.read_records(), [session()], PREFIX) == []


def sysfs(root: Path, number: int, **files: str) -> None:
    """Make a session as the kernel shows it."""
    device = root / f"host2/session{number}"
    connection = device / f"connection{number}:0/iscsi_connection/connection{number}:0"
    connection.mkdir(parents=True)
    (connection / "persistent_address").write_text("10.78.1.22\n")
    (connection / "persistent_port").write_text("3260\n")
    for lun, name in enumerate(("sda", "sdb")):
        (device / f"target2:0:0/2:0:0:{lun}/block/{name}").mkdir(parents=True)
    entry = root / f"class/session{number}"
    entry.mkdir(parents=True)
    (entry / "device").symlink_to(device)
    for name, text in {"targetname": TARGET, "state": "LOGGED_IN", "recovery_tmo": "3", **files}.items():
        (entry / name).write_text(f"{text}\n")


def test_sessions_are_read_with_their_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sysfs(tmp_path, 4, state="FAILED")
    monkeypatch.setattr(iscsi, "SESSIONS", tmp_path / "class")
    read = iscsi.sessions()
    assert read == [iscsi.Session(4, TARGET, "10.78.1.22", 3260, "FAILED", 3, {0: "/dev/sda", 1: "/dev/sdb"})]
    assert read[0].portal == PORTAL
    assert iscsi.devices_of(TARGET, PORTAL) == {0: "/dev/sda", 1: "/dev/sdb"}
    assert iscsi.state_of(TARGET, "10.78.1.23:3260") == ""


def test_a_login_without_devices_says_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sysfs(tmp_path, 4, state="FAILED")
    monkeypatch.setattr(iscsi, "SESSIONS", tmp_path / "class")
    monkeypatch.setattr(iscsi, "write_record", lambda *_: False)
    with pytest.raises(DisksError, match=r"is FAILED and gave 2 of 2 LUNs within 0 s"):
        iscsi.login(wanted()[0], luns=2, wait=0)


def test_devices_have_the_name_that_udev_gives() -> None:
    assert iscsi.stable_path(TARGET, PORTAL, 1) == f"/dev/disk/by-path/ip-{PORTAL}-iscsi-{TARGET}-lun-1"
