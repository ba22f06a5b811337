# SPDX-License-Identifier: GPL-3.0-or-later
"""What the image of a lab machine is made of. Pure: the text of the commands and scripts, and their digest.

The digest of the rendered recipe names the image in the cache, so whatever changes the image changes its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.updraft.cloud.plugins.module_utils import image_recipe
from ansible_collections.updraft.cloud.plugins.module_utils.image_recipe import (
    BASE_PACKAGES,
    CACHED_PACKAGES,
    ESSENTIAL_SCRIPT,
    FRESH_CACHES,
    KEEP_PACKAGES,
    NOT_THE_SAME_TWICE,
    ONLY_PRESETS,
    RESTORE_COMPILER,
    digest_of,
)
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import ROOT_DISK

KERNEL_PACKAGE = "linux-image-cloud-amd64"
KIND_PACKAGES = {"container": (), "vm": (KERNEL_PACKAGE, "busybox-static", "e2fsprogs")}
# What a machine needs before its root file system is mounted, with its network cards, so that they get their names.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "ext4", "crc32c_generic", "crc32c_intel")

SETUP_SCRIPT = (
    CACHED_PACKAGES
    + """\
printf 'enable ssh.service\\nenable systemd-networkd.service\\ndisable *\\n' \\
    > "$1/etc/systemd/system-preset/00-updraft-lab.preset"
"""
)
_COMPILE = """\
chroot "$1" python3 -m compileall -qq -j 2 -x '/tests?/' /usr/lib/python3/dist-packages || true
"""
CUSTOMIZE_SCRIPT = (
    "#!/bin/sh\nset -eu\n"
    + RESTORE_COMPILER
    + _COMPILE
    + KEEP_PACKAGES
    + ONLY_PRESETS
    + NOT_THE_SAME_TWICE
    + FRESH_CACHES
)

# A container shares the kernel of this computer: what is not of a namespace is made read-only before systemd starts,
# and podman's own bind mounts go, so that the host role can replace these files.
CONTAINER_INIT = """\
#!/bin/sh
for path in kernel vm fs dev debug; do
    [ -d "/proc/sys/$path" ] || continue
    mount --bind "/proc/sys/$path" "/proc/sys/$path" && mount -o remount,ro,bind "/proc/sys/$path"
done
for path in /etc/hosts /etc/hostname /etc/resolv.conf; do
    umount "$path" 2>/dev/null
done
exec /sbin/init
"""

# The init of the initial RAM disk of a virtual machine. /names says which network card has which name, /seed is what
# makes an image this machine; an empty machine-id says that it has not been written yet, so that comes last.
INITRD_INIT = """\
#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /bin /proc /sys /dev /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order
if grep -q updraft.probe /proc/cmdline; then
    echo updraft-probe-passed > /dev/console
    poweroff -f
fi
for step in a b; do
    [ -e /names ] || break
    while read -r mac name; do
        for card in /sys/class/net/*; do
            [ "$(cat "$card/address")" = "$mac" ] || continue
            if [ $step = a ]; then ip link set "${card##*/}" name "x$name"; else ip link set "x$name" name "$name"; fi
        done
    done < /names
done
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
mount -t ext4 /dev/vda /root || { echo 'updraft: no root file system'; poweroff -f; }
if [ -d /seed ] && [ ! -s /root/etc/machine-id ]; then
    cp -a /seed/. /root/ && sync && cp /machine-id /root/etc/machine-id
fi
mount -o move /dev /root/dev
umount /proc /sys
exec switch_root /root /sbin/init
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image: what kind of machine it is for, and the packages in it."""

    kind: str  # container | vm
    packages: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name in the cache: the kind, and the digest of all that goes into the image."""
        return f"{self.kind}-{digest(self)}"


def recipe(kind: str, packages: Sequence[str]) -> Recipe:
    """Return the recipe for a machine of this kind with these packages and those of every lab machine."""
    return Recipe(kind=kind, packages=tuple(sorted({*BASE_PACKAGES, *KIND_PACKAGES[kind], *packages})))


def scripts() -> dict[str, str]:
    """Return the script for each hook of mmdebstrap by the hook's name."""
    return {"setup": SETUP_SCRIPT, "essential": ESSENTIAL_SCRIPT, "customize": CUSTOMIZE_SCRIPT}


def mmdebstrap_command(wanted: Recipe, root: str, scripts_directory: str) -> list[str]:
    """Return the command that makes the root file system in `root`, with hooks from the files of a directory."""
    return image_recipe.mmdebstrap_command(wanted.packages, root, scripts_directory, scripts())


def digest(wanted: Recipe) -> str:
    """Return 12 hexadecimal digits which stand for everything that makes the image what it is."""
    parts = {
        "command": mmdebstrap_command(wanted, "ROOT", "SCRIPTS"),
        "scripts": [*scripts().values(), CONTAINER_INIT if wanted.kind == "container" else INITRD_INIT],
        "boot": (ROOT_DISK, *BOOT_MODULES) if wanted.kind == "vm" else (),
    }
    return digest_of(parts)
