#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the layers of the mirrored storage cost, against the raw disk, in one run in one virtual machine.

    PYTHONPATH=src:. .updraft/venv/bin/python tests/bench/storage.py [--chunk 64 --chunk 256 ...]

The layers: a raw disk; LVM on it, linear and thin as the kit makes it; that thin volume served by LIO and had by
open-iscsi on the same machine; the mirror, without and with its bitmap: RAID1 of a disk and of one that is served by
iSCSI (mutual CHAP, write-mostly, failfast), a thin volume on it, served by iSCSI. All of it is made by the kit's own
code, each layer on disks of its own. Every round measures every layer in turn; told are the medians of the figures,
and of the ratios within a round. Afterwards the leg of each mirror with a bitmap is lost while something is written,
and what is then copied to it is counted at its device.

--chunk measures more mirrors, with other sizes in KiB of what a bit of the bitmap stands for. Bounds are judged for the
size that the kit has. mdadm keeps 4 KiB for the bitmap of an array of less than 8 GiB, so that with a large --area the
smallest sizes do not fit; what the kernel has is told.

What the figures mean: fio goes around the machine's page cache (direct=1), but its disks are files of this computer
behind its page cache (cache=unsafe), so no disk's own speed is in them. Without KVM everything is bound by the
processor, which the initiator, both targets and md share: the second copy and the second way by iSCSI take their time
from the same two cores, where real servers have their own. The network is the machine's loopback (no card, MTU 64 KiB).
Ratios hold for that; absolute figures say nothing of a real server. Nodes have volumes by multipath; here by one path.

The machine is of the image of a storage server of --inventory with fio added, in a lab of its own (namespace
updraft-bench); nothing of the inventory's own machines is used. It is removed at the end, unless --keep. Needs root.
Exit code 0 when all bounds hold, 1 when one does not, 2 when nothing was measured.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage_report import collect, copied, named, table, verdicts

from ansible_collections.updraft.cloud.plugins.module_utils import lab_machine, lab_network
from ansible_collections.updraft.cloud.plugins.module_utils.image_recipe import ImageError
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_sessions import parse_record
from ansible_collections.updraft.cloud.plugins.module_utils.lab_image import Cache
from ansible_collections.updraft.cloud.plugins.module_utils.lab_recipe import recipe
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import LabError, Site, parse_site
from ansible_collections.updraft.cloud.plugins.module_utils.md_arrays import BITMAP_CHUNK
from ansible_collections.updraft.cloud.plugins.plugin_utils.library import files
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import read
from updraft.site import Refusal, find_site

ROOT = Path(__file__).resolve().parents[2]
NAME, ADDRESS, CIDR = "bench1", "10.79.0.11", "10.79.0.0/24"
LIBRARY, PROGRAM = "/usr/local/lib/updraft", "/root/storage_layers.py"
INITIATOR = "iqn.2026-11.internal.updraft.bench:bench1"
#: What a disk has to be larger than the area: a pool takes three fifths of its group, and stays below four fifths full.
ROOM = 2.25
MEMORY_MIB = 1024
LIMIT_SECONDS = 4 * 3600


class Unmeasured(Exception):
    """There is nothing to judge; the text says why."""


def packages(inventory: str) -> list[str]:
    """What a storage server of the inventory has, and fio."""
    site = find_site(inventory, ROOT)
    _loaded, derived = read(site.cloud_file)
    legs = [host["cloud_node"] for host in derived.hosts.values() if "storage" in host["cloud_node"]["roles"]]
    if not legs:
        raise Unmeasured(f"{inventory} has no storage server")
    return sorted({*legs[0]["packages"], "fio"})


def lab(inventory: str, disks: int, size_mib: int, cache: Path) -> Site:
    """A lab of one machine, which is in no inventory."""
    machine = {"kind": "vm", "memory_mib": MEMORY_MIB, "disks": [f"{size_mib}M"] * disks}
    link = {"parent": "eth0", "address": ADDRESS, "prefix": 24}
    return parse_site(
        {
            "cloud": {
                "name": "bench-storage",
                "domain": "bench.updraft.internal",
                "networks": {"management": {"cidr": CIDR, "interface": "eth0"}},
                "lab": {"namespace": "updraft-bench", "machines": {NAME: machine}},
            },
            "nodes": {NAME: {"packages": packages(inventory), "links": {"management": link}}},
            "state": str(ROOT / ".updraft" / "bench-storage"),
            "cache": str(cache),
        }
    )


def remove(site: Site) -> None:
    """Leave nothing of the lab but the image."""
    lab_machine.absent(site, check=False)
    lab_network.absent(site, check=False)


def start(site: Site) -> None:
    """A new machine with blank disks."""
    remove(site)
    print("building its image, where the cache has not got it, and starting it", flush=True)
    Cache(site.cache).build([recipe(machine.kind, machine.packages) for machine in site.prepared])
    lab_network.present(site, check=False)
    lab_machine.started(site, limit=300, check=False)


def node_settings() -> dict[str, str]:
    """How a compute node logs in to volumes, from the template that it gets."""
    text = (ROOT / "roles/iscsi_initiator/templates/iscsid.conf.j2").read_text()
    found = parse_record("\n".join(line for line in text.splitlines() if "{{" not in line))
    skipped = ("node.startup", "node.leading_login")
    return {key: value for key, value in found.items() if key.startswith("node.") and key not in skipped}


def parcel(settings: dict[str, Any]) -> bytes:
    """What the machine needs, as a tar archive: the kit's code, and what the role storage_mirror writes."""
    content = {item["path"]: Path(item["src"]).read_bytes() for item in files("mirror_cli", LIBRARY)}
    content[PROGRAM] = Path(__file__).with_name("storage_layers.py").read_bytes()
    content["/etc/lvm/profile/updraft-pool.profile"] = (
        ROOT / "roles/storage_mirror/files/updraft-pool.profile"
    ).read_bytes()
    content["/etc/mdadm/mdadm.conf"] = b"HOMEHOST <ignore>\nAUTO -all\n"
    content["/etc/iscsi/initiatorname.iscsi"] = f"InitiatorName={INITIATOR}\n".encode()
    content["/root/bench.json"] = json.dumps(settings).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, data in content.items():
            item = tarfile.TarInfo(path.lstrip("/"))
            item.size, item.mtime = len(data), int(time.time())
            archive.addfile(item, io.BytesIO(data))
    return packed.getvalue()


def ssh(site: Site, *command: str) -> list[str]:
    """The words that run a command on the machine."""
    return ["ssh", "-F", str(site.state / "ssh_config"), "-o", "BatchMode=yes", NAME, *command]


def events(site: Site, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the machine tells, as it tells it. Raises Unmeasured when it ends before its end."""
    unpack = ssh(site, "tar", "--extract", "--no-same-owner", "--directory", "/")
    subprocess.run(unpack, input=parcel(settings), check=True, timeout=60)
    program = ssh(site, "timeout", str(LIMIT_SECONDS), "python3", PROGRAM, "/root/bench.json")
    with subprocess.Popen(program, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "end":
                return
            yield event
    raise Unmeasured(f"the machine ended with {process.returncode}; what it said is above")


def progress(event: dict[str, Any]) -> str:
    """A line for whoever waits."""
    if event["event"] == "fio":
        return f"{time.strftime('%H:%M:%S')} round {event['round'] + 1}: {event['measure']} on {event['layer']}"
    return f"{time.strftime('%H:%M:%S')} {event}"


def judge(found: list[dict[str, Any]], shipped: str) -> dict[str, Any]:
    """Everything that is told. Raises ValueError, where a call of fio measured nothing."""
    layers = [event for event in found if event["event"] == "layer"]
    resyncs = [event for event in found if event["event"] == "resync"]
    names, figures = named(layers), collect(found)
    return {
        "layers": layers,
        "figures": figures,
        "resyncs": resyncs,
        "table": [*table(figures, names), "", *copied(resyncs, names)],
        "verdicts": [
            {"text": one.text, "found": round(one.found, 3), "bound": one.bound, "holds": one.holds, "line": one.line()}
            for one in verdicts(figures, shipped, resyncs, names)
        ],
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What the layers of the mirrored storage cost, against the raw disk.")
    parser.add_argument("--inventory", default="inventories/lab-storage", help="whose storage servers it is like")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of each measure")
    parser.add_argument("--area", type=int, default=256, help="MiB of each layer that are written to")
    parser.add_argument("--chunk", type=int, action="append", default=[], help="KiB of one more mirror's bitmap")
    parser.add_argument("--cache", type=Path, default=Path("/var/cache/updraft"))
    parser.add_argument("--keep", action="store_true", help="leave the machine, to be looked at")
    parser.add_argument("--report", type=Path, default=ROOT / ".updraft" / "bench-storage.json")
    given = parser.parse_args()
    if given.area < 32:
        parser.error("--area: 32 MiB at least, which are written while a leg is away")
    return given


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Make the machine, measure, and remove it."""
    chunks = list(dict.fromkeys([BITMAP_CHUNK, *given.chunk]))
    site = lab(given.inventory, 6 + 2 * len(chunks), int(given.area * ROOM), given.cache)
    settings = {"address": ADDRESS, "area_mib": given.area, "rounds": given.rounds, "seconds": given.seconds}
    settings |= {"chunks_kib": chunks, "settings": node_settings()}
    found = []
    try:
        start(site)
        for event in events(site, settings):
            print(progress(event), flush=True)
            found.append(event)
    finally:
        if not given.keep:
            remove(site)
    asked = {key: settings[key] for key in ("area_mib", "rounds", "seconds", "chunks_kib")}
    return {"asked": asked, "computer": platform.platform()} | judge(found, f"mirror{BITMAP_CHUNK}k")


def main() -> int:
    """Measure, tell, and write it down."""
    given = arguments()
    try:
        found = measure(given)
    except (Unmeasured, LabError, ImageError, Refusal, ValueError, subprocess.SubprocessError) as error:
        print(f"not measured: {error}")
        return 2
    given.report.parent.mkdir(parents=True, exist_ok=True)
    given.report.write_text(json.dumps(found, indent=2) + "\n")
    print("\n".join(["", *found["table"], "", *(one["line"] for one in found["verdicts"]), "", str(given.report)]))
    return 0 if all(one["holds"] for one in found["verdicts"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
