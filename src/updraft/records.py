# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a run: what was run, how each attempt ended, and ansible-runner's artifacts.

.updraft/<site>/artifacts/20261120T201500Z/run.json
                                           converge-1/   first attempt of stage `converge`
                                           converge-2/   after `--resume`
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from updraft.report import Status, read_json, write_private
from updraft.site import Refusal

#: How a run's folder is named.
STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(slots=True)
class Record:
    """One run that can be taken up again: Ansible converges, so resuming is running it once more."""

    folder: Path
    command: list[str]  # of ./updraft, as it was typed
    playbook: str | None = None
    arguments: list[str] = field(default_factory=list)
    status: Status | None = None  # None: it never came to its end

    @property
    def began(self) -> float:
        """When the run began, in whole seconds since 1970: its folder's name."""
        base = self.folder.name.split("-")[0]
        return datetime.strptime(base, STAMP).replace(tzinfo=UTC).timestamp()

    def attempt(self, stage: str) -> Path:
        """A folder for one more attempt of a stage; it is made by ansible-runner."""
        number = 1 + sum(1 for path in self.folder.glob(f"{stage}-*") if path.is_dir())
        return self.folder / f"{stage}-{number}"

    def save(self) -> None:
        """Write run.json."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = asdict(self)
        del data["folder"]
        write_private(self.folder / "run.json", json.dumps(data, indent=2) + "\n")

    def forget(self) -> None:
        """Remove the folder: nothing in it is worth keeping."""
        shutil.rmtree(self.folder, ignore_errors=True)


def new_record(artifacts: Path, command: list[str], playbook: str | None, arguments: list[str]) -> Record:
    """Begin a run's folder, named by the time (UTC)."""
    base = datetime.now(UTC).strftime(STAMP)
    folder, number = artifacts / base, 1
    while folder.exists():
        number += 1
        folder = artifacts / f"{base}-{number}"
    record = Record(folder, command, playbook, arguments)
    record.save()
    return record


def unfinished(artifacts: Path) -> Record:
    """The newest run of a playbook, if it did not end well; Refusal when there is nothing to take up."""
    for folder in sorted(artifacts.glob("*"), reverse=True):
        data = read_json(folder / "run.json")
        if data is None or not data.get("playbook"):
            continue
        if data.get("status") == "ok":
            break
        return Record(folder, **data)
    raise Refusal("nothing to resume: the last run ended well")


def prune(artifacts: Path, keep: int = 20) -> None:
    """Remove the oldest runs beyond the newest `keep`; their names are times, so they sort."""
    runs = sorted(path for path in artifacts.glob("*") if path.is_dir())
    for path in runs[:-keep]:
        shutil.rmtree(path, ignore_errors=True)
