# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role verify; see plugin_utils.proof and plugin_utils.proof_volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.updraft.cloud.plugins.plugin_utils import proof, proof_volumes


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {
            "proof_explanation": proof.explanation,
            "proof_isolation": lambda found: proof.isolation(list(found)),
            "proof_nodes": proof.by_node,
            "proof_probes": proof.probes,
            "proof_record": proof.record,
            "proof_story": proof.story,
            "volumes_content": proof_volumes.content,
            "volumes_files": proof_volumes.files,
            "volumes_record": proof_volumes.record,
        }
