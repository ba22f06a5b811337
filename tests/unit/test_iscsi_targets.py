# SPDX-License-Identifier: GPL-3.0-or-later
"""iSCSI targets: the plan, what is left alone, and wishes that contradict themselves."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import iscsi_targets as iscsi
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import diff_of

PREFIX = "iqn.2026-11.org.example:updraft."
CINDER = "iqn.2026-11.org.example:volume-0aa6"


def target(name: str = "leg", **more: Any) -> dict[str, Any]:
    return {
        "iqn": f"{PREFIX}{name}",
        "portals": [{"address": "10.0.1.20", "port": 3260}],
        "luns": [{"name": name, "device": "/dev/sdb"}],
        "acls": [{"initiator": "iqn.x:node1", "user": "u", "password": "secret-password"}],
        **more,
    }


def test_a_new_target_is_made_with_what_the_kernel_would_report() -> None:
    wanted = iscsi.desired([target()])
    fields = wanted[f"{PREFIX}leg"]
    assert fields["portals"] == ["10.0.1.20:3260"]
    assert fields["luns"] == {"0": {"name": "leg", "device": "/dev/sdb", "read_only": False}}
    assert fields["acls"]["iqn.x:node1"]["luns"] == [0]
    assert fields["authentication"] is True
    assert [str(action) for action in iscsi.plan(wanted, {}, PREFIX)] == [f"create target {PREFIX}leg"]


def test_what_is_there_needs_nothing() -> None:
    wanted = iscsi.desired([target()])
    assert iscsi.plan(wanted, copy.deepcopy(wanted), PREFIX) == []


def test_an_unwanted_target_of_ours_goes_and_those_of_others_stay() -> None:
    there = {f"{PREFIX}old": {"enabled": True}, CINDER: {"enabled": True}}
    assert [str(action) for action in iscsi.plan({}, there, PREFIX)] == [f"delete target {PREFIX}old"]
    assert iscsi.plan({}, there, "") == []


def test_a_changed_password_is_an_update_that_does_not_show_it() -> None:
    wanted = iscsi.desired([target()])
    there = copy.deepcopy(wanted)
    there[f"{PREFIX}leg"]["acls"]["iqn.x:node1"]["password"] = "another-password"
    actions = iscsi.plan(wanted, there, PREFIX)
    assert [action.kind for action in actions] == ["update"]
    assert 'password": "(hidden)' in diff_of(actions, iscsi.SECRETS)[0]["after"]
    assert "secret-password" not in str(diff_of(actions, iscsi.SECRETS))


def test_a_target_without_chap_asks_for_none() -> None:
    wanted = iscsi.desired([target(acls=[{"initiator": "iqn.x:node1"}])])
    assert wanted[f"{PREFIX}leg"]["authentication"] is False


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([target(), target()], "is in the list twice"),
        ([target("a"), target("b", luns=[{"name": "a", "device": "/dev/sdc"}])], "the LUN name a is used twice"),
        ([target(acls=[{"initiator": "i", "user": "u"}])], "CHAP needs user and password"),
        ([target(acls=[{"initiator": "i", "mutual_user": "u"}])], "mutual_user and mutual_password"),
        ([target(acls=[{"initiator": "i", "mutual_user": "m", "mutual_password": "p"}])], "comes on top of CHAP"),
        (
            [
                target(
                    acls=[{"initiator": "i", "user": "u", "password": "p", "mutual_user": "m", "mutual_password": "p"}]
                )
            ],
            "same password in both directions",
        ),
        (
            [target(acls=[{"initiator": "i", "user": "u", "password": "p"}, {"initiator": "j"}])],
            "to all initiators or to none",
        ),
    ],
)
def test_a_wish_that_contradicts_itself_is_refused(targets: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(iscsi.TargetsError, match=said):
        iscsi.desired(targets)


def test_a_lun_that_differs_goes_and_comes_and_the_others_stay() -> None:
    found = {"0": {"name": "a"}, "1": {"name": "b"}, "3": {"name": "d"}}
    wanted = {"0": {"name": "a"}, "1": {"name": "c"}, "2": {"name": "e"}}
    assert iscsi.differing_luns(wanted, found) == (["1", "3"], ["1", "2"])


def test_a_lun_keeps_its_serial() -> None:
    assert iscsi.serial("iqn.x", "leg") == iscsi.serial("iqn.x", "leg") != iscsi.serial("iqn.y", "leg")
