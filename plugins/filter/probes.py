# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of playbooks/ports.yml; see plugin_utils.probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.updraft.cloud.plugins.plugin_utils import probes


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"port_probes": probes.port_probes, "ring": probes.ring}
