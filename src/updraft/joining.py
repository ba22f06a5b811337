# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that change who is a node of the cloud: `rollout` and `retire`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from updraft import hosts, lab
from updraft.commands import close, session_of
from updraft.records import Record, new_record
from updraft.report import StageResult, build_report, write_report
from updraft.rollout import Rollout, watch
from updraft.runner import Stage, run_stage
from updraft.site import Site


@dataclass(frozen=True, slots=True)
class Limits:
    """How many machines at a time, and how many may fail."""

    batch: int
    failures: int


def rollout(site: Site, limits: Limits, typed: list[str], *, watching: bool, raw: bool) -> int:
    """Make approved machines nodes of the cloud: 0 when all came into service."""
    client = hosts.client_of(site)
    started = datetime.now(UTC)
    with contextlib.nullcontext() if watching else site.lock():
        # It names no playbook: `run --resume` does not take it up, the next rollout does.
        record = new_record(site.state / "artifacts", typed, None, [])
        with session_of(site, record, raw=raw) as session:
            made = Rollout(session, client, limits.batch, limits.failures)
            went_on = watch(made) if watching else made.once()
        _finish(site, record, made.results, started)
    worst = next((result.code for result in made.results if result.code), 0)
    return worst or (0 if went_on and not made.given_up else 1)


def retire(site: Site, name: str, typed: list[str], *, force: bool, raw: bool) -> int:
    """Take a machine out of the cloud, and let the others forget it."""
    hosts.retirable(site, name)
    started = datetime.now(UTC)
    words = json.dumps({"retire_host": name, "retire_force": force})
    stages = (
        Stage("retire", hosts.playbook(site, "retire"), ("--extra-vars", words), hosts=name),
        Stage("acquaint", hosts.playbook(site, "acquaint"), hosts="the others"),
    )
    results: list[StageResult] = []
    with site.lock():
        record = new_record(site.state / "artifacts", typed, None, [])
        with session_of(site, record, raw=raw) as session:
            for stage in stages:
                results.append(run_stage(session, stage))
                if results[-1].status != "ok":
                    break
        _finish(site, record, results, started)
    if all(result.status == "ok" for result in results):
        print(f"\n{name} is retired. To use the machine again, start it: it registers as one that nobody knows")
    return next((result.code for result in results if result.code), 0)


def _finish(site: Site, record: Record, results: Sequence[StageResult], started: datetime) -> None:
    """Write down how it went; what was proved of the cloud no longer holds if anything changed."""
    close(site, record, results)
    if any(result.changed for result in results):
        lab.Proof(site).suspend()
    if results:
        command = " ".join(record.command)
        write_report(site.state / "report.json", build_report(site.name, command, started, results, lab.tenant(site)))
