# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of all scenarios share: the scenario's model, and probes from inside its network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="session")
def site() -> dict[str, Any]:
    """The scenario's cloud.yml."""
    file = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"], "cloud.yml")
    data: dict[str, Any] = yaml.safe_load(file.read_text())
    return data


@pytest.fixture(scope="session")
def connects(site: dict[str, Any]) -> Callable[[str, int], bool]:
    """Whether a TCP port answers somebody who is on the scenario's networks but no machine of it."""

    def probe(address: str, port: int) -> bool:
        inside = ["nsenter", f"--net=/run/netns/{site['lab']['namespace']}"]
        command = [*inside, "nc", "-z", "-w", "3", address, str(port)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    return probe
