# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways of getting two servers that write, tried on the machines of inventories/lab-storage: all have to be refused.

    PYTHONPATH=src:. .updraft/venv/bin/python tests/drill/two_writers.py

What each way does is what a person, a boot or a playbook would do. After each of them exactly one server has arrays,
volumes and service addresses, or none where the one that served has no power. tests/unit/test_mirror_refused.py has
more ways, with a fake pair of servers; here the kernel, mdadm, LVM, LIO and open-iscsi are real.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machines import ROOT, Machine, Refused, Wrong, keep, wait
from mirror_lab import INVENTORY, MirrorLab

from updraft.drill_report import iso

#: What only the one that serves may have: arrays that run, active volumes, and offered ones.
HELD = (
    "cat /sys/block/md*/md/array_state 2>/dev/null | grep -vcE 'clear|inactive';"
    " ls /dev/volumes 2>/dev/null | wc -l;"
    " ls -d /sys/kernel/config/target/iscsi/iqn.*/tpgt_1 2>/dev/null | grep -vc leg"
)


@dataclass(slots=True)
class Way:
    """One way of getting it wrong, and what was said to it."""

    name: str
    on: str
    said: str = ""
    at: str = ""


class Attempts:
    """The pair of servers, and what was tried on it."""

    def __init__(self, inventory: str) -> None:
        self.lab = MirrorLab(inventory)
        self.site = self.lab.node.site
        self.inventory = inventory
        self.ways: list[Way] = []

    def one_writer(self, most: str | None) -> None:
        """Only `most` may have what makes a writer. Raises Wrong."""
        for name, machine in self.lab.servers.items():
            if not machine.running():
                continue
            held = [int(word) for word in machine.run(HELD).stdout.split()]
            if name == most and not all(held):
                raise Wrong(f"{name} does not serve any more: arrays, volumes, targets are {held}")
            if name != most and any(held):
                raise Wrong(f"{name} has arrays, volumes, targets: {held}; {most or 'nobody'} serves")

    def refused(self, name: str, on: Machine, act: Callable[[], str], expected: str, most: str | None) -> None:
        """Try it: it is refused with this text, and nobody writes who did not. Raises Wrong."""
        try:
            said = act()
        except Refused as error:
            said = str(error)
        if expected not in said:
            raise Wrong(f"{name}, on {on.name}: '{expected}' was expected, and it said: {said[-600:]}")
        self.one_writer(most)
        self.ways.append(Way(name, on.name, next((line for line in said.splitlines() if expected in line), said)[:300]))
        self.ways[-1].at = iso(time.time())
        print(f"{len(self.ways):3}  {name}: {self.ways[-1].said[:150]}", flush=True)

    def verb(self, name: str, on: Machine, words: str, expected: str, most: str | None) -> None:
        """Try a verb of updraft-mirror."""

        def act() -> str:
            return f"it was done: {on.mirror(*words.split())}"

        self.refused(name, on, act, expected, most)

    def command(self, name: str, on: Machine, script: str, expected: str, most: str | None) -> None:
        """Try a command of the system."""

        def act() -> str:
            done = on.run(script, limit=120)
            return f"{done.stdout}\n{done.stderr}\nexit code {done.returncode}"

        self.refused(name, on, act, expected, most)

    def playbook(self, name: str, on: Machine, more: list[str], expected: str, most: str | None) -> None:
        """Try the playbook with which serving is moved."""

        def act() -> str:
            words = [str(self.site.root / "updraft"), "run", self.inventory, "storage_failover", "--", *more]
            done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
            return f"{done.stdout}\n{done.stderr}\nexit code {done.returncode}"

        self.refused(name, on, act, expected, most)

    # The states from which it is tried.

    def both_there(self) -> None:
        """One serves, the other is its leg."""
        serving, leg = self.lab.whole()
        number, most = leg.mirror("status")["generation"] + 1, serving.name
        disk = _settings(leg)["disks"][0]
        self.verb(
            "promote the leg, on a false word",
            leg,
            f"promote --generation {number} --peer-is-off",
            "is still logged in",
            most,
        )
        self.verb("promote the leg without any word", leg, f"promote --generation {number}", "it must be proven", most)
        self.verb(
            "take over as planned, without a demotion",
            leg,
            f"promote --generation {number} --planned",
            "is still logged in",
            most,
        )
        self.verb(
            "serve the leg's copy alone", leg, f"serve --alone --generation {number - 1}", "a leg is promoted", most
        )
        self.verb(
            "make the serving one a leg while it serves", serving, f"rejoin --generation {number}", "run here", most
        )
        self.command(
            "assemble all arrays on the leg",
            leg,
            "mdadm --assemble --scan; cat /proc/mdstat",
            "unused devices: <none>",
            most,
        )
        self.command(
            "let the system assemble the leg's disk",
            leg,
            f"udevadm trigger --settle --action=add {disk}; mdadm --incremental {disk}; cat /proc/mdstat",
            "unused devices: <none>",
            most,
        )
        self.command("activate the leg's volumes", leg, "vgchange -ay volumes; vgchange -aay", "not found", most)
        self.command("log in to the leg from a hypervisor", self.lab.node, self._stranger(leg), "sessions: 0", most)

    def _stranger(self, leg: Machine) -> str:
        """A login to the leg from a machine that is not its peer; tells how many sessions that gave."""
        target = _settings(leg)["leg"]
        address, iqn = target["address"], target["target"]
        return (
            f"node='iscsiadm -m node -T {iqn} -p {address}'; $node -o new >/dev/null; $node --login 2>&1;"
            f" echo sessions: $(iscsiadm -m session 2>/dev/null | grep -c {iqn});"
            " $node --logout >/dev/null 2>&1; $node -o delete"
        )

    def serving_lost(self) -> tuple[Machine, Machine, int]:
        """The one that served has no power, and nobody said so yet. Returns it, its successor, and the generation."""
        serving, leg = self.lab.whole()
        number = leg.mirror("status")["generation"] + 1
        serving.cut()
        self.playbook(
            "move the volumes without a word that the other is off",
            leg,
            [],
            "which does not prove that it is off",
            None,
        )
        self.verb(
            "promote in the generation that was",
            leg,
            f"promote --generation {number - 1} --peer-is-off",
            "is not newer than",
            None,
        )
        return serving, leg, number

    def old_one_returned(self) -> None:
        """The other was promoted, and the old one is back, sure that it serves."""
        old, new, number = self.serving_lost()
        new.mirror("promote", "--generation", str(number), "--peer-is-off")
        old.start()
        old.up()
        most = new.name
        told = "journalctl -b -u updraft-mirror -o cat --no-pager"
        wait("the old one tells what it does", lambda: len(old.must(told).splitlines()) > 1, 90)
        self.command("start the old one", old, told, "waiting for the leg", most)
        self.verb("go on as before", old, "boot", "waiting for the leg", most)
        self.verb("converge it", old, "converge --wait 3", "waiting for the leg", most)
        self.verb(
            "have it serve alone", old, f"serve --alone --generation {number - 1}", "somebody serves already", most
        )
        self.verb("promote it", old, f"promote --generation {number + 1} --peer-is-off", "serves already", most)
        self.verb("have it hand over", old, "demote", "rejoin --generation", most)
        self.command(
            "assemble all its arrays", old, "mdadm --assemble --scan; cat /proc/mdstat", "unused devices: <none>", most
        )
        self.playbook(
            "move the volumes to it", old, ["-e", f"storage_to={old.name}"], "is an old one that returned", most
        )
        old.mirror("rejoin", "--generation", str(number))
        self.lab.whole()

    def leg_restarted(self) -> None:
        """The leg was started anew, and the one that serves lost its power before it said that all is there again."""
        serving, leg = self.lab.whole()
        number = leg.mirror("status")["generation"] + 1
        serving.must("systemctl stop updraft-mirror")
        leg.cut()
        leg.start()
        leg.up()
        wait("the leg offers its disk, and so knows of its new start", lambda: leg.mirror("status")["exported"], 90)
        serving.cut()
        self.verb(
            "promote a leg that may lack what was written",
            leg,
            f"promote --generation {number} --peer-is-off",
            "not complete",
            None,
        )
        serving.start()
        serving.up()
        self.lab.serving()
        self.lab.whole()


def _settings(machine: Machine) -> dict[str, Any]:
    """What a server was told of the mirror."""
    found: dict[str, Any] = json.loads(machine.must("cat /etc/updraft/mirror.json"))
    return found


def run(inventory: str) -> dict[str, Any]:
    """Try all of them; what was found."""
    attempts = Attempts(inventory)
    found: dict[str, Any] = {"problem": "", "mismatches": None}
    try:
        attempts.both_there()
        attempts.old_one_returned()
        attempts.leg_restarted()
        found["mismatches"] = attempts.lab.differing()
    except (Wrong, Refused) as error:
        found["problem"] = f"{type(error).__name__}: {error}"
    finally:
        attempts.lab.tidy()
    return found | {"ways": [asdict(way) for way in attempts.ways]}


def main() -> int:
    """Exit code 0 when all were refused."""
    parser = argparse.ArgumentParser(description="Ways of getting two servers that write: all have to be refused.")
    parser.add_argument("--inventory", default=INVENTORY)
    parser.add_argument("--report", type=Path, default=ROOT / ".updraft" / "two-writers.json")
    given = parser.parse_args()
    try:
        found = run(given.inventory)
    except Wrong as wrong:
        print(wrong)
        return 2
    keep(given.report, found)
    bad = found["problem"] or found["mismatches"]
    print(f"\n{len(found['ways'])} ways refused; sectors that differ: {found['mismatches']}\n{found['problem']}")
    print(f"{'FAILED' if bad else 'one writer all the time'}: {given.report}")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
