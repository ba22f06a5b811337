# SPDX-License-Identifier: GPL-3.0-or-later
"""What all images are made with: the suite, dpkg's and apt's options, parts of the hooks, and the digest of a recipe.

Pure: text and commands. The lab's machines (lab_recipe) and the nodes' image (node_recipe) are made of it, and whatever
changes an image changes its digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SUITE = "trixie"
# What every machine has before it is a node: enough for systemd, SSH and Ansible.
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
DIGITS = 12

DPKG_OPTIONS = (
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
APT_OPTIONS = (
    'Acquire::Languages "none"',
    'Acquire::Retries "5"',
    'Acquire::http::Timeout "60"',
)

# Run by mmdebstrap with the root of the image as $1; DEBS is the cache of packages on this computer.
CACHED_PACKAGES = """\
#!/bin/sh
set -eu
mkdir -p "$1/var/cache/apt/archives/partial"
find "$DEBS" -maxdepth 1 -name '*.deb' -exec cp -l -t "$1/var/cache/apt/archives" {} +
mkdir -p "$1/etc/systemd/system-preset"
"""

# Python is compiled once at the end: package by package it takes a third of the build.
ESSENTIAL_SCRIPT = """\
#!/bin/sh
set -eu
chroot "$1" dpkg-divert --quiet --local --rename --divert /usr/bin/py3compile.real --add /usr/bin/py3compile
ln -s true "$1/usr/bin/py3compile"
"""
RESTORE_COMPILER = """\
rm "$1/usr/bin/py3compile"
chroot "$1" dpkg-divert --quiet --local --rename --remove /usr/bin/py3compile
"""
KEEP_PACKAGES = """\
find "$1/var/cache/apt/archives" -maxdepth 1 -name '*.deb' -exec cp -ln -t "$DEBS" {} + || true
"""

ONLY_PRESETS = """\
# Nothing starts by itself that a role has not asked for.
chroot "$1" systemctl preset-all >/dev/null 2>&1
chroot "$1" systemctl disable systemd-networkd-wait-online.service >/dev/null 2>&1 || true
for script in "$1"/etc/init.d/*; do
    name="${script##*/}"
    [ -e "$1/usr/lib/systemd/system/$name.service" ] || chroot "$1" update-rc.d "$name" disable
done
"""
NOT_THE_SAME_TWICE = """\
# What must differ from machine to machine is made with the machine.
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname" "$1/var/lib/dbus/machine-id" "$1/var/lib/systemd/random-seed"
rm -f "$1/etc/nvme/hostnqn" "$1/etc/nvme/hostid"
: > "$1/etc/machine-id"
rm -f "$1/etc/resolv.conf"
: > "$1/etc/resolv.conf"
printf '127.0.0.1 localhost\\n::1 localhost ip6-localhost ip6-loopback\\n' > "$1/etc/hosts"
install -d -m 0700 "$1/root/.ssh"
: > "$1/etc/fstab"
"""
FRESH_CACHES = """\
# The caches of the linker, the hardware and the journal are fresh: the first start need not make them.
touch "$1/etc/.updated" "$1/var/.updated"
find "$1/var/log" -type f -delete
find "$1/var/cache/debconf" -name '*-old' -delete
"""


class ImageError(Exception):
    """An image cannot be made; the text says why and where to look. Shown without a traceback."""


def mmdebstrap_command(
    packages: Sequence[str], root: str, scripts_directory: str, hooks: Iterable[str], more: Sequence[str] = ()
) -> list[str]:
    """Return the command that makes the root file system in `root`, with hooks from the files of a directory."""
    command = ["mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory"]
    command += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    command += [f"--aptopt={option}" for option in APT_OPTIONS]
    command += ["--skip=essential/unlink", "--hook-dir=/usr/share/mmdebstrap/hooks/eatmydata"]
    command += [f'--{name}-hook={scripts_directory}/{name} "$1"' for name in hooks]
    command += [*more, f"--include={','.join(packages)}", SUITE, root]
    return command


def digest_of(parts: Mapping[str, Any]) -> str:
    """Return hexadecimal digits which stand for everything that makes an image what it is."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:DIGITS]
