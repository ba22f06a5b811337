# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill does on a machine: cuts iSCSI off, which heals by itself; loads the canary; looks at counters.

Everything is named `updraft_drill` or `updraft-drill`, so that what an interrupted drill left is found and removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import drill_load
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError, call

TABLE = "updraft_drill"
UNIT = "updraft-drill.service"
TIMER = "updraft-drill-restore"
FOLDER = Path("/var/lib/updraft/drill")
PORT = 3260
SECTOR = 512
#: Seconds after which the load ends by itself, when nobody came back to it.
LOAD_SECONDS = 3600
#: Seconds for which the load may finish what it began.
END_SECONDS = 300
KILL_SECONDS = 15
ERRORS = re.compile(r"I/O error|Buffer I/O|critical target error|critical medium error|remount.*read-only", re.I)


def ruleset(addresses: Sequence[str]) -> str:
    """Return nft's input which drops iSCSI at these addresses of this machine, both ways; a table of its own."""
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    for chain, hook, address_of, port_of in (
        ("arriving", "input", "daddr", "dport"),
        ("leaving", "output", "saddr", "sport"),
    ):
        # Before every other chain, so that no rule which accepts is asked first.
        lines.append(f"  chain {chain} {{ type filter hook {hook} priority -300; policy accept;")
        for address in addresses:
            family = "ip6" if ":" in address else "ip"
            lines.append(f"    {family} {address_of} {address} tcp {port_of} {PORT} counter drop")
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def timer_command(seconds: int) -> list[str]:
    """Return the command after which the table goes by itself."""
    words = [
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={TIMER}",
        f"--on-active={seconds}",
        "--timer-property=AccuracySec=1s",
    ]
    return [*words, "nft", "delete", "table", "inet", TABLE]


def cut(addresses: Sequence[str], seconds: int) -> list[str]:
    """Drop iSCSI at these addresses for so many seconds at most."""
    restore()
    # First what ends it: a drill that is cut here leaves nothing behind.
    call(timer_command(seconds))
    done = subprocess.run(["nft", "-f", "-"], input=ruleset(addresses), capture_output=True, text=True, check=False)
    if done.returncode:
        restore()
        raise DisksError(f"nft: {done.stderr.strip()}")
    return [f"cut {address}" for address in addresses]


def is_cut() -> bool:
    """Say whether the table is there."""
    return subprocess.run(["nft", "list", "table", "inet", TABLE], capture_output=True, check=False).returncode == 0


def restore() -> list[str]:
    """Let iSCSI pass again."""
    there = is_cut()
    if there:
        call(["nft", "delete", "table", "inet", TABLE])
    for kind in ("timer", "service"):
        unit = f"{TIMER}.{kind}"
        if _active(unit):
            call(["systemctl", "stop", unit])
        subprocess.run(["systemctl", "reset-failed", unit], capture_output=True, check=False)
    return ["restore"] if there else []


def _active(unit: str) -> bool:
    found = subprocess.run(["systemctl", "is-active", unit], capture_output=True, text=True, check=False)
    return found.stdout.strip() in ("active", "activating", "deactivating", "reloading")


# The load.


def load_command(device: str, mib: int, rate: int, program: Path) -> list[str]:
    """Return the command which starts the load as a unit of its own, that outlives the session."""
    words = ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "--description=Drill: checked load on the canary"]
    words += [f"--property=RuntimeMaxSec={LOAD_SECONDS}", f"--property=TimeoutStopSec={END_SECONDS}"]
    # Only the program is asked to end; what it started finishes.
    words += ["--property=KillMode=mixed", "/usr/bin/python3", str(program), "--device", device]
    return [*words, "--folder", str(FOLDER), "--mib", str(mib), "--rate", str(rate)]


def load(device: str, mib: int, rate: int, wait: float) -> list[str]:
    """Start the load on the canary, once all its paths made one device."""
    if _active(UNIT):
        return []
    end = time.monotonic() + wait
    while not os.path.exists(device):
        if time.monotonic() > end:
            raise DisksError(f"{device} is not there after {wait:.0f} s: multipath has not joined the canary's paths")
        time.sleep(0.5)
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = FOLDER / "drill_load.py"
    loader = drill_load.__spec__.loader if drill_load.__spec__ else None
    # In a file of its own: it goes on when Ansible's temporary files are gone.
    program.write_text(loader.get_source(drill_load.__name__))  # type: ignore[union-attr]
    (FOLDER / "began").write_text(repr(time.time()))
    call(load_command(device, mib, rate, program))
    return ["start the load"]


def measure(device: str) -> dict[str, Any]:
    """End the load in order, with everything read once more, and return what it was. Raises DisksError."""
    if not (FOLDER / "began").exists():
        raise DisksError("there is no load: it was never started")
    if _active(UNIT):
        call(["systemctl", "stop", UNIT], END_SECONDS + 30)
    result = FOLDER / drill_load.RESULT
    if not result.exists():
        raise DisksError(f"the load did not end in order: journalctl -u {UNIT}, {FOLDER}/errors.log")
    found: dict[str, Any] = json.loads(result.read_text())
    latency = json.loads((FOLDER / drill_load.LATENCY).read_text())
    errors = FOLDER / "errors.log"
    lines = kernel_errors(_kernel_log(float((FOLDER / "began").read_text())), names_of(device))
    words = errors.read_text().splitlines()[-20:] if errors.exists() else []
    return {**found, "latency": latency, "kernel_errors": lines, "words": words}


def _kernel_log(since: float) -> str:
    return call(["journalctl", "--dmesg", "--quiet", "--output=cat", f"--since=@{int(since)}"])


def names_of(device: str) -> list[str]:
    """Return the names under which the kernel may speak of a device."""
    return [os.path.basename(os.path.realpath(device)), os.path.basename(device)]


def kernel_errors(text: str, names: Iterable[str]) -> list[str]:
    """Return the lines about failed reads and writes of the device.

    What is said of a single path of it does not count: multipath repeats that on another one.
    """
    wanted = re.compile(r"\b(" + "|".join(re.escape(name) for name in names if name) + r")\b")
    return [line.strip() for line in text.splitlines() if ERRORS.search(line) and wanted.search(line)]


def clean(device: str) -> list[str]:
    """Remove what a drill left here: the cut, the load, the canary's device. Its session is another module's."""
    done = restore()
    if _active(UNIT):
        done.append("stop the load")
        call(["systemctl", "kill", "--signal=SIGKILL", UNIT])
        if not _gone(UNIT):
            _fail_without_paths(device)
            if not _gone(UNIT):
                raise DisksError(f"{UNIT} does not end: it waits for {device}")
    if device and os.path.exists(device):
        _fail_without_paths(device)
        _flush(device)
        done.append("remove the canary's device")
    with contextlib.suppress(OSError):
        (FOLDER / "began").unlink()
    return done


def _fail_without_paths(device: str) -> None:
    """Have nobody wait for a canary that is not served: what is written to it may fail, for it is only a canary."""
    subprocess.run(["dmsetup", "message", device, "0", "fail_if_no_path"], capture_output=True, check=False)


def _flush(device: str) -> None:
    """Remove the device of all paths; udev may look at it just now."""
    end = time.monotonic() + KILL_SECONDS
    while True:
        try:
            call(["multipath", "-f", os.path.basename(device)])
            return
        except DisksError:
            if time.monotonic() > end:
                raise
        time.sleep(1)


def _gone(unit: str) -> bool:
    end = time.monotonic() + KILL_SECONDS
    while _active(unit) and time.monotonic() < end:
        time.sleep(0.5)
    return not _active(unit)


# What is looked at.


def written(disks: Iterable[str], text: str | None = None) -> int:
    """Return how many bytes were written to these disks since the machine started."""
    names = {os.path.basename(os.path.realpath(disk)) for disk in disks}
    rows = [line.split() for line in (text or Path("/proc/diskstats").read_text()).splitlines()]
    return sum(int(row[9]) * SECTOR for row in rows if row[2] in names)


def paths(text: str) -> dict[str, int]:
    """Read `multipath -l`-like JSON of multipathd: how many paths of a map are up, and how many there are."""
    found = json.loads(text).get("map") or {}
    rows: list[Mapping[str, Any]] = [path for group in found.get("path_groups", []) for path in group.get("paths", [])]
    return {"active": sum(1 for row in rows if row.get("dm_st") == "active"), "all": len(rows)}


def read_paths(device: str) -> dict[str, int]:
    """Return the paths of a multipath device."""
    return paths(call(["multipathd", "show", "map", os.path.basename(device), "json"]))
