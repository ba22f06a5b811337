# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers of tests/bench/storage.py, on the machine that is measured. Runs there as root, by the system's Python.

Each layer has disks of its own, so that all of them are there at the same time and can be measured in turn. They are
made by the kit's own code: what is measured is what a site gets. Prints one JSON object on each line.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib/updraft")

from ansible_collections.updraft.cloud.plugins.module_utils import iscsi_sessions as iscsi
from ansible_collections.updraft.cloud.plugins.module_utils import logical_volumes as lv
from ansible_collections.updraft.cloud.plugins.module_utils import md_arrays as md
from ansible_collections.updraft.cloud.plugins.module_utils import md_state
from ansible_collections.updraft.cloud.plugins.module_utils import volume_groups as vg
from ansible_collections.updraft.cloud.plugins.module_utils.disks import call
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_targets import desired, plan
from ansible_collections.updraft.cloud.plugins.module_utils.lio import Lio
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_system import POOL_PROFILE, SESSION
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action

MIB = 1 << 20
INITIATOR, TARGETS = "iqn.2026-11.internal.updraft.bench:bench1", "iqn.2026-11.internal.updraft.bench"
MODULES = ("raid1", "iscsi_tcp", "dm_thin_pool", "target_core_mod", "target_core_iblock", "iscsi_target_mod")
#: Mutual CHAP, as between the legs. It costs at the login only.
CHAP = {"user": "bench", "password": "bench-one-way-12", "mutual_user": "hcneb", "mutual_password": "bench-way-back-3"}
MEASURES = {
    "random": ["--rw=randwrite", "--bs=4k", "--iodepth=32"],
    # As virtual machines write: each asks to be kept.
    "durable": ["--rw=randwrite", "--bs=4k", "--iodepth=32", "--sync=dsync"],
    "latency": ["--rw=randwrite", "--bs=4k", "--iodepth=1"],
    "sequential": ["--rw=write", "--bs=1M", "--iodepth=4"],
}
RAMP_SECONDS = 2
#: What is written while the leg is away: MiB, within how many MiB from the beginning on (none: all), and how.
DIRT: dict[str, tuple[int, int | None, list[str]]] = {
    "sequential": (32, None, ["--rw=write", "--bs=1M"]),
    "hot": (8, 16, ["--rw=randwrite", "--bs=4k"]),
    "scattered": (2, None, ["--rw=randwrite", "--bs=4k"]),
}
CLEAN_SECONDS, SYNC_SECONDS = 120.0, 900.0


def tell(event: str, **what: Any) -> None:
    """Print one line for the other side."""
    print(json.dumps({"event": event, **what}), flush=True)


def until(what: str, holds: Callable[[], bool], seconds: float) -> None:
    """Wait until it holds. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)


class Machine:
    """This machine: its disks, one after the other, and what is made of them."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.area = given, int(given["area_mib"])
        self.disks = [f"/dev/{path.name}" for path in sorted(Path("/sys/block").glob("vd[b-z]"))]
        self.wanted: list[dict[str, Any]] = []
        self.layers: dict[str, str] = {}
        #: Of each mirror with a bitmap: the name of the array and the device of its leg.
        self.mirrors: dict[str, tuple[str, str]] = {}
        call(["modprobe", "-a", *MODULES])
        # They start from what the controller has put there.
        call(["systemctl", "restart", "iscsid.service"])
        call(["systemctl", "start", "dm-event.socket", "lvm2-monitor.service"])
        self.lio = Lio(load=True)

    def disk(self) -> str:
        """The next disk that nobody has."""
        return self.disks.pop(0)

    # What layers are made of.

    def group(self, name: str, disk: str) -> None:
        """A volume group, as the kit makes it."""
        vg.apply(Action("create", "volume group", name, None, {"disks": [disk]}), vg.Found())

    def thin(self, name: str, disk: str) -> str:
        """A thin volume in a pool that grows, as the mirror has them."""
        self.group(name, disk)
        fields = {"size": vg.GROWING_EXTENTS, "profile": POOL_PROFILE}
        vg.apply(Action("create", "thin pool", f"{name}/pool", None, fields), vg.Found())
        size = self.area / 1024
        lv.apply([Action("create", "volume", f"{name}/data", None, {"size_gib": size, "pool": "pool"})])
        lv.wait_for_room()
        return f"/dev/{name}/data"

    def served(self, name: str, device: str, settings: dict[str, str], chap: dict[str, str]) -> str:
        """What is served by LIO and had again by open-iscsi, on this same machine."""
        iqn, address = f"{TARGETS}:{name}", self.given["address"]
        lun = {"name": name, "device": device, "read_only": False}
        acls = [{"initiator": INITIATOR, **chap}]
        self.wanted.append({"iqn": iqn, "portals": [{"address": address, "port": 3260}], "luns": [lun], "acls": acls})
        wanted = desired(self.wanted)
        for action in plan(wanted, self.lio.read(), ""):
            self.lio.apply(action, wanted)
        session = iscsi.wanted_session({"target": iqn, "portals": [address], "settings": settings, **chap})
        return iscsi.login(session, luns=1)[0]

    def mirror(self, name: str, chunk: int | None) -> str:
        """An array of a disk and of one that is served, with volumes on it that are served."""
        own, away = self.disk(), self.disk()
        leg = self.served(f"{name}-leg", away, SESSION, CHAP)
        md.create(name, md_state.array_uuid("bench", name), [own, leg], chunk=chunk)
        md.set_flags(name, own, write_mostly=False, failfast=False)
        md.set_flags(name, leg, write_mostly=True, failfast=True)
        self.in_sync(name)
        if chunk is not None:
            self.mirrors[name] = (name, leg)
        return self.served(f"{name}-data", self.thin(name, f"/dev/md/{name}"), self.given["settings"], {})

    # The layers.

    def build(self) -> None:
        """All of them, each written once in whole."""
        self.layers["disk"] = self.disk()
        self.group("line", self.disk())
        call(["lvcreate", "--yes", "--quiet", "--extents", "90%VG", "--name", "data", "line"])
        self.layers["lvm"] = "/dev/line/data"
        self.layers["thin"] = self.thin("thin", self.disk())
        data = self.thin("served", self.disk())
        self.layers["iscsi"] = self.served("served-data", data, self.given["settings"], {})
        self.layers["mirror"] = self.mirror("mirror", None)
        for chunk in self.given["chunks_kib"]:
            name = f"mirror{chunk}k"
            self.layers[name] = self.mirror(name, chunk)
        for name, device in self.layers.items():
            self.fio(device, ["--rw=write", "--bs=1M", "--iodepth=4"])
            tell("layer", name=name, device=str(Path(device).resolve()), chunk_kib=self.chunk(name))

    def chunk(self, name: str) -> int | None:
        """KiB that a bit of the bitmap stands for, by the kernel's word."""
        if name not in self.mirrors:
            return None
        array = md_state.detail(name)
        assert array is not None
        return int((md_state.SYS / array.kernel / "md/bitmap/chunksize").read_text()) // 1024

    def fio(self, device: str, words: list[str], size_mib: int | None = None) -> dict[str, Any]:
        """One call of fio on the area; its only job. Raises RuntimeError."""
        command = ["fio", "--name=bench", f"--filename={device}", "--allow_file_create=0", "--ioengine=libaio"]
        command += ["--direct=1", f"--size={size_mib or self.area}m", "--randrepeat=0", "--output-format=json", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
        job: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{\n") :])["jobs"][0]
        return job

    def rounds(self) -> None:
        """Every measure on every layer in turn, in each round."""
        timed = ["--time_based", f"--runtime={self.given['seconds']}", f"--ramp_time={RAMP_SECONDS}", "--norandommap"]
        for number in range(self.given["rounds"]):
            for measure, words in MEASURES.items():
                for name, device in self.layers.items():
                    job = self.fio(device, [*words, *timed])
                    kept = {key: job["write"][key] for key in ("iops", "bw_bytes", "clat_ns", "total_ios")}
                    tell("fio", round=number, measure=measure, layer=name, job={"error": job["error"], "write": kept})

    # What is copied to a leg that was away.

    def in_sync(self, name: str) -> None:
        """Wait until both have everything."""

        def holds() -> bool:
            array = md_state.detail(name)
            return array is not None and array.in_sync

        until(f"{name} is in sync", holds, SYNC_SECONDS)

    def clean(self, own: str) -> None:
        """Wait until no bit of the bitmap is set: they are taken back seconds after the last write."""

        def holds() -> bool:
            found = re.search(r"(\d+) dirty", call(["mdadm", "--examine-bitmap", own]))
            return found is not None and found.group(1) == "0"

        until(f"the bitmap on {own} is clean", holds, CLEAN_SECONDS)

    def resync(self) -> None:
        """Lose the leg, write, take it in again, and count."""
        for layer, (name, leg) in self.mirrors.items():
            for kind, (mib, within, words) in DIRT.items():
                array = md_state.detail(name)
                assert array is not None
                own = next(device.path for device in array.devices if not device.write_mostly)
                self.clean(own)
                md.drop(name, leg)
                before = written(array.path)
                self.fio(self.layers[layer], [*words, "--iodepth=4", f"--io_size={mib}m"], within)
                dirtied = written(array.path) - before
                before = written(leg)
                began = time.monotonic()
                how = md.readd(name, leg)
                md.set_flags(name, leg, write_mostly=True, failfast=True)
                self.in_sync(name)
                seconds = round(time.monotonic() - began, 1)
                tell(
                    "resync", layer=layer, kind=kind, how=how, dirtied=dirtied, copied=written(leg) - before,
                    seconds=seconds,
                )  # fmt: skip


def written(device: str) -> int:
    """Bytes that were written to a device since the machine started."""
    return int(Path("/sys/class/block", Path(device).resolve().name, "stat").read_text().split()[6]) * 512


def main() -> int:
    """Build, measure in rounds, and resynchronize."""
    machine = Machine(json.loads(Path(sys.argv[1]).read_text()))
    machine.build()
    machine.rounds()
    machine.resync()
    tell("end")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
