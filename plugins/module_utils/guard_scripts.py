# SPDX-License-Identifier: GPL-3.0-or-later
"""A guarded group of settings, and the shell scripts and units that apply it, wait for it and bring the former back."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BASE = "/var/lib/updraft/guard"
#: What the script that applies leaves behind in `pending`.
MARKS = ("applied", "failed")
UNITS = "/etc/systemd/system"


@dataclass(frozen=True, slots=True)
class Guard:
    """One guarded group of settings, such as `network`.

    `apply` makes written files take effect, `restore` does so for files which were brought back (default: `apply`).
    `observe` prints what is in effect, `links` are the interfaces with addresses and MTU that must come up.
    """

    name: str
    apply: tuple[tuple[str, ...], ...] = ()
    restore: tuple[tuple[str, ...], ...] = ()
    observe: tuple[str, ...] = ()
    links: tuple[Mapping[str, Any], ...] = ()
    seconds: int = 240
    base: str = BASE
    units: str = UNITS

    @property
    def home(self) -> str:
        return os.path.join(self.base, self.name)

    @property
    def pending(self) -> str:
        return os.path.join(self.home, "pending")

    @property
    def stamp(self) -> str:
        return os.path.join(self.home, "confirmed.json")

    @property
    def unit(self) -> str:
        return f"updraft-return-{self.name}"

    @property
    def apply_unit(self) -> str:
        return f"updraft-apply-{self.name}"


def return_script(guard: Guard, kept: Mapping[str, Mapping[str, Any]]) -> str:
    """The shell script that brings the former files back. `kept` is path -> {kind, copy}. Repeatable from any point."""
    returning = os.path.join(guard.home, "returning")
    lines = [
        "#!/bin/sh",
        "# Brings back the former settings; the controller did not confirm the new ones.",
        f"cd {shlex.quote(guard.home)} || exit 0",
        "[ -d returning ] || mv pending returning 2>/dev/null || exit 0",
        f"echo 'updraft: the new settings of {guard.name} were not confirmed: the former ones come back' >&2",
    ]
    for path, copy in sorted(kept.items()):
        where = shlex.quote(path)
        if copy["kind"] == "absent":
            lines.append(f"rm -rf {where}")
        elif copy["kind"] == "directory":
            lines.append(f"mkdir -p {where}")
        else:
            source, waiting = f"{returning}/{copy['copy']}", f"{path}.updraft-return"
            lines.append(f"cp -a {shlex.quote(source)} {shlex.quote(waiting)} && mv -T {shlex.quote(waiting)} {where}")
    lines.append("sync")
    lines.append('if [ "${1:-}" != boot ]; then')
    lines += [f"  {shlex.join(command)}" for command in guard.restore or guard.apply] or ["  :"]
    lines += ["fi", *(f"rm -f {shlex.quote(path)}" for path in boot_files(guard)), "rm -rf returning", ""]
    return "\n".join(lines)


def apply_script(guard: Guard) -> str:
    """The shell script that makes the new files take effect; it marks its success, or that it ended without."""
    applied, failed = (shlex.quote(os.path.join(guard.pending, mark)) for mark in MARKS)
    lines = ["#!/bin/sh", f"end() {{ [ -e {applied} ] || : >{failed}; }}", "trap end EXIT", "set -e", "sleep 1"]
    return "\n".join([*lines, *(shlex.join(command) for command in guard.apply), f"touch {applied}", ""])


def waiting_script(guard: Guard) -> str:
    """A shell command that ends once the settings are applied, or cannot be; it costs the machine next to nothing."""
    pending, applied, failed = (
        shlex.quote(path) for path in (guard.pending, *(os.path.join(guard.pending, mark) for mark in MARKS))
    )
    more = f"[ -d {pending} ] && [ ! -e {applied} ] && [ ! -e {failed} ] && [ $n -lt {guard.seconds * 5} ]"
    return f"n=0; while {more}; do sleep 0.2; n=$((n+1)); done"


def boot_files(guard: Guard) -> dict[str, str]:
    """Path -> content of the unit that returns after a power cut, and the link which enables it (`-> target`)."""
    unit = f"{guard.units}/{guard.unit}-boot.service"
    text = f"""[Unit]
Description=Return to the former settings of {guard.name}, which were never confirmed
DefaultDependencies=no
RequiresMountsFor={guard.home}
After=local-fs.target
Before=network-pre.target systemd-networkd.service networking.service
ConditionPathExists={guard.home}/return.sh

[Service]
Type=oneshot
ExecStart=/bin/sh {guard.home}/return.sh boot
"""
    return {unit: text, f"{guard.units}/sysinit.target.wants/{guard.unit}-boot.service": f"-> {unit}"}
