# SPDX-License-Identifier: GPL-3.0-or-later
"""The real machine under the mirror: md, iSCSI, LIO, LVM, addresses and units."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import disks as disk
from ansible_collections.updraft.cloud.plugins.module_utils import iscsi_sessions as iscsi
from ansible_collections.updraft.cloud.plugins.module_utils import logical_volumes as lv
from ansible_collections.updraft.cloud.plugins.module_utils import md_arrays as md
from ansible_collections.updraft.cloud.plugins.module_utils import md_state, mirror_disks, mirror_network
from ansible_collections.updraft.cloud.plugins.module_utils import volume_groups as vg
from ansible_collections.updraft.cloud.plugins.module_utils.exclusive import exclusive
from ansible_collections.updraft.cloud.plugins.module_utils.mirror import say
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_config import Config
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Leg, Member
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_protocol import Running
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_targets import (
    STATE_VOLUME,
    Targets,
    generation_of,
    read_mark,
    write_mark,
)

#: The rules by which the pool grows; the role storage_mirror writes them.
POOL_PROFILE = "updraft-pool"
#: There as long as this server serves with all that belongs to it; gone after a start of the computer.
UP = Path("/run/updraft/mirror-serving")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: A leg that is gone is given up in seconds; iscsid goes on trying to come back to it.
SESSION = {
    "node.session.timeo.replacement_timeout": "3",
    "node.conn[0].timeo.noop_out_interval": "2",
    "node.conn[0].timeo.noop_out_timeout": "2",
    "node.conn[0].timeo.login_timeout": "5",
    "node.session.initial_login_retry_max": "1",
    "node.session.err_timeo.abort_timeout": "3",
    "node.session.err_timeo.lu_reset_timeout": "3",
    "node.session.err_timeo.tgt_reset_timeout": "3",
    "node.session.scan": "auto",
}
#: Whoever keeps targets does so one after the other.
TARGETS_LOCK, TARGETS_SECONDS = "mirror-targets", 30.0
#: Seconds for which a session that broke is waited for once the peer listens again.
RETURN_SECONDS = 4.0
#: Niceness of a program for which the nodes wait, and afterwards, when they wait for others: LIO, and who logs in.
HURRIED, UNHURRIED = -15, 10


class Machine:
    """What `mirror.System` asks for."""

    def __init__(self, config: Config) -> None:
        """Bind the configuration; nothing is loaded yet."""
        self.config = config
        self.targets = Targets(config)
        #: What was read of the disks last, until an array is put together: reading costs those who wait for volumes.
        self._superblocks: dict[str, md_state.Member | None] = {}
        chap = config.chap
        self._wanted = iscsi.wanted_session(
            {"target": config.peer.target, "portals": [config.peer.address], **chap, "settings": SESSION}
        )

    # The computer.

    def now(self) -> float:
        """Return the time."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def hurry(self, hurry: bool) -> None:
        """Be first with the processor from now on: udev has much to do at each step, and nobody waits for that.

        False is for when the nodes no longer wait for this program; without effect on one that did not hurry.
        """
        if hurry or os.getpriority(os.PRIO_PROCESS, 0) == HURRIED:
            # Whoever may not hurry takes a little longer.
            with contextlib.suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, 0, HURRIED if hurry else UNHURRIED)

    def boot_id(self) -> str:
        """Return which start of the computer this is."""
        return BOOT_ID.read_text().strip()

    def answers(self, *, peer: bool) -> list[str]:
        """Return who answers, in words."""
        return mirror_network.answers(self.config, peer=peer)

    def up(self) -> bool:
        """Say whether everything was brought up."""
        return UP.exists()

    def set_up(self, up: bool) -> None:
        """Remember that everything is up, or is no longer."""
        if not up:
            UP.unlink(missing_ok=True)
            return
        UP.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        UP.touch()

    # Disks.

    def own_members(self) -> list[Member]:
        """Return what is on this server's disks."""
        return [self._look_at(path) for path in self.config.disks]

    def peer_members(self, leg: Leg) -> list[Member]:
        """Return what is on the peer's disks."""
        return [self._look_at(path) for path in leg.disks]

    def _look_at(self, path: str) -> Member:
        self._superblocks[path] = mirror_disks.superblock_of(path)
        return mirror_disks.member(path, self._superblocks[path])

    def wipe(self, path: str) -> None:
        """Destroy what is on a disk that the operator named."""
        found = disk.look(path, disk.read_owners())
        if problem := disk.refusal(found, self.config.wipe, disk.known_disks(), "volumes_wipe"):
            raise disk.DisksError(problem)
        disk.wipe(found, [])

    # The peer's leg.

    def session_state(self) -> str:
        """Return the state of the session with the peer's leg as sysfs has it; empty where there is none."""
        return next((item.state for item in iscsi.sessions() if item.target == self.config.peer.target), "")

    def get_ready(self) -> None:
        """Have beforehand what would take time while nobody serves: the record of the peer's leg, and LIO's library."""
        iscsi.write_record(self._wanted.target, self._wanted.portals[0], self._wanted.fields)
        self.targets.lio()

    def log_in(self) -> Leg | None:
        """Log in to the peer's leg; None where it is not offered."""
        if self.session_state() == "LOGGED_IN":
            return self.leg()
        if not mirror_network.open_port(self.config.peer.address):
            return None
        if self.session_state() and not self._comes_back():
            # iscsid has given it up, or the leg is another one now.
            iscsi.logout(self.config.peer.target)
        try:
            iscsi.login(self._wanted, luns=len(self.config.disks) + 1)
        except disk.DisksError as error:
            say(f"cannot log in to {self.config.peer.target}: {error}")
            return None
        return self.leg()

    def _comes_back(self) -> bool:
        """Wait a little for iscsid, which logs in again by itself."""
        end = time.monotonic() + RETURN_SECONDS
        while time.monotonic() < end:
            if self.session_state() == "LOGGED_IN":
                return True
            time.sleep(0.2)
        return False

    def leg(self) -> Leg | None:
        """Return the peer's leg if there is a session that works."""
        if self.session_state() != "LOGGED_IN":
            return None
        devices = iscsi.devices_of(self._wanted.target, self._wanted.portals[0])
        count = len(self.config.disks)
        if any(number not in devices for number in range(count + 1)):
            return None
        return Leg(tuple(devices[number] for number in range(count)), generation_of(devices[count]))

    def log_out(self) -> None:
        """Leave the peer's leg."""
        iscsi.logout(self.config.peer.target)

    def write_mark(self, leg: Leg, body: Mapping[str, Any]) -> None:
        """Tell the leg what it holds."""
        devices = iscsi.devices_of(self._wanted.target, self._wanted.portals[0])
        device = devices.get(len(leg.disks))
        if device is None:
            raise OSError("it is gone")
        write_mark(device, body)

    # Arrays.

    def _uuid(self, name: str) -> str:
        """Return an array's UUID. Both servers derive the same one."""
        prefix = self.config.prefix
        return md_state.array_uuid(prefix, self.config.group, name)

    def running(self) -> dict[str, Running]:
        """Return the arrays that run, by a look at the kernel alone."""
        found = {}
        for name, path in zip(self.config.arrays, self.config.disks, strict=True):
            if array := mirror_disks.running(name, path):
                found[name] = array
        return found

    def start_array(self, name: str, devices: Sequence[str]) -> None:
        """Put an array together of these disks and no others."""
        known = {device: self._superblocks.pop(device, None) for device in devices}
        md.assemble(name, "", devices, degraded=len(devices) < 2, known=known)

    def create_array(self, name: str, devices: Sequence[str]) -> None:
        """Make an array of blank disks."""
        md.create(name, self._uuid(name), devices)

    def _flags(self, name: str) -> list[str]:
        """Have the peer's disk read only when no other can be, and given up fast, and the own one not."""
        own = self.config.disks[self.config.arrays.index(name)]
        array = mirror_disks.running(name, own)
        changed = []
        for kernel in (*array.active, *array.copying) if array else ():
            peers = kernel != Path(own).resolve().name
            if md.set_flags(name, f"/dev/{kernel}", write_mostly=peers, failfast=peers):
                changed.append(f"update /dev/{kernel} of array {name}")
        return changed

    def take(self, name: str, device: str, how: str) -> None:
        """Take a disk in: by the bitmap, or all of it."""
        if how == "re-add":
            md.readd(name, device)
        elif md_state.examine(device) is not None:
            md.readd(name, device, discard=True)
        else:
            md.add(name, device)
        self._flags(name)

    def remove_failed(self, name: str) -> None:
        """Take out the disks that failed."""
        md.remove_failed(name)

    def stop_arrays(self) -> None:
        """Stop the arrays."""
        for name in self.config.arrays:
            md.stop(name)

    # What stands on them.

    def activate_group(self, *, closed: bool) -> bool:
        """Have the volumes of a group that is complete; False where something has to be made first."""
        wanted = [*(item.name for item in self.config.volumes), STATE_VOLUME]
        with contextlib.suppress(disk.DisksError):
            lv.activate_volumes(self.config.group, closed=closed)
        return all(Path(f"/dev/{self.config.group}/{name}").exists() for name in wanted)

    def prepare_group(self) -> list[str]:
        """Have the group with its pool and volumes, active."""
        config = self.config
        disks = tuple(f"/dev/md/{name}" for name in config.arrays)
        wanted = [vg.Group(config.group, disks, config.thin_pool, profile=POOL_PROFILE)]
        changed = []
        if config.group in lv.groups():
            lv.activate(config.group)
        found = vg.read(wanted)
        for action in vg.plan(wanted, found, []):
            vg.apply(action, found)
            changed.append(str(action))
        if changed:
            lv.activate(config.group)
        if lv.only_when_told(config.group):
            changed.append(f"update autoactivation of {config.group}")
        lv.monitor(config.group)
        for name in config.arrays:
            changed += self._flags(name)
        changed += self.targets.prepare_state()
        actions = self._volumes()
        lv.apply(actions)
        return changed + [str(action) for action in actions]

    def _volumes(self) -> list[Any]:
        sizes = {item.name: item.size_gib for item in self.config.volumes}
        return lv.plan(self.config.group, self.config.thin_pool, sizes, lv.read(self.config.group))

    def plan_above(self) -> list[str]:
        """Tell what converge would change on running arrays."""
        absent = mirror_network.missing(self.config.service, mirror_network.present())
        return [
            *(str(action) for action in self._volumes()),
            *(str(action) for action in self.targets.plan()),
            *(f"add address {item}" for item in absent),
            *(f"start {name}" for name in self._units(active=False)),
        ]

    def unmonitor_group(self) -> None:
        """Let nobody watch the volumes that are about to go. One who watches on does no harm: they are taken away."""
        if self.running():
            with contextlib.suppress(disk.DisksError):
                lv.unmonitor(self.config.group)

    def deactivate_group(self) -> None:
        """Take the volumes away."""
        if not self.running():
            return
        try:
            lv.deactivate(self.config.group)
        except disk.DisksError:
            # Asked only now: each question to LVM costs those who wait for their volumes.
            if self.config.group in lv.groups():
                raise

    # What is offered.

    def export_leg(self, generation: int) -> list[str]:
        """Offer the disks to the peer."""
        changed = self.targets.export_leg(generation)
        self.hurry(False)
        self.targets.write_file()
        return changed

    def exported(self) -> bool:
        """Say whether the disks are offered."""
        return self.targets.exported()

    def session(self) -> bool:
        """Say whether the peer uses the disks."""
        return self.targets.session()

    def withdraw_leg(self) -> None:
        """Take the disks back."""
        self.targets.withdraw_leg()

    def read_mark(self) -> tuple[int, dict[str, Any]] | None:
        """Return what the serving side said last."""
        return read_mark()

    def make_targets(self) -> list[str]:
        """Offer the volumes."""
        return self.targets.make()

    def held_targets(self) -> list[str]:
        """Return why volumes are still offered that the model does not want any more."""
        return self.targets.held()

    def save_targets(self, *, closing: bool = False) -> bool:
        """Keep the targets of the volume service: of a server that is up, or that closes and has not removed them."""
        with exclusive(TARGETS_LOCK, TARGETS_SECONDS):
            return self.targets.save(lambda: closing or self.up())

    def remove_targets(self) -> None:
        """Offer no volume any more."""
        self.targets.remove()

    def add_addresses(self) -> list[str]:
        """Answer on the service addresses."""
        return mirror_network.add(self.config.service)

    def remove_addresses(self) -> list[str]:
        """Be silent on the service addresses."""
        return mirror_network.remove(self.config.service)

    # Units which run where it is served.

    def _units(self, *, active: bool) -> list[str]:
        return [name for name in self.config.units if _is_active(name) == active]

    def start_units(self) -> list[str]:
        """Start them. Nobody waits for them: the volumes are there already. The volume service reads LIO's file."""
        self.targets.write_file()
        names = self._units(active=False)
        if names:
            disk.call(["systemctl", "start", "--no-block", *names])
        return [f"start {name}" for name in names]

    def stop_units(self) -> None:
        """Stop them, and wait: they work on the volumes."""
        if self.config.units:
            disk.call(["systemctl", "stop", *self.config.units])


def _is_active(unit: str) -> bool:
    try:
        disk.call(["systemctl", "--quiet", "is-active", unit])
    except disk.DisksError:
        return False
    return True
