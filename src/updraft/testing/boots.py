# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what machines of the lab boot from: the server by iSCSI, an older image, a disk that they wrote to."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.updraft.cloud.plugins.module_utils.lab_bare import bare_disk
from ansible_collections.updraft.cloud.plugins.module_utils.node_recipe import RECORD
from updraft.testing.base import Check, Context, Failed
from updraft.testing.live import on_node, site, updraft
from updraft.testing.metal import (
    SPARE,
    computes,
    control,
    disk_offered,
    host,
    joined,
    left,
    on_stranger,
    switched_on,
    wait,
)

#: Spare machines of the lab: one with less memory than provisioning.iscsi_below_mib; those with a disk, by firmware.
SMALL, WITH_DISK = "node4", {"bios": "node3", "uefi": "node5"}

#: For how long the image is not served: longer than a session of iSCSI is kept by default (120 s).
OUTAGE, KEPT_BY_DEFAULT = 180, 120
IMAGE_DISKS = "updraft-image-disks.service"

#: What is at the other end of a machine's sessions: the target, the state, how long one that breaks is kept, the disk;
#: then what the root file system lies on, under what is written.
SESSIONS = r"""
for session in /sys/class/iscsi_session/session*; do
    disk=$(echo "$session"/device/target*/*/block/*)
    echo "$(cat "$session/targetname") $(cat "$session/state") $(cat "$session/recovery_tmo")" \
        "/dev/${disk##*/} $(findmnt --noheadings --output SOURCE,FSTYPE --mountpoint /run/live/rootfs/filesystem)"
done
"""
#: Reads files of the root file system that are in no memory any more: when it began and ended, and their sum.
READING = r"""
read -r began _ </proc/uptime
echo 3 >/proc/sys/vm/drop_caches
sum=$(find /usr/lib/python3/dist-packages/nova -name '*.py' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
read -r ended _ </proc/uptime
echo "$began $ended ${sum%% *}"
"""
#: The same a moment later, by itself. It says that it is ready once what it needs until then is in memory.
LATER = f"exec >/run/updraft/reading 2>&1\nsleep 0\n: >/run/updraft/reading.ready\nsleep 20\n{READING}"
START_LATER = r"""
rm -f /run/updraft/reading.ready
cat >/run/updraft/reading.sh
systemd-run --quiet --collect sh /run/updraft/reading.sh
until [ -e /run/updraft/reading.ready ]; do sleep 0.2; done
"""

IMAGES = "/var/lib/updraft/images"
#: Makes another image of the same packages: this many MiB for the journal, and not what the role has by default (48).
OTHER_IMAGE = ("-e", "node_image_journal_mib=47")
#: A version that no image has.
NO_VERSION = "0123456789ab"


@dataclass(frozen=True, slots=True)
class Session:
    """A machine's session to the server that has its root file system."""

    target: str
    state: str
    kept: str  # seconds, or `off`: for ever
    disk: str
    root: str
    kind: str


def session_of(text: str) -> Session:
    """The only session, of what SESSIONS prints. Raises Failed for one that serves no root file system."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) != 1 or len(lines[0]) != 6:
        raise Failed(f"not one session and a root file system on its disk, but: {text.strip() or 'none'}")
    found = Session(*lines[0])
    if (found.root, found.kind) != (found.disk, "squashfs"):
        raise Failed(f"the root file system is {found.kind} on {found.root}, and the session's disk is {found.disk}")
    if found.kept not in ("off", "-1"):
        raise Failed(f"its root file system is given up {found.kept} s after the server has gone")
    return found


def iscsi_root(context: Context) -> str:
    """A machine with little memory reads its root file system from the server, also when that was away for a while."""
    context.need("lab-up")
    began = time.monotonic()
    found = switched_on(context, SMALL, 900)
    seen = time.monotonic() - began
    session = session_of(on_stranger(found["address"], SESSIONS))
    if not session.target.endswith(f".{current()}"):
        raise Failed(f"it reads {session.target}, and the image is {current()}")
    took = joined(context, SMALL)
    if gib := disk_offered(SMALL):
        raise Failed(f"{SMALL} has no disk, and nova offers {gib} GiB of it to instances")
    waited = _without_server(context)
    if (now := session_of(on_node(SMALL, SESSIONS))).state != "LOGGED_IN":
        raise Failed(f"its session is {now.state} after the server has come back")
    wait(f"{SMALL} is heard", lambda: host(context, SMALL).get("state") == "in_service", 180)
    wait(f"nova counts on {SMALL}", lambda: computes(SMALL), 180)
    left(context, SMALL)
    return f"seen in {seen:.0f} s, in service in {took:.0f} s more; a read outlived {waited:.0f} s without the server"


def _without_server(context: Context) -> float:
    """Stop what serves the image while the machine reads; the seconds that its read took. It must read the same."""
    *_, before = on_node(SMALL, READING, limit=300).split()
    sectors = _sectors()
    on_node(SMALL, START_LATER, data=LATER)
    on_node(control(), f"systemctl stop {IMAGE_DISKS}")
    time.sleep(OUTAGE)
    on_node(control(), f"systemctl start {IMAGE_DISKS}")
    began, ended, after = wait(f"{SMALL} reads again", _read, 300)
    with context.log.open("a", encoding="utf-8") as log:
        print(f"read from {began} to {ended}: {after}; before: {before}", file=log)
    waited = float(ended) - float(began)
    if after != before:
        raise Failed(f"it reads something else after the server has come back: {after}, before that {before}")
    if waited < KEPT_BY_DEFAULT:
        raise Failed(f"its read took {waited:.0f} s while the server was away for {OUTAGE}: it did not need the server")
    if _sectors() <= sectors:
        raise Failed("nothing was read from the server's disk")
    return waited


def _read() -> list[str]:
    """What the reading on the machine has printed; nothing as long as it waits, or the machine does."""
    try:
        words = on_node(SMALL, "cat /run/updraft/reading", limit=30).split()
    except Failed:
        return []
    if words and len(words) != 3:
        raise Failed(f"{SMALL} cannot read its root file system: {' '.join(words)}")
    return words


def _sectors() -> int:
    """How many sectors the machine has read of its iSCSI disk."""
    return int(on_node(SMALL, "cat /sys/class/iscsi_session/session*/device/target*/*/block/*/stat").split()[2])


def current() -> str:
    """The version of the image that machines boot if nothing else is said."""
    return on_node(control(), f"readlink {IMAGES}/current").strip()


def versions(context: Context) -> str:
    """A machine that is pinned to an older image boots that, while the others would boot a newer one."""
    context.need("lab-up")
    older = current()
    found = switched_on(context, SPARE, 600)
    _runs(found, older)
    updraft(context, "approve", "-i", "lab", found["code"], "--name", SPARE, "--pool", "general", limit=60)
    wait(f"{SPARE} is ready", lambda: host(context, SPARE).get("state") == "ready", 120)
    try:
        newer = _pinned_and_not(context, older)
        _refused(context)
    finally:
        updraft(context, "run", "lab", "provision", limit=1200)
    if current() != older:
        raise Failed(f"the image of cloud.yml is {older} no more, but {current()}")
    left(context, SPARE)
    return f"{older} when pinned to it, {newer} when not; what is not there is refused"


def _pinned_and_not(context: Context, older: str) -> str:
    """Have a newer image, and start the machine with and without a pin to the older one. Returns the newer one."""
    with inventory_with(context, {SPARE: older}) as pinned:
        updraft(context, "run", str(pinned), "provision", "--", *OTHER_IMAGE, limit=1800, show=True)
    newer = current()
    if newer == older:
        raise Failed(f"there is no other image than {older}")
    _runs(_reset(context), older)
    updraft(context, "run", "lab", "provision", "--", *OTHER_IMAGE, limit=1200, show=True)
    _runs(_reset(context), newer)
    return newer


def _refused(context: Context) -> None:
    """A version that is not there is refused, with those that are."""
    with inventory_with(context, {SPARE: NO_VERSION}) as pinned:
        words = [str(context.root / "updraft"), "run", str(pinned), "provision"]
        text = context.command(words, limit=1200, codes=(2,))
    if f"version {NO_VERSION} of the image is not on the server" not in text:
        raise Failed(f"refused, and the reason is not that there is no version {NO_VERSION}")


def _reset(context: Context) -> dict[str, Any]:
    """The machine after its power was cut, once it has proved itself."""
    before = host(context, SPARE)["host_key"]
    updraft(context, "lab", "power", SPARE, "reset", limit=600)
    wait(f"{SPARE} proves itself", lambda: host(context, SPARE).get("host_key") not in (None, before), 180)
    return host(context, SPARE)


def _runs(found: Mapping[str, Any], version: str) -> None:
    """The registrar has it with this version, and so has the image itself."""
    own = json.loads(on_stranger(found["address"], f"cat {RECORD}"))["version"]
    if (found["image"], own) != (version, version):
        raise Failed(f"{SPARE} runs the image {own}, is listed with {found['image']}, and is to run {version}")


@contextmanager
def inventory_with(context: Context, images: Mapping[str, str]) -> Iterator[Path]:
    """A copy of the lab's inventory whose cloud.yml says which machine boots which version: of the same site."""
    with tempfile.TemporaryDirectory(prefix="updraft-inventory-", dir=context.logs) as folder:
        copy = Path(shutil.copytree(site().inventory, Path(folder) / "lab"))
        file = copy / "cloud.yml"
        file.write_text(pinned_text(file.read_text(encoding="utf-8"), images), encoding="utf-8")
        yield copy


def pinned_text(text: str, images: Mapping[str, str]) -> str:
    """A cloud.yml with these versions in provisioning.images."""
    cloud = yaml.safe_load(text)
    cloud["provisioning"]["images"] = dict(images)
    changed: str = yaml.safe_dump(cloud, sort_keys=False)
    return changed


def installation(context: Context, firmware: str) -> str:
    """A machine with a disk boots by network, writes the image to it, starts from it, and is a node from there."""
    context.need("lab-up")
    name = WITH_DISK[firmware]
    updraft(context, "lab", "power", name, "off", limit=120)
    bare_disk(site().state / "machines" / name, 0).unlink(missing_ok=True)  # as out of its box
    began = time.monotonic()
    found = switched_on(context, name, 1500)
    seen = time.monotonic() - began
    root = _from_disk(name, partial(on_stranger, found["address"]))
    if found["firmware"] != firmware:
        raise Failed(f"{name} started by {found['firmware']}, and is to start by {firmware}")
    took = joined(context, name)
    _from_disk(name, partial(on_node, name))
    gib = disk_offered(name)
    if gib < 1:
        raise Failed(f"{name} runs from its disk, and offers nothing of it to instances")
    left(context, name)
    return (
        f"installed, started from {root} and seen in {seen:.0f} s, in service in {took:.0f} s more; {gib} GiB offered"
    )


def _from_disk(name: str, ask: Callable[[str], str]) -> str:
    """The file system that a machine started from: it must be on its disk."""
    root = ask("findmnt --noheadings --output SOURCE,FSTYPE /").split()
    if root[1:] != ["ext4"] or not root[0].startswith("/dev/vda"):
        raise Failed(f"{name} runs from {' '.join(root)}, not from its disk")
    return root[0]


CHECKS = (
    Check("lab-iscsi-root", "little memory: its root by iSCSI, also after the server was away", iscsi_root, long=True),
    Check(
        "lab-images", "a machine pinned to an older image boots that, and the newer one without", versions, long=True
    ),
    Check(
        "lab-install",
        "a machine is installed on its disk, starts from it, and is a node (BIOS)",
        partial(installation, firmware="bios"),
        long=True,
    ),
    Check(
        "lab-install-uefi",
        "a machine is installed on its disk, starts from it, and is a node (UEFI)",
        partial(installation, firmware="uefi"),
        long=True,
    ),
)
