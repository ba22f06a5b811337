# SPDX-License-Identifier: GPL-3.0-or-later
"""Until when a machine was served: from lines as kernels and iscsid wrote them, with times of a machine of ours."""

from __future__ import annotations

import json

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import iscsi_losses
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_losses import (
    Line,
    addresses_of,
    ask,
    entries,
    histories,
    losses,
    silence,
    wait_for_loss,
)
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_sessions import Session

SERVICE = {"10.78.1.9", "10.78.2.9"}
TARGET = "iqn.2026-11.internal.updraft.storage:vms.web"
# Linux 5.4 with 1000 ticks a second, dmesg: open-iscsi 2.0.874 beside it.
PING = (
    " connection3:0: ping timeout of 5 secs expired, recv timeout 5, last rx 4354526811, last ping 4354531840,"
    " now 4354536960"
)
ERROR = " connection3:0: detected conn error (1022)"
REPORTED = "Kernel reported iSCSI connection 3:0 error (1022 - Invalid or unknown error code) state (3)"
# open-iscsi 2.1 in the foreground (fedora, open-iscsi issue 387; k3s, democratic-csi issue 216).
CLOSED = " connection3:0: detected conn error (1020)"
CLOSED_REPORTED = (
    "iscsid: Kernel reported iSCSI connection 3:0 error (1020 - ISCSI_ERR_TCP_CONN_CLOSE: TCP connection closed)"
    " state (3)"
)
AGAIN = "iscsid: connection3:0 is operational after recovery (1 attempts)"
CANNOT = "iscsid: can't bind conn 3:0 to session 3, retcode -107 (115)"
# In the words of open-iscsi's usr/initiator.c, and of a journal of 2024-12.
LOGIN = f"Connection3:0 to [target: {TARGET}, portal: 10.78.1.9,3260] through [iface: default] is operational now"
REJECTED = "iscsid: connection3:0 login rejected: initiator failed authorization with target"
LOGOUT = f"iscsid: Connection3:0 to [target: {TARGET}, portal: 10.78.1.9,3260] through [iface: default] is shutdown."


def session(state: str = "FAILED", number: int = 3, address: str = "10.78.1.9") -> Session:
    return Session(number, TARGET, address, 3260, state)


def until(*lines: tuple[float, str]) -> float | None:
    """Until when session 3 was served, by these lines."""
    return histories(Line(*line) for line in lines)[3].until


class TestSilence:
    """The kernel's ticks as seconds."""

    @pytest.mark.parametrize(
        ("limit", "ticks", "seconds"),
        [
            (5, (4354526811, 4354531840, 4354536960), 10.149),
            (15, (0, 15 * 250, 30 * 250), 30.0),
            # Debian's kernel with the settings of a pool: 2 s of silence, 3 s for the answer, a timer 0.1 s late.
            (3, (1000, 1500, 2275), 5.1),
        ],
    )
    def test_in_seconds(self, limit: int, ticks: tuple[int, int, int], seconds: float) -> None:
        assert silence(limit, *ticks) == pytest.approx(seconds)

    def test_a_timer_that_came_late_makes_it_shorter_never_longer(self) -> None:
        assert silence(3, 1000, 1500, 1500 + 4 * 250) == pytest.approx(1500 / 300)


class TestHistory:
    """What lines say, one after the other."""

    def test_a_silence_began_before_the_error(self) -> None:
        found = until((1000.0, PING), (1000.001, ERROR), (1000.002, REPORTED))
        assert found == pytest.approx(1000.0 - 10.149)

    def test_a_connection_that_was_closed_was_served_until_then(self) -> None:
        assert until((1000.0, CLOSED), (1000.1, CLOSED_REPORTED)) == 1000.0

    def test_the_word_of_iscsid_is_enough(self) -> None:
        assert until((1000.1, CLOSED_REPORTED)) == 1000.1

    def test_errors_of_attempts_to_come_back_are_none(self) -> None:
        assert until((1000.0, CLOSED), (1003.0, CLOSED), (1007.0, CANNOT), (1090.0, CLOSED)) == 1000.0

    def test_one_that_came_back_is_served_and_lost_anew(self) -> None:
        back = [(1000.0, CLOSED), (1002.0, AGAIN)]
        assert until(*back) is None
        assert until(*back, (1005.0, CLOSED)) == 1005.0

    def test_an_old_silence_says_nothing_of_a_later_error(self) -> None:
        assert until((1000.0, PING), (1000.0, ERROR), (1010.0, AGAIN), (1500.0, CLOSED)) == 1500.0

    def test_a_number_that_is_used_again_is_another_session(self) -> None:
        assert until((1000.0, CLOSED), (1010.0, LOGOUT), (1020.0, LOGIN)) is None
        assert until((990.0, LOGIN), (1000.0, CLOSED), (1010.0, LOGOUT)) == 1000.0
        assert until((990.0, LOGIN), (1010.0, LOGOUT)) == 1010.0

    def test_a_login_that_was_rejected_was_never_served(self) -> None:
        lines = [Line(1000.0, CLOSED), Line(1000.1, REJECTED), Line(1000.2, LOGOUT)]
        assert histories(lines) == {}


class TestLosses:
    """Sessions beside what the journal says of them."""

    def test_one_that_lives_is_served(self) -> None:
        found = losses([session("LOGGED_IN")], histories([Line(1000.0, CLOSED)]), SERVICE)
        assert [(one.served, one.until) for one in found] == [(True, None)]

    def test_one_that_is_lost_has_its_moment(self) -> None:
        (found,) = losses([session("FREE")], histories([Line(1000.0, CLOSED)]), SERVICE)
        assert (found.portal, found.state, found.served, found.until) == ("10.78.1.9:3260", "FREE", False, 1000.0)

    def test_of_one_without_a_line_nothing_is_known(self) -> None:
        assert [(one.served, one.until) for one in losses([session()], {}, SERVICE)] == [(False, None)]

    def test_other_targets_do_not_count(self) -> None:
        assert losses([session(address="10.78.1.22")], histories([Line(1000.0, CLOSED)]), SERVICE) == []

    def test_the_last_that_was_logged_out_counts(self) -> None:
        lines = [Line(900.0, LOGIN), Line(1000.0, LOGOUT), Line(1.0, LOGIN.replace("3:0", "4:0"))]
        lines.append(Line(2.0, LOGOUT.replace("3:0", "4:0")))
        (found,) = losses([], histories(lines), SERVICE)
        assert (found.target, found.portal, found.state, found.until) == (TARGET, "10.78.1.9", "gone", 1000.0)


def test_the_journal_is_read_with_what_else_is_in_it() -> None:
    row = {"__REALTIME_TIMESTAMP": "1795305600250000", "MESSAGE": ERROR, "_BOOT_ID": "x"}
    bytes_row = {**row, "MESSAGE": [255, 1]}
    text = "\n".join([json.dumps(row), json.dumps(bytes_row), "no JSON", json.dumps({"MESSAGE": ERROR}), ""])
    assert entries(text) == [Line(1795305600.25, ERROR)]


def test_a_journal_that_cannot_be_read_is_no_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iscsi_losses, "JOURNAL", ["sh", "-c", "exit 1"])
    assert iscsi_losses.read_journal() == []
    monkeypatch.setattr(iscsi_losses, "JOURNAL", ["sh", "-c", "echo No journal files were found. >&2; exit 1"])
    with pytest.raises(DisksError, match="the journal cannot be read: No journal files"):
        iscsi_losses.read_journal()


def test_it_is_waited_until_the_kernel_has_noticed() -> None:
    states = iter(["LOGGED_IN", "LOGGED_IN", "FAILED"])
    waits: list[float] = []
    live = wait_for_loss(lambda: [session(next(states))], SERVICE, 20, waits.append)
    assert (live[0].state, len(waits)) == ("FAILED", 2)
    assert wait_for_loss(lambda: [session("LOGGED_IN")], SERVICE, 0, waits.append)[0].state == "LOGGED_IN"
    assert wait_for_loss(lambda: [session("LOGGED_IN", address="10.0.0.1")], SERVICE, 20, waits.append)
    assert len(waits) == 2


def test_it_is_waited_until_the_journal_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter([[session("LOGGED_IN")], [session()]])
    journals = iter([[], [], [Line(1000.0, CLOSED)]])
    waits: list[float] = []
    (found,) = ask(SERVICE, 20, lambda: next(states), lambda: next(journals), waits.append)
    assert (found.until, len(waits)) == (1000.0, 3)
    monkeypatch.setattr(iscsi_losses, "WRITTEN", 0.0)
    (found,) = ask(SERVICE, 20, lambda: [session()], list, waits.append)
    assert (found.served, found.until) == (False, None)


def test_portals_have_ports_or_not() -> None:
    assert addresses_of(["10.78.1.9", "10.78.2.9:3260", "[fd00::9]:3260"]) == {"10.78.1.9", "10.78.2.9", "fd00::9"}
