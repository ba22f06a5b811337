# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts under checked writes, on the lab of inventories/lab-storage: what was acknowledged has to be there.

    PYTHONPATH=src:. .updraft/venv/bin/python tests/drill/power_cuts.py --cuts 100

What was found is written down after each comparison; --resume goes on from there, with the seed and the kinds of then,
also on another lab. The hundred are made so, in parts; records/power-cuts.json has those which were made, of which
commits, and at how many writes a second:

    ... tests/drill/power_cuts.py --cuts 67 --resume --report tests/drill/records/power-cuts.json

A cut is a SIGKILL of the machine's QEMU: its memory is gone, what its disk had acknowledged stays (the disks of a lab
are files of this computer: a volatile cache of a real disk is not simulated). Kinds of cuts, in an order by chance:

  leg           the one that does not serve, and returns
  serving       the one that serves: the other is promoted on the operator's word, the old one rejoins and is healed
  blip          the one that serves, and returns before anybody promoted the other: it goes on by itself
  leg-resync    the leg again, while it is brought up to date
  serving-resync the one that serves, while the leg is brought up to date: promoting that one has to be refused
  rack          both at once

Kinds with "resync" and "rack" cut the power of two machines, or of one twice. node1 writes all the while, see
mirror_lab.py.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from machines import ROOT, Machine, Refused, Wrong, keep
from mirror_lab import INVENTORY, MIB, RATE, Cut, MirrorLab, bad, lost, verdict

KINDS = ("leg", "serving", "blip", "leg-resync", "serving-resync", "rack")
#: KiB a second at which a leg is brought up to date where a cut has to fall into that.
SLOW_RESYNC = 1000


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


class Series(MirrorLab):
    """The cuts, one after the other."""

    #: Who serves and who is the leg since the last cut; nobody else moves them.
    standing: tuple[Machine, Machine] | None = None

    def cut(self, kind: str, after: float) -> Cut:
        """Make one cut, and do what an operator would do, until the mirror is whole."""
        serving, leg = self.standing or self.whole()
        time.sleep(after)
        made = Cut(len(self.cuts) + 1, kind)
        before = self.killed()
        ways: dict[str, Callable[[Cut, Machine, Machine], None]] = {
            "leg": self._leg,
            "serving": self._serving,
            "blip": self._blip,
            "leg-resync": self._leg_resync,
            "serving-resync": self._serving_resync,
            "rack": self._rack,
        }
        ways[kind](made, serving, leg)
        self.standing = self.whole()
        made.until = time.time()
        made.seconds["whole"] = round(made.until - made.moment, 1)
        made.machines = self.killed() - before
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


def commit() -> str:
    """The commit of what makes the cuts, with a + where that was changed since."""
    words = ["git", "describe", "--always", "--dirty=+"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def earlier(report: Path) -> dict[str, Any]:
    """What a series found that is gone on with. Raises Wrong."""
    try:
        found: dict[str, Any] = json.loads(report.read_text())
    except (OSError, ValueError) as error:
        raise Wrong(f"nothing to go on with: {error}") from None
    if bad(found):
        raise Wrong(f"{report}: that series failed: {found['problem'] or 'see there'}")
    return found


def counted(found: dict[str, Any], series: MirrorLab, began: float) -> dict[str, Any]:
    """What a series comes to so far: its seconds since `began`, load, cuts, and what of it is lost."""
    load = series.totals
    cuts = [asdict(one) for one in series.cuts]
    return {"seconds": round(time.time() - began), "load": load, "cuts": cuts, "lost": lost(found | {"load": load})}


def turns(given: argparse.Namespace, found: dict[str, Any], series: Series, began: float) -> None:
    """Make the cuts that are missing, and write down what was found whenever everything was compared. Raises Wrong."""
    missing = schedule(given.cuts, found["seed"], found["kinds"])[len(series.cuts) :]
    for start in range(0, len(missing), given.every):
        series.prepare()
        series.load()
        for kind, after in missing[start : start + given.every]:
            made = series.cut(kind, after)
            clock = time.strftime("%H:%M:%S")
            print(f"{clock} cut {made.number}: {kind}: {made.seconds} {made.refused[:80]}", flush=True)
        series.compare()
        found["mismatches"].append(series.scrub())
        for kind, counts in series.checked().items():
            summed = found["checked"].setdefault(kind, {})
            summed |= {name: summed.get(name, type(count)()) + count for name, count in counts.items()}
        found |= counted(found, series, began)
        keep(given.report, found)
        print(f"         {series.totals}, sectors that differ: {found['mismatches'][-1]}", flush=True)
        print(f"         {found['checked']}", flush=True)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Make the cuts; what was found. Raises Wrong."""
    series = Series(given.inventory, given.mib, given.rate)
    new = {"seed": given.seed, "kinds": given.kinds, "commits": [], "rates": [], "mismatches": [], "checked": {}}
    new |= {"problem": "", "seconds": 0}
    found = earlier(given.report) if given.resume else {**new, "load": series.totals, "cuts": [], "lost": 0}
    found["commits"] = list(dict.fromkeys([*found["commits"], commit()]))
    found["rates"] = list(dict.fromkeys([*found["rates"], given.rate]))
    series.totals = found["load"]
    series.cuts = [Cut(**one) for one in found["cuts"]]
    print(f"seed {found['seed']}, {len(series.cuts)} cuts made", flush=True)
    began = time.time() - found["seconds"]
    try:
        turns(given, found, series, began)
    except (Wrong, Refused) as error:
        found |= {"problem": f"{type(error).__name__}: {error}", **counted(found, series, began)}
    finally:
        series.tidy()
    print("\n".join(["", *table(series.cuts)]) if series.cuts else "no cut was made")
    return found


def main() -> int:
    """Exit code 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description="Power cuts under checked writes, on the lab of the storage.")
    parser.add_argument("--inventory", default=INVENTORY)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--every", type=int, default=6, help="compare everything after so many cuts")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--mib", type=int, default=MIB, help="MiB of each of the two areas that are written to")
    parser.add_argument("--rate", type=int, default=RATE, help="writes a second")
    parser.add_argument("--report", type=Path, default=ROOT / ".updraft" / "power-cuts.json")
    parser.add_argument("--resume", action="store_true", help="go on with the series of the report")
    given = parser.parse_args()
    try:
        found = run(given)
    except Wrong as wrong:
        print(wrong)
        return 2
    keep(given.report, found)
    machines = sum(one["machines"] for one in found["cuts"])
    print(f"{len(found['cuts'])} cuts, {machines} times the power of a machine\n{verdict(found, given.report)}")
    return 1 if bad(found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
