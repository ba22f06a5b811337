# SPDX-License-Identifier: GPL-3.0-or-later
"""LIO of a mirrored server: the leg for the peer, or the volumes for everybody; and what the volume service made.

The system restores nothing at its start. The file of LIO's tools is written all the same, because the volume service
reads it: it holds what is there.

The volume service makes a target when a volume is attached, and never again: at its start it takes the targets that it
finds, and makes none of those that are missing (cinder 26, LioAdm.ensure_export). What is lost of them at a failover
stays lost until the volume is detached. So they are kept on the mirror before it tells anybody of them: its command
that saves the targets does not end before (roles/openstack/templates/cinder/cinder-rootwrap.j2).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import logical_volumes as lv
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_targets import Fields, desired, plan
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_usage import where
from ansible_collections.updraft.cloud.plugins.module_utils.lio import CONFIGFS, ISCSI, Lio, targets_in_use
from ansible_collections.updraft.cloud.plugins.module_utils.mirror import say
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_config import Config
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_network import nonlocal_bind
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_slots import Slots
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

#: The last LUN of a leg: a small file in which the serving side says what the leg holds.
MARK = Path("/var/lib/updraft/mirror/mark.img")
MARK_BYTES = 1 << 20
SLOT = 64 << 10
#: Its first half is written by the serving side, its second by the leg before it offers anything.
LEG_OFFSET = MARK_BYTES // 2
#: Volume of the group that keeps the targets of the volume service.
STATE_VOLUME = "updraft-state"
STATE_MIB = 8
STATE_SLOT = STATE_MIB << 19
#: Seconds after which LIO asks a silent initiator, and after which it gives it up: a session of a peer without power
#: is to end before somebody wants to promote.
NOPIN = {"nopin_timeout": "3", "nopin_response_timeout": "5"}


def leg_target(config: Config) -> dict[str, Any]:
    """Return the target which offers this server's disks, and the mark, to the peer alone."""
    name = config.self_name
    luns = [{"name": f"leg-{name}-{number}", "device": disk} for number, disk in enumerate(config.disks)]
    luns.append({"name": f"leg-{name}-mark", "device": str(MARK)})
    return {
        "iqn": config.leg_target,
        "portals": [{"address": config.leg_address, "port": 3260}],
        "luns": luns,
        "acls": [{"initiator": config.peer.initiator, **config.chap}],
    }


class Targets:
    """What the server offers by iSCSI."""

    def __init__(self, config: Config) -> None:
        """Nothing is loaded yet."""
        self.config = config
        self._lio: Lio | None = None
        #: Whether LIO's file does not have what is there.
        self._unsaved = False

    def lio(self) -> Lio:
        """Return LIO, loaded."""
        if self._lio is None:
            self._lio = Lio(load=True)
        return self._lio

    # The leg.

    @property
    def _leg_folder(self) -> Path:
        return CONFIGFS / ISCSI / self.config.leg_target / "tpgt_1"

    def exported(self) -> bool:
        """Say whether the leg is offered, by a look at the kernel alone."""
        try:
            return (self._leg_folder / "enable").read_text().strip() == "1"
        except OSError:
            return False

    def session(self) -> bool:
        """Say whether the peer is logged in to the leg, by a look at the kernel alone."""
        info = self._leg_folder / "acls" / self.config.peer.initiator / "info"
        try:
            return "No active iSCSI Session" not in info.read_text()
        except OSError:
            return False

    def export_leg(self, generation: int) -> list[str]:
        """Offer the disks, with nothing else. Return what was changed. See `write_file`."""
        wanted = desired([leg_target(self.config)])
        lio = self.lio()
        found = lio.read()
        actions = plan(wanted, found, self.config.prefix)
        actions += [
            Action("delete", "target", name)
            for name, fields in found.items()
            if name not in wanted and not name.startswith(self.config.prefix) and self._of_group(fields)
        ]
        _prepare_mark(generation)
        self._apply(actions, wanted)
        for name, value in NOPIN.items():
            (self._leg_folder / "acls" / self.config.peer.initiator / "attrib" / name).write_text(value)
        return [str(action) for action in actions]

    def withdraw_leg(self) -> None:
        """Take the disks back."""
        if self._leg_folder.is_dir():
            self._apply([Action("delete", "target", self.config.leg_target)], {})

    def _apply(self, actions: Sequence[Action], wanted: Mapping[str, Fields]) -> None:
        for action in actions:
            self.lio().apply(action, wanted)
            self._unsaved = True

    def write_file(self) -> None:
        """Write LIO's file, once for all that was done, and when nobody waits for a volume any more."""
        if self._unsaved:
            self.lio().save()
            self._unsaved = False

    # The volumes.

    def _of_group(self, fields: Mapping[str, Any]) -> bool:
        starts = (f"/dev/{self.config.group}/", f"/dev/mapper/{self.config.group.replace('-', '--')}-")
        return any(str(lun["device"]).startswith(starts) for lun in fields["luns"].values())

    def plan(self) -> list[Action]:
        """Return what has to change for the volumes that the model wants. Nothing is loaded for it."""
        return plan(desired(self.config.targets), Lio(load=False).read(), self.config.prefix)

    def make(self) -> list[str]:
        """Offer the volumes: those of the model, and those of the volume service that were kept. See `write_file`."""
        wanted = desired(self.config.targets)
        lio = self.lio()
        busy = targets_in_use()
        # What is not wanted any more goes when nobody uses it; whoever does has to be told, see `held`.
        actions = [
            action
            for action in plan(wanted, lio.read(), self.config.prefix)
            if action.kind != "delete" or action.name not in busy
        ]
        with nonlocal_bind():
            self._apply(actions, wanted)
            restored = self._restore(lio)
        self._unsaved |= bool(restored)
        return [str(action) for action in actions] + [f"restore target {name}" for name in restored]

    def held(self) -> list[str]:
        """Return why targets that nobody wants any more are still there."""
        return still_used(self.plan(), targets_in_use())

    def remove(self) -> None:
        """Offer nothing any more, but the leg if it is there."""
        names = sorted(path.name for path in (CONFIGFS / ISCSI).glob("iqn.*"))
        self._apply([Action("delete", "target", name) for name in names if name != self.config.leg_target], {})

    # Targets of the volume service.

    @property
    def state_volume(self) -> str:
        """Return the device that keeps them."""
        return f"/dev/{self.config.group}/{STATE_VOLUME}"

    def prepare_state(self) -> list[str]:
        """Have the volume that keeps them."""
        made = lv.thick(self.config.group, STATE_VOLUME, STATE_MIB)
        return [f"create volume {self.config.group}/{STATE_VOLUME}"] if made else []

    def _slots(self) -> Slots:
        return Slots(self.state_volume, size=STATE_SLOT)

    def save(self, still: Callable[[], bool]) -> bool:
        """Keep what the volume service made. Return whether that was another than before.

        `still` says whether the server has its targets; asked after they were read, because they may be going.
        """
        if not os.path.exists(self.state_volume):
            return False
        dump = foreign(self.lio().dump(), self.config.prefix)
        slots = self._slots()
        kept = slots.read()
        if (kept is not None and kept[1] == dump) or not still():
            return False
        slots.write(dump)
        return True

    def _restore(self, lio: Lio) -> list[str]:
        if not os.path.exists(self.state_volume):
            return []
        kept = self._slots().read()
        if kept is None or not kept[1]["targets"]:
            return []
        some = missing(kept[1], lio.dump(), os.path.exists)
        if not some["targets"]:
            return []
        # rtslib takes apart what it is given.
        problems = lio.restore(copy.deepcopy(some))
        wrong = differing(some, lio.dump())
        if wrong:
            raise DisksError(
                f"targets of the volume service were not restored as they were: {', '.join(wrong)}"
                f" ({'; '.join(problems) or 'LIO told no reason'})"
            )
        for problem in problems:
            say(f"restored, but for a setting: {problem}")
        return [target["wwn"] for target in some["targets"]]


def still_used(actions: Sequence[Action], sessions: Mapping[str, Sequence[str]]) -> list[str]:
    """Return why targets must not go that nobody wants any more: a node that is still logged in would lose its disk."""
    return [
        f"{where(action.name) or action.name} is no longer in cloud.yml, and its target has a session of"
        f" {' and '.join(_nodes(sessions[action.name]))}: stop what uses it there, and log out"
        f" (`iscsiadm -m node -T {action.name} --logout`), or write it into cloud.yml again. Nothing was removed"
        for action in actions
        if action.kind == "delete" and action.name in sessions
    ]


def _nodes(initiators: Sequence[str]) -> list[str]:
    """Return the nodes of these initiators, each once."""
    return sorted({initiator.rpartition(":")[2] for initiator in initiators})


def foreign(dump: Mapping[str, Any], prefix: str) -> Fields:
    """Return from LIO's whole state the iSCSI targets that are not Updraft's, with their backstores."""
    targets = [
        target
        for target in dump.get("targets", [])
        if target["fabric"] == ISCSI and not target["wwn"].startswith(prefix)
    ]
    used = {lun["storage_object"] for target in targets for tpg in target["tpgs"] for lun in tpg["luns"]}
    stores = [store for store in dump.get("storage_objects", []) if _store_path(store) in used]
    return {"targets": targets, "storage_objects": stores}


def missing(kept: Mapping[str, Any], dump: Mapping[str, Any], exists: Any) -> Fields:
    """Return of the kept targets those that are not there while the device of each of their LUNs is."""
    there = {target["wwn"] for target in dump.get("targets", [])}
    loaded = {_store_path(store) for store in dump.get("storage_objects", [])}
    stores = {_store_path(store): store for store in kept["storage_objects"] if exists(store["dev"])}

    def whole(target: Mapping[str, Any]) -> bool:
        return all(lun["storage_object"] in stores for tpg in target["tpgs"] for lun in tpg["luns"])

    targets = [target for target in kept["targets"] if target["wwn"] not in there and whole(target)]
    used = {lun["storage_object"] for target in targets for tpg in target["tpgs"] for lun in tpg["luns"]}
    return {
        "targets": targets,
        "storage_objects": [store for path, store in stores.items() if path in used and path not in loaded],
    }


def differing(kept: Mapping[str, Any], dump: Mapping[str, Any]) -> list[str]:
    """Return the names of the kept targets that are not there with the same disks, portals and initiators."""
    found = {target["wwn"]: target for target in dump.get("targets", [])}
    return [
        target["wwn"]
        for target in kept["targets"]
        if target["wwn"] not in found or _essence(target) != _essence(found[target["wwn"]])
    ]


def _essence(target: Mapping[str, Any]) -> list[Any]:
    """Return of a target who gets in, where, and to what. Settings of the kernel may differ between two servers."""
    return [
        (
            tpg.get("tag"),
            tpg.get("enable"),
            (tpg.get("attributes") or {}).get("authentication"),
            sorted((lun["index"], lun["storage_object"]) for lun in tpg["luns"]),
            sorted((portal["ip_address"], portal["port"]) for portal in tpg.get("portals", [])),
            sorted(
                (acl["node_wwn"], acl.get("chap_userid"), acl.get("chap_password"), len(acl.get("mapped_luns", [])))
                for acl in tpg.get("node_acls", [])
            ),
        )
        for tpg in target["tpgs"]
    ]


def _store_path(store: Mapping[str, Any]) -> str:
    return f"/backstores/{store['plugin']}/{store['name']}"


# The mark.


def _prepare_mark(generation: int) -> None:
    """Have the file, with the leg's own part: before LIO has it."""
    MARK.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, MARK_BYTES)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if _generation(str(MARK), direct=False) != generation:
        Slots(str(MARK), offset=LEG_OFFSET, size=SLOT, direct=False).write({"generation": generation})


def _generation(path: str, *, direct: bool) -> int | None:
    try:
        found = Slots(path, offset=LEG_OFFSET, size=SLOT, direct=direct).read()
    except OSError:
        return None
    value = found[1].get("generation") if found else None
    return value if isinstance(value, int) else None


def generation_of(device: str) -> int | None:
    """Return of which generation the leg is whose mark is this device."""
    return _generation(device, direct=True)


def write_mark(device: str, body: Mapping[str, Any]) -> None:
    """Say on the serving side what the leg holds. Raises OSError when the leg is gone."""
    Slots(device, size=SLOT).write(body)


def read_mark() -> tuple[int, dict[str, Any]] | None:
    """Return on the leg what the serving side said last."""
    try:
        return Slots(str(MARK), size=SLOT, direct=False).read()
    except OSError:
        return None
