# SPDX-License-Identifier: GPL-3.0-or-later
"""Two storage servers that are not real: disks with superblocks, arrays, sessions, addresses as md and LIO have them.

Every change can be the one before which the power goes. After each of them it is checked that nobody could have written
on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.mirror import Mirror
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_config import Config, parse
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Leg, Member
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_protocol import Running
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_state import State

NAMES = ("storage1", "storage2")


class PowerCut(Exception):
    """The computer is off from here on."""


def configuration(name: str, **more: Any) -> Config:
    other = NAMES[1 - NAMES.index(name)]
    base = "iqn.2026-11.x:"
    number = {"storage1": 21, "storage2": 22}
    return parse({
        "site": "lab", "self": name, "first": name == "storage1", "initiator": f"{base}{name}",
        "disks": [f"/dev/{name}"], "arrays": ["volumes0"],
        "leg": {"target": f"{base}updraft.leg.{name}", "address": f"10.78.1.{number[name]}"},
        "peer": {
            "name": other, "initiator": f"{base}{other}", "target": f"{base}updraft.leg.{other}",
            "address": f"10.78.1.{number[other]}", "management": f"10.78.0.{number[other]}",
        },
        "chap": {"user": "u", "password": "p" * 12, "mutual_user": "m", "mutual_password": "q" * 12},
        "group": "volumes", "thin_pool": "volumes-pool",
        "service": [{"address": "10.78.1.9", "prefix": 24, "interface": "eth1"}],
        "volumes": [], "targets": [], "units": ["cinder-volume.service"], **more,
    })  # fmt: skip


@dataclass
class Disk:
    """A disk with its superblock, and the numbers of the writes that it has."""

    member: Member
    writes: set[int] = field(default_factory=set)
    dirty: set[int] = field(default_factory=set)


class FakeStore:
    """The state, on a disk which never lies."""

    def __init__(self, system: FakeSystem) -> None:
        self.system = system
        self.state = State()

    def read(self) -> State:
        return self.state

    def write(self, state: State) -> None:
        self.system.step(f"state {state.role} {state.generation}")
        self.state = state


class World:
    """Both servers and the network between them."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.acknowledged: set[int] = set()
        self.cut_at: int | None = None
        self.cut_name = ""
        self.steps: list[str] = []
        self.apart = False
        self.group_made = False
        #: Targets of the volume service that are kept on the mirror.
        self.kept: set[str] = set()
        self.strangers: list[str] = []
        self.servers = {name: FakeSystem(self, name) for name in NAMES}
        self.mirrors = {
            name: Mirror(configuration(name), server, server.store)  # type: ignore[arg-type]
            for name, server in self.servers.items()
        }

    def other(self, name: str) -> FakeSystem:
        return self.servers[NAMES[1 - NAMES.index(name)]]

    def serving(self) -> list[str]:
        return [name for name, server in self.servers.items() if server.addresses]

    def check(self) -> None:
        assembled = [name for name, server in self.servers.items() if server.array is not None]
        assert len(assembled) < 2, "both have the array"
        assert len(self.serving()) < 2, "both have the address"
        for server in self.servers.values():
            assert not (server.array is not None and server.offers is not None), "a disk in use is offered"
            assert not (server.addresses and server.array is None), "an address with nothing behind it"

    def write(self) -> None:
        """Write through the one that serves, and have it acknowledged."""
        (name,) = self.serving()
        number = max(self.acknowledged, default=0) + 1
        server = self.servers[name]
        assert server.array is not None
        for path in server.array.active:
            self.disk(path).writes.add(number)
        if len(server.array.active) < 2:
            server.disk.dirty.add(number)
        self.acknowledged.add(number)

    def disk(self, path: str) -> Disk:
        return self.servers[path.removeprefix("/dev/").removeprefix("iscsi-")].disk


class FakeSystem:
    """One server, as `mirror.System`."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.boot = 1
        self.on = True
        self.disk = Disk(Member(f"/dev/{name}"))
        self.store = FakeStore(self)
        self.mark: tuple[int, dict[str, Any]] | None = None
        self.held: list[str] = []
        self._volatile()

    def _volatile(self) -> None:
        self.array: Running | None = None
        self.offers: int | None = None
        self.logged_in = False
        self.group = self.targets = self.addresses = self.units = self.is_up = self.hurries = False
        self.made: set[str] = set()

    def step(self, text: str) -> None:
        """Before each change: the power may go here."""
        self.world.steps.append(f"{self.name}: {text}")
        if self.world.cut_at is not None and self.name == self.world.cut_name:
            if self.world.cut_at == 0:
                self.world.cut_at = None
                raise PowerCut(text)
            self.world.cut_at -= 1
        self.world.check()

    # What happens to it.

    def power_off(self) -> None:
        self.on = False
        self._volatile()
        other = self.world.other(self.name)
        if other.logged_in:
            other.lose_leg()

    def lose_leg(self) -> None:
        """The session ends, and md notes the loss before the next write is acknowledged."""
        self.logged_in = False
        if self.array is not None and len(self.array.active) == 2:
            self.array = Running("volumes0", (f"/dev/{self.name}",), faulty=("sda",))
            self._bump(missing=True)

    def power_on(self) -> None:
        self.on = True
        self.boot += 1

    def _bump(self, *, missing: bool) -> None:
        own = self.disk.member
        states = "".join("A" if place == own.slot or not missing else "." for place in (0, 1))
        self.disk.member = replace(own, events=own.events + 3, states=states)

    # System.

    def now(self) -> float:
        return self.world.clock

    def sleep(self, seconds: float) -> None:
        self.world.clock += seconds
        self.copied()

    def copied(self) -> None:
        """Whatever is being copied has arrived."""
        if self.array is not None and self.array.copying:
            other = self.world.other(self.name).disk
            other.writes |= self.disk.dirty
            other.dirty.clear()
            self.disk.dirty.clear()
            own = self.disk.member
            self.disk.member = replace(own, events=own.events + 1, states="AA")
            other.member = replace(self.disk.member, path=other.member.path, slot=1 - own.slot, recovering=False)
            self.array = Running("volumes0", (f"/dev/{self.name}", f"/dev/iscsi-{other.member.path[5:]}"))

    def boot_id(self) -> str:
        return f"{self.name}-{self.boot}"

    def answers(self, *, peer: bool) -> list[str]:
        other = self.world.other(self.name)
        found = list(self.world.strangers)
        if other.addresses and not self.world.apart:
            found.append("service address 10.78.1.9 answers")
        if peer and other.on and not self.world.apart:
            found.append("its management address answers to ping")
        return found

    def session(self) -> bool:
        return self.offers is not None and self.world.other(self.name).logged_in

    def own_members(self) -> list[Member]:
        return [self.disk.member]

    def get_ready(self) -> None:
        pass

    def hurry(self, hurry: bool) -> None:
        self.hurries = hurry

    def log_in(self) -> Leg | None:
        other = self.world.other(self.name)
        if not self.logged_in and other.on and other.offers is not None and not self.world.apart:
            self.step("log in")
            self.logged_in = True
        return self.leg()

    def leg(self) -> Leg | None:
        other = self.world.other(self.name)
        return Leg((f"/dev/iscsi-{other.name}",), other.offers) if self.logged_in else None

    def log_out(self) -> None:
        if self.logged_in:
            self.step("log out")
            self.logged_in = False

    def peer_members(self, leg: Leg) -> list[Member]:
        return [replace(self.world.other(self.name).disk.member, path=leg.disks[0])]

    def running(self) -> dict[str, Running]:
        return {} if self.array is None else {"volumes0": self.array}

    def start_array(self, name: str, devices: Sequence[str]) -> None:
        self.step(f"assemble {' '.join(devices)}")
        assert self.offers is None, "LIO has the disk"
        assert len(devices) == 1 or self.logged_in
        self.array = Running(name, tuple(devices))
        self._bump(missing=len(devices) == 1)
        if len(devices) == 2:
            other = self.world.other(self.name).disk
            other.member = replace(other.member, events=self.disk.member.events)
            # md compares what a cut left different, and the first disk counts.
            other.writes = set(self.disk.writes)

    def create_array(self, name: str, devices: Sequence[str]) -> None:
        self.step("create array")
        assert self.disk.member.blank
        self.disk.member = Member(self.disk.member.path, "uuid", 1, 0, "AA")
        other = self.world.other(self.name).disk
        other.member = Member(other.member.path, "uuid", 1, 1, "AA")
        self.array = Running(name, tuple(devices))

    def wipe(self, path: str) -> None:
        self.step(f"wipe {path}")
        self.disk = Disk(Member(path))

    def take(self, name: str, device: str, how: str) -> None:
        self.step(f"{how} {device}")
        assert self.array is not None
        other = self.world.disk(device)
        if how == "add":
            # Every block is copied.
            other.writes = set()
            self.disk.dirty = set(self.disk.writes)
        other.member = replace(
            self.disk.member, path=other.member.path, slot=1 - self.disk.member.slot, recovering=True
        )
        self.array = Running(name, self.array.active, (device,))

    def remove_failed(self, name: str) -> None:
        self.step("remove failed")
        assert self.array is not None
        self.array = Running(name, self.array.active)

    def stop_arrays(self) -> None:
        if self.array is not None:
            self.step("stop array")
            assert not self.group, "the group is in use"
            self.array = None

    def export_leg(self, generation: int) -> list[str]:
        if self.offers == generation:
            return []
        self.step("export leg")
        assert self.array is None, "md has the disk"
        self.offers = generation
        return ["create target leg"]

    def exported(self) -> bool:
        return self.offers is not None

    def withdraw_leg(self) -> None:
        if self.offers is not None:
            self.step("withdraw leg")
            self.offers = None
            assert not self.world.other(self.name).logged_in

    def _set(self, name: str, value: bool) -> list[str]:
        if getattr(self, name) == value:
            return []
        self.step(f"{name} {'on' if value else 'off'}")
        setattr(self, name, value)
        self.world.check()
        return [name]

    def activate_group(self, *, closed: bool) -> bool:
        assert self.array is not None
        if self.world.group_made:
            self._set("group", True)
        return self.group

    def prepare_group(self) -> list[str]:
        assert self.array is not None
        made = self._set("group", True)
        self.world.group_made = True
        return made

    def unmonitor_group(self) -> None:
        if self.group:
            self.step("nobody watches the group")

    def deactivate_group(self) -> None:
        assert not self.targets
        self._set("group", False)

    def make_targets(self) -> list[str]:
        assert self.group
        self.made |= self.world.kept
        return self._set("targets", True)

    def held_targets(self) -> list[str]:
        return self.held

    def save_targets(self, *, closing: bool = False) -> bool:
        if not self.group or self.world.kept == self.made or not (closing or self.is_up):
            return False
        assert self.targets and not (closing and self.units), "targets that are being changed, or are not there"
        self.step("keep targets")
        self.world.kept = set(self.made)
        return True

    def remove_targets(self) -> None:
        assert not self.addresses, "initiators would see an error"
        self._set("targets", False)
        self.made = set()

    def add_addresses(self) -> list[str]:
        assert self.targets
        return self._set("addresses", True)

    def remove_addresses(self) -> list[str]:
        return self._set("addresses", False)

    def start_units(self) -> list[str]:
        return self._set("units", True)

    def stop_units(self) -> None:
        self._set("units", False)

    def write_mark(self, leg: Leg, body: Mapping[str, Any]) -> None:
        if not self.logged_in:
            raise OSError("the leg is gone")
        other = self.world.other(self.name)
        other.mark = ((other.mark[0] if other.mark else 0) + 1, dict(body))

    def read_mark(self) -> tuple[int, dict[str, Any]] | None:
        return self.mark

    def up(self) -> bool:
        return self.is_up

    def set_up(self, up: bool) -> None:
        self._set("is_up", up)


def attempt(act: Callable[[], Any]) -> Any:
    """Do it; None when the power went."""
    try:
        return act()
    except PowerCut:
        return None
