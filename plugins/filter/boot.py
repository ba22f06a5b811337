# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter of playbooks/group_vars/all/cobbler.yml; see plugin_utils.boot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.updraft.cloud.plugins.plugin_utils import boot


def boot_objects(
    systems: Iterable[Mapping[str, Any]],
    version: str,
    profile: str,
    kernel_options: str,
    versions: Collection[str] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Distros, profiles and systems of the role cobbler."""
    try:
        return boot.objects(systems, version, profile, kernel_options, versions)
    except boot.BootError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"boot_objects": boot_objects}
