# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.traces: what servers and volumes of tenants are on this machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: traces
short_description: Tell which volumes, targets, sessions, domains and ports of tenants are on this machine
version_added: 0.1.0
description:
  - Reads them from the kernel and from the services on the machine, not from an API. Changes nothing.
  - With I(same_as) it waits until all is as it was then, and fails with the differences if that does not come.
options:
  groups:
    description: Volume groups whose logical volumes count.
    type: list
    elements: str
    default: []
  same_as:
    description: The RV(traces) of an earlier look at this machine.
    type: dict
  only:
    description: Differences count which contain one of these ids. None means that all count.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for I(same_as).
    type: int
    default: 60
attributes:
  check_mode:
    description: Only looks.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Verify | Look what the nodes hold
  updraft.cloud.traces:
    groups: [cinder-volumes]
  register: before

- name: Verify | See that nothing is left
  updraft.cloud.traces:
    groups: [cinder-volumes]
    same_as: "{{ before.traces }}"
"""

RETURN = r"""
traces:
  description: By kind (C(volumes), C(targets), C(backstores), C(sessions), C(records), C(domains), C(ports),
    C(folders)) and name, with details.
  type: dict
  returned: always
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.traces import difference, read

EVERY_SECONDS = 2.0


def main() -> None:
    """Look, and wait if asked."""
    module = AnsibleModule(
        argument_spec={
            "groups": {"type": "list", "elements": "str", "default": []},
            "same_as": {"type": "dict"},
            "only": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    options = module.params
    end = time.monotonic() + options["timeout"]
    while True:
        found = read(options["groups"], Path("/"))
        differences = difference(options["same_as"], found, options["only"]) if options["same_as"] else []
        if not differences:
            module.exit_json(changed=False, traces=found)
        if time.monotonic() >= end:
            module.fail_json(msg="This machine is not as it was: " + "; ".join(differences), traces=found)
        time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    main()
