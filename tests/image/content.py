#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not be in the image of a node: it is given to everybody who asks, and to every machine the same.

    tests/image/content.py DIRECTORY      of one version: with root.squashfs; as root, with squashfs-tools

Says every fault and ends with 1 when there is one. Programs and libraries come as Debian made them; looked at is what
a build or a package's scripts could have written.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

WRITTEN = ("etc", "root", "home", "opt", "srv", "var", "usr/local", "usr/lib/updraft", "usr/sbin/updraft-register")
FORBIDDEN = {
    "etc/ssh/ssh_host_*": "an SSH host key",
    "var/lib/systemd/random-seed": "a seed of random numbers",
    "var/lib/dbus/machine-id": "a machine id",
    "etc/openvswitch/conf.db": "a database of Open vSwitch with its identity",
    "etc/openvswitch/system-id.conf": "an identity of Open vSwitch",
    "etc/hostname": "a name",
    "root/.bash_history": "a history",
    "etc/nvme/hostid": "an identity of NVMe",
}
SECRETS = {
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----": "a private key",
    rb"\$ANSIBLE_VAULT;": "a vault",
    rb"(?m)^[^:#\s]+:\$[0-9a-z]+\$[^:]+:": "the hash of a password",
    rb"(?m)^InitiatorName=iqn": "the name of an initiator",
    rb"(?mi)^(transport_url|connection)\s*=\s*[^\s$<]*:[^\s$<@]+@": "an address with a password",
}
LARGEST = 4 * 1024 * 1024


def faults(root: Path) -> Iterator[str]:
    """Say what is in a root file system that must not be, or is missing."""
    for pattern, what in FORBIDDEN.items():
        for found in root.glob(pattern):
            yield f"/{found.relative_to(root)}: {what}"
    identity = root / "etc/machine-id"
    if not identity.is_file() or identity.read_text():
        yield "/etc/machine-id: must be there and empty"
    for file in _files(root):
        content = file.read_bytes()
        for pattern, what in SECRETS.items():
            if re.search(pattern, content):
                yield f"/{file.relative_to(root)}: {what}"
    keys = root / "root/.ssh/authorized_keys"
    if not keys.is_file() or not keys.read_text().startswith(("ssh-", "ecdsa-")):
        yield "/root/.ssh/authorized_keys: has no public key of the site"
    if "BEGIN CERTIFICATE" not in (root / "etc/updraft/ca.pem").read_text():
        yield "/etc/updraft/ca.pem: is no certificate"


def _files(root: Path) -> Iterator[Path]:
    for part in WRITTEN:
        start = root / part
        for file in [start] if start.is_file() else start.rglob("*"):
            if file.is_file() and not file.is_symlink() and file.stat().st_size <= LARGEST:
                yield file


def extract(squashfs: Path, to: Path) -> Path:
    """Unpack what may have been written; return its root."""
    command = ["unsquashfs", "-quiet", "-no-progress", "-dest", str(to / "root"), str(squashfs), *WRITTEN]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return to / "root"


def main() -> int:
    """Run; 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("image", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="updraft-content-") as directory:
        found = list(faults(extract(asked.image / "root.squashfs", Path(directory))))
    for fault in found:
        print(fault)
    print(f"{asked.image.resolve().name}: {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
