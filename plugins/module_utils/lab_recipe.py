# SPDX-License-Identifier: GPL-3.0-or-later
"""What the image of a lab machine is made of. Pure: the text of the commands and scripts, and their digest.

The digest of the rendered recipe names the image in the cache, so whatever changes the image changes its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import ROOT_DISK

SUITE = "trixie"
BASE_PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "kmod",
    "netcat-openbsd",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "systemd",
    "systemd-sysv",
    "udev",
    "zstd",
)
KERNEL_PACKAGE = "linux-image-cloud-amd64"
KIND_PACKAGES = {"container": (), "vm": (KERNEL_PACKAGE, "busybox-static", "e2fsprogs")}
# What a machine needs before its root file system is mounted, with its network cards, so that they get their names.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "ext4", "crc32c_generic", "crc32c_intel")

_DPKG_OPTIONS = (
    "force-unsafe-io",
    "force-confold",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
_APT_OPTIONS = (
    'Acquire::Languages "none"',
    'Acquire::Retries "5"',
    'Acquire::http::Timeout "60"',
)

# Run by mmdebstrap with the root of the image as $1; DEBS is the cache of packages on this computer.
SETUP_SCRIPT = """\
#!/bin/sh
set -eu
mkdir -p "$1/var/cache/apt/archives/partial"
find "$DEBS" -maxdepth 1 -name '*.deb' -exec cp -l -t "$1/var/cache/apt/archives" {} +
mkdir -p "$1/etc/systemd/system-preset"
printf 'enable ssh.service\\nenable systemd-networkd.service\\ndisable *\\n' \\
    > "$1/etc/systemd/system-preset/00-updraft-lab.preset"
"""

# Python is compiled once at the end: package by package it takes a third of the build.
ESSENTIAL_SCRIPT = """\
#!/bin/sh
set -eu
chroot "$1" dpkg-divert --quiet --local --rename --divert /usr/bin/py3compile.real --add /usr/bin/py3compile
ln -s true "$1/usr/bin/py3compile"
"""

CUSTOMIZE_SCRIPT = """\
#!/bin/sh
set -eu
rm "$1/usr/bin/py3compile"
chroot "$1" dpkg-divert --quiet --local --rename --remove /usr/bin/py3compile
chroot "$1" python3 -m compileall -qq -j 2 -x '/tests?/' /usr/lib/python3/dist-packages || true
find "$1/var/cache/apt/archives" -maxdepth 1 -name '*.deb' -exec cp -ln -t "$DEBS" {} + || true
# Nothing starts by itself that a role has not asked for.
chroot "$1" systemctl preset-all >/dev/null 2>&1
chroot "$1" systemctl disable systemd-networkd-wait-online.service >/dev/null 2>&1 || true
for script in "$1"/etc/init.d/*; do
    name="${script##*/}"
    [ -e "$1/usr/lib/systemd/system/$name.service" ] || chroot "$1" update-rc.d "$name" disable
done
# What must differ from machine to machine is made with the machine.
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname" "$1/var/lib/dbus/machine-id" "$1/var/lib/systemd/random-seed"
rm -f "$1/etc/nvme/hostnqn" "$1/etc/nvme/hostid"
: > "$1/etc/machine-id"
rm -f "$1/etc/resolv.conf"
: > "$1/etc/resolv.conf"
printf '127.0.0.1 localhost\\n::1 localhost ip6-localhost ip6-loopback\\n' > "$1/etc/hosts"
install -d -m 0700 "$1/root/.ssh"
: > "$1/etc/fstab"
# The caches of the linker, the hardware and the journal are fresh: the first start need not make them.
touch "$1/etc/.updated" "$1/var/.updated"
find "$1/var/log" -type f -delete
find "$1/var/cache/debconf" -name '*-old' -delete
"""

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
    command = ["mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory"]
    command += [f"--dpkgopt={option}" for option in _DPKG_OPTIONS]
    command += [f"--aptopt={option}" for option in _APT_OPTIONS]
    command += ["--skip=essential/unlink", "--hook-dir=/usr/share/mmdebstrap/hooks/eatmydata"]
    command += [f'--{name}-hook={scripts_directory}/{name} "$1"' for name in scripts()]
    command += [f"--include={','.join(wanted.packages)}", SUITE, root]
    return command


def digest(wanted: Recipe) -> str:
    """Return 12 hexadecimal digits which stand for everything that makes the image what it is."""
    parts = {
        "command": mmdebstrap_command(wanted, "ROOT", "SCRIPTS"),
        "scripts": [*scripts().values(), CONTAINER_INIT if wanted.kind == "container" else INITRD_INIT],
        "boot": (ROOT_DISK, *BOOT_MODULES) if wanted.kind == "vm" else (),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
