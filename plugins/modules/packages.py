# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.packages: all packages of a machine at once, their services held back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install all Debian packages of a machine at once, without starting their services
version_added: 0.1.0
description:
  - Asks dpkg what is missing. If nothing is, no archive is contacted and nothing is changed.
  - While packages are installed, C(/usr/sbin/policy-rc.d) keeps their services from starting with
    settings which are not there yet. It is removed afterwards, also after a failure, and by the next run
    when this one was cut. A policy that was there before comes back.
  - What a cut run left half installed is finished first. Settings that somebody changed are kept.
  - Recommended packages are not installed. Packages are never removed.
options:
  names:
    description: Names of packages.
    type: list
    elements: str
    required: true
  update:
    description: Refresh the lists of the archive before something is installed.
    type: bool
    default: true
attributes:
  check_mode:
    description: Tells what would be installed.
    support: full
  diff_mode:
    description: The packages that come.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Host | Install the packages of all roles
  updraft.cloud.packages:
    names: [chrony, nftables]
"""

RETURN = r"""
installed:
  description: Packages which were, or in check mode would be, installed.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.packages import (
    PackagesError,
    apply,
    plan,
    policy_left,
    read,
    release,
)


def main() -> None:
    """Compare, and install what is missing."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "update": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    names = module.params["names"]
    try:
        todo = plan(names, read(), policy_left=policy_left())
        if todo and not module.check_mode:
            if todo.install or todo.unfinished:
                apply(todo, names, update=module.params["update"])
            release()
    except (PackagesError, OSError) as error:
        module.fail_json(msg=str(error))
    result: dict[str, Any] = {"changed": bool(todo), "installed": list(todo.install)}
    if module._diff:
        lines = [*(f"+{name}\n" for name in todo.install), *(f"~{name} (unfinished)\n" for name in todo.unfinished)]
        if todo.policy_left:
            lines.append("services may start again\n")
        result["diff"] = {"prepared": "".join(lines)} if lines else {}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
