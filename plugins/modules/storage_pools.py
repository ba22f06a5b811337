# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.storage_pools: libvirt's storage pools over volumes that a machine has by iSCSI."""

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_pools
short_description: Have libvirt list the volumes of storage pools
version_added: 0.4.0
description:
  - Takes the whole list of pools, compares it with libvirt and defines, starts and refreshes what differs.
  - Each is a folder of links in C(/dev/updraft), which udev makes for the volumes. A pool over such a folder that is
    not in the list is removed from libvirt; other pools are left alone. No volume is ever touched.
options:
  pools:
    description: The pools.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      volumes:
        description: Names of its volumes.
        type: list
        elements: str
        required: true
attributes:
  check_mode:
    description: Tells the plan.
    support: full
  diff_mode:
    description: One element for each pool.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: storage_pools | Have libvirt list them
  updraft.cloud.storage_pools:
    pools:
      - {name: vms, volumes: [web, db]}
"""

RETURN = r"""
actions:
  description: What was done, or would be done.
  returned: success
  type: list
  elements: str
  sample: [create storage pool vms]
"""

import shutil

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import run
from ansible_collections.updraft.cloud.plugins.module_utils.storage_pools import (
    PoolsError,
    apply,
    desired,
    plan,
    read,
)


def main() -> None:
    """Plan and apply."""
    pool = {
        "name": {"type": "str", "required": True},
        "volumes": {"type": "list", "elements": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={"pools": {"type": "list", "elements": "dict", "required": True, "options": pool}},
        supports_check_mode=True,
    )
    wanted = desired(module.params["pools"])
    if module.check_mode and shutil.which("virsh") is None:
        run(module, plan(wanted, {}), lambda action: None)
    try:
        actual = read()
    except PoolsError as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        module.warn(f"libvirt does not answer yet: {error}")
        actual = {}
    run(module, plan(wanted, actual), lambda action: apply(action, wanted))


if __name__ == "__main__":
    main()
