# SPDX-License-Identifier: GPL-3.0-or-later
"""What Cobbler needs, from what is wanted and what is there."""

from __future__ import annotations

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import cobbler_api
from ansible_collections.updraft.cloud.plugins.module_utils.cobbler import (
    CobblerError,
    found,
    options_of,
    plan,
    wanted,
)

DISTROS = [{"name": "node-1", "kernel": "/images/node-1/vmlinuz", "initrd": "/images/node-1/initrd.img"}]
PROFILES = [{"name": "node", "distro": "node-1", "kernel_options": "boot=live quiet console=tty0 console=ttyS0"}]


def system(name, number, **more):
    return {"name": name, "mac": f"52:54:00:00:00:{number:02X}", "ip": f"10.0.0.{number}", "profile": "node", **more}


def raw(objects, owner="updraft"):
    """What the API would tell of these objects."""
    lists = {kind: [] for kind in objects}
    for kind, named in objects.items():
        for name, fields in named.items():
            item = {"name": name, "owners": [owner], "comment": "x", **fields}
            if kind == "system":
                card = {key: item.pop(key) for key in ("mac_address", "ip_address")}
                item["interfaces"] = {"default": {**card, "dns_name": ""}}
            lists[kind].append(item)
    return lists


def texts(actions):
    return [str(action) for action in actions]


def both(before, after, **more):
    return texts(plan(wanted(DISTROS, PROFILES, after), found(raw(wanted(DISTROS, PROFILES, before))), **more))


def test_kernel_options_are_kept_as_cobbler_does():
    assert options_of("boot=live quiet console=tty0 console=ttyS0 a='b c' d=e=f") == {
        "boot": "live",
        "quiet": "~",
        "console": ["tty0", "ttyS0"],
        "a": "b c",
        "d": "e=f",
    }
    assert options_of("") == {} == options_of(None)
    with pytest.raises(CobblerError, match="No closing quotation"):
        options_of("a='b")


def test_everything_is_made_in_the_order_of_need_and_written_once():
    desired = wanted(DISTROS, PROFILES, [system("node1", 1)])
    expected = ["create distro node-1", "create profile node", "create system node1", "update boot files all"]
    assert texts(plan(desired, found({}))) == expected


def test_what_is_there_needs_nothing():
    assert both([system("node1", 1)], [system("node1", 1)]) == []


def test_a_cut_or_another_template_writes_all_anew():
    assert both([system("node1", 1)], [system("node1", 1)], stale=True) == ["update boot files all"]


def test_a_system_more_writes_reservations_only():
    assert both([system("node1", 1)], [system("node1", 1), system("node2", 2)]) == [
        "create system node2",
        "update boot files reservations",
    ]


def test_what_is_no_longer_wanted_goes():
    assert both([system("node1", 1)], []) == ["delete system node1", "update boot files reservations"]
    gone = plan(wanted([], [], []), found(raw(wanted(DISTROS, PROFILES, [system("node1", 1)]))))
    expected = ["delete system node1", "delete profile node", "delete distro node-1", "update boot files all"]
    assert texts(gone) == expected


def test_only_what_differs_is_changed():
    actual = found(raw(wanted(DISTROS, PROFILES, [system("node1", 1)])))
    action = plan(wanted(DISTROS, PROFILES, [system("node1", 1, boot="disk")]), actual)[0]
    assert (action.before, action.after) == ({"netboot_enabled": True}, {"netboot_enabled": False})


def test_an_address_is_given_on_by_making_its_holder_anew():
    swapped = [system("a", 2), system("b", 1)]
    steps = both([system("a", 1), system("b", 2)], swapped)
    expected = ["delete system a", "delete system b", "create system a", "create system b"]
    assert steps == [*expected, "update boot files reservations"]


def test_an_address_of_a_machine_that_goes_is_free():
    assert both([system("old", 1)], [system("new", 1)])[:2] == ["delete system old", "create system new"]


def test_what_is_somebody_elses_stays():
    actual = found(raw(wanted(DISTROS, PROFILES, [system("theirs", 1)]), owner="admin"))
    assert plan(wanted([], [], []), actual) == []


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        ([system("theirs", 9)], "system theirs is there already and not Updraft's"),
        ([system("ours", 1)], "wants 52:54:00:00:00:01, which the system theirs has"),
        ([{**system("ours", 1), "mac": "52:54:00:00:00:99"}], "wants 10.0.0.1, which the system theirs has"),
        ([system("ours", 9, profile="none")], "system ours wants the profile none, which is not in the list"),
    ],
)
def test_a_clash_with_somebody_else_is_told_before_anything_is_done(systems, message):
    theirs = raw(wanted(DISTROS, PROFILES, [system("theirs", 1)]), owner="admin")
    with pytest.raises(CobblerError, match=message):
        plan(wanted([], [], systems), found(theirs))


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        ([system("a", 1), system("a", 2)], "system a is wanted twice"),
        ([system("a", 1), {**system("b", 1), "ip": ""}], "systems a and b have the same mac_address"),
        ([system("a", 1), {**system("b", 2), "ip": "10.0.0.1"}], "systems a and b have the same ip_address"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(systems, message):
    with pytest.raises(CobblerError, match=message):
        wanted(DISTROS, PROFILES, systems)


def test_the_record_tells_a_cut_and_another_template(tmp_path):
    template, file = tmp_path / "template", tmp_path / "state" / "record"
    template.write_text("one")
    record = cobbler_api.Record([str(template)], file)
    assert record.stale()
    record.end()
    assert not record.stale()
    record.begin()
    assert record.stale()
    record.end()
    template.write_text("two")
    assert cobbler_api.Record([str(template)], file).stale()


def test_nobody_answering_is_told():
    with pytest.raises(cobbler_api.AbsentError, match=r"cobblerd does not answer at http://127\.0\.0\.1:1"):
        cobbler_api.connect("http://127.0.0.1:1", "updraft", "x", None, 0)
