# SPDX-License-Identifier: GPL-3.0-or-later
"""Offers each version of the nodes' image as a disk by iSCSI, read-only, for machines that have no memory for it.

    image_disks.py DIRECTORY PREFIX ADDRESS:PORT
        run as the user that tgtd runs as; TGT_IPC_SOCKET says which tgtd

DIRECTORY has a folder for each version; one with a manifest is complete. The target of a version is PREFIX and its
name. It goes when the version has gone and nobody reads it any more: a machine that runs keeps what it runs.
ADDRESS:PORT is opened last: a machine that comes back to a target which is not there yet is told that there is none,
and would give its root up.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT, MANIFEST = "root.squashfs", "manifest.json"
VERSION = re.compile(r"[0-9a-f]{12}")
LUN = 1


@dataclass(frozen=True)
class Target:
    """A target of tgtd. path: of its disk, empty without one; ready: anybody gets in; used: somebody has."""

    number: int
    path: str = ""
    ready: bool = False
    used: bool = False


def wanted(directory, prefix):
    """Return the file by the name of its target, of each complete version."""
    complete = (file.parent for file in directory.glob(f"*/{MANIFEST}") if not file.parent.is_symlink())
    return {f"{prefix}{path.name}": str(path / ROOT) for path in complete if VERSION.fullmatch(path.name)}


def parse(text):
    """Return the targets by name, of what `tgtadm --op show --mode target` prints."""
    found = {}
    for block in re.split(r"^(?=Target \d+: )", text, flags=re.MULTILINE):
        head = re.match(r"Target (\d+): (\S+)", block)
        if head:
            disk = re.search(r"Backing store path: (/.*)", block)
            used = re.search(r"^\s+I_T nexus: \d+", block, re.MULTILINE) is not None
            ready = disk is not None and re.search(r"ACL information:\s+ALL", block) is not None
            found[head[2]] = Target(int(head[1]), disk[1] if disk else "", ready, used)
    return found


def plan(files, found):
    """Return the arguments of each call of tgtadm. files: wanted by name; found: targets by name."""
    calls = []
    for name, target in sorted(found.items()):
        # What was begun and not finished is made anew.
        if not target.used and (not target.ready or files.get(name) != target.path):
            calls.append(["delete", "--mode", "target", "--force", "--tid", str(target.number)])
    free = max((target.number for target in found.values()), default=0)
    for name, file in sorted(files.items()):
        target = found.get(name)
        if target is not None and (target.used or (target.ready and target.path == file)):
            continue
        free += 1
        tid = ["--tid", str(free)]
        lun = [*tid, "--lun", str(LUN)]
        calls.append(["new", "--mode", "target", *tid, "--targetname", name])
        calls.append(["new", "--mode", "logicalunit", *lun, "--backing-store", file])
        calls.append(["update", "--mode", "logicalunit", *lun, "--params", "readonly=1"])
        # Last: until then nobody gets in.
        calls.append(["bind", "--mode", "target", *tid, "--initiator-address", "ALL"])
    return calls


def tgtadm(*arguments):
    """Run tgtadm; return what it prints. Raises CalledProcessError."""
    command = ["tgtadm", "--lld", "iscsi", "--op", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=30).stdout


def main(directory, prefix, portal):
    """Do what there is to do."""
    calls = plan(wanted(Path(directory), prefix), parse(tgtadm("show", "--mode", "target")))
    if f"Portal: {portal}," not in tgtadm("show", "--mode", "portal"):
        calls.append(["new", "--mode", "portal", "--param", f"portal={portal}"])
    for call in calls:
        print("tgtadm --op", *call, flush=True)
        tgtadm(*call)


if __name__ == "__main__":
    main(*sys.argv[1:])
