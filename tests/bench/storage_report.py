# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests/bench/storage.py found: figures of fio's reports, ratios, a table, a verdict on each bound. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Unit of each measure, and what it is, for people.
UNITS = {"random": "IOPS", "durable": "IOPS", "latency": "ms", "sequential": "MiB/s"}
TITLES = {"random": "4k QD32", "durable": "4k QD32 FUA", "latency": "4k QD1 p99", "sequential": "1 MiB seq"}
DISK, ALONE, PLAIN = "disk", "iscsi", "mirror"
#: The bounds: of the mirror against iSCSI alone, of its bitmap against none, of what a resynchronization copies.
SEQUENTIAL, RANDOM, BITMAP, COPIED = 0.9, 0.6, 0.9, 2.0
MIB = 1 << 20
Event = Mapping[str, Any]
#: By layer and measure: one figure for each round, in their order.
Figures = dict[str, dict[str, list[float]]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bound: what was promised, what was found, and whether that holds."""

    text: str
    found: float
    bound: float
    holds: bool

    def line(self) -> str:
        """For people."""
        return f"{'holds' if self.holds else 'FALLS SHORT':12}{self.text}: {self.found:.2f} (bound {self.bound:g})"


def figure(measure: str, job: Mapping[str, Any]) -> float:
    """The figure of a call of fio: IOPS, ms at the 99th percentile, or MiB/s. Raises ValueError where there is none."""
    write = job["write"]
    if job.get("error") or not write["total_ios"]:
        raise ValueError(f"{measure}: fio wrote {write['total_ios']} times, error {job.get('error')}")
    if measure in ("random", "durable"):
        return float(write["iops"])
    if measure == "sequential":
        return float(write["bw_bytes"]) / MIB
    return float(write["clat_ns"]["percentile"]["99.000000"]) / 1e6


def collect(events: Iterable[Event]) -> Figures:
    """The figures of all rounds."""
    found: Figures = {}
    for event in events:
        if event["event"] == "fio":
            measures = found.setdefault(event["layer"], {})
            measures.setdefault(event["measure"], []).append(figure(event["measure"], event["job"]))
    return found


def ratio(figures: Figures, layer: str, below: str, measure: str) -> float:
    """Median over the rounds of how a layer compares with another one in the same round.

    For latency it is how many times as long it takes; for the others the share that is left.
    """
    pairs = zip(figures[layer][measure], figures[below][measure], strict=True)
    return statistics.median(one / other for one, other in pairs)


def table(figures: Figures, names: Mapping[str, str]) -> list[str]:
    """Medians of all layers, each with its ratio to the raw disk and to iSCSI alone."""
    head = f"{'':26}" + "".join(f"{TITLES[one] + ', ' + UNITS[one]:>19}{'/disk':>8}{'/iscsi':>8}" for one in UNITS)
    lines = [head]
    for layer, measures in figures.items():
        line = f"{names.get(layer, layer):26}"
        for one in UNITS:
            middle = statistics.median(measures[one])
            line += f"{middle:19.2f}" if one == "latency" else f"{middle:19.0f}"
            line += f"{ratio(figures, layer, DISK, one):8.2f}{ratio(figures, layer, ALONE, one):8.2f}"
        lines.append(line)
    return lines


def verdicts(figures: Figures, shipped: str, resyncs: Sequence[Event], names: Mapping[str, str]) -> list[Verdict]:
    """Each bound against what was found; `shipped` is the mirror as the kit makes it."""
    found = []
    for measure, bound in (("sequential", SEQUENTIAL), ("random", RANDOM)):
        value = ratio(figures, shipped, ALONE, measure)
        text = f"{TITLES[measure]} of {names.get(shipped, shipped)} to iSCSI alone"
        found.append(Verdict(text, value, bound, value >= bound))
    for measure in ("sequential", "random"):
        value = ratio(figures, shipped, PLAIN, measure)
        text = f"{TITLES[measure]} of {names.get(shipped, shipped)} to the mirror without a bitmap"
        found.append(Verdict(text, value, BITMAP, value >= BITMAP))
    for event in resyncs:
        if event["layer"] == shipped:
            value = share(event)
            text = f"copied for {event['kind']} writes, to what was written"
            found.append(Verdict(text, value, COPIED, value <= COPIED))
    return found


def share(event: Event) -> float:
    """How many times as much was copied to the leg as was written while it was away. Raises ValueError."""
    if not event["dirtied"]:
        raise ValueError(f"{event['layer']}, {event['kind']}: nothing was written while the leg was away")
    return float(event["copied"]) / float(event["dirtied"])


def copied(resyncs: Sequence[Event], names: Mapping[str, str]) -> list[str]:
    """What was copied to a leg that was away, by layer and kind of writes."""
    lines = [f"{'':26}{'writes':>12}{'dirtied, MiB':>14}{'copied, MiB':>13}{'ratio':>8}{'seconds':>9}"]
    for event in resyncs:
        line = f"{names.get(event['layer'], event['layer']):26}{event['kind']:>12}"
        line += f"{event['dirtied'] / MIB:14.1f}{event['copied'] / MIB:13.1f}{share(event):8.2f}{event['seconds']:9.1f}"
        lines.append(line)
    return lines


def named(layers: Iterable[Event]) -> dict[str, str]:
    """Names of layers for people, with the chunk of the bitmap that the kernel has."""
    words = {
        DISK: "raw disk",
        "lvm": "+ LVM (linear)",
        "thin": "+ LVM (thin)",
        ALONE: "+ iSCSI",
        PLAIN: "+ mirror, no bitmap",
    }
    for event in layers:
        if event["chunk_kib"] is not None:
            words[event["name"]] = f"+ mirror, {event['chunk_kib']} KiB bits"
    return words
