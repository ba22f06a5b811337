# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.lab_image: the images of the lab's machines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_image
short_description: Build the images of the lab's machines, where the cache has not got them
version_added: 0.1.0
description:
  - The packages of a machine's roles and of every lab machine go into its image, built by mmdebstrap. Its content
    names it, so what has been built is not built again, and machines with the same packages share an image.
  - Two images are built at a time. Those used longest ago go when the cache would grow too large.
options:
  site:
    description:
      - "The lab: C(cloud) of the model, C(nodes) (each machine's C(cloud_node) by name), and the directories C(state)
        (this lab's own) and C(cache) (the images of all labs on the computer)."
    type: dict
    required: true
  state:
    description: V(present) builds what is missing; V(absent) removes the whole cache, also for other labs.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Build the images
  updraft.cloud.lab_image:
    site: "{{ lab_site }}"
"""

RETURN = r"""
images:
  description: The image of each machine.
  returned: when O(state=present)
  type: dict
built:
  description: The images that were built now, or would be in check mode.
  returned: when O(state=present)
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.image_recipe import ImageError
from ansible_collections.updraft.cloud.plugins.module_utils.lab_image import Cache
from ansible_collections.updraft.cloud.plugins.module_utils.lab_recipe import recipe
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import LabError, parse_site


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    try:
        site = parse_site(module.params["site"])
        cache = Cache(site.cache)
        if module.params["state"] == "absent":
            module.exit_json(changed=cache.exists() if module.check_mode else cache.purge())
        wanted = {machine.name: recipe(machine.kind, machine.packages) for machine in site.prepared}
        recipes = list(wanted.values())
        built = [one.name for one in cache.missing(recipes)] if module.check_mode else cache.build(recipes)
    except (LabError, ImageError) as error:
        module.fail_json(msg=str(error))
    result: dict[str, Any] = {"images": {name: one.name for name, one in wanted.items()}, "built": built}
    module.exit_json(changed=bool(built), **result)


if __name__ == "__main__":
    main()
