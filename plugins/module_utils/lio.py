# SPDX-License-Identifier: GPL-3.0-or-later
"""LIO, the kernel's iSCSI target, by rtslib in this process (targetcli takes seconds for each call)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_targets import Fields, differing_luns, serial
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

CONFIGFS = Path("/sys/kernel/config/target")
ISCSI = "iscsi"
#: Only initiators with an entry of their own get in, and they write only where they are let.
TPG_ATTRIBUTES = {"generate_node_acls": "0", "cache_dynamic_acls": "0", "demo_mode_write_protect": "1"}


class LioError(RuntimeError):
    """LIO cannot be reached."""


def targets_in_use(root: Path = CONFIGFS / ISCSI) -> dict[str, list[str]]:
    """Return by target the initiators that have a session with it, by a look at the kernel alone."""
    found: dict[str, list[str]] = {}
    for info in sorted(root.glob("iqn.*/tpgt_*/acls/*/info")):
        with contextlib.suppress(OSError):
            if "InitiatorName:" in info.read_text(encoding="utf-8"):
                found.setdefault(info.parts[-5], []).append(info.parts[-2])
    return found


class Lio:
    """The kernel's targets. In check mode nothing is loaded: a kernel without LIO has no targets."""

    def __init__(self, *, load: bool) -> None:
        """Open configfs; `load` loads the modules if they are missing."""
        self._root: Any = None
        self._rts: Any = None
        if not load and not (CONFIGFS / ISCSI).is_dir():
            return
        try:
            import rtslib_fb
            from rtslib_fb import root
        except ImportError:
            if load:
                raise LioError("the Python module rtslib_fb is missing: install python3-rtslib-fb") from None
            return
        self._rts = rtslib_fb
        self.save_file = Path(root.default_save_file)
        if load:
            # LIO keeps its reservations there and takes the path only before the first device.
            self.save_file.parent.mkdir(mode=0o700, exist_ok=True)
        self._root = rtslib_fb.RTSRoot()

    def _targets(self) -> Iterator[Any]:
        if self._root is not None:
            yield from (target for target in self._root.targets if target.fabric_module.name == ISCSI)

    def read(self) -> dict[str, Fields]:
        """Return every iSCSI target by name, with its first portal group."""
        return {target.wwn: _read(tpg) for target in self._targets() for tpg in target.tpgs if tpg.tag == 1}

    def unsaved(self, names: set[str]) -> list[str]:
        """Return which of these targets the file for the next start does not have as they are."""
        if self._root is None:
            return []
        try:
            stored = json.loads(self.save_file.read_text())["targets"]
        except (OSError, ValueError, KeyError):
            stored = []
        known = {target["wwn"]: json.dumps(target, sort_keys=True) for target in stored}
        live = {target.wwn: json.dumps(target.dump(), sort_keys=True) for target in self._targets()}
        return sorted(name for name in names if known.get(name) != live.get(name))

    def dump(self) -> Fields:
        """Return everything as LIO's own tools keep it."""
        return dict(self._root.dump()) if self._root is not None else {}

    def restore(self, dump: Fields) -> list[str]:
        """Make targets and backstores from such a state, beside what is there; return what did not succeed."""
        return [str(problem) for problem in self._root.restore(dump)]

    def save(self) -> None:
        """Write all targets, those of others too, to the file which is restored at the next start."""
        self._root.save_to_file()

    def apply(self, action: Action, wanted: Mapping[str, Fields]) -> None:
        """Carry out one action of the plan. The file for the next start has it after `save`, which takes long."""
        if action.what == "target" and action.kind == "delete":
            self._remove(action.name)
        elif action.what == "target":
            self._converge(action.name, wanted[action.name])

    def _converge(self, iqn: str, wanted: Fields) -> None:
        rts = self._rts
        target = rts.Target(rts.FabricModule(ISCSI), iqn)
        tpg = rts.TPG(target, 1)
        for name, value in TPG_ATTRIBUTES.items():
            tpg.set_attribute(name, value)
        tpg.set_attribute("authentication", "1" if wanted["authentication"] else "0")
        self._luns(tpg, iqn, wanted["luns"])
        _acls(rts, tpg, wanted["acls"])
        for portal in list(tpg.network_portals):
            if _portal(portal) not in wanted["portals"]:
                portal.delete()
        for portal in wanted["portals"]:
            address, _, port = portal.rpartition(":")
            rts.NetworkPortal(tpg, address, int(port))
        tpg.enable = wanted["enabled"]

    def _luns(self, tpg: Any, iqn: str, wanted: Mapping[str, Fields]) -> None:
        rts = self._rts
        gone, new = differing_luns(wanted, _read(tpg)["luns"])
        for lun in list(tpg.luns):
            if str(lun.lun) in gone:
                store = lun.storage_object
                lun.delete()
                store.delete()
        for number in new:
            fields = wanted[number]
            # A run that was cut may have left the backstore without its LUN.
            for store in list(self._root.storage_objects):
                if store.plugin in ("block", "fileio") and store.name == fields["name"]:
                    store.delete()
            rts.LUN(tpg, int(number), self._store(fields, serial(iqn, fields["name"])))

    def _store(self, fields: Fields, unit: str) -> Any:
        name, path = fields["name"], Path(fields["device"])
        if path.is_file():
            return self._rts.FileIOStorageObject(name, dev=str(path), size=path.stat().st_size, wwn=unit)
        return self._rts.BlockStorageObject(name, dev=str(path), wwn=unit, readonly=fields["read_only"])

    def _remove(self, iqn: str) -> None:
        for target in list(self._targets()):
            if target.wwn == iqn:
                stores = [lun.storage_object for tpg in target.tpgs for lun in tpg.luns]
                target.delete()
                for store in stores:
                    store.delete()


def _read(tpg: Any) -> Fields:
    return {
        "enabled": bool(tpg.enable),
        "authentication": tpg.get_attribute("authentication") == "1",
        "portals": sorted(_portal(portal) for portal in tpg.network_portals),
        "luns": {str(lun.lun): _lun(lun.storage_object) for lun in tpg.luns},
        "acls": {acl.node_wwn: _acl(acl) for acl in tpg.node_acls},
    }


def _portal(portal: Any) -> str:
    return f"{portal.ip_address}:{portal.port}"


def _lun(store: Any) -> Fields:
    return {"name": store.name, "device": store.udev_path, "read_only": bool(getattr(store, "readonly", False))}


def _acl(acl: Any) -> Fields:
    return {
        "user": acl.chap_userid or "",
        "password": acl.chap_password or "",
        "mutual_user": acl.chap_mutual_userid or "",
        "mutual_password": acl.chap_mutual_password or "",
        "luns": sorted(mapped.mapped_lun for mapped in acl.mapped_luns),
    }


def _acls(rts: Any, tpg: Any, wanted: Mapping[str, Fields]) -> None:
    for acl in list(tpg.node_acls):
        if acl.node_wwn not in wanted:
            acl.delete()
    for initiator, fields in wanted.items():
        acl = rts.NodeACL(tpg, initiator)
        # rtslib unsets what is empty, and refuses the kernel's own word for that, NULL.
        acl.chap_userid = fields["user"]
        acl.chap_password = fields["password"]
        acl.chap_mutual_userid = fields["mutual_user"]
        acl.chap_mutual_password = fields["mutual_password"]
        for mapped in list(acl.mapped_luns):
            if mapped.mapped_lun not in fields["luns"]:
                mapped.delete()
        there = {mapped.mapped_lun for mapped in acl.mapped_luns}
        for number in fields["luns"]:
            if number not in there:
                rts.MappedLUN(acl, number, number)
