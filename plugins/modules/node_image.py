# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.node_image: the diskless image of a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_image
short_description: Build the diskless image of a node, where the cache has not got it
version_added: 0.2.0
description:
  - Makes C(root.squashfs), C(vmlinuz) and C(initrd.img) of Debian packages and files with mmdebstrap and live-boot,
    and C(manifest.json) which says what they are.
  - The version is a digest of the recipe and of the versions of all packages. What has been built is not built again.
  - Files must not hold secrets, because everybody on the provisioning network can read an image.
  - Runs on the controller, as root. The packages are shared with the images of the lab.
options:
  kernel:
    description: Debian package of the kernel.
    type: str
    required: true
  packages:
    description: Debian packages. Those of every machine are added.
    type: list
    elements: str
    required: true
  files:
    description: Files of the image. Each replaces one that a package brings.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: str, required: true}
      content: {description: The text., type: str, default: ""}
      mode: {description: Octal digits., type: str, default: "0644"}
      target: {description: What a link points to., type: str, default: ""}
  units:
    description: Units which are enabled. No other one is, but those that need no enabling.
    type: list
    elements: str
    default: []
  compression:
    description: Level of zstd.
    type: int
    default: 9
  refresh:
    description: Ask the archive, and build anew when it has newer packages.
    type: bool
    default: false
  cache:
    description: Directory of the images on the controller.
    type: path
    required: true
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: node_image | Build the image
  updraft.cloud.node_image:
    kernel: linux-image-amd64
    packages: [live-boot, open-iscsi, nova-compute]
    units: [ssh.service]
    cache: /var/cache/updraft
"""

RETURN = r"""
version:
  description: The version; empty when it has to be built first (in check mode).
  returned: always
  type: str
path:
  description: Directory of the image on the controller.
  returned: always
  type: str
manifest:
  description: C(version), C(recipe), C(date), C(files) with C(sha256) and C(bytes). Packages are in the file alone.
  returned: always
  type: dict
reason:
  description: Why it was built, or would be.
  returned: when changed
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.image_recipe import ImageError
from ansible_collections.updraft.cloud.plugins.module_utils.node_image import Found, NodeCache
from ansible_collections.updraft.cloud.plugins.module_utils.node_recipe import recipe

FILE = {
    "path": {"type": "str", "required": True},
    "content": {"type": "str", "default": ""},
    "mode": {"type": "str", "default": "0644"},
    "target": {"type": "str", "default": ""},
}
ARGUMENTS = {
    "kernel": {"type": "str", "required": True},
    "packages": {"type": "list", "elements": "str", "required": True},
    "files": {"type": "list", "elements": "dict", "default": [], "options": FILE},
    "units": {"type": "list", "elements": "str", "default": []},
    "compression": {"type": "int", "default": 9},
    "refresh": {"type": "bool", "default": False},
    "cache": {"type": "path", "required": True},
}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    wanted = module.params
    try:
        made = recipe(wanted["kernel"], wanted["packages"], wanted["files"], wanted["units"], wanted["compression"])
        cache = NodeCache(Path(wanted["cache"]))
        found: Found | None
        if module.check_mode:
            reason = cache.needed(made, refresh=wanted["refresh"])
            found = None if reason else cache.find(made)
        else:
            before = cache.find(made)
            found, built = cache.build(made, refresh=wanted["refresh"])
            reason = _why(before) if built else None
    except (ImageError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=reason is not None,
        version=found.version if found else "",
        path=str(found.path) if found else "",
        manifest={key: value for key, value in found.manifest.items() if key != "packages"} if found else {},
        **({"reason": reason} if reason else {}),
    )


def _why(before: Found | None) -> str:
    if before is None:
        return "no image has been made of this recipe"
    return f"the archive has newer packages than version {before.version}"


if __name__ == "__main__":
    main()
