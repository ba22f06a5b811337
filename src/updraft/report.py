# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine-readable result of a run: `.updraft/<site>/report.json`, as report.schema.json says."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import jsonschema
import yaml

from updraft.progress import Counts, Failure
from updraft.site import ROOT

Status = Literal["ok", "failed", "hung", "interrupted", "skipped"]
SCHEMA = Path(__file__).with_name("report.schema.json")


@dataclass(slots=True)
class StageResult:
    """How one stage of a run went."""

    name: str
    status: Status
    seconds: float = 0.0
    playbook: str | None = None
    artifacts: str | None = None
    reason: str | None = None
    hosts: dict[str, Counts] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    code: int = 0  # exit code; not part of the report

    @property
    def changed(self) -> int:
        """Tasks of this stage that changed something."""
        return sum(counts.changed for counts in self.hosts.values())

    def as_dict(self) -> dict[str, Any]:
        """The stage as the report has it."""
        known = {"playbook": self.playbook, "artifacts": self.artifacts, "reason": self.reason}
        return {
            "name": self.name,
            "status": self.status,
            "seconds": round(self.seconds, 1),
            **{key: value for key, value in known.items() if value is not None},
            "hosts": {host: asdict(counts) for host, counts in sorted(self.hosts.items())},
        }


def totals(stages: Sequence[StageResult]) -> dict[str, Counts]:
    """Each host's counts over all stages."""
    hosts: dict[str, Counts] = {}
    for stage in stages:
        for host, counts in stage.hosts.items():
            hosts.setdefault(host, Counts()).add(counts)
    return hosts


def overall(stages: Sequence[StageResult]) -> Status:
    """The run's status: that of the first stage which went wrong."""
    return next((stage.status for stage in stages if stage.status not in ("ok", "skipped")), "ok")


def versions(root: Path = ROOT) -> dict[str, str]:
    """What this run was made with."""
    found = {"python": platform.python_version(), "controller": _system(), "kernel": platform.release()}
    for package in ("ansible", "ansible-core", "ansible-runner"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    galaxy = root / "galaxy.yml"
    if galaxy.is_file():
        found["updraft"] = str(yaml.safe_load(galaxy.read_text(encoding="utf-8"))["version"])
    return dict(sorted(found.items()))


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def build_report(
    site: str,
    command: str,
    started: datetime,
    stages: Sequence[StageResult],
    tenant: Mapping[str, Any] | None,
    ended: datetime | None = None,
) -> dict[str, Any]:
    """The whole report. Times are aware (UTC)."""
    ended = ended or datetime.now(UTC)
    hosts = totals(stages)
    return {
        "schema": 1,
        "site": site,
        "command": command,
        "status": overall(stages),
        "started": started.isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
        "seconds": round(max((ended - started).total_seconds(), 0), 1),
        "versions": versions(),
        "stages": [stage.as_dict() for stage in stages],
        "hosts": {host: asdict(counts) for host, counts in sorted(hosts.items())},
        "changed": sum(counts.changed for counts in hosts.values()),
        "failed": sum(counts.failed + counts.unreachable for counts in hosts.values()),
        "tenant": dict(tenant) if tenant is not None else None,
    }


def write_report(file: Path, report: Mapping[str, Any]) -> None:
    """Check the report against its schema, then put it in place in one step."""
    jsonschema.validate(report, json.loads(SCHEMA.read_text(encoding="utf-8")))
    write_private(file, json.dumps(report, indent=2, sort_keys=False) + "\n")


def write_private(file: Path, text: str) -> None:
    """Replace a file by `text`, whole or not at all, readable by its owner alone."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_json(file: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None when it is missing or cut off."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
