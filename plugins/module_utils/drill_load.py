# SPDX-License-Identifier: GPL-3.0-or-later
"""Checked load on a block device: fio writes, reads back what it wrote, and keeps how long each piece took.

It runs on a compute node, alone, by the system's Python: `drill_load.py --device /dev/mapper/X --folder /var/lib/...`.
Two workers have an area each. A round of one writes every block of its area once, in random order, with the round's
number in all of it, and then reads it all: a block that is still of an earlier round is a lost write, also when its
checksum would be right. SIGTERM ends it in order: rounds are finished, and everything is read once more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BLOCK = 4096
MIB = 1 << 20
#: Milliseconds over which latencies are put together; what took longer than SLOW_MS is kept one by one.
BUCKET_MS = 200
SLOW_MS = 1000.0
RESULT, LATENCY = "result.json", "latency.json"
#: fio's exit code, and `error` in its report, for a block that did not hold what it should.
EILSEQ = 84
Bucket = list[float]


@dataclass(slots=True)
class Count:
    """What a worker did: blocks written (all acknowledged), read and compared, found wrong, and failed calls."""

    rounds: int = 0
    written: int = 0
    compared: int = 0
    wrong: int = 0
    failed: int = 0
    seconds: float = 0.0

    def add(self, other: Count) -> None:
        """Add what another one did."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True, slots=True)
class Area:
    """What a worker writes to: `size` bytes from `offset` on, `rate` writes a second (0: as many as go)."""

    device: str
    offset: int
    size: int
    rate: int
    depth: int


def command(area: Area, number: int, prefix: Path, *, read_only: bool) -> list[str]:
    """Return fio's command line for a round, or for one more reading of what the round wrote."""
    words = ["fio", "--name=canary", f"--filename={area.device}", "--ioengine=libaio", "--direct=1", f"--bs={BLOCK}"]
    # Each write asks to be kept, as those of virtual machines do.
    words += ["--sync=dsync"]
    words += [f"--offset={area.offset}", f"--size={area.size}", f"--iodepth={area.depth}", "--allow_file_create=0"]
    words += [f"--rw={'read' if read_only else 'randwrite'}", "--do_verify=1", "--verify_fatal=0", "--verify_dump=0"]
    # The round and the place: a block of another round, or from elsewhere, differs.
    words += ["--verify=pattern", f"--verify_pattern=0x{number & 0xFFFFFFFF:08x}%o", "--continue_on_error=verify"]
    words += ["--verify_state_save=0", f"--write_lat_log={prefix}", "--output-format=json"]
    words += ["--log_alternate_epoch=1", "--log_alternate_epoch_clock_id=0"]
    if area.rate and not read_only:
        words.append(f"--rate_iops=,{area.rate}")
    return words


def report(text: str) -> Mapping[str, Any]:
    """Read fio's JSON, before which it may have printed other things. Empty where there is none."""
    start = text.find("{\n")
    try:
        found = json.loads(text[start:]) if start >= 0 else {}
    except ValueError:
        return {}
    jobs = found.get("jobs") or [{}]
    return dict(jobs[0])


def count(job: Mapping[str, Any], code: int) -> Count:
    """Return what a call of fio did."""
    if not job:
        return Count(failed=1)
    error, bad = int(job.get("error", 0)), int(job.get("total_err", 0))
    checked = error in (0, EILSEQ)
    return Count(
        written=int(job["write"]["total_ios"]),
        compared=int(job["read"]["total_ios"]),
        wrong=bad if error == EILSEQ else 0,
        failed=0 if checked and code in (0, 1) else max(1, bad),
    )


def samples(lines: Iterable[str]) -> Iterator[tuple[float, float]]:
    """Read fio's log: when each read or write ended (ms since 1970), and how long it took (ms)."""
    for line in lines:
        fields = line.split(",")
        with contextlib.suppress(ValueError, IndexError):
            yield float(fields[0]), float(fields[1]) / 1e6


def buckets(found: Iterable[tuple[float, float]]) -> list[Bucket]:
    """Return [ms since 1970, longest in ms, how many] for each stretch of time in which something ended.

    What took long stands alone, with the exact time of its end: a pause is told by it.
    """
    short: dict[int, Bucket] = {}
    long: list[Bucket] = []
    for end, took in found:
        if took >= SLOW_MS:
            long.append([round(end), round(took, 1), 1])
            continue
        bucket = short.setdefault(int(end // BUCKET_MS), [float(int(end // BUCKET_MS) * BUCKET_MS), 0.0, 0])
        bucket[1], bucket[2] = max(bucket[1], round(took, 1)), bucket[2] + 1
    return sorted([*short.values(), *long])


class Worker(threading.Thread):
    """Round after round on one area."""

    def __init__(self, number: int, area: Area, folder: Path, ending: threading.Event, first: int) -> None:
        """`first` is the number of its first round."""
        super().__init__(name=f"worker{number}")
        self.number, self.area, self.folder, self.ending = number, area, folder, ending
        self.round = first
        self.count = Count()
        self.latency: list[Bucket] = []

    def run(self) -> None:
        """Write and compare until the end is wanted, then compare once more."""
        # The workers take turns in comparing: one always writes.
        self.ending.wait(self.number * self.area.size / BLOCK / (self.area.rate or 500) / 2)
        began = time.monotonic()
        while not self.ending.is_set():
            self.round += 1
            done = self.fio(read_only=False)
            self.count.add(done)
            self.count.rounds += 1
            if done.failed:
                self.ending.wait(1)
        if self.count.rounds:
            self.count.add(self.fio(read_only=True))
        self.count.seconds = time.monotonic() - began

    def fio(self, *, read_only: bool) -> Count:
        """Call fio once; what it did."""
        prefix = self.folder / f"fio{self.number}"
        words = command(self.area, self.round, prefix, read_only=read_only)
        # A session of its own: the signal which ends this program in order leaves fio alone.
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, cwd=self.folder, start_new_session=True
        )
        log = self.folder / f"fio{self.number}_lat.1.log"
        if log.exists():
            with log.open() as lines:
                self.latency += buckets(samples(lines))
        for path in self.folder.glob(f"fio{self.number}_*.log"):
            path.unlink()
        found = count(report(done.stdout), done.returncode)
        if found.failed or found.wrong:
            with (self.folder / "errors.log").open("a") as errors:
                print(f"round {self.round} of worker {self.number}: {done.stderr[-2000:]}", file=errors)
        return found


def areas(device: str, workers: int, mib: int, rate: int, depth: int) -> list[Area]:
    """Return the workers' areas, one behind the other."""
    return [Area(device, number * mib * MIB, mib * MIB, rate // workers, depth) for number in range(workers)]


def total(workers: Sequence[Worker]) -> dict[str, Any]:
    """Return what all of them did."""
    summed = Count()
    for worker in workers:
        summed.add(worker.count)
    return {**asdict(summed), "seconds": max((worker.count.seconds for worker in workers), default=0.0)}


def write_json(path: Path, data: Any) -> None:
    """Write a file in whole."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(data))
    new.rename(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the device until SIGTERM; exit code 1 when something was lost or failed."""
    parser = argparse.ArgumentParser(prog="drill_load.py")
    parser.add_argument("--device", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mib", type=int, default=8, help="MiB of each worker's area")
    parser.add_argument("--rate", type=int, default=100, help="writes a second, of all workers together")
    parser.add_argument("--depth", type=int, default=4)
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in (RESULT, LATENCY, "errors.log"):
        (given.folder / name).unlink(missing_ok=True)
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())
    first = int(time.time()) & 0x7FFFFFFF
    areas_ = areas(given.device, given.workers, given.mib, given.rate, given.depth)
    workers = [Worker(number, area, given.folder, ending, first) for number, area in enumerate(areas_)]
    for worker in workers:
        worker.start()
    for worker in workers:
        while worker.is_alive():
            worker.join(1)
    found = total(workers)
    write_json(given.folder / LATENCY, sorted(bucket for worker in workers for bucket in worker.latency))
    write_json(given.folder / RESULT, {**found, "ended": time.time(), "pid": os.getpid()})
    return 1 if found["wrong"] or found["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
