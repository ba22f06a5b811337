# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts under checked writes, on the lab of inventories/lab-storage: what was acknowledged has to be there.

    PYTHONPATH=src:. .updraft/venv/bin/python tests/drill/power_cuts.py --cuts 100

A cut is a SIGKILL of the machine's QEMU: its memory is gone, what its disk had acknowledged stays (the disks of a lab
are files of this computer: a volatile cache of a real disk is not simulated). Kinds of cuts, in an order by chance:

  leg           the one that does not serve, and returns
  serving       the one that serves: the other is promoted on the operator's word, the old one rejoins and is healed
  blip          the one that serves, and returns before anybody promoted the other: it goes on by itself
  leg-resync    the leg again, while it is brought up to date
  serving-resync the one that serves, while the leg is brought up to date: promoting that one has to be refused
  rack          both at once

node1 writes all the while: by fio with a check of each round on the volume web, and files with fsync on the volume db.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from machines import ROOT, Machine, Refused, Wrong, keep, wait

from updraft.drill_report import pause_of
from updraft.site import find_site

KINDS = ("leg", "serving", "blip", "leg-resync", "serving-resync", "rack")
RAW, FILES = "/dev/updraft/vms/web", "/dev/updraft/vms/db"
FOLDER, UNIT, WRITER = "/var/lib/updraft/cuts", "power-cuts-load", "power-cuts-files"
LOAD = ROOT / "plugins/module_utils/drill_load.py"
FILE_WRITER = Path(__file__).with_name("files.py")
LABEL = "power-cuts"
#: KiB a second at which a leg is brought up to date where a cut has to fall into that, and seconds to be whole again.
SLOW_RESYNC, WHOLE_SECONDS = 1000, 600.0


@dataclass(slots=True)
class Cut:
    """One cut and what came of it; `seconds` are its parts, `refused` what had to be refused and was."""

    number: int
    kind: str
    moment: float = 0.0
    word: float = 0.0
    until: float = 0.0
    pause: float = 0.0
    after_word: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    refused: str = ""


def schedule(cuts: int, seed: int, kinds: Sequence[str] = KINDS) -> list[tuple[str, float]]:
    """The kinds of cuts and the seconds of load before each: every kind in turn, in an order by chance."""
    chance = random.Random(seed)
    found: list[str] = []
    while len(found) < cuts:
        turn = list(kinds)
        chance.shuffle(turn)
        found += turn
    return [(kind, round(chance.uniform(2, 12), 2)) for kind in found[:cuts]]


def table(cuts: Sequence[Cut]) -> list[str]:
    """The pauses by kind, for people."""
    lines = [f"{'kind':16}{'cuts':>5}{'pause: median':>15}{'longest':>9}{'after the word':>16}"]
    for kind in dict.fromkeys(cut.kind for cut in cuts):
        some = [cut for cut in cuts if cut.kind == kind]
        pauses = sorted(cut.pause for cut in some)
        word = max((cut.after_word for cut in some), default=0.0)
        told = f"{word:14.1f} s" if word else f"{'-':>16}"
        lines.append(f"{kind:16}{len(some):5}{pauses[len(pauses) // 2]:13.1f} s{pauses[-1]:7.1f} s{told}")
    return lines


class Series:
    """The lab, and the cuts made so far."""

    def __init__(self, inventory: str, mib: int, rate: int) -> None:
        site = find_site(inventory, ROOT)
        self.node = Machine(site, "node1")
        self.servers = {name: Machine(site, name) for name in site.cloud["volumes"]["mirror"]["legs"]}
        self.mib, self.rate = mib, rate
        self.cuts: list[Cut] = []
        self.pending: list[Cut] = []
        self.totals = {"rounds": 0, "written": 0, "compared": 0, "wrong": 0, "failed": 0, "kernel_errors": 0}
        self.shift = 0.0

    # Who is who.

    def serving(self) -> str:
        """The server that serves now, by the word of the servers."""

        def look() -> str | None:
            for name, machine in self.servers.items():
                try:
                    found = machine.mirror("status")
                except (Wrong, Refused):
                    continue
                if found["role"] == "serving" and found["up"]:
                    return name
            return None

        return str(wait("somebody serves", look, WHOLE_SECONDS))

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

    def prepare(self) -> None:
        """Begin from a whole mirror, and an empty file system on the second volume."""
        self.whole()
        self.node.must(f"systemctl stop {UNIT} {WRITER} 2>/dev/null; umount {FILES} 2>/dev/null; mkdir -p {FOLDER}/fs")
        held = self.node.run(f"blkid -o value -s LABEL {FILES} || true").stdout.strip()
        kind = self.node.run(f"blkid -o value -s TYPE {FILES} || true").stdout.strip()
        if kind and held != LABEL:
            raise Wrong(f"{FILES} holds {kind}: these cuts are for a lab whose volumes hold nothing")
        self.node.must(f"mkfs.ext4 -q -F -L {LABEL} {FILES} && mount {FILES} {FOLDER}/fs")
        for path in (LOAD, FILE_WRITER):
            self.node.must(f"cat > {FOLDER}/{path.name}", data=path.read_text())
        self.node.must(
            f"systemd-run --quiet --collect --unit={WRITER} -p KillMode=mixed -p TimeoutStopSec=300"
            f" python3 {FOLDER}/files.py write {FOLDER}/fs {FOLDER}/files.log"
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
        pattern = "|".join(rf"\b{name}\b" for name in device)
        text = self.node.run(
            f"journalctl -k -q -o cat | grep -iE 'I/O error|EXT4-fs error' | grep -cE '{pattern}'"
        ).stdout
        self.totals["kernel_errors"] = int(text.strip() or 0)
        if found["wrong"] or found["failed"]:
            raise Wrong(f"the load found {found}: {self.node.run(f'cat {FOLDER}/raw/errors.log').stdout[-2000:]}")

    def scrub(self) -> int:
        """Compare both disks, with nothing written meanwhile; sectors that differ."""
        self.node.must(f"systemctl kill -s STOP {WRITER}; sync -f {FOLDER}/fs")
        try:
            return self.differing()
        finally:
            self.node.must(f"systemctl kill -s CONT {WRITER}")

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

    def files(self) -> dict[str, int]:
        """End the writing of files; check the file system and each file that was acknowledged."""
        self.node.must(f"systemctl stop {WRITER}", limit=400)
        self.node.must(f"umount {FOLDER}/fs", limit=300)
        self.node.must(f"fsck.ext4 -f -n {FILES}", limit=600)
        self.node.must(f"mount -o ro {FILES} {FOLDER}/fs")
        found: dict[str, int] = json.loads(
            self.node.must(f"python3 {FOLDER}/files.py check {FOLDER}/fs {FOLDER}/files.log", limit=600)
        )
        self.node.must(f"umount {FOLDER}/fs")
        return found

    def tidy(self) -> None:
        """Leave machines that run, and nobody who writes."""
        for machine in self.servers.values():
            if not machine.running():
                machine.start()
        self.node.run(f"systemctl kill -s KILL {UNIT} {WRITER}; sleep 1; umount {FOLDER}/fs", limit=60)

    # The cuts.

    def cut(self, kind: str, after: float) -> Cut:
        """Make one cut, and do what an operator would do, until the mirror is whole."""
        serving, leg = self.whole()
        time.sleep(after)
        made = Cut(len(self.cuts) + 1, kind)
        ways: dict[str, Callable[[Cut, Machine, Machine], None]] = {
            "leg": self._leg,
            "serving": self._serving,
            "blip": self._blip,
            "leg-resync": self._leg_resync,
            "serving-resync": self._serving_resync,
            "rack": self._rack,
        }
        ways[kind](made, serving, leg)
        self.whole()
        made.until = time.time()
        made.seconds["whole"] = round(made.until - made.moment, 1)
        self.cuts.append(made)
        self.pending.append(made)
        return made

    def _leg(self, made: Cut, _serving: Machine, leg: Machine) -> None:
        made.moment = leg.cut()
        time.sleep(12)
        leg.start()
        leg.up()

    def _serving(self, made: Cut, serving: Machine, leg: Machine) -> None:
        generation = leg.mirror("status")["generation"] + 1
        made.moment = serving.cut()
        time.sleep(2)
        made.word = time.time()
        leg.mirror("promote", "--generation", str(generation), "--peer-is-off")
        made.seconds["promote"] = round(time.time() - made.word, 1)
        serving.start()
        serving.up()
        self._not_by_itself(serving)
        serving.mirror("rejoin", "--generation", str(generation))

    def _not_by_itself(self, old: Machine) -> None:
        """An old one that returned neither assembles nor serves."""
        time.sleep(6)
        found = old.mirror("status")
        if found["up"] or found["arrays"]:
            raise Wrong(f"{old.name} returned after the other was promoted, and {found['words']}")

    def _blip(self, made: Cut, serving: Machine, _leg: Machine) -> None:
        made.moment = serving.cut()
        made.word = time.time()
        serving.start()
        serving.up()
        if self.serving() != serving.name:
            raise Wrong(f"{serving.name} returned, and another one serves")

    def _rack(self, made: Cut, serving: Machine, leg: Machine) -> None:
        before = serving.mirror("status")["generation"]
        made.moment = serving.cut()
        leg.cut()
        made.word = time.time()
        # The wrong one first: it has to wait.
        leg.start()
        time.sleep(5)
        serving.start()
        leg.up()
        serving.up()
        if self.serving() != serving.name:
            raise Wrong(f"{serving.name} served before the power went, and now another one")
        found = [one.mirror("status") for one in (serving, leg)]
        if found[0]["generation"] != before or found[1]["arrays"]:
            raise Wrong(f"after the power came back: {found[0]['words']}; {found[1]['words']}")

    def _resyncing(self, made: Cut, serving: Machine, leg: Machine) -> None:
        """Lose the leg, and stop the clock where it is being brought up to date."""
        made.moment = leg.cut()
        time.sleep(15)
        serving.must(f"for md in /sys/block/md*/md; do echo {SLOW_RESYNC} > $md/sync_speed_max; done")
        leg.start()
        leg.up()
        script = (
            "for i in $(seq 600); do grep -q recover /sys/block/md*/md/sync_action && exit 0; sleep 0.2; done; exit 1"
        )
        serving.must(script, limit=200)

    def _fast(self) -> None:
        serving, _leg = self.pair()
        serving.must("for md in /sys/block/md*/md; do echo system > $md/sync_speed_max; done")

    def _leg_resync(self, made: Cut, serving: Machine, leg: Machine) -> None:
        self._resyncing(made, serving, leg)
        leg.cut()
        time.sleep(10)
        leg.start()
        self._fast()
        leg.up()

    def _serving_resync(self, made: Cut, serving: Machine, leg: Machine) -> None:
        self._resyncing(made, serving, leg)
        generation = leg.mirror("status")["generation"] + 1
        serving.cut()
        try:
            leg.mirror("promote", "--generation", str(generation), "--peer-is-off")
            raise Wrong(f"{leg.name} was promoted although it was being brought up to date")
        except Refused as refused:
            made.refused = str(refused)
        made.word = time.time()
        serving.start()
        serving.up()
        if self.serving() != serving.name:
            raise Wrong(f"{serving.name} returned, and another one serves")


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Make the cuts; what was found. Raises Wrong."""
    series = Series(given.inventory, given.mib, given.rate)
    found: dict[str, Any] = {"seed": given.seed, "mismatches": [], "files": {}, "problem": ""}
    began = time.time()
    try:
        series.prepare()
        series.load()
        for number, (kind, after) in enumerate(schedule(given.cuts, given.seed, given.kinds), start=1):
            made = series.cut(kind, after)
            print(f"{time.strftime('%H:%M:%S')} cut {number}: {kind}: {made.seconds} {made.refused[:80]}", flush=True)
            if number % given.every == 0 or number == given.cuts:
                series.compare()
                found["mismatches"].append(series.scrub())
                print(f"         {series.totals}, sectors that differ: {found['mismatches'][-1]}", flush=True)
                if number < given.cuts:
                    series.load()
        found["files"] = series.files()
    except (Wrong, Refused) as error:
        found["problem"] = f"{type(error).__name__}: {error}"
    finally:
        series.tidy()
    found |= {
        "seconds": round(time.time() - began),
        "load": series.totals,
        "cuts": [asdict(one) for one in series.cuts],
    }
    found["lost"] = series.totals["wrong"] + found["files"].get("wrong", 0)
    print("\n".join(["", *table(series.cuts)]) if series.cuts else "no cut was made")
    return found


def main() -> int:
    """Exit code 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description="Power cuts under checked writes, on the lab of the storage.")
    parser.add_argument("--inventory", default="inventories/lab-storage")
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--every", type=int, default=6, help="compare everything after so many cuts")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--mib", type=int, default=8, help="MiB of each of the two areas that are written to")
    parser.add_argument("--rate", type=int, default=40, help="writes a second")
    parser.add_argument("--report", type=Path, default=ROOT / ".updraft" / "power-cuts.json")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    try:
        found = run(given)
    except Wrong as wrong:
        print(wrong)
        return 2
    keep(given.report, found)
    load, files = found["load"], found["files"]
    bad = found["problem"] or found["lost"] or load["failed"] or load["kernel_errors"] or any(found["mismatches"])
    print(
        f"\n{len(found['cuts'])} cuts in {found['seconds']} s: {load['written']} writes acknowledged,"
        f" {load['compared']} compared, {found['lost']} lost, {load['failed']} failed; files {files};"
        f" sectors that differ {found['mismatches']}\n{found['problem']}\n{'FAILED' if bad else 'nothing was lost'}:"
        f" {given.report}"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
