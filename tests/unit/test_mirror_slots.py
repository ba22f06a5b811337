# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mirror keeps: records in two slots, the state file, the configuration, targets of the volume service."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import mirror_network as network
from ansible_collections.updraft.cloud.plugins.module_utils import mirror_targets as targets
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_config import Address, ConfigError, parse
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_slots import SlotError, Slots, pack, unpack
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_state import State, StateError, Store
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_watch import leg_sees
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action
from tests.unit.mirror_fake import configuration

SIZE = 64 << 10


@pytest.fixture
def device(tmp_path: Path) -> str:
    path = tmp_path / "device"
    path.write_bytes(b"\0" * (4 * SIZE))
    return str(path)


def slots(device: str, offset: int = 0) -> Slots:
    return Slots(device, offset=offset, size=SIZE, direct=False)


def test_what_was_written_last_is_read(device: str) -> None:
    place = slots(device)
    assert place.read() is None
    for number in range(1, 6):
        assert place.write({"number": number}) == number
        assert slots(device).read() == (number, {"number": number})


def test_a_long_record_is_read_whole(device: str) -> None:
    body = {"text": "x" * 50_000}
    slots(device).write(body)
    found = slots(device).read()
    assert found is not None
    assert found[1] == body


def test_a_write_that_was_cut_anywhere_leaves_the_older(device: str) -> None:
    slots(device).write({"number": 1})
    slots(device).write({"number": 2})
    new = pack(3, {"number": 3}, SIZE)
    whole = Path(device).read_bytes()
    for length in range(0, len(new), 512):
        Path(device).write_bytes(new[:length] + whole[length:])
        found = slots(device).read()
        assert found == (2, {"number": 2}) or (found == (3, {"number": 3}) and length >= 512)


def test_two_records_side_by_side_do_not_touch(device: str) -> None:
    slots(device).write({"who": "serving"})
    slots(device, 2 * SIZE).write({"who": "leg"})
    assert slots(device).read() == (1, {"who": "serving"})
    assert slots(device, 2 * SIZE).read() == (1, {"who": "leg"})


def test_what_does_not_fit_is_refused(device: str) -> None:
    with pytest.raises(SlotError, match="its place"):
        slots(device).write({"text": "x" * SIZE})
    assert unpack(b"") is None
    assert unpack(os.urandom(4096)) is None


def test_the_state_is_kept_and_never_guessed(tmp_path: Path) -> None:
    store = Store(tmp_path / "mirror")
    assert store.read() == State()
    state = State("leg", 3, complete=True, boot="b", lost_at=12.5)
    store.write(state)
    assert store.read() == state
    assert store.path.stat().st_mode & 0o777 == 0o600
    for junk in ("", "[]", '{"role": "primary", "generation": 1}', '{"role": "leg", "generation": null}'):
        store.path.write_text(junk)
        with pytest.raises(StateError):
            store.read()


def test_the_configuration_says_what_is_missing() -> None:
    config = configuration("storage1")
    assert config.prefix == "iqn.2026-11.x:updraft."
    for change, said in (
        ({"disks": []}, "0 disks for 1 arrays"),
        ({"chap": {"user": "u"}}, "never exported without mutual CHAP"),
        ({"leg": {"target": "iqn.x:leg", "address": "10.78.1.21"}}, "does not hold ':updraft.'"),
    ):
        with pytest.raises(ConfigError, match=said):
            configuration("storage1", **change)
    with pytest.raises(ConfigError, match="'self'"):
        parse({})


# What a leg remembers.

NOTE = {"generation": 1, "complete": True, "closed": False}


def test_a_leg_is_complete_when_it_is_told_so_in_this_session() -> None:
    leg = State("leg", 1, boot="b")
    joined = leg_sees(leg, True, (4, NOTE), 4, 10.0)
    assert (joined.connected, joined.complete) == (True, False)
    told = leg_sees(joined, True, (5, NOTE), 4, 11.0)
    assert told.complete
    lost = leg_sees(told, False, (5, NOTE), 4, 12.0)
    assert (lost.connected, lost.complete, lost.lost_at) == (False, True, 12.0)
    again = leg_sees(lost, True, (5, NOTE), 5, 13.0)
    assert (again.complete, again.lost_at) == (False, 12.0)
    assert leg_sees(again, True, (6, NOTE), 5, 14.0).lost_at is None


def test_a_note_of_another_generation_says_nothing() -> None:
    leg = State("leg", 2, boot="b", connected=True)
    assert not leg_sees(leg, True, (5, NOTE), 4, 11.0).complete


# Targets of the volume service.

CINDER = "iqn.2026-11.x:volume-1"


def dump(*names: str) -> dict[str, Any]:
    return {
        "storage_objects": [
            {"plugin": "block", "name": name, "dev": f"/dev/volumes/{name}", "wwn": f"wwn-{name}"} for name in names
        ],
        "targets": [
            {
                "wwn": f"iqn.2026-11.x:{name}",
                "fabric": "iscsi",
                "tpgs": [{"luns": [{"index": 0, "storage_object": f"/backstores/block/{name}"}]}],
            }
            for name in names
        ],
    }


def test_only_targets_of_others_are_kept() -> None:
    kept = targets.foreign(dump("volume-1", "updraft.pool-vms"), "iqn.2026-11.x:updraft.")
    assert [target["wwn"] for target in kept["targets"]] == [CINDER]
    assert [store["wwn"] for store in kept["storage_objects"]] == ["wwn-volume-1"]


def test_only_targets_whose_volume_is_there_come_back() -> None:
    kept = dump("volume-1", "volume-2", "volume-3")
    back = targets.missing(kept, dump("volume-3"), lambda path: path != "/dev/volumes/volume-2")
    assert [target["wwn"] for target in back["targets"]] == [CINDER]
    assert [store["name"] for store in back["storage_objects"]] == ["volume-1"]


def test_a_target_that_came_back_otherwise_is_named() -> None:
    kept, there = dump("volume-1", "volume-2"), dump("volume-1", "volume-2")
    for name, number in (("authentication", "1"), ("default_cmdsn_depth", "64")):
        kept["targets"][0]["tpgs"][0].setdefault("attributes", {})[name] = number
    there["targets"][0]["tpgs"][0]["attributes"] = {"authentication": "1", "default_cmdsn_depth": "16"}
    assert targets.differing(kept, there) == []
    there["targets"][0]["tpgs"][0]["attributes"]["authentication"] = "0"
    assert targets.differing(kept, there) == [CINDER]
    assert targets.differing(kept, dump("volume-1")) == [CINDER, "iqn.2026-11.x:volume-2"]


def test_a_target_that_is_used_is_named_with_who_uses_it() -> None:
    name = "iqn.2026-11.x:updraft.pool.vms.db"
    gone = [Action("delete", "target", name), Action("delete", "target", "iqn.2026-11.x:updraft.pool.vms.web")]
    both = {name: ["iqn.2026-11.x:node2", "iqn.2026-11.x:node1", "iqn.2026-11.x:node1"]}
    (problem,) = targets.still_used([*gone, Action("create", "target", name)], both)
    assert problem.startswith(
        "compute.storage_pools.vms.volumes.db is no longer in cloud.yml, and its target has a session of"
        " node1 and node2: stop what uses it there"
    )
    assert f"iscsiadm -m node -T {name} --logout" in problem
    assert targets.still_used(gone, {}) == []


class Kernel:
    """A LIO that is not real: it has what it is given."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def dump(self) -> dict[str, Any]:
        return self.found


def kept_by(path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> targets.Targets:
    """Targets of a server whose kernel has these, with a file in the place of the volume that keeps them."""
    made = targets.Targets(configuration("storage1"))
    with path.open("ab") as handle:
        handle.truncate(2 * targets.STATE_SLOT)
    monkeypatch.setattr(targets.Targets, "state_volume", str(path))
    monkeypatch.setattr(made, "_slots", lambda: Slots(str(path), size=targets.STATE_SLOT, direct=False))
    monkeypatch.setattr(made, "lio", lambda: Kernel(dump(*names)))
    return made


def test_targets_are_kept_once_and_not_while_they_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "state"
    assert kept_by(place, monkeypatch, "volume-1").save(lambda: True)
    assert not kept_by(place, monkeypatch, "volume-1").save(lambda: True)
    # Read when a part of them was gone already: the server was going down meanwhile.
    assert not kept_by(place, monkeypatch).save(lambda: False)
    found = Slots(str(place), size=targets.STATE_SLOT, direct=False).read()
    assert found is not None
    assert [target["wwn"] for target in found[1]["targets"]] == [CINDER]


def test_the_leg_is_for_the_peer_alone() -> None:
    target = targets.leg_target(configuration("storage1"))
    assert target["portals"] == [{"address": "10.78.1.21", "port": 3260}]
    assert [lun["device"] for lun in target["luns"]] == ["/dev/storage1", str(targets.MARK)]
    assert [acl["initiator"] for acl in target["acls"]] == ["iqn.2026-11.x:storage2"]
    assert target["acls"][0]["mutual_password"]


# Addresses.


def test_frames_that_announce_and_ask() -> None:
    mac, other = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"
    frame = network.announcement(mac, "10.78.1.9", 1)
    assert len(frame) == 42
    assert frame[:14] == b"\xff" * 6 + mac + b"\x08\x06"
    assert frame[28:32] == frame[38:42] == bytes([10, 78, 1, 9])
    assert network.is_answer(network.announcement(other, "10.78.1.9", 2), "10.78.1.9", mac)
    assert not network.is_answer(network.announcement(mac, "10.78.1.9", 2), "10.78.1.9", mac)
    assert not network.is_answer(network.probe(other, "10.78.1.9"), "10.78.1.9", mac)


def test_all_are_asked_at_the_same_time_who_may_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(
        configuration("storage1"), service=(Address("10.78.1.9", 24, "eth1"), Address("10.78.2.9", 24, "eth2"))
    )
    silence = threading.Barrier(2 + 2)

    def taken(item: Address) -> bool:
        silence.wait(timeout=60)
        return item.address in ("10.78.2.9", config.peer.address)

    monkeypatch.setattr(network, "present", dict)
    monkeypatch.setattr(network, "call", lambda command: '[{"dev": "eth0"}]')
    monkeypatch.setattr(network, "taken", taken)
    assert network.answers(config, peer=True) == [
        "service address 10.78.2.9 answers",
        f"its storage address {config.peer.address} answers to ARP",
    ]


def test_nobody_is_asked_for_addresses_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(configuration("storage1"), service=(Address("10.78.1.9", 24, "eth1"),))
    monkeypatch.setattr(network, "present", lambda: {"eth1": {"10.78.1.9"}})
    assert network.answers(config, peer=False) == []


def test_an_address_belongs_on_its_interface() -> None:
    found = network.here('[{"ifname": "eth1", "addr_info": [{"local": "10.78.1.21"}]}, {"ifname": "lo"}, {}]')
    wanted = [Address("10.78.1.9", 24, "eth1"), Address("10.78.1.21", 24, "eth1")]
    assert network.missing(wanted, found) == wanted[:1]


def test_a_neighbour_is_asked_by_arp_and_others_not() -> None:
    assert network.on_link('[{"dst": "10.78.1.22", "dev": "eth1", "prefsrc": "10.78.1.21", "flags": []}]') == "eth1"
    assert network.on_link('[{"dst": "10.9.0.1", "gateway": "10.78.0.1", "dev": "eth0"}]') == ""
    assert network.on_link("") == ""
