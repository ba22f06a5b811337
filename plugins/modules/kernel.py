# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.kernel: name, modules and settings of the running kernel."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel
short_description: Give the running kernel its name, modules and settings
version_added: 0.1.0
description:
  - Compares what is wanted with what is true now and changes what differs, in one round trip.
  - Nothing is written to files. For the next boot, write C(/etc/hostname), C(/etc/modules-load.d) and
    C(/etc/sysctl.d) with M(updraft.cloud.files).
options:
  hostname:
    description: The machine's name.
    type: str
  modules:
    description: Modules which are to be loaded. One that is built in counts as loaded. None is removed.
    type: list
    elements: str
    default: []
  settings:
    description: Settings as for sysctl, each C(name.of.setting) with its value.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Tells the plan.
    support: full
  diff_mode:
    description: One element for each action.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Host | Set up the running kernel
  updraft.cloud.kernel:
    hostname: node1
    modules: [iscsi_tcp]
    settings: {net.core.somaxconn: 4096}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.kernel import apply, plan, read
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import run


def main() -> None:
    """Compare and apply."""
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str"},
            "modules": {"type": "list", "elements": "str", "default": []},
            "settings": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    hostname, modules, settings = (module.params[key] for key in ("hostname", "modules", "settings"))
    run(module, plan(hostname, modules, settings, read(hostname, settings)), apply)


if __name__ == "__main__":
    main()
