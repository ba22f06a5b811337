# SPDX-License-Identifier: GPL-3.0-or-later
"""The load of a drill with the real fio, on a file in place of a volume: a write that was lost is found."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import drill_load

pytestmark = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
MIB = 1 << 20


def loaded(tmp_path: Path, disturb: Callable[[Path, subprocess.Popen[bytes]], None]) -> dict[str, Any]:
    """Load a file for a few seconds, disturb it, end in order; the result, with the latencies."""
    device, folder = tmp_path / "device", tmp_path / "folder"
    device.write_bytes(bytes(2 * MIB))
    words = [sys.executable, drill_load.__file__, "--device", str(device), "--folder", str(folder)]
    process = subprocess.Popen([*words, "--mib", "1", "--rate", "200"])
    try:
        time.sleep(2)
        disturb(device, process)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
    finally:
        process.kill()
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return {**found, "code": code, "latency": json.loads((folder / "latency.json").read_text())}


def test_nothing_wrong(tmp_path: Path) -> None:
    found = loaded(tmp_path, lambda device, process: time.sleep(1))
    assert (found["code"], found["wrong"], found["failed"]) == (0, 0, 0)
    assert found["written"] >= 256
    assert found["compared"] >= 2 * 256


def test_a_write_that_went_back_to_what_it_was_before_is_lost(tmp_path: Path) -> None:
    def revert(device: Path, _process: subprocess.Popen[bytes]) -> None:
        old = device.read_bytes()
        time.sleep(4)
        with device.open("r+b") as handle:
            handle.write(old)

    found = loaded(tmp_path, revert)
    assert found["code"] == 1
    assert found["wrong"] > 0
