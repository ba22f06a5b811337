# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.journals: what the services of this machine complained of lately."""

from __future__ import annotations

DOCUMENTATION = r"""
module: journals
short_description: Show what the services of a machine complained of lately
version_added: 0.1.0
description:
  - Errors and tracebacks from the journal and from log files in the form that OpenStack writes. Changes nothing.
options:
  units:
    description: Units, or patterns of their names.
    type: list
    elements: str
    default: []
  logs:
    description: Log files, or patterns of their paths.
    type: list
    elements: str
    default: []
  seconds:
    description: How far to look back.
    type: int
    default: 600
  lines:
    description: The last so many lines of each.
    type: int
    default: 15
attributes:
  check_mode:
    description: Only reads.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Show what the compute service complained of
  updraft.cloud.journals:
    units: [nova-compute.service]
    logs: [/var/log/nova/*.log]
"""

RETURN = r"""
complaints:
  description: Lines by unit or file. Those without complaints are left out.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.journals import read


def main() -> None:
    """Read."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "logs": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "int", "default": 600},
            "lines": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )
    options = module.params
    found = read(options["units"], options["logs"], options["seconds"], options["lines"])
    module.exit_json(changed=False, complaints=found)


if __name__ == "__main__":
    main()
