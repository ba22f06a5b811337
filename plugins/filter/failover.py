# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of playbooks/storage_failover.yml and storage_heal.yml; see plugin_utils.failover."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.updraft.cloud.plugins.plugin_utils import failover, losses


def failover_move(
    statuses: Mapping[str, Mapping[str, Any] | None], wanted: str | None = None, off: Collection[str] = ()
) -> dict[str, Any]:
    """What has to be done that `wanted` (or the other server) serves; `refused` says why nothing may be done."""
    try:
        return {"refused": "", **asdict(failover.decide(statuses, wanted or None, [name for name in off if name]))}
    except failover.FailoverError as error:
        return {"refused": str(error)}


def failover_cure(statuses: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """How a storage server that returned is taken in; `refused` says why it cannot be."""
    try:
        return {"refused": "", **asdict(failover.cure(statuses))}
    except failover.FailoverError as error:
        return {"refused": str(error)}


def failover_lost(statuses: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """The server that does not answer while the other is a leg, as `losses.Lost`; empty for anything else."""
    found = losses.lost(statuses)
    return {**asdict(found), "incomplete": losses.incomplete(found)} if found else {}


def failover_late(
    lost: Mapping[str, Any], answers: Iterable[Mapping[str, Any]], users: Iterable[str] = ()
) -> dict[str, Any]:
    """Whether the lost server served nodes after its leg had lost it: `refused` says whom, `unknown` who cannot tell.

    answers: what hosts said (tasks/mirror_losses.yml); users: the hosts that use the volumes.
    """
    found = losses.Lost(**{key: value for key, value in lost.items() if key != "incomplete"})
    return asdict(losses.judge(found, {one["host"]: one for one in answers}, users))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {
            "failover_cure": failover_cure,
            "failover_late": failover_late,
            "failover_lost": failover_lost,
            "failover_move": failover_move,
        }
