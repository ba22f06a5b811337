# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tenant's server and volume are on a machine: logical volumes, targets, sessions, domains, ports.

Read from where the kernel and the services keep it (configfs, sysfs, node records), so that it is what is, not what
an API says. Everything is read under `root`, so that it can be tested on a tree of files.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

#: Kinds of traces, as a person calls one of them.
KINDS = {
    "volumes": "logical volume",
    "targets": "iSCSI target",
    "backstores": "backstore",
    "sessions": "iSCSI session",
    "records": "iSCSI node record",
    "domains": "domain",
    "ports": "port of the switch",
    "folders": "folder of an instance",
}
Traces = dict[str, dict[str, Any]]


def read(groups: Collection[str], root: Path = Path("/")) -> Traces:
    """Return the traces on this machine, by kind and name. A kind which this machine cannot have is empty."""
    return {
        "volumes": volumes(_json_of("lvs", "--reportformat", "json", "-o", "vg_name,lv_name,lv_size,pool_lv"), groups),
        "targets": targets(root / "sys/kernel/config/target/iscsi"),
        "backstores": backstores(root / "sys/kernel/config/target/core"),
        "sessions": sessions(root / "sys/class"),
        "records": records([root / "etc/iscsi/nodes", root / "var/lib/iscsi/nodes"]),
        "domains": domains(_text_of("virsh", "-c", "qemu:///system", "list", "--all", "--uuid", "--name")),
        "ports": switch_ports(_json_of("ovs-vsctl", "-f", "json", "--columns=name,external_ids", "list", "Interface")),
        "folders": folders(root / "var/lib/nova/instances"),
    }


def _text_of(*command: str) -> str:
    """Return what a command prints; nothing where it is not installed. Raises OSError when it fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        # A machine with the package but without the service (a switch on a storage node) has no such traces.
        return ""
    return done.stdout


def _json_of(*command: str) -> Any:
    return json.loads(_text_of(*command) or "{}")


def _word(path: Path) -> str:
    """Return the content of a small file of the kernel; empty when there is none."""
    try:
        return path.read_text().strip().replace("NULL", "").replace("(null)", "")
    except OSError:
        return ""


def _folders(path: Path) -> list[Path]:
    return sorted(item for item in path.iterdir() if item.is_dir()) if path.is_dir() else []


def volumes(report: Mapping[str, Any], groups: Collection[str]) -> dict[str, Any]:
    """Return the logical volumes of the groups as `group/name` from the JSON of lvs."""
    rows = [row for part in report.get("report", []) for row in part.get("lv", [])]
    return {
        f"{row['vg_name']}/{row['lv_name']}": {"size": row.get("lv_size", ""), "pool": row.get("pool_lv", "")}
        for row in rows
        if row["vg_name"] in groups
    }


def targets(folder: Path) -> dict[str, Any]:
    """Return the targets which LIO serves: whether one needs CHAP, lets in unknown initiators, and who may come."""
    found: dict[str, Any] = {}
    for target in _folders(folder):
        for group in (item for item in _folders(target) if item.name.startswith("tpgt_")):
            found[target.name] = {
                "authentication": _word(group / "attrib/authentication") == "1",
                "anonymous": _word(group / "attrib/generate_node_acls") == "1",
                "users": {acl.name: _word(acl / "auth/userid") for acl in _folders(group / "acls")},
                "portals": [item.name for item in _folders(group / "np")],
            }
    return found


def backstores(folder: Path) -> dict[str, Any]:
    """Return the disks behind LIO's targets."""
    return {
        store.name: {"path": _word(store / "udev_path")}
        for plugin in _folders(folder)
        if plugin.name.startswith(("iblock_", "fileio_"))
        for store in _folders(plugin)
    }


def sessions(folder: Path) -> dict[str, Any]:
    """Return this machine's sessions as an initiator, by the target's name; `folder` is /sys/class.

    Several sessions with one target are the paths to it: they have what all of them have, and all portals.
    """
    found: dict[str, Any] = {}
    for session in _folders(folder / "iscsi_session"):
        number = session.name.removeprefix("session")
        one = {
            "user": _word(session / "username"),
            "state": _word(session / "state"),
            "portal": _word(folder / "iscsi_connection" / f"connection{number}:0" / "persistent_address"),
        }
        known = found.setdefault(_word(session / "targetname"), one)
        if known is not one:
            known["user"] = known["user"] and one["user"]
            known["state"] = one["state"] if known["state"] == "LOGGED_IN" else known["state"]
            known["portal"] = ", ".join(sorted({*known["portal"].split(", "), one["portal"]}))
    return found


def records(roots: Iterable[Path]) -> dict[str, Any]:
    """Return the node records of open-iscsi by the target's name: how it logs in, never the password."""
    found: dict[str, Any] = {}
    for root in roots:
        for target in _folders(root):
            methods = set()
            for file in (item for item in target.rglob("*") if item.is_file()):
                for line in file.read_text().splitlines():
                    if line.startswith("node.session.auth.authmethod"):
                        methods.add(line.partition("=")[2].strip())
            found[target.name] = {"methods": sorted(methods)}
    return found


def domains(text: str) -> dict[str, Any]:
    """Return libvirt's domains by UUID, which is the server's id, from `virsh list --uuid --name`."""
    pairs = [line.split() for line in text.splitlines() if line.strip()]
    return {pair[0]: {"name": pair[1] if len(pair) > 1 else ""} for pair in pairs}


def switch_ports(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the instances' ports on Open vSwitch by the network service's id, from a table in JSON."""
    found = {}
    for name, external_ids in table.get("data", []):
        port = dict(external_ids[1]).get("iface-id")
        if port:
            found[str(port)] = {"interface": name}
    return found


def folders(folder: Path) -> dict[str, Any]:
    """Return nova's folders of instances. What it keeps for all of them (_base, locks) is no trace of one."""
    return {path.name: {} for path in _folders(folder) if len(path.name.split("-")) == 5}


def names(traces: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the traces as sentences without the details that may change."""
    return {f"{KINDS[kind]} {name}" for kind, items in traces.items() for name in items}


def difference(before: Mapping[str, Any], after: Mapping[str, Any], only: Collection[str] = ()) -> list[str]:
    """Return in words what one list of traces has and the other has not.

    With `only`, differences count which contain one of these ids; others may be other tenants' work.
    """
    old, new = names(before), names(after)
    found = [f"{item} is left" for item in sorted(new - old)] + [f"{item} is gone" for item in sorted(old - new)]
    return [text for text in found if not only or any(word in text for word in only)]
