# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.proof_volumes: a tenant's volumes, their copies and backups, step by step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_volumes
short_description: Be an ordinary tenant who copies volumes, backs them up and restores them
version_added: 0.3.0
description:
  - Uses the cloud by its API as one of its users. Everything that it makes has one name, or begins with it, so that a
    run that was cut is cleaned up by the step C(delete) of the next.
  - Each step waits for its end, with a limit, and says what was awaited and seen last when that does not come.
options:
  step:
    description:
      - C(volume) makes a volume from the image.
      - C(copy) makes a snapshot of I(volume), a volume from that snapshot, and a clone of I(volume).
      - C(backup) backs I(volume) up and restores that to a new volume.
      - C(delete) removes all of it and waits until it is gone.
    type: str
    required: true
    choices: [volume, copy, backup, delete]
  name:
    description: Name of everything that is made.
    type: str
    default: updraft-proof-volumes
  login:
    description: The tenant.
    type: dict
    required: true
    suboptions:
      url: {description: "URL of the identity service, with its version.", type: str, required: true}
      project: {description: The project., type: str, required: true}
      user: {description: The user., type: str, required: true}
      password: {description: The user's password., type: str, required: true}
      region: {description: The region., type: str, default: RegionOne}
  image:
    description: Name of the image; for C(volume).
    type: str
  volume:
    description: Id of the volume; for C(copy) and C(backup).
    type: str
  size_gib:
    description: Size of the volume. At least what the image asks for.
    type: int
    default: 1
  timeout:
    description: Seconds for each wait.
    type: int
    default: 400
requirements: [python3-openstacksdk]
author: The Updraft developers
"""

EXAMPLES = r"""
- name: volumes | Copy the volume
  updraft.cloud.proof_volumes:
    step: copy
    volume: "{{ volume }}"
    login: {url: "https://api.example.org:5000/v3", project: demo, user: demo, password: "{{ password }}"}
"""

RETURN = r"""
found:
  description: Ids of what the step made, by what it is (C(volume), C(snapshot), C(from_snapshot), C(clone), C(backup)
    with where its files lie, C(restored)), or what was removed.
  type: dict
  returned: always
seconds:
  description: Seconds of each part of the step.
  type: dict
  returned: always
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import tenant, tenant_volumes
from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import Api, ApiError
from ansible_collections.updraft.cloud.plugins.module_utils.tenant import Stopwatch, TenantError

Options = Mapping[str, Any]
Found = dict[str, Any]


def volume(api: Api, options: Options, watch: Stopwatch) -> Found:
    """Make the volume."""
    image = tenant.find_image(api, options["image"])
    with watch.measure("volume"):
        made = tenant.make_volume(api, options["name"], image, options["size_gib"], options["timeout"])
    return {"volume": made["id"], "size_gib": made["size"]}


def copy(api: Api, options: Options, watch: Stopwatch) -> Found:
    """Make what is made of a volume within the storage."""
    name, source, limit = options["name"], options["volume"], options["timeout"]
    size = int(api.get("block-storage", f"/volumes/{source}")["volume"]["size"])
    with watch.measure("snapshot"):
        taken = tenant_volumes.snapshot(api, f"{name}-snapshot", source, limit)
    with watch.measure("volume from snapshot"):
        first = tenant_volumes.volume(api, f"{name}-from-snapshot", size, limit, snapshot_id=taken)
    with watch.measure("clone"):
        second = tenant_volumes.volume(api, f"{name}-clone", size, limit, source_volid=source)
    return {"snapshot": taken, "from_snapshot": first, "clone": second}


def backup(api: Api, options: Options, watch: Stopwatch) -> Found:
    """Have a volume twice, by way of the backup node."""
    name, limit = options["name"], options["timeout"]
    with watch.measure("backup"):
        made = tenant_volumes.backup(api, f"{name}-backup", options["volume"], limit)
    with watch.measure("restore"):
        restored = tenant_volumes.restore(api, f"{name}-restored", made, limit)
    return {"backup": tenant_volumes.described(made), "restored": restored}


def delete(api: Api, options: Options, watch: Stopwatch) -> Found:
    """Remove what has the name."""
    with watch.measure("delete"):
        return {"removed": tenant_volumes.remove(api, options["name"], options["timeout"])}


STEPS = {"volume": volume, "copy": copy, "backup": backup, "delete": delete}


def main() -> None:
    """Do one step."""
    login = {
        "url": {"type": "str", "required": True},
        "project": {"type": "str", "required": True},
        "user": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "region": {"type": "str", "default": "RegionOne"},
    }
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "required": True, "choices": list(STEPS)},
            "name": {"type": "str", "default": "updraft-proof-volumes"},
            "login": {"type": "dict", "required": True, "options": login},
            "image": {"type": "str"},
            "volume": {"type": "str"},
            "size_gib": {"type": "int", "default": 1},
            "timeout": {"type": "int", "default": 400},
        },
        required_if=[
            ("step", "volume", ["image"]),
            ("step", "copy", ["volume"]),
            ("step", "backup", ["volume"]),
        ],
    )
    watch, step = Stopwatch(), module.params["step"]
    try:
        found = STEPS[step](Api(**module.params["login"]), module.params, watch)
    except (TenantError, ApiError) as error:
        module.fail_json(msg=str(error), found={}, seconds=watch.seconds)
    changed = step != "delete" or bool(found["removed"])
    module.exit_json(changed=changed, found=found, seconds=watch.seconds)


if __name__ == "__main__":
    main()
