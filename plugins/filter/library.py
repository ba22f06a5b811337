# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter of roles whose programs use this collection's code; see plugin_utils.library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.updraft.cloud.plugins.plugin_utils import library


def library_files(name: str, destination: str) -> list[dict[str, str]]:
    """The files of module_utils that `name` needs, as updraft.cloud.files takes them."""
    try:
        return library.files(name, destination)
    except FileNotFoundError as error:
        raise AnsibleFilterError(f"there is no such file in module_utils: {error.filename}") from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"library_files": library_files}
