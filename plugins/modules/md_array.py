# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.md_array: arrays of Linux software RAID."""

from __future__ import annotations

DOCUMENTATION = r"""
module: md_array
short_description: Make, assemble and mend arrays of Linux software RAID
version_added: 0.3.0
description:
  - Takes the whole list of arrays, looks at their devices and at what runs, and does what is missing. An array that is
    not in the list is left alone.
  - An array is known by its UUID. It is made when all of its devices are blank, assembled when they are its members,
    and a member that is not in it is taken in again; its write-intent bitmap tells what has to be copied.
  - A disk that holds anything else is refused, with what was found. Disks in use are refused always. All refusals come
    at once, before anything is changed.
  - Nothing is scanned, and an array is not started without all of its members unless that is asked for. Members that
    have both gone on without the other are never put together.
options:
  arrays:
    description: The arrays.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name; it is C(/dev/md/NAME).
        type: str
        required: true
      uuid:
        description: Its UUID in md's form, four times eight hexadecimal digits with colons between them.
        type: str
        required: true
      level:
        description: The RAID level.
        type: int
        choices: [1]
        default: 1
      bitmap:
        description: Where the write-intent bitmap is.
        type: str
        choices: [internal]
        default: internal
      devices:
        description: Its devices, best by names that do not change.
        type: list
        elements: dict
        required: true
        suboptions:
          path:
            description: Path of the block device.
            type: path
            required: true
          write_mostly:
            description: Whether it is read only when no other can be. For a device behind a network.
            type: bool
            default: false
          failfast:
            description: Whether it is given up at the first error instead of being asked again.
            type: bool
            default: false
      state:
        description: Whether it is to run.
        type: str
        choices: [started, stopped]
        default: started
      run_degraded:
        description:
          - Whether it is started though members are missing. Say so only when these are not in use elsewhere.
        type: bool
        default: false
  wipe:
    description: Disks whose content may be destroyed. Those which are in their array already are left alone.
    type: list
    elements: path
    default: []
author: The Updraft developers
"""

EXAMPLES = r"""
- name: storage_mirror | Assemble the mirror
  updraft.cloud.md_array:
    arrays:
      - name: volumes0
        uuid: "6b1b2c6e:0f0d5a6e:9c3f6a0e:3a1d2b4c"
        devices:
          - {path: /dev/vdb}
          - path: /dev/disk/by-path/ip-10.0.1.22:3260-iscsi-iqn.2026-11.org.example:leg-lun-0
            write_mostly: true
            failfast: true
"""

RETURN = r"""
actions:
  description: What was done, or would be done, in order.
  type: list
  elements: str
  returned: always
missing:
  description: The devices of each array that are not there.
  type: dict
  returned: always
"""

import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.md_plan import (
    Wanted,
    WantedDevice,
    apply,
    missing,
    plan,
    read,
)
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, run

UUID = re.compile(r"[0-9a-f]{8}(:[0-9a-f]{8}){3}")
DEVICE = {
    "path": {"type": "path", "required": True},
    "write_mostly": {"type": "bool", "default": False},
    "failfast": {"type": "bool", "default": False},
}
ARRAY = {
    "name": {"type": "str", "required": True},
    "uuid": {"type": "str", "required": True},
    "level": {"type": "int", "choices": [1], "default": 1},
    "bitmap": {"type": "str", "choices": ["internal"], "default": "internal"},
    "devices": {"type": "list", "elements": "dict", "required": True, "options": DEVICE},
    "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
    "run_degraded": {"type": "bool", "default": False},
}


def _wanted(item: dict[str, Any]) -> Wanted:
    devices = tuple(WantedDevice(**device) for device in item["devices"])
    stopped = item["state"] == "stopped"
    return Wanted(item["name"], item["uuid"], devices, item["level"], stopped, item["run_degraded"])


def main() -> None:
    """Plan and apply."""
    module = AnsibleModule(
        argument_spec={
            "arrays": {"type": "list", "elements": "dict", "required": True, "options": ARRAY},
            "wipe": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    for item in module.params["arrays"]:
        if not UUID.fullmatch(item["uuid"]):
            module.fail_json(msg=f"{item['name']}: {item['uuid']} is no UUID in md's form: 8 digits of a-f0-9 x 4")
    wanted = [_wanted(item) for item in module.params["arrays"]]
    try:
        found = read(wanted)
        actions = plan(wanted, found, module.params["wipe"])
    except DisksError as error:
        module.fail_json(msg=str(error))

    def carry_out(action: Action) -> None:
        apply(action, wanted, found)

    run(module, actions, carry_out, missing=missing(wanted, found))


if __name__ == "__main__":
    main()
