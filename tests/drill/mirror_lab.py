# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of inventories/lab-storage under checked writes: node1 writes, and everything is compared in the end.

By fio with a check of each round on the volume web, on which new places are written to as well (places.py), and by
files with fsync on the volume db (files.py). All of them write as virtual machines do, with the disk settings of
docs/storage.md: the file system stands on QEMU's way to the volume. Nothing of the volumes is allocated in the pool
when that begins.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machines import ROOT, Machine, Refused, Wrong, servers_of, serving, wait

from updraft.drill_report import pause_of
from updraft.site import find_site

INVENTORY = "inventories/lab-storage"
RAW, FILES = "/dev/updraft/vms/web", "/dev/updraft/vms/db"
FOLDER, UNIT, WRITER = "/var/lib/updraft/cuts", "power-cuts-load", "power-cuts-files"
PLACES, QEMU, DISK = "power-cuts-places", "power-cuts-qemu", "/dev/nbd0"
#: The logical volumes below RAW and FILES, on the server that serves.
BELOW, FILES_BELOW = "pool-vms-web", "pool-vms-db"
LOAD = ROOT / "plugins/module_utils/drill_load.py"
FILE_WRITER, PLACE_WRITER = (Path(__file__).with_name(name) for name in ("files.py", "places.py"))
LABEL = "power-cuts"
#: MiB of each of the two areas that are written to, and writes a second: the fewer, the sooner a server has started.
MIB, RATE = 2, 12
#: Seconds to be whole again.
WHOLE_SECONDS = 600.0


@dataclass(slots=True)
class Cut:
    """One cut and what came of it. `machines`: how often one lost its power; `seconds`: its parts; `refused`: what had
    to be refused and was."""

    number: int
    kind: str
    machines: int = 0
    moment: float = 0.0
    word: float = 0.0
    until: float = 0.0
    pause: float = 0.0
    after_word: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    refused: str = ""


class MirrorLab:
    """Its machines, the load, and the cuts made so far."""

    def __init__(self, inventory: str, mib: int = MIB, rate: int = RATE) -> None:
        site = find_site(inventory, ROOT)
        self.node = Machine(site, "node1")
        self.servers = servers_of(site)
        self.mib, self.rate = mib, rate
        self.cuts: list[Cut] = []
        self.pending: list[Cut] = []
        self.totals = {"rounds": 0, "written": 0, "compared": 0, "wrong": 0, "failed": 0, "kernel_errors": 0}
        self.shift = 0.0
        #: The units that write beside the load.
        self.writers: list[str] = []

    # Who is who.

    def killed(self) -> int:
        """How often a server has lost its power here."""
        return sum(machine.cuts for machine in self.servers.values())

    def serving(self) -> str:
        """The name of the server that serves."""
        return serving(self.servers, WHOLE_SECONDS).name

    def pair(self) -> tuple[Machine, Machine]:
        """The one that serves, and the leg."""
        name = self.serving()
        return self.servers[name], next(one for other, one in self.servers.items() if other != name)

    def whole(self) -> tuple[Machine, Machine]:
        """Wait until both have everything and the leg knows it; heal where that is needed."""
        serving, leg = self.pair()
        generation = serving.mirror("status")["generation"]
        leg.up()

        def healed() -> bool:
            try:
                serving.mirror("heal", "--wait", "300")
                found = leg.mirror("status")
            except (Wrong, Refused):
                return False
            if found["role"] != "leg" or found["arrays"]:
                raise Wrong(f"{leg.name} is {found['words']} beside {serving.name}, which serves")
            return bool(found["complete"] and found["generation"] == generation)

        wait("the mirror is whole", healed, WHOLE_SECONDS)
        return serving, leg

    # The load.

    def prepare(self, *, places: bool = True) -> None:
        """Begin from a whole mirror, with volumes on which nothing is, and an empty file system on the second one.

        places: whether new places of the first volume are written to.
        """
        serving, _leg = self.whole()
        self.end_writers()
        held = self.node.run(f"blkid -o value -s LABEL {FILES} || true").stdout.strip()
        kind = self.node.run(f"blkid -o value -s TYPE {FILES} || true").stdout.strip()
        if kind and held != LABEL:
            raise Wrong(f"{FILES} holds {kind}: these cuts are for a lab whose volumes hold nothing")
        group = self.node.site.cloud["volumes"]["group"]
        serving.must(f"for one in {BELOW} {FILES_BELOW}; do blkdiscard --force /dev/{group}/$one; done")
        self.node.must(
            f"mkdir -p {FOLDER}/fs; modprobe nbd; systemd-run --quiet --collect --unit={QEMU} -p Type=forking"
            f" qemu-nbd --format=raw --cache=directsync --aio=native --connect={DISK} {FILES};"
            f" for i in $(seq 100); do [ $(cat /sys/block/{Path(DISK).name}/size) -gt 0 ] && break; sleep 0.2; done;"
            f" mkfs.ext4 -q -F -L {LABEL} {DISK} && mount {DISK} {FOLDER}/fs"
        )
        for path in (LOAD, FILE_WRITER, PLACE_WRITER):
            self.node.must(f"cat > {FOLDER}/{path.name}", data=path.read_text())
        writers = {WRITER: f"files.py write {FOLDER}/fs {FOLDER}/files.log"}
        writers |= {PLACES: f"places.py write {RAW} {FOLDER}/places.log"} if places else {}
        self.writers = list(writers)
        for unit, words in writers.items():
            self.node.must(
                f"systemd-run --quiet --collect --unit={unit} -p KillMode=mixed -p TimeoutStopSec=300"
                f" python3 {FOLDER}/{words}"
            )

    def end_writers(self) -> None:
        """Nobody writes any more, and the volumes are free."""
        self.node.run(
            f"systemctl stop {UNIT} {WRITER} {PLACES}; umount {FOLDER}/fs; qemu-nbd --disconnect {DISK};"
            f" systemctl stop {QEMU}",
            limit=400,
        )

    def load(self) -> None:
        """Begin to write."""
        self.node.must(
            f"rm -f {FOLDER}/raw/*; systemd-run --quiet --unit={UNIT} -p KillMode=mixed -p TimeoutStopSec=600 --collect"
            f" python3 {FOLDER}/drill_load.py --device {RAW} --folder {FOLDER}/raw --mib {self.mib} --rate {self.rate}"
        )
        before = time.time()
        there = float(self.node.must("date +%s.%N"))
        self.shift = there - (before + time.time()) / 2

    def compare(self) -> None:
        """End the load, with all of it read once more, and count. Pauses of the cuts since it began are filled in."""
        self.node.must(f"systemctl stop {UNIT}", limit=700)
        found = json.loads(self.node.must(f"cat {FOLDER}/raw/result.json"))
        latency = json.loads(self.node.must(f"cat {FOLDER}/raw/latency.json"))
        for name in ("rounds", "written", "compared", "wrong", "failed"):
            self.totals[name] += found[name]
        for cut in self.pending:
            began, ended = cut.moment + self.shift, cut.until + self.shift
            cut.pause = pause_of(latency, began, ended)
            if cut.word:
                waits = [(took, end / 1000) for end, took, _ in latency if began <= end / 1000 < ended]
                cut.after_word = round(max(waits, default=(0, began))[1] - self.shift - cut.word, 1)
        self.pending = []
        device = self.node.must(f"basename $(readlink -f {RAW}); basename $(readlink -f {FILES})").split()
        device.append(Path(DISK).name)
        pattern = "|".join(rf"\b{name}\b" for name in device)
        text = self.node.run(
            f"journalctl -k -q -o cat | grep -iE 'I/O error|EXT4-fs error' | grep -cE '{pattern}'"
        ).stdout
        self.totals["kernel_errors"] = int(text.strip() or 0)
        if found["wrong"] or found["failed"]:
            raise Wrong(f"the load found {found}: {self.node.run(f'cat {FOLDER}/raw/errors.log').stdout[-2000:]}")

    def scrub(self) -> int:
        """Compare both disks, with nothing written meanwhile; sectors that differ."""
        writers = " ".join(self.writers)
        self.node.must(f"systemctl kill -s STOP {writers}; sync -f {FOLDER}/fs")
        try:
            return self.differing()
        finally:
            self.node.must(f"systemctl kill -s CONT {writers}")

    def differing(self) -> int:
        """Have md compare both disks; sectors that differ, those included that are written meanwhile."""
        serving, _leg = self.whole()
        text = serving.must(
            "for md in /sys/block/md*/md; do echo check > $md/sync_action; done; sleep 1;"
            " while grep -qv idle /sys/block/md*/md/sync_action; do sleep 1; done;"
            " cat /sys/block/md*/md/mismatch_cnt",
            limit=1800,
        )
        return sum(int(line) for line in text.split())

    def checked(self) -> dict[str, dict[str, Any]]:
        """End the writing of files and to new places; check the file system, and all that was acknowledged."""
        self.node.must(f"systemctl stop {' '.join(self.writers)}", limit=400)
        self.node.must(f"umount {FOLDER}/fs && fsck.ext4 -f -n {DISK}", limit=900)
        self.node.must(f"mount -o ro {DISK} {FOLDER}/fs")
        checks = {"files": f"files.py check {FOLDER}/fs {FOLDER}/files.log"}
        if PLACES in self.writers:
            checks["places"] = f"places.py check {RAW} {FOLDER}/places.log"
        found: dict[str, dict[str, Any]] = {
            name: json.loads(self.node.must(f"python3 {FOLDER}/{words}", limit=900)) for name, words in checks.items()
        }
        return found

    def tidy(self) -> None:
        """Leave machines that run, and nobody who writes."""
        for machine in self.servers.values():
            if not machine.running():
                machine.start()
        self.node.run(f"systemctl kill -s KILL {UNIT} {WRITER} {PLACES}; sleep 1", limit=60)
        self.end_writers()


def lost(found: Mapping[str, Any]) -> int:
    """How much of what was acknowledged a drill did not find again."""
    return int(found["load"]["wrong"] + sum(one["wrong"] for one in found["checked"].values()))


def bad(found: Mapping[str, Any]) -> bool:
    """Say whether something was lost, or not as it has to be, by what a drill found."""
    load = found["load"]
    wrong = found["lost"] or load["failed"] or load["kernel_errors"] or any(found.get("mismatches", ()))
    return bool(found["problem"] or wrong or not load["written"])


def verdict(found: Mapping[str, Any], report: Path) -> str:
    """What a drill found of the writes, in words."""
    load = found["load"]
    return "\n".join(
        (
            f"\n{found['seconds']} s: {load['written']} writes acknowledged, {load['compared']} compared,"
            f" {found['lost']} lost, {load['failed']} failed, {load['kernel_errors']} errors of the kernel;"
            f" {found['checked']}; sectors that differ {found.get('mismatches', [])}",
            found["problem"],
            f"{'FAILED' if bad(found) else 'nothing was lost'}: {report}",
        )
    )
