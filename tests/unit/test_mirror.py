# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror's verbs on two servers that are not real (`mirror_fake`); the power is cut in test_mirror_cuts.py."""

from __future__ import annotations

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import mirror_converge
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Refused, Waits
from tests.unit.mirror_site import OFF, PLANNED, Site, fail_over, whole


@pytest.fixture
def site() -> Site:
    """Return a mirror which storage1 serves."""
    return whole()


def test_the_first_run_makes_a_mirror_and_the_second_changes_nothing(site: Site) -> None:
    for name in ("storage1", "storage2"):
        assert mirror_converge.converge(site.mirrors[name])["changed"] == []
        assert mirror_converge.check(site.mirrors[name], list)["changed"] == []


def test_the_first_run_waits_for_the_leg() -> None:
    made = Site()
    with pytest.raises(Waits, match="waiting for the leg of storage2"):
        mirror_converge.converge(made.mirrors["storage1"])
    assert made.mirrors["storage1"].store.read().role == "new"


def test_a_lost_leg_is_dropped_and_comes_back_by_itself(site: Site) -> None:
    site.servers["storage2"].power_off()
    site.look(3)
    site.write()
    assert site.servers["storage1"].store.state.alone_since is not None
    site.servers["storage2"].power_on()
    site.look(15)
    site.healthy("storage1")
    assert site.servers["storage1"].store.state.alone_since is None
    assert "storage1: re-add /dev/iscsi-storage2" in site.steps


def test_a_planned_handover_there_and_back(site: Site) -> None:
    fail_over(site, "storage1", "storage2")
    site.write()
    site.look()
    site.healthy("storage2")
    fail_over(site, "storage2", "storage1")
    site.write()
    site.look()
    site.healthy("storage1")
    assert site.mirrors["storage1"].store.read().generation == 3


def test_who_waits_for_the_other_one_to_let_go_reads_no_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.servers["storage2"], "own_members", lambda: pytest.fail("a disk is read at each look"))
    with pytest.raises(Waits, match="storage1 is still logged in"):
        site.mirrors["storage2"].promote(2, **PLANNED)
    site.servers["storage1"].power_off()
    with pytest.raises(Waits, match="storage1 does not offer its disks as a leg"):
        site.mirrors["storage2"].promote(2, **PLANNED)


def test_volumes_are_away_only_while_the_program_hurries(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    hurried = []

    def watch(name: str, what: str) -> None:
        server = site.servers[name]
        act = getattr(server, what)
        monkeypatch.setattr(server, what, lambda: hurried.append((what, server.hurries)) or act())

    watch("storage1", "remove_addresses")
    watch("storage2", "log_in")
    watch("storage2", "add_addresses")
    fail_over(site, "storage1", "storage2")
    assert hurried == [("remove_addresses", True), ("log_in", True), ("add_addresses", True)]
    assert not site.servers["storage2"].hurries


@pytest.mark.parametrize("saved", [True, False])
def test_what_the_volume_service_made_last_moves_with_a_handover(site: Site, saved: bool) -> None:
    site.servers["storage1"].made.add("volume-1")
    if saved:
        assert site.mirrors["storage1"].save_targets()["changed"] == ["save targets"]
        assert site.mirrors["storage1"].save_targets()["changed"] == []
    fail_over(site, "storage1", "storage2")
    assert site.servers["storage2"].made == {"volume-1"}
    # One that does not serve keeps nothing, whatever it is asked.
    assert site.mirrors["storage1"].save_targets()["changed"] == []
    assert site.kept == {"volume-1"}


def test_what_the_volume_service_was_told_to_be_kept_survives_the_server(site: Site) -> None:
    site.servers["storage1"].made.add("volume-1")
    site.mirrors["storage1"].save_targets()
    site.servers["storage1"].power_off()
    site.look()
    site.mirrors["storage2"].promote(2, **OFF)
    assert site.servers["storage2"].made == {"volume-1"}


def test_a_server_that_is_switched_off_in_order_keeps_them_and_an_old_one_that_rejoins_does_not(site: Site) -> None:
    site.servers["storage1"].made.add("volume-1")
    site.mirrors["storage1"].down()
    assert site.kept == {"volume-1"}
    site.cycle("storage1")
    site.look()
    assert site.servers["storage1"].made == {"volume-1"}
    site.servers["storage1"].made.add("volume-2")
    site.mirrors["storage1"].clear(keep=False)
    assert site.kept == {"volume-1"}


def test_a_volume_that_a_node_uses_is_not_taken_from_it_by_a_run(site: Site) -> None:
    site.servers["storage1"].held = ["compute.storage_pools.vms.volumes.db is no longer in cloud.yml"]
    with pytest.raises(Waits, match=r"no longer in cloud\.yml"):
        mirror_converge.converge(site.mirrors["storage1"])
    site.write()
    site.servers["storage1"].held = []
    assert mirror_converge.converge(site.mirrors["storage1"])["changed"] == []


def test_addresses_go_first_and_come_last(site: Site) -> None:
    site.steps.clear()
    fail_over(site, "storage1", "storage2")
    told = [step.partition(": ")[2] for step in site.steps]
    assert told == [
        "is_up off", "units off", "nobody watches the group", "addresses off", "targets off", "group off",
        "stop array", "log out", "state leg 2", "export leg", "log in", "state serving 2", "withdraw leg",
        "assemble /dev/storage2 /dev/iscsi-storage1", "group on", "targets on", "addresses on", "is_up on", "units on",
    ]  # fmt: skip


def test_the_survivor_serves_and_the_old_one_is_healed(site: Site) -> None:
    site.servers["storage1"].power_off()
    site.look(2)
    told = site.mirrors["storage2"].promote(2, **OFF)
    assert told["lost_at"] is not None
    assert told["was_complete"]
    site.write()
    site.servers["storage1"].power_on()
    site.look()
    assert site.serving() == ["storage2"]
    site.mirrors["storage1"].rejoin(2)
    assert site.mirrors["storage2"].heal(30)["complete"]
    site.look()
    site.healthy("storage2")


def test_writes_that_the_old_one_took_alone_are_never_left_in_between(site: Site) -> None:
    site.apart = True
    site.servers["storage1"].lose_leg()
    site.look(2)
    site.write()  # on storage1 alone
    site.servers["storage1"].power_off()
    site.mirrors["storage2"].promote(2, planned=False, off=True, accept_loss=True)
    site.apart = False
    site.acknowledged.discard(max(site.acknowledged))
    site.servers["storage1"].power_on()
    site.mirrors["storage1"].rejoin(2)
    site.look()
    # The bitmap of storage2 knows nothing of that write: nothing is re-added by itself.
    assert not any("re-add" in step for step in site.steps)
    told = site.mirrors["storage2"].heal(30)["changed"]
    assert told == ["add /dev/iscsi-storage1 to volumes0: it was written to without this server"]
    assert site.servers["storage1"].disk.writes == site.servers["storage2"].disk.writes


def test_power_loss_of_the_rack(site: Site) -> None:
    for name in ("storage1", "storage2"):
        site.cycle(name)
    site.look()
    site.healthy("storage1")


def test_power_loss_of_the_rack_after_it_went_on_alone(site: Site) -> None:
    site.servers["storage2"].power_off()
    site.look(2)
    site.write()
    site.cycle("storage1")
    site.look()
    assert site.serving() == []
    site.servers["storage2"].power_on()
    site.look(20)
    site.healthy("storage1")


def test_a_switched_off_server_tells_the_leg_that_nothing_follows(site: Site) -> None:
    site.mirrors["storage1"].down()
    site.servers["storage1"].power_off()
    site.look(2)
    told = site.mirrors["storage2"].promote(2, **OFF)
    assert told["closed"]


def test_a_replaced_server_takes_a_whole_copy(site: Site) -> None:
    site.servers["storage2"].power_off()
    site.look(2)
    site.write()
    site.servers["storage2"].wipe("/dev/storage2")
    site.servers["storage2"].store.state = type(site.servers["storage2"].store.state)()
    site.servers["storage2"].power_on()
    mirror_converge.converge(site.mirrors["storage2"])
    site.look(20)
    assert not site.servers["storage1"].running()["volumes0"].whole
    site.mirrors["storage2"].rejoin(1)
    assert site.mirrors["storage1"].heal(30)["complete"]
    site.look()
    site.healthy("storage1")


def test_what_the_operator_has_to_choose_is_refused_with_the_words(site: Site) -> None:
    site.cycle("storage2")
    site.servers["storage1"].power_off()
    site.look(3)
    with pytest.raises(Refused, match="--accept-loss"):
        site.mirrors["storage2"].promote(2, **OFF)
