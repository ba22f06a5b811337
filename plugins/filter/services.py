# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role openstack; see plugin_utils.services."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.updraft.cloud.plugins.plugin_utils import services


def service_plan(
    names: Sequence[str], folder: str, roles: Sequence[str], elsewhere: Sequence[str] = ()
) -> dict[str, list[Any]]:
    """What a host with these node roles gets of these services."""
    try:
        return services.plan(services.load(names, folder), roles, elsewhere)
    except services.DefinitionError as error:
        raise AnsibleFilterError(str(error)) from error


def service_catalogue(names: Sequence[str], folder: str, url: str, region: str) -> list[dict[str, Any]]:
    """Services and endpoints of these services."""
    try:
        return services.catalogue(services.load(names, folder), url, region)
    except services.DefinitionError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {
            "service_plan": service_plan,
            "service_catalogue": service_catalogue,
            "service_accounts": services.accounts,
        }
