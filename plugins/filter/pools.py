# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role storage_pools; see plugin_utils.pools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.updraft.cloud.plugins.plugin_utils import pools as made


def pool_rules(pools: Iterable[Mapping[str, Any]], multipath: bool) -> str:
    """udev's rules for the names of the volumes."""
    return made.rules(pools, multipath=multipath)


def pool_sessions(
    pools: Iterable[Mapping[str, Any]], chap: Mapping[str, str], settings: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The sessions that the pools need."""
    return made.sessions(pools, chap, settings)


def pool_names(pools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The pools with the names of their volumes alone."""
    return made.names(pools)


def pool_device(target: str, lun: str) -> str:
    """The device of all paths to a LUN."""
    return made.device(target, lun)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {
            "pool_device": pool_device,
            "pool_names": pool_names,
            "pool_rules": pool_rules,
            "pool_sessions": pool_sessions,
        }
