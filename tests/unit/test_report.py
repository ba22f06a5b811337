# SPDX-License-Identifier: GPL-3.0-or-later
"""report.json: sums, status, schema, and a file that is never seen half written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest

from updraft.progress import Counts
from updraft.report import StageResult, build_report, overall, read_json, totals, write_report

BEGAN = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)


def stages() -> list[StageResult]:
    return [
        StageResult("images", "ok", 12.34, playbook="playbooks/lab/images.yml", hosts={"a": Counts(ok=3, changed=1)}),
        StageResult("secrets", "skipped", reason="all there"),
        StageResult("converge", "failed", 5, hosts={"a": Counts(ok=1, failed=1), "b": Counts(unreachable=1)}),
    ]


def test_sums_and_status() -> None:
    report = build_report("lab", "lab up", BEGAN, stages(), None, BEGAN + timedelta(seconds=90))
    assert (report["status"], report["seconds"], report["changed"], report["failed"]) == ("failed", 90.0, 1, 2)
    assert report["hosts"]["a"] == {"ok": 4, "changed": 1, "failed": 1, "unreachable": 0, "skipped": 0}
    assert report["stages"][0]["seconds"] == 12.3
    assert "reason" not in report["stages"][0]
    assert report["versions"]["ansible-core"].startswith("2.19.")
    assert totals(stages())["b"] == Counts(unreachable=1)
    assert overall([]) == "ok"


def test_file_is_private_and_fits_the_schema(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_report(file, build_report("lab", "lab up", BEGAN, stages(), {"name": "proof"}))
    assert json.loads(file.read_text())["tenant"] == {"name": "proof"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_what_does_not_fit_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    report = build_report("lab", "lab up", BEGAN, stages(), None)
    write_report(file, report)
    before = file.read_text()
    with pytest.raises(jsonschema.ValidationError):
        write_report(file, {**report, "status": "fine"})
    assert file.read_text() == before


def test_a_cut_file_reads_as_none(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert read_json(file) is None
    file.write_text('{"schema": 1, "sit')
    assert read_json(file) is None
