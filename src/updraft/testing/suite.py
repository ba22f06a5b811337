# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checks one after the other and counts them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from updraft.display import duration
from updraft.site import ROOT, Refusal
from updraft.testing import boots, live, metal, mirror, scenarios, static, storage
from updraft.testing.base import Check, Context, Failed, Skipped, Verdict


def checks(root: Path = ROOT) -> list[Check]:
    """Every check, in order: the quick ones, then those on a lab, then the scenarios."""
    on_lab = [*live.FIRST, *metal.CHECKS, *boots.CHECKS, *live.LAST]
    return [*static.CHECKS, *on_lab, *storage.CHECKS, *mirror.CHECKS, *scenarios.checks(root)]


def run(*, list_only: bool, only: Sequence[str], long: bool = False, every: Sequence[Check] | None = None) -> int:
    """Make all checks (the long ones with `long`), or only those named; exit code 1 if one failed or none was made."""
    every = checks() if every is None else every
    unknown = sorted(set(only) - {check.name for check in every})
    if unknown:
        raise Refusal(f"no check '{unknown[0]}': there are {', '.join(check.name for check in every)}")
    if list_only:
        width = max(len(check.name) for check in every)
        for check in every:
            print(f"{check.name:{width}}  {check.what}{' (long)' if check.long else ''}")
        return 0
    if only:
        return _run([check for check in every if check.name in only], _context())
    return _run([replace(check, run=_too_long) if check.long and not long else check for check in every], _context())


def _too_long(_context: Context) -> str:
    raise Skipped("it takes long: --long makes it, or --only with its name while the lab is up")


def _context() -> Context:
    logs = ROOT / ".updraft" / "test"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True, mode=0o700)
    return Context(ROOT, logs)


def _run(chosen: Sequence[Check], context: Context) -> int:
    """Make these checks; tell each one's end, and at the end what failed and what was skipped."""
    began = time.monotonic()
    told: dict[str, str] = {}
    for check in chosen:
        print(f"-- {check.name}: {check.what}", flush=True)
        start = time.monotonic()
        context.current = check.name
        verdict, text = _make(check, context)
        context.verdicts[check.name] = verdict
        told[check.name] = text
        print(f"   {verdict} in {duration(time.monotonic() - start)}{': ' if text else ''}{text}", flush=True)
    count = {verdict: list(context.verdicts.values()).count(verdict) for verdict in ("passed", "failed", "skipped")}
    print(f"\nIn all {duration(time.monotonic() - began)}; the output of each check is in {context.logs}")
    for name, verdict in context.verdicts.items():
        if verdict != "passed":
            print(f"{verdict}: {name}: {told[name].splitlines()[0] if told[name] else ''}")
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped", flush=True)
    return 1 if count["failed"] or not count["passed"] else 0


def _make(check: Check, context: Context) -> tuple[Verdict, str]:
    """Make one check."""
    try:
        return "passed", check.run(context)
    except Skipped as skipped:
        return "skipped", str(skipped)
    except Failed as failed:
        return "failed", str(failed)
    except (OSError, ValueError, KeyError, Refusal) as error:
        return "failed", f"{type(error).__name__}: {error}"
