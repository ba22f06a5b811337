# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.guest_image: make the tiny guest from this machine's kernel."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_image
short_description: Make a tiny guest from this machine's kernel and busybox
version_added: 0.1.0
description:
  - Makes three files, C(kernel), C(ramdisk) and C(disk), in a folder named after their recipe below O(path), and
    packs them into one archive beside it.
  - The guest gets its address by DHCP, reads its identity from the metadata service, mounts its first disk and
    serves the page on it by HTTP. It needs 128 MiB of memory.
  - What is there already is not made again.
options:
  path:
    description: Folder for the images.
    type: path
    default: /var/cache/updraft/guest
  busybox:
    description: A statically linked busybox.
    type: path
    default: /bin/busybox
author: The Updraft developers
"""

EXAMPLES = r"""
- name: join | Make the tiny guest
  updraft.cloud.guest_image:
  register: __join_guest
"""

RETURN = r"""
archive:
  description: The tar archive with the three files.
  type: str
  returned: always
recipe:
  description: What identifies the content.
  type: str
  returned: always
release:
  description: The kernel's release.
  type: str
  returned: always
"""

import os
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.guest_image import (
    FILES,
    GuestImageError,
    build,
    find_kernel,
    is_built,
    recipe,
)


def pack(folder: Path, archive: Path) -> None:
    """Put the files of the image into one archive; it appears whole."""
    fresh = archive.with_suffix(".new")
    with tarfile.open(fresh, "w") as tar:
        for name in FILES:
            tar.add(folder / name, arcname=name)
    fresh.rename(archive)


def main() -> None:
    """Make what is missing."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/var/cache/updraft/guest"},
            "busybox": {"type": "path", "default": "/bin/busybox"},
        },
        supports_check_mode=True,
    )
    try:
        kernel = find_kernel(Path("/"), os.uname().release)
        name = recipe(kernel.release)
        folder = Path(module.params["path"]) / name
        archive = folder.with_suffix(".tar")
        missing = not is_built(folder) or not archive.is_file()
        if missing and not module.check_mode:
            build(folder, kernel, Path(module.params["busybox"]))
            pack(folder, archive)
    except (GuestImageError, OSError) as error:
        module.fail_json(msg=f"the tiny guest could not be made: {error}")
    module.exit_json(changed=missing, archive=str(archive), recipe=name, release=kernel.release)


if __name__ == "__main__":
    main()
