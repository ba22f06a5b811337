# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checks, one after the other, and counts them."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from updraft.display import duration
from updraft.site import ROOT, Refusal
from updraft.testing import boots, live, metal, mirror, scenarios, static, storage
from updraft.testing.base import Check, Context, Failed, Skipped, Verdict, tail

#: Minutes after which nothing of the test command that takes long is to end: a slow computer does not make all of it.
MINUTES = 80
#: Lines that the summary shows of the output of a check that failed.
LAST_LINES = 25


def checks(root: Path = ROOT) -> list[Check]:
    """Every check, in order: the quick ones, then those on the labs, and the scenarios, which are short, each."""
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
    if long:
        return _run(every, _context())
    end = time.monotonic() + MINUTES * 60
    return _run([replace(check, run=_too_long) if check.long else _in_time(check, end) for check in every], _context())


def _in_time(check: Check, end: float) -> Check:
    """The check, which is skipped where it could take longer than until `end`."""

    def run(context: Context) -> str:
        if time.monotonic() + check.minutes * 60 > end:
            raise Skipped(
                f"it may take {check.minutes} minutes, and this computer was too slow before: --only makes it"
            )
        return check.run(context)

    return replace(check, run=run) if check.minutes else check


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
    told = {check.name: _tell(check, context) for check in chosen}
    print(f"\nIn all {duration(time.monotonic() - began)}; the output of each check is in {context.logs}")
    _tell_again(told, context)
    count = {verdict: list(context.verdicts.values()).count(verdict) for verdict in ("passed", "failed", "skipped")}
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped", flush=True)
    return 1 if count["failed"] or not count["passed"] else 0


def _tell_again(told: Mapping[str, str], context: Context) -> None:
    """At the end: what was skipped, by its reason, and what failed, with the last lines of its output."""
    skipped: dict[str, list[str]] = {}
    for name, text in told.items():
        if context.verdicts[name] == "skipped":
            skipped.setdefault(text, []).append(name)
    for reason, names in skipped.items():
        print(f"skipped: {', '.join(names)}: {reason}")
    for name, text in told.items():
        if context.verdicts[name] == "failed":
            first, _, more = text.partition("\n")
            print(f"failed: {name}: {first}")
            print(textwrap.indent(tail(more or replace(context, current=name).output(), LAST_LINES), "    "))


def _tell(check: Check, context: Context) -> str:
    """Make a check and tell its beginning and its end; what is to be said of it."""
    print(f"-- {check.name}: {check.what}", flush=True)
    start = time.monotonic()
    verdict, text = _make(check, replace(context, current=check.name))
    context.verdicts[check.name] = verdict
    print(f"   {verdict} in {duration(time.monotonic() - start)}{': ' if text else ''}{text}", flush=True)
    return text


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
