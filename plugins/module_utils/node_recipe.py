# SPDX-License-Identifier: GPL-3.0-or-later
"""What the diskless image of a node is made of. Pure: commands, scripts and digests.

A recipe is what the site asks for (packages, files, units, settings); its key names it. A version is a recipe together
with the versions of all packages that came of it: two images of one version have the same content.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    ImageError,
    digest_of,
)

PRESETS = "/etc/systemd/system-preset/00-updraft.preset"
RECORD = "/usr/lib/updraft/image.json"
# What tests of packages take: no node runs them.
_TESTS = "path-exclude=/usr/lib/python3/dist-packages/*/tests"
MORE_OPTIONS = tuple(f"--dpkgopt={_TESTS}/{kind}/*" for kind in ("unit", "functional"))
_SECRET = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\$ANSIBLE_VAULT;")
# `Inst name (version archive...)` or `Inst name [old] (version ...)` of apt-get --simulate.
_SIMULATED = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", re.MULTILINE)

# The times of files are no reason to compile again: checked against nothing, the same in every image.
_COMPILE = """\
chroot "$1" python3 -m compileall -qq -j 2 --invalidation-mode unchecked-hash -x '/tests?/' \\
    /usr/lib/python3/dist-packages /usr/lib/python3.* || true
"""
_OVERLAY = """\
cp -a "$OVERLAY/." "$1/"
"""
# Made at the first use, or of no use to a machine made from this; each would differ from build to build.
_NO_TRACES = """\
rm -f "$1/etc/openvswitch/conf.db" "$1/etc/openvswitch/system-id.conf" "$1/var/lib/openvswitch/conf.db"
rm -f "$1"/etc/passwd- "$1"/etc/group- "$1"/etc/shadow- "$1"/etc/gshadow- "$1"/etc/subuid- "$1"/etc/subgid-
rm -f "$1"/var/lib/dpkg/*-old "$1/var/cache/ldconfig/aux-cache" "$1/var/lib/dbus/machine-id"
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb
rm -rf "$1"/tmp/* "$1"/var/tmp/* "$1"/var/log/journal
rm -rf "$1"/var/lib/libvirt/dnsmasq "$1"/var/cache/man "$1"/usr/share/doc/*/README*
rm -f "$1"/etc/ssl/private/ssl-cert-snakeoil.key "$1"/etc/ssl/certs/ssl-cert-snakeoil.pem
find "$1/etc/ssl/certs" -xtype l -delete
# The day on which an account was made is not a day of this image.
sed -i -E 's/^([^:]*:[^:]*):[0-9]+:/\\1:20000:/' "$1/etc/shadow"
"""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the image with its text, or a link with its target."""

    path: str
    content: str = ""
    mode: int = 0o644
    target: str = ""


@dataclass(frozen=True, slots=True)
class NodeRecipe:
    """What the site asks for."""

    kernel: str
    packages: tuple[str, ...]
    files: tuple[File, ...]
    units: tuple[str, ...]
    compression: int

    @property
    def key(self) -> str:
        """Stands for everything but the versions of the packages."""
        parts: dict[str, Any] = {
            "command": mmdebstrap_command(self, "ROOT"),
            "scripts": scripts(),
            "files": [[file.path, file.content, file.mode, file.target] for file in self.files],
            "presets": presets(self.units),
            "pack": squashfs_command("ROOT", "FILE", self.compression, 0),
        }
        return digest_of(parts)


def recipe(
    kernel: str, packages: Iterable[str], files: Sequence[Mapping[str, Any]], units: Iterable[str], compression: int
) -> NodeRecipe:
    """Make a recipe of the module's parameters. Raises ImageError for a file that must not be in an image.

    The image is handed to whoever asks for it on the provisioning network, so it must not hold a secret.
    """
    made = []
    for file in files:
        path, content = str(file["path"]), str(file.get("content") or "")
        if not path.startswith("/") or posixpath.normpath(path) != path:
            raise ImageError(f"files: '{path}' is no absolute path")
        if _SECRET.search(content):
            raise ImageError(f"files: {path} holds a private key or a vault: an image can be read by everybody")
        made.append(File(path, content, int(str(file.get("mode") or "0644"), 8), str(file.get("target") or "")))
    return NodeRecipe(
        kernel=kernel,
        packages=tuple(sorted({*BASE_PACKAGES, *packages, kernel})),
        files=tuple(sorted(made, key=lambda file: file.path)),
        units=tuple(sorted(set(units))),
        compression=compression,
    )


def version(key: str, packages: Mapping[str, str]) -> str:
    """Return the version of the image which a recipe makes of these packages (version by name)."""
    return digest_of({"recipe": key, "packages": dict(packages)})


def presets(units: Iterable[str]) -> str:
    """Return systemd's presets: these units are enabled, all others are not."""
    return "".join(f"enable {unit}\n" for unit in units) + "disable *\n"


def scripts() -> dict[str, str]:
    """Return the script for each hook of mmdebstrap by the hook's name."""
    customize = [RESTORE_COMPILER, _OVERLAY, _COMPILE, KEEP_PACKAGES, ONLY_PRESETS, NOT_THE_SAME_TWICE]
    customize += [_OVERLAY, FRESH_CACHES, _NO_TRACES]
    return {
        "setup": CACHED_PACKAGES + f'cp "$OVERLAY{PRESETS}" "$1{PRESETS}"\n',
        "essential": ESSENTIAL_SCRIPT,
        "customize": "#!/bin/sh\nset -eu\n" + "".join(customize),
    }


def mmdebstrap_command(wanted: NodeRecipe, root: str) -> list[str]:
    """Return the command that makes the root file system in `root`; SCRIPTS stands for the directory of the hooks."""
    return image_recipe.mmdebstrap_command(wanted.packages, root, "SCRIPTS", scripts(), MORE_OPTIONS)


def simulate_command(wanted: NodeRecipe, root: str) -> list[str]:
    """Return the command that asks the archive which packages, in which versions, the image would have."""
    command = ["mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory", "--simulate", "--verbose"]
    return [*command, f"--include={','.join(wanted.packages)}", image_recipe.SUITE, root]


def simulated(text: str) -> dict[str, str]:
    """Return version by package of what a simulation said."""
    return {name.split(":")[0]: found for name, found in _SIMULATED.findall(text)}


def installed(status: str) -> dict[str, str]:
    """Return version by package of the text of dpkg's status file."""
    found = {}
    for block in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return found


def squashfs_command(root: str, to: str, level: int, date: int) -> list[str]:
    """Return the command that packs a root file system; its bytes depend on content, modes, owners and times alone."""
    command = ["mksquashfs", root, to, "-noappend", "-no-progress", "-quiet", "-reproducible", "-mkfs-time", str(date)]
    # Small files packed together are unpacked together, which makes the first start of a service of two thousand Python
    # files several times longer. Each on its own, they take 8 % more memory.
    return [*command, "-comp", "zstd", "-Xcompression-level", str(level), "-b", "128K", "-no-fragments"]
