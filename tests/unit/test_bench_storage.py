# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench of the storage's layers: figures, ratios, verdicts, and what the machine is given."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

# Behind tests/drill, which has a files.py as well.
sys.path.append(str(Path(__file__).parents[1] / "bench"))

import storage
from storage_report import MIB, collect, copied, figure, named, ratio, share, table, verdicts

Event = dict[str, Any]


def job(iops: float, mib: float = 1.0, p99_ms: float = 1.0, total: int = 9) -> Event:
    """What fio 3.39 says of a job that only wrote, shortened."""
    percentile = {"50.000000": 1, "99.000000": int(p99_ms * 1e6), "99.900000": int(p99_ms * 2e6)}
    write = {"iops": iops, "bw_bytes": int(mib * MIB), "clat_ns": {"percentile": percentile}, "total_ios": total}
    return {"error": 0, "write": write}


def events(rounds: dict[str, list[tuple[float, float, float]]]) -> list[Event]:
    """Calls of fio: by layer and round the IOPS, ms and MiB/s."""
    return [
        {"event": "fio", "round": number, "layer": layer, "measure": measure, "job": job(iops, mib, p99)}
        for layer, figures in rounds.items()
        for number, (iops, p99, mib) in enumerate(figures)
        for measure in ("random", "durable", "latency", "sequential")
    ]


def resync(dirtied: int, copied_: int, layer: str = "mirror1024k", kind: str = "sequential") -> Event:
    return {"event": "resync", "layer": layer, "kind": kind, "how": "bitmap", "dirtied": dirtied, "copied": copied_,
            "seconds": 2.0}  # fmt: skip


LAYERS = [
    {"event": "layer", "name": "disk", "device": "/dev/vdb", "chunk_kib": None},
    {"event": "layer", "name": "mirror1024k", "device": "/dev/sdc", "chunk_kib": 1024},
]
#: The third round was disturbed as a whole: ratios are of the same round.
FIGURES = collect(
    events(
        {
            "disk": [(4000, 1, 400), (4200, 1, 420), (400, 9, 40)],
            "iscsi": [(1000, 4, 100), (1050, 4, 105), (100, 36, 10)],
            "mirror": [(800, 6, 95), (840, 6, 99.75), (80, 54, 9.5)],
            "mirror1024k": [(560, 8, 92), (588, 8, 96.6), (56, 72, 9.2)],
        }
    )
)


def test_figures_of_fio() -> None:
    assert figure("random", job(812.5)) == 812.5
    assert figure("latency", job(1, p99_ms=7.5)) == 7.5
    assert figure("sequential", job(1, mib=93)) == 93


@pytest.mark.parametrize("bad", [job(0, total=0), job(5) | {"error": 5}])
def test_a_call_that_wrote_nothing_measures_nothing(bad: Event) -> None:
    with pytest.raises(ValueError, match="random: fio wrote"):
        figure("random", bad)


def test_ratios_are_of_the_same_round() -> None:
    assert ratio(FIGURES, "mirror1024k", "iscsi", "random") == pytest.approx(0.56)
    assert ratio(FIGURES, "mirror1024k", "iscsi", "latency") == pytest.approx(2)
    assert ratio(FIGURES, "iscsi", "disk", "sequential") == pytest.approx(0.25)


def test_each_bound_has_its_verdict() -> None:
    resyncs = [resync(32 * MIB, 33 * MIB), resync(2 * MIB, 200 * MIB, kind="scattered"), resync(1, 9, "mirror64k")]
    found = verdicts(FIGURES, "mirror1024k", resyncs, named(LAYERS))
    assert [(one.holds, round(one.found, 2)) for one in found] == [
        (True, 0.92),  # sequential to iSCSI
        (False, 0.56),  # random to iSCSI
        (True, 0.97),  # the bitmap, sequential
        (False, 0.7),  # the bitmap, random
        (True, 1.03),
        (False, 100.0),
    ]
    assert found[1].line().startswith("FALLS SHORT 4k QD32 of + mirror, 1024 KiB bits to iSCSI alone: 0.56 (bound 0.6)")


def test_the_table_has_all_layers_by_their_names() -> None:
    lines = table(FIGURES, named(LAYERS))
    assert [line[:26].strip() for line in lines] == [
        "", "raw disk", "+ iSCSI", "+ mirror, no bitmap", "+ mirror, 1024 KiB bits",
    ]  # fmt: skip
    assert lines[4].split()[-12:-6] == ["560", "0.14", "0.56", "560", "0.14", "0.56"]
    assert lines[4].split()[-6:] == ["8.00", "8.00", "2.00", "92", "0.23", "0.92"]


def test_what_was_copied_is_told_and_nothing_written_is_no_figure() -> None:
    assert copied([resync(2 * MIB, 3 * MIB)], {})[1].split() == [
        "mirror1024k",
        "sequential",
        "2.0",
        "3.0",
        "1.50",
        "2.0",
    ]
    with pytest.raises(ValueError, match="nothing was written while the leg was away"):
        share(resync(0, 4096))


def test_the_machine_is_a_storage_server_with_fio_and_a_disk_for_each_layer(tmp_path: Path) -> None:
    (machine,) = storage.lab("inventories/lab-storage", 8, 576, tmp_path).machines
    assert {"fio", "mdadm", "lvm2", "open-iscsi", "python3-rtslib-fb"} <= set(machine.packages)
    assert machine.disks == ("576M",) * 8


def test_the_machine_gets_the_code_of_the_kit_and_the_settings_of_a_node() -> None:
    packed = storage.parcel({"settings": storage.node_settings()})
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        names = archive.getnames()
        given = archive.extractfile("root/bench.json")
        assert given is not None
        settings = json.load(given)["settings"]
    wanted = ("md_arrays", "lio", "iscsi_sessions", "volume_groups", "logical_volumes", "mirror_system", "reconcile")
    folder = "usr/local/lib/updraft/ansible_collections/updraft/cloud/plugins/module_utils"
    assert [one for one in wanted if f"{folder}/{one}.py" not in names] == []
    assert settings["node.session.timeo.replacement_timeout"] == "5"
    assert not {"node.startup", "iscsid.startup"} & set(settings)
