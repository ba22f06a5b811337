# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.preflight reads on a machine: only reads, only what preflight compares.

Whatever cannot be read is None or missing, never an error: preflight says so in its table.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import iscsi_usage
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.kvm_record import RECORD, read_cache

COLUMNS = "NAME,PATH,TYPE,SIZE,FSTYPE,LABEL,PTTYPE,MOUNTPOINTS,RO"
MEMBER = "linux_raid_member"
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
MIB = 1024 * 1024


def read(modules: Iterable[str], disks: Iterable[str]) -> dict[str, Any]:
    """All facts, as plain data."""
    return {
        "os": os_release(_text("/etc/os-release")),
        "python": list(sys.version_info[:3]),
        "memory_mib": memory_mib(_text("/proc/meminfo"), [_text(path) for path in LIMITS]),
        "hostname": socket.gethostname(),
        "machine_id": _text("/etc/machine-id").strip(),
        "interfaces": interfaces(),
        "disks": read_disks(disks),
        "modules": {name: has_module(name) for name in modules},
        "systemd": os.path.isdir("/run/systemd/system"),
        "pools_used": pools_used(),
        "virtualization": virtualization(Path(RECORD), os.uname().release),
        "time": time.time(),
    }


def pools_used() -> list[str]:
    """The targets of volumes of storage pools that are in use here; none where that cannot be asked."""
    try:
        return sorted(iscsi_usage.pools())
    except (DisksError, OSError):
        return []


def virtualization(record: Path, release: str) -> str:
    """kvm or qemu, where the role hypervisor has found out since this machine started; else empty."""
    answer = read_cache(record, release)
    return answer.virtualization if answer else ""


def os_release(text: str) -> dict[str, str]:
    """ID and VERSION_ID of /etc/os-release."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    found = {key: value.strip("\"'") for key, value in pairs}
    return {key.lower(): found.get(key, "") for key in ("ID", "VERSION_ID", "PRETTY_NAME")}


def memory_mib(meminfo: str, limits: Sequence[str]) -> int | None:
    """Memory of the machine, or of its container if that has less."""
    sizes = [int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemTotal:")]
    sizes += [int(limit) for limit in limits if limit.strip().isdigit()]
    return min(sizes) // MIB if sizes else None


def interfaces() -> dict[str, dict[str, Any]]:
    """Interfaces by name: mac, mtu, the largest mtu that the device takes, up, carrier (None while it is down)."""
    told = _json(["ip", "-json", "-details", "link", "show"])
    return interfaces_of(told if isinstance(told, list) else [])


def interfaces_of(links: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """From what `ip -json -details link` tells."""
    found = {}
    for link in links:
        if not link:
            continue
        flags = link.get("flags", [])
        up = "UP" in flags
        found[str(link["ifname"])] = {
            "mac": str(link.get("permaddr") or link.get("address", "")).lower(),
            "mtu": int(link.get("mtu", 0)),
            "max_mtu": int(link.get("max_mtu") or 0),
            "up": up,
            "carrier": "LOWER_UP" in flags if up else None,
        }
    return found


def read_disks(wanted: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The wanted disks by the path with which they were asked for; one that is not there is missing."""
    paths = [path for path in wanted if os.path.exists(path)]
    if not paths:
        return {}
    groups = volume_groups(_json(["pvs", "--reportformat", "json", "--options", "pv_name,vg_name"]))
    found = {}
    for path in paths:
        told = _json(["lsblk", "--json", "--bytes", "--paths", "--output", COLUMNS, path])
        devices = told.get("blockdevices", []) if isinstance(told, dict) else []
        if devices:
            found[path] = disk_of(devices[0], groups)
    return found


def disk_of(device: Mapping[str, Any], groups: Mapping[str, str]) -> dict[str, Any]:
    """One disk: size in bytes, type, what is on it, where it is mounted, and the volume group that owns it.

    array: the name of the md array that it is a member of, without that of the machine which made it; empty for none.
    """
    content: list[str] = []
    mounts: list[str] = []
    owners: set[str] = set()
    for item in _walk(device):
        name = str(item.get("path") or item["name"])
        if item.get("type") == "lvm":
            continue
        if item is not device:
            content.append(f"{item.get('type')} {os.path.basename(name)}")
        content += [str(item[key]) for key in ("fstype", "pttype") if item.get(key)]
        if name in groups:
            owners.add(groups[name])
    for item in _walk(device):
        mounts += [str(mount) for mount in item.get("mountpoints") or [] if mount]
    return {
        "size": int(device.get("size") or 0),
        "type": str(device.get("type")),
        "read_only": bool(device.get("ro")),
        "content": list(dict.fromkeys(content)),
        "mounts": mounts,
        "volume_groups": sorted(owners),
        "array": str(device.get("label") or "").rpartition(":")[2] if device.get("fstype") == MEMBER else "",
    }


def volume_groups(report: Any) -> dict[str, str]:
    """Physical volume -> volume group, from the JSON report of pvs. A physical volume without a group has ''."""
    if not isinstance(report, dict):
        return {}
    rows = [row for part in report.get("report", []) for row in part.get("pv", [])]
    return {str(row["pv_name"]): str(row.get("vg_name", "")) for row in rows}


def has_module(name: str) -> bool | None:
    """Whether this kernel has a module, loaded or not; None if that cannot be told."""
    if os.path.isdir(f"/sys/module/{name.replace('-', '_')}"):
        return True
    try:
        done = subprocess.run(["modprobe", "--dry-run", "--quiet", name], capture_output=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.returncode == 0


def _walk(device: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [device]
    for child in device.get("children") or []:
        found += _walk(child)
    return found


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""


def _json(command: Sequence[str]) -> Any:
    try:
        done = subprocess.run(list(command), capture_output=True, text=True, timeout=60, check=False)
        return json.loads(done.stdout or "null")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
