# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.storage_drill: a machine's part in a drill of the storage."""

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_drill
short_description: Take part in a drill of the mirror of volumes
version_added: 0.3.0
description:
  - C(./updraft drill storage) uses it. It cuts iSCSI off at addresses of this machine, loads a canary volume with
    writes which are checked, and tells what became of them.
  - A cut ends by itself after O(seconds), and the load after an hour.
options:
  state:
    description:
      - V(cut) drops iSCSI at O(addresses), V(restored) lets it pass again.
      - V(loaded) starts the load on O(device). V(measured) ends it, has everything read once more, and returns what was
        found.
      - V(clean) removes everything that a drill left on this machine. V(counted) only looks.
    type: str
    required: true
    choices: [cut, restored, loaded, measured, clean, counted]
  addresses:
    description: Addresses of this machine.
    type: list
    elements: str
    default: []
  seconds:
    description: How long a cut may last.
    type: int
    default: 600
  device:
    description: The canary, as the device of all its paths.
    type: path
    default: ""
  disks:
    description: Disks of which the bytes written are returned.
    type: list
    elements: path
    default: []
  mib:
    description: MiB of the area to which each of the two workers writes.
    type: int
    default: 8
  rate:
    description: Writes of 4 KiB a second.
    type: int
    default: 100
  clock:
    description: The controller's clock when it asked, in seconds since 1970. It is returned.
    type: float
    default: 0.0
attributes:
  check_mode:
    description: Does nothing but look.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Cut the leg off for two minutes at most
  updraft.cloud.storage_drill:
    state: cut
    addresses: [10.0.1.22]
    seconds: 120
"""

RETURN = r"""
actions:
  description: What was done.
  type: list
  elements: str
  returned: success
time:
  description: This machine's clock, in seconds since 1970, when it was done.
  type: float
  returned: success
clock:
  description: What was given as O(clock).
  type: float
  returned: success
written:
  description: Bytes written to O(disks) since the machine was started.
  type: int
  returned: success
paths:
  description: How many paths of the canary are up, and how many there are.
  type: dict
  returned: when O(device) is there
load:
  description: What the load wrote, compared, found wrong, and how long it waited.
  type: dict
  returned: with O(state=measured)
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import drill
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError

STATES = ["cut", "restored", "loaded", "measured", "clean", "counted"]


def act(given: dict[str, Any]) -> dict[str, Any]:
    """Do it. Raises DisksError."""
    state, device = given["state"], given["device"]
    found: dict[str, Any] = {}
    actions: list[str] = []
    if state == "cut":
        actions = drill.cut(given["addresses"], given["seconds"])
    elif state == "restored":
        actions = drill.restore()
    elif state == "loaded":
        actions = drill.load(device, given["mib"], given["rate"], wait=30)
    elif state == "measured":
        found["load"] = drill.measure(device)
    elif state == "clean":
        actions = drill.clean(device)
    if device and os.path.exists(device):
        found["paths"] = drill.read_paths(device)
    found |= {"clock": given["clock"], "time": time.time(), "written": drill.written(given["disks"])}
    return {"actions": actions, **found}


def main() -> None:
    """Take part."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": STATES},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "int", "default": 600},
            "device": {"type": "path", "default": ""},
            "disks": {"type": "list", "elements": "path", "default": []},
            "mib": {"type": "int", "default": 8},
            "rate": {"type": "int", "default": 100},
            "clock": {"type": "float", "default": 0.0},
        },
        required_if=[("state", "cut", ["addresses"]), ("state", "loaded", ["device"])],
        supports_check_mode=True,
    )
    given = dict(module.params)
    if module.check_mode:
        given["state"] = "counted"
    try:
        found = act(given)
    except DisksError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(found["actions"]), **found)


if __name__ == "__main__":
    main()
