# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role network; see plugin_utils.networkd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.updraft.cloud.plugins.plugin_utils import networkd

Links = Sequence[Mapping[str, Any]]


def networkd_files(links: Links) -> list[dict[str, Any]]:
    """Files of systemd-networkd for these links."""
    try:
        return networkd.networkd_files(links)
    except ValueError as error:
        raise AnsibleFilterError(f"network_links: {error}") from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"networkd_files": networkd_files, "networkd_expected": networkd.networkd_expected}
