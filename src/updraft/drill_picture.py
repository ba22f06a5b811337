# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill as a picture: how long reads and writes took, over time, and the steps. Pure but for the template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from updraft.display import duration
from updraft.drill_report import MIB, PAUSE_MS, Bucket

TEMPLATE = "drill.svg.j2"
#: The chart within the picture, in its units.
WIDTH, LEFT, RIGHT, TOP, HEIGHT = 1200, 64, 24, 132, 300
ROW, FOOT = 30, 46
#: What the scale of latencies begins with, and what it reaches at least, in ms.
LEAST_MS, MOST_MS = 0.1, 20_000.0
MARKS = ((0.1, "0.1 ms"), (1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1e3, "1 s"), (1e4, "10 s"), (6e4, "1 min"))
#: Seconds between two marks of the time line: the first with which there are few enough.
STRIDES = (10, 30, 60, 120, 300, 600, 1800)
FEW = 12


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a moment (seconds since 1970) and a latency (ms) are."""

    began: float
    ended: float
    most: float

    def x(self, moment: float) -> float:
        share = (moment - self.began) / max(self.ended - self.began, 1)
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, latency: float) -> float:
        low, high = math.log10(LEAST_MS), math.log10(self.most)
        share = (math.log10(max(latency, LEAST_MS)) - low) / (high - low)
        return round(TOP + HEIGHT * (1 - min(share, 1.0)), 1)


def columns(latency: Sequence[Bucket], scale: Scale) -> list[tuple[float, float]]:
    """The longest of each column of the chart that paused nothing: x and y."""
    found: dict[float, float] = {}
    for end, took, _ in latency:
        if took < PAUSE_MS:
            x = round(scale.x(end / 1000))
            found[x] = max(found.get(x, 0.0), took)
    return [(x, scale.y(took)) for x, took in sorted(found.items())]


def pauses(latency: Sequence[Bucket], scale: Scale) -> list[dict[str, float]]:
    """What waited for more than a second, from its beginning to its end; what overlaps is one, the longest."""
    waits = sorted((end / 1000 - took / 1000, end / 1000, took) for end, took, _ in latency if took >= PAUSE_MS)
    merged: list[list[float]] = []
    for began, ended, took in waits:
        if merged and began <= merged[-1][1]:
            merged[-1][1], merged[-1][2] = max(merged[-1][1], ended), max(merged[-1][2], took)
        else:
            merged.append([began, ended, took])
    return [
        {"x": scale.x(began), "width": max(2.0, round(scale.x(ended) - scale.x(began), 1)), "y": scale.y(took)}
        | {"seconds": round(took / 1000, 1), "middle": round((scale.x(began) + scale.x(ended)) / 2, 1)}
        for began, ended, took in merged
    ]


def bands(steps: Sequence[Mapping[str, Any]], scale: Scale) -> list[dict[str, Any]]:
    """Where each step is in the chart, and its line below it."""
    found = []
    for number, step in enumerate(steps, start=1):
        x, end = scale.x(_moment(step["began"])), scale.x(_moment(step["ended"]))
        found.append(
            {"number": number, "x": x, "width": max(3.0, round(end - x, 1)), "middle": round((x + end) / 2, 1)}
            | {
                "text": step["text"],
                "late": step["late"],
                "ok": step["ok"],
                "y": TOP + HEIGHT + 86 + (number - 1) * ROW,
            }
            | {"pause": _pause(step["pause"]), "took": duration(step["seconds"]), "more": _more(step)}
        )
    return found


def _pause(seconds: float | None) -> str:
    return "not measured" if seconds is None else f"{seconds:.1f} s"


def _more(step: Mapping[str, Any]) -> str:
    if not step["ok"]:
        return "failed"
    texts = []
    if "noticed_seconds" in step:
        texts.append(f"given up after {step['noticed_seconds']:.0f} s")
    if "resynced_bytes" in step:
        texts.append(f"{step['resynced_bytes'] / MIB:.1f} MiB copied for {step['dirtied_bytes'] / MIB:.1f} MiB written")
    if "healed_seconds" in step:
        texts.append(f"whole again {duration(step['healed_seconds'])} later")
    if step["late"]:
        texts.append(f"promised: {step['promised']:.0f} s")
    return ", ".join(texts)


def ticks(scale: Scale) -> list[tuple[float, str]]:
    """The marks of the time line: x, and minutes and seconds since its beginning."""
    length = scale.ended - scale.began
    stride = next((one for one in STRIDES if length / one <= FEW), STRIDES[-1])
    moments = range(0, int(length) + 1, stride)
    return [(scale.x(scale.began + one), f"{one // 60}:{one % 60:02d}") for one in moments]


def picture(found: Mapping[str, Any], latency: Sequence[Bucket], shift: float = 0.0) -> str:
    """Return the picture of drill.json as SVG. `shift` are the seconds by which the node's clock is ahead."""
    latency = [(end - shift * 1000, took, count) for end, took, count in latency]
    moments = [end / 1000 for end, _, _ in latency] or [_moment(found["started"]), _moment(found["ended"])]
    most = max([MOST_MS, *(took * 3 for _, took, _ in latency)])
    ended = max([*moments, *(_moment(step["ended"]) for step in found["steps"])])
    scale = Scale(min(moments), ended, most)
    shown = bands(found["steps"], scale)
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    ).get_template(TEMPLATE)
    load = found["load"] or {}
    return template.render(
        found=found,
        when=datetime.fromisoformat(found["started"]).strftime("%d %B %Y, %H:%M UTC").lstrip("0"),
        lost=_lost(found, load),
        longest=_pause(found["longest_pause"]),
        width=WIDTH,
        height=TOP + HEIGHT + 86 + max(1, len(shown)) * ROW + FOOT - ROW,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=TOP + HEIGHT,
        columns=columns(latency, scale),
        pauses=pauses(latency, scale),
        bands=shown,
        marks=[(scale.y(value), text) for value, text in MARKS if value <= most],
        ticks=ticks(scale),
    )


def _lost(found: Mapping[str, Any], load: Mapping[str, Any]) -> str:
    if found["problems"]:
        return str(found["problems"][0])
    return (
        f"{load['written']:,} writes acknowledged, none lost; {load['compared']:,} blocks read and compared;"
        " no error seen"
    )


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
