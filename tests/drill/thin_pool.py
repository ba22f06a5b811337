# SPDX-License-Identifier: GPL-3.0-or-later
"""The thin pool gets full under checked writes, on the lab of inventories/lab-storage: writes pause, and go on.

    PYTHONPATH=src:. .updraft/venv/bin/python tests/drill/thin_pool.py

What happens, and what has to be true of it:

  grow     a volume on the storage server is filled until the pool is over four fifths: the pool grows by itself
  filling  when the group has no room left, `./updraft storage` tells that the pool is filling, with exit code 3
  nearly   the same at 95 %, in stronger words
  full     node1 writes new blocks until there is no room: its writes wait, and none fails, for longer than the
           minute after which the kernel by itself would fail them; `./updraft storage` says that the pool is full
  room     the volume is removed: the writes of node1 end well, and all that it wrote is read and compared

node1 writes all the while, as in power_cuts.py: by fio with a check of each round on the volume web (the new blocks
are on that one, too), and files with fsync on the volume db. At the end both disks of the mirror are compared, the file
system of db is checked, and each file in it.

A pool that grew stays as large, so `grow` is shown once for each lab: later the drill says that there was no room to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machines import ROOT, Machine, Refused, Wrong, keep, wait
from mirror_lab import BELOW, INVENTORY, RAW, Cut, MirrorLab, bad, lost, verdict

MIB = 1 << 20
FILLER = "drill-filler"
GROWING, RESULT = "thin-pool-growing", "/var/lib/updraft/cuts/growing.json"
#: From where on the blocks of BELOW are new ones: the load has what is before.
NEW_FROM, VOLUME_MIB = 64, 1024
#: Seconds of a full pool: the kernel's own time limit is 60.
HOLD_SECONDS = 90.0
#: dmeventd looks every 10 seconds.
GROW_SECONDS, PIECE_MIB = 40.0, 256
#: What dm-thin says when it gives up: writes fail then, or the pool is out of order.
GIVES_UP = r"\(error IO\) mode|switching pool to (read-only|failure|out-of-metadata)"


@dataclass(slots=True)
class Found:
    """What the drill saw. Percent are of the pool's data; `told` are the problems of `./updraft storage` by phase."""

    grew_mib: tuple[int, int] | None = None
    percent: dict[str, float] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)
    unused_mib: int = 0
    full_seconds: float = 0.0
    after_room_seconds: float = 0.0
    reads_went_on: bool = False
    grown: dict[str, int] = field(default_factory=dict)


def missing_mib(pool: dict[str, Any], percent: float) -> int:
    """What has to be written so that the pool is that full, in MiB; nothing where it is."""
    share = percent - float(pool["data_percent"])
    return max(0, -(-int(share * pool["size_bytes"]) // (100 * MIB)))


def can_grow(pool: dict[str, Any]) -> bool:
    """Say whether the group has what the pool grows by: a fifth of its size (roles/storage_mirror, updraft-pool)."""
    return int(pool["free_bytes"]) >= int(pool["size_bytes"]) / 5


def says(texts: Sequence[str], wanted: str, unwanted: str = "") -> bool:
    """Say whether one of the problems has these words, and none has the others."""
    return any(wanted in text for text in texts) and not (unwanted and any(unwanted in text for text in texts))


class Filling:
    """The pool of the server that serves, from empty to full and back."""

    def __init__(self, inventory: str, lab: MirrorLab, hold: float) -> None:
        self.inventory, self.lab, self.hold = inventory, lab, hold
        self.server: Machine = lab.pair()[0]
        settings = json.loads(self.server.must("cat /etc/updraft/mirror.json"))
        self.group, self.name = settings["group"], settings["thin_pool"]
        self.found = Found()
        #: By the server's own clock.
        self.since = self.server.must("date +%s").strip()
        self.written = 0

    # Looks.

    def pool(self) -> dict[str, Any]:
        """What the server tells of its pool."""
        found: dict[str, Any] | None = self.server.mirror("status")["pool"]
        if found is None:
            raise Wrong(f"{self.server.name} tells nothing of its pool")
        return found

    def told(self, phase: str) -> tuple[int, list[str]]:
        """Exit code and problems of `./updraft storage`."""
        words = [str(ROOT / "updraft"), "storage", self.inventory]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        lines = [line.removeprefix("problem: ") for line in done.stdout.splitlines() if line.startswith("problem: ")]
        self.found.told[phase] = lines
        return done.returncode, lines

    def expect(self, phase: str, code: int, wanted: str = "", unwanted: str = "") -> None:
        """Have `./updraft storage` tell this. Raises Wrong."""
        got, texts = self.told(phase)
        if got != code or (wanted and not says(texts, wanted, unwanted)):
            raise Wrong(f"{phase}: ./updraft storage ended with {got} and told {texts}; expected {code}, '{wanted}'")

    def gave_up(self) -> list[str]:
        """What the kernel of the server said about giving up since the pool began to be filled."""
        script = f"journalctl -k -q -o cat --since=@{self.since} | grep -E '{GIVES_UP}' || true"
        return self.server.must(script).splitlines()

    # The course.

    def prepare(self) -> None:
        """Have a pool that is not full, without what an earlier drill left."""
        self.tidy()
        found = self.pool()
        if found["fails_after"] != 0 or not found["waits"]:
            raise Wrong(f"writes to a full pool would fail: {found}")
        if missing_mib(found, 80) <= 0:
            raise Wrong(f"the pool is {found['data_percent']:.0f}% full before anything was done")
        self.expect("before", 0)
        size = self.server.must(f"vgs --noheadings --units m --nosuffix -o vg_size {self.group}").strip()
        self.server.must(
            f"lvcreate --yes --quiet --type thin --virtualsize {float(size):.0f}m --thinpool {self.name}"
            f" --name {FILLER} {self.group}"
        )

    def fill(self, mib: int) -> None:
        """Write so many MiB more to the filler. Zeros take room in a thin pool as anything else does."""
        while mib > 0:
            piece = min(mib, PIECE_MIB)
            self.server.must(
                f"dd if=/dev/zero of=/dev/{self.group}/{FILLER} bs=1M count={piece} seek={self.written}"
                " oflag=direct conv=notrunc status=none",
                limit=600,
            )
            self.written += piece
            mib -= piece

    def grow(self) -> None:
        """Fill it over the line from which on it grows, and see it grow."""
        before = self.pool()
        if not can_grow(before):
            print("the pool has no room to grow: it grew in an earlier drill", flush=True)
            return
        self.fill(missing_mib(before, 82))

        def larger() -> dict[str, Any] | None:
            now = self.pool()
            return now if now["size_bytes"] > before["size_bytes"] else None

        after = wait("the pool grows by itself", larger, GROW_SECONDS * 2)
        self.found.grew_mib = (before["size_bytes"] // MIB, after["size_bytes"] // MIB)
        print(f"the pool grew by itself: {self.found.grew_mib} MiB", flush=True)

    def fill_to(self, phase: str, percent: float) -> None:
        """Fill until it is that full and does not grow any more."""
        end = time.monotonic() + 1800
        while time.monotonic() < end:
            self.fill(missing_mib(self.pool(), percent))
            size = self.pool()["size_bytes"]
            time.sleep(GROW_SECONDS)
            now = self.pool()
            if now["size_bytes"] == size and now["data_percent"] >= percent:
                self.found.percent[phase] = now["data_percent"]
                print(f"{phase}: {now}", flush=True)
                return
        raise Wrong(f"the pool did not get {percent:.0f}% full: {self.pool()}")

    def overflow(self) -> float:
        """Have node1 write more new blocks than there is room for; when the pool was full."""
        mib = missing_mib(self.pool(), 100) + 64
        if NEW_FROM + mib > VOLUME_MIB:
            raise Wrong(f"{mib} MiB of new blocks do not fit on {RAW}")
        self.found.grown = {"mib": mib}
        fio = (
            f"fio --name=growing --filename={RAW} --allow_file_create=0 --ioengine=libaio --direct=1 --rw=write"
            f" --bs=64k --iodepth=4 --offset={NEW_FROM}m --size={mib}m --verify=crc32c --do_verify=1 --verify_fatal=0"
            f" --verify_state_save=0 --output-format=json --output={RESULT}"
        )
        node = self.lab.node
        node.must(f"rm -f {RESULT}; systemctl reset-failed {GROWING} 2>/dev/null; true")
        # It stays when it has ended: how it ended is asked for later.
        node.must(f"systemd-run --quiet --unit={GROWING} --remain-after-exit {fio}")
        wait("the pool is full", lambda: self.pool()["health"] == "out_of_data", 300)
        return time.time()

    def growing(self) -> str:
        """How the writing of new blocks is, in systemd's words."""
        return self.lab.node.must(f"systemctl show -P SubState {GROWING}").strip()

    def full(self, moment: float) -> None:
        """Look at the full pool for longer than the kernel would wait by itself."""
        self.found.percent["full"] = self.pool()["data_percent"]
        self.found.unused_mib = self.pool()["free_bytes"] // MIB
        self.expect("full", 3, "the thin pool is full: writes wait")
        script = f"timeout 10 dd if={RAW} of=/dev/null bs=4k count=1 iflag=direct status=none"
        self.found.reads_went_on = self.lab.node.run(script, limit=15).returncode == 0
        while time.time() < moment + self.hold:
            if self.growing() != "running":
                raise Wrong(f"the pool was full and the writes did not wait: {GROWING} is {self.growing()}")
            time.sleep(5)
        if self.pool()["health"] != "out_of_data":
            raise Wrong(f"the pool should be full still: {self.pool()}")
        if said := self.gave_up():
            raise Wrong(f"the kernel of {self.server.name} gave up: {said}")

    def room(self, moment: float) -> None:
        """Make room; the writes have to end well."""
        self.server.must(f"lvremove --yes --quiet {self.group}/{FILLER}", limit=300)
        made = time.time()
        self.found.full_seconds = round(made - moment, 1)
        try:
            wait("the writes go on", lambda: self.growing() != "running", 600, every=2)
        except Wrong as wrong:
            raise Wrong(f"{wrong}\n{self.paths()}") from None
        self.found.after_room_seconds = round(time.time() - made, 1)
        node = self.lab.node
        job = json.loads(node.must(f"sed -n '/^{{/,$p' {RESULT}"))["jobs"][0]
        wanted = self.found.grown["mib"] * MIB
        self.found.grown |= {
            "written": job["write"]["io_bytes"],
            "compared": job["read"]["io_bytes"],
            "errors": job["error"] + job.get("total_err", 0),
        }
        if self.found.grown["errors"] or {job["write"]["io_bytes"], job["read"]["io_bytes"]} != {wanted}:
            raise Wrong(f"of {wanted} bytes: {self.found.grown}: {node.run(f'systemctl status {GROWING}').stdout}")
        wait("the pool has room again", lambda: self.told("after")[0] == 0, 180, every=5)

    def paths(self) -> str:
        """What node1 sees of the volumes, where they do not come back."""
        script = (
            "multipath -ll; grep . /sys/class/iscsi_session/*/state /sys/block/sd*/device/{state,timeout};"
            " journalctl -k -n 30"
        )
        return self.lab.node.run(script).stdout

    def tidy(self) -> None:
        """Leave the pool as it was, but for its size: without the filler and the new blocks."""
        remove = f"if [ -e /dev/{self.group}/{FILLER} ]; then lvremove --yes --quiet {self.group}/{FILLER}; fi"
        self.server.run(remove, limit=300)
        self.lab.node.run(f"systemctl stop {GROWING}; systemctl reset-failed {GROWING}", limit=200)
        discard = f"blkdiscard --force --offset {NEW_FROM * MIB} --length {(VOLUME_MIB - NEW_FROM) * MIB}"
        self.server.run(f"{discard} /dev/{self.group}/{BELOW}", limit=300)


def course(filling: Filling) -> None:
    """From a pool with room to a full one and back. Raises Wrong."""
    lab = filling.lab
    # What writes to new places here is this drill.
    lab.prepare(places=False)
    filling.prepare()
    lab.load()
    filling.grow()
    filling.fill_to("filling", 81)
    filling.expect("filling", 3, "of the thin pool is 8", "writes stop when it is full")
    filling.fill_to("nearly", 95.5)
    filling.expect("nearly", 3, "full: writes stop when it is full")
    moment = filling.overflow()
    made = Cut(1, "full", moment=moment)
    print("the pool is full", flush=True)
    filling.full(moment)
    filling.room(moment)
    made.until = time.time()
    lab.cuts, lab.pending = [made], [made]
    lab.compare()


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Do it all; what was found."""
    lab = MirrorLab(given.inventory, rate=100)
    filling = Filling(given.inventory, lab, given.hold)
    found: dict[str, Any] = {"problem": "", "mismatches": [], "checked": {}}
    began = time.time()
    try:
        course(filling)
        found["mismatches"] = [lab.scrub()]
        found["checked"] = lab.checked()
    except (Wrong, Refused) as error:
        found["problem"] = f"{type(error).__name__}: {error}"
    finally:
        filling.tidy()
        lab.tidy()
    saw = filling.found
    found |= {"seconds": round(time.time() - began), "load": lab.totals, "grew_mib": saw.grew_mib}
    found |= {"percent": saw.percent, "told": saw.told, "unused_mib": saw.unused_mib, "new_blocks": saw.grown}
    found |= {"full_seconds": saw.full_seconds, "after_room_seconds": saw.after_room_seconds}
    found |= {"reads_went_on": saw.reads_went_on, "load_pause": lab.cuts[0].pause if lab.cuts else 0.0}
    found["lost"] = lost(found) + saw.grown.get("errors", 0)
    return found


def main() -> int:
    """Exit code 0 when writes paused and nothing was lost."""
    parser = argparse.ArgumentParser(description="The thin pool gets full under checked writes.")
    parser.add_argument("--inventory", default=INVENTORY)
    parser.add_argument("--hold", type=float, default=HOLD_SECONDS, help="seconds for which the pool is left full")
    parser.add_argument("--report", type=Path, default=ROOT / ".updraft" / "thin-pool.json")
    given = parser.parse_args()
    try:
        found = run(given)
    except (Wrong, Refused) as wrong:
        print(wrong)
        return 2
    keep(given.report, found)
    print(
        f"\nthe pool was full for {found['full_seconds']} s, and all was written {found['after_room_seconds']} s after"
        f" there was room; the load's pause {found['load_pause']} s; reads beside it went on: {found['reads_went_on']};"
        f" room that the pool could not take: {found['unused_mib']} MiB\n{verdict(found, given.report)}"
    )
    return 1 if bad(found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
