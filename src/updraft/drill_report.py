# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill found: pauses out of latencies, the verdict, and both in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

#: One stretch of the load's time line: ms since 1970, the longest read or write in ms, how many ended in it.
Bucket = Sequence[float]
#: Longer than this (ms), a write counts as having paused.
PAUSE_MS = 1000.0
#: The longest pause in seconds that the project promises, by kind of step.
PROMISED = {"leg": 10.0, "failover": 15.0, "back": 15.0}
MIB = 1 << 20


@dataclass(slots=True)
class Step:
    """One thing that was done on purpose. Times are seconds since 1970 of the controller's clock.

    counts: what the step's playbook counted (see playbooks/storage_drill_leg.yml), nothing for most.
    """

    kind: str
    text: str
    began: float
    ended: float = 0.0
    ok: bool = False
    counts: Mapping[str, Any] = field(default_factory=dict)

    def resynced(self) -> int | None:
        """Bytes which were copied to heal: what the leg got beyond what was written to both."""
        if "leg" not in self.counts:
            return None
        return max(0, int(self.counts["leg"]) - int(self.counts["own"]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is known when a drill ends. `load` is None when it could not be measured; `shift` are the seconds by
    which the node's clock is ahead of the controller's."""

    site: str
    node: str
    serving: str
    started: float
    ended: float
    steps: Sequence[Step]
    load: Mapping[str, Any] | None
    shift: float = 0.0
    problems: Sequence[str] = ()


def pause_of(latency: Sequence[Bucket], began: float, ended: float) -> float:
    """The longest pause of a step in seconds: of what ended in it."""
    inside = [took for end, took, _ in latency if began * 1000 <= end < ended * 1000]
    return round(max(inside, default=0.0) / 1000, 3)


def wrongs(load: Mapping[str, Any] | None) -> list[str]:
    """What was lost or failed."""
    if load is None:
        return []
    texts = []
    if load["wrong"]:
        texts.append(f"{load['wrong']} blocks did not hold what was written to them last")
    if load["failed"]:
        texts.append(f"{load['failed']} reads or writes failed")
    if load["kernel_errors"]:
        texts.append(f"the kernel of the node told {len(load['kernel_errors'])} errors: {load['kernel_errors'][0]}")
    if not load["written"] or not load["compared"]:
        texts.append("nothing was written and compared: the drill says nothing")
    return texts


def report(outcome: Outcome) -> dict[str, Any]:
    """The content of drill.json."""
    load = outcome.load
    latency: Sequence[Bucket] = load["latency"] if load else []
    steps = [_step(outcome, number, latency) for number in range(len(outcome.steps))]
    problems = [*outcome.problems, *wrongs(load)]
    if load is None and not problems:
        problems.append("the load was not measured")
    counted = ("rounds", "written", "compared", "wrong", "failed", "seconds", "kernel_errors")
    return {
        "site": outcome.site,
        "started": iso(outcome.started),
        "ended": iso(outcome.ended),
        "result": "failed" if problems else "passed",
        "problems": problems,
        "node": outcome.node,
        "serving": outcome.serving,
        "longest_pause": max((step["pause"] for step in steps), default=0.0) if load else None,
        "steps": steps,
        "load": {key: load[key] for key in counted} if load else None,
    }


def _step(outcome: Outcome, number: int, latency: Sequence[Bucket]) -> dict[str, Any]:
    step = outcome.steps[number]
    following = outcome.steps[number + 1 :]
    # What pauses ends at times after the step, before the next begins.
    until = following[0].began if following else outcome.ended
    pause = pause_of(latency, step.began + outcome.shift, until + outcome.shift) if outcome.load else None
    promised = PROMISED.get(step.kind)
    found: dict[str, Any] = {
        "kind": step.kind,
        "text": step.text,
        "began": iso(step.began),
        "ended": iso(step.ended),
        "seconds": round(step.ended - step.began, 1),
        "ok": step.ok,
        "pause": pause,
        "promised": promised,
        "late": pause is not None and promised is not None and pause > promised,
    }
    if step.resynced() is not None:
        found |= {"resynced_bytes": step.resynced(), "dirtied_bytes": int(step.counts["dirtied"])}
    if step.counts.get("alone") and step.counts.get("cut"):
        found["noticed_seconds"] = round(float(step.counts["alone"]) - float(step.counts["cut"]), 1)
    if step.counts.get("whole") and step.counts.get("restored"):
        found["healed_seconds"] = round(float(step.counts["whole"]) - float(step.counts["restored"]), 1)
    return found


def iso(moment: float) -> str:
    """A time with its zone."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def words(found: Mapping[str, Any]) -> list[str]:
    """drill.json in lines for people."""
    lines = [f"The drill of {found['site']} {found['result']}.", ""]
    for step in found["steps"]:
        late = f", promised at most {step['promised']:.0f} s" if step["late"] else ""
        pause = f"pause {step['pause']:6.1f} s{late}" if found["load"] else "pause not measured: the load was lost"
        lines.append(f"  {step['text']:42} {pause}")
        if "resynced_bytes" in step:
            copied, dirty = step["resynced_bytes"] / MIB, step["dirtied_bytes"] / MIB
            lines.append(f"  {'':42} {copied:.1f} MiB copied, {dirty:.1f} MiB had been written meanwhile")
    load = found["load"]
    if load:
        lines += [
            "",
            f"  {load['written']} writes of 4 KiB, {load['compared']} read and compared on {found['node']}:"
            f" {load['wrong']} wrong, {load['failed']} failed, {len(load['kernel_errors'])} errors in the kernel's log",
        ]
    return [*lines, *(["", *(f"  problem: {text}" for text in found["problems"])] if found["problems"] else [])]
