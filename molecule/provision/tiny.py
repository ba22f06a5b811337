# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the smallest thing that can be booted by network: a kernel, and a RAM disk which tells how it was called.

Usage: tiny.py FOLDER. The kernel and its busybox are those of a lab machine, from the cache that all labs share.
Prints `changed` when a file is new.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ansible_collections.updraft.cloud.plugins.module_utils import lab_image, lab_recipe  # noqa: E402
from ansible_collections.updraft.cloud.plugins.module_utils.lab_cpio import Entry, archive  # noqa: E402

CACHE = Path("/var/cache/updraft")
INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
[ -d /sys/firmware/efi ] && firmware=uefi || firmware=bios
echo "tiny-booted firmware=$firmware $(/bin/busybox cat /proc/cmdline) tiny-end" > /dev/console
/bin/busybox poweroff -f
"""


def source() -> lab_image.Image:
    """An image of a virtual machine; a small one is built when there is none."""
    cache = lab_image.Cache(CACHE)
    for path in sorted(cache.images.glob("vm-*/vmlinuz")):
        return lab_image.Image(path.parent.name, path.parent)
    recipe = lab_recipe.recipe("vm", ())
    cache.build([recipe])
    return cache.image(recipe)


def main(folder: Path) -> None:
    """Write kernel and RAM disk into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    image = source()
    # The kernel unpacks archives one after another, so that the later /init is the one that stays.
    initrd = image.initrd.read_bytes() + archive([Entry("/init", INIT.encode(), 0o755)])
    changed = False
    for name, content in {"vmlinuz": image.kernel.read_bytes(), "initrd.img": initrd}.items():
        file = folder / name
        if not file.exists() or file.read_bytes() != content:
            file.write_bytes(content)
            changed = True
    print("changed" if changed else "same")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
