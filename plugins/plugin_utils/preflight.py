# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what a machine is with what the model says of it, and show all that does not fit as one table.

`facts` are those of module_utils.machine_facts, `wanted` the inputs of the role preflight without their prefix.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_usage import where

GIB = 1024**3
WIDTHS = {"host": 16, "what": 22, "found": 30, "wanted": 30, "cure": 58}


@dataclass(frozen=True, slots=True)
class Line:
    """A red line: on which host what does not fit, and what to do."""

    host: str
    what: str
    found: str
    wanted: str
    cure: str

    def plain(self) -> dict[str, str]:
        """As a dictionary, for Ansible."""
        return asdict(self)


def compare(host: str, facts: Mapping[str, Any], wanted: Mapping[str, Any], offset: float | None) -> list[Line]:
    """All red lines of one host. offset: seconds by which its clock is ahead, None if not known."""
    found = [
        *_system(facts, wanted),
        *_memory(facts, wanted),
        *_name(facts, wanted),
        *_time(offset, wanted),
        *_interfaces(facts, wanted),
        *_disks(facts, wanted),
        *_modules(facts, wanted),
        *_pools(facts, wanted),
    ]
    return [Line(host, *rest) for rest in found]


Rest = tuple[str, str, str, str]


def _system(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Rest]:
    system, versions = facts["os"], [str(version) for version in wanted["debian_versions"]]
    if system["id"] != "debian" or system["version_id"] not in versions:
        name = system.get("pretty_name") or "unknown"
        yield "operating system", name, f"Debian {' or '.join(versions)}", "Install Debian of this release on it."
    python = tuple(facts["python"])
    if python < (3, 11):
        text = ".".join(str(part) for part in python)
        yield "Python", text, "3.11 or newer", "Install python3 of Debian 13; check interpreter_python."
    if not facts["systemd"]:
        yield "init system", "no systemd", "systemd", "Install systemd-sysv and restart the machine."


def _memory(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Rest]:
    need = memory_needed(wanted["roles"], wanted["memory_mib"])
    found = facts["memory_mib"]
    if found is None or found < need:
        roles = ", ".join(wanted["roles"]) or "none"
        cure = f"Add memory, or move one of its roles ({roles}) to another node."
        yield "memory", "unknown" if found is None else f"{found} MiB", f"{need} MiB", cure


def memory_needed(roles: Iterable[str], table: Mapping[str, int]) -> int:
    """What the system and the roles of a machine need together, in MiB."""
    return sum(int(table.get(name, 0)) for name in ("base", *roles))


def _name(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Rest]:
    short = str(facts["hostname"]).split(".", 1)[0]
    if short != wanted["name"] and short in wanted["other_names"]:
        cure = f"Two machines are mixed up: give {wanted['name']} the address of the right one, or rename this one."
        yield "name", short, str(wanted["name"]), cure


def _time(offset: float | None, wanted: Mapping[str, Any]) -> Iterator[Rest]:
    limit = float(wanted["time_offset_seconds"])
    if offset is not None and abs(offset) > limit:
        found = f"{abs(offset):.0f} s {'ahead' if offset > 0 else 'behind'}"
        cure = "Set its clock (date --set), and the hardware clock with it (hwclock --systohc)."
        yield "time", found, f"within {limit:.0f} s of this computer", cure


def _interfaces(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Rest]:
    have = facts["interfaces"]
    for link in wanted["interfaces"]:
        name, what = str(link["name"]), f"interface {link['name']}"
        if name not in have:
            there = ", ".join(sorted(set(have) - {"lo"})) or "none"
            network = f"for {link['network']}" if link.get("network") else "there"
            yield what, f"only {there}", network, "Write its real name at the node: interfaces: {network: name}."
            continue
        yield from _interface(have[name], link, what)


def _interface(have: Mapping[str, Any], link: Mapping[str, Any], what: str) -> Iterator[Rest]:
    if link.get("mac") and have["mac"] != str(link["mac"]).lower():
        cure = "Correct the MAC address in cloud.yml, or the address: this is another machine or card."
        yield f"{what} MAC", str(have["mac"]), str(link["mac"]).lower(), cure
    if have["carrier"] is False:
        yield f"{what} link", "no carrier", "a link", "Plug in its cable, or enable the port of the switch."
    most, mtu = have["max_mtu"], int(link.get("mtu") or 1500)
    if most and most < mtu:
        yield f"{what} MTU", f"at most {most}", str(mtu), "Lower the network's mtu, or use a card that can do it."


def _disks(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Rest]:
    for path in wanted["disks"]:
        what, disk = f"disk {path}", facts["disks"].get(path)
        if disk is None:
            yield what, "not there", "a disk", "Look at `lsblk` on it and correct `disks` of the node."
            continue
        yield from _disk(path, disk, wanted, what)


def _disk(path: str, disk: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> Iterator[Rest]:
    least = int(wanted["disk_gib"])
    if path == wanted.get("system_disk") or any(mount in ("/", "/boot", "/usr") for mount in disk["mounts"]):
        yield what, "the system disk", "a disk for data", "Name another disk: this one holds the system."
        return
    if disk["read_only"]:
        yield what, "read-only", "writable", "Remove its write protection, or name another disk."
    if disk["size"] < least * GIB:
        yield what, f"{disk['size'] / GIB:.1f} GiB", f"{least} GiB or more", "Name a larger disk."
    member = disk.get("array") and disk["array"] in wanted.get("arrays", ())
    ours = (member or disk["volume_groups"] == [wanted["volume_group"]]) and not disk["mounts"]
    if disk["content"] and not ours and path not in wanted["wipe"]:
        found = ", ".join([*disk["content"], *(f"volume group {name}" for name in disk["volume_groups"] if name)])
        mounted = f", mounted at {', '.join(disk['mounts'])}" if disk["mounts"] else ""
        cure = f"Save what is on it and run `wipefs --all {path}` there, or name it under volumes: wipe."
        yield what, found + mounted, "empty or ours", cure


def _modules(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Rest]:
    absent = [name for name in wanted["modules"] if facts["modules"].get(name) is False]
    if absent:
        cure = "Install Debian's kernel (linux-image-amd64) and restart the machine into it."
        yield "kernel modules", f"without {', '.join(absent)}", ", ".join(wanted["modules"]), cure


def _pools(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Rest]:
    """Volumes of storage pools that would no longer be served to whoever uses them here."""
    for target in facts.get("pools_used", []):
        if target not in wanted.get("pool_targets", []):
            cure = "Stop what uses it here (`virsh list`), or write it into cloud.yml again. Its data stays either way."
            yield where(target), "in use", "in cloud.yml", cure


def twins(hosts: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """Hosts which are one machine, or copies of one: they have the same machine id."""
    seen: dict[str, str] = {}
    lines = []
    for host, facts in hosts.items():
        number = facts.get("machine_id") or ""
        if number and number in seen:
            cure = "Correct its address; for a copied disk, empty /etc/machine-id and restart it."
            lines.append(Line(host, "machine id", f"that of {seen[number]}", "one of its own", cure))
        seen.setdefault(number, host)
    return lines


def unreachable(host: str, why: str) -> Line:
    """The red line of a host that does not answer."""
    short = " ".join(why.split())
    cure = "Switch it on; check its address, and that root may log in with the site's key."
    return Line(host, "connection", textwrap.shorten(short, 90, placeholder="...") or "no answer", "SSH as root", cure)


def table(lines: Sequence[Line]) -> str:
    """The lines as text, one below the other, wrapped in their columns."""
    names = tuple(WIDTHS)
    rows = [dict(zip(names, (name.upper() for name in names), strict=True)), *(line.plain() for line in lines)]
    widths = {name: min(WIDTHS[name], max(len(row[name]) for row in rows)) for name in names}
    text = []
    for row in rows:
        cells = [textwrap.wrap(row[name], widths[name]) or [""] for name in names]
        for number in range(max(len(cell) for cell in cells)):
            parts = (
                (cell[number] if number < len(cell) else "").ljust(widths[name])
                for name, cell in zip(names, cells, strict=True)
            )
            text.append("  ".join(parts).rstrip())
    return "\n".join(text)
