# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of machines that boot by network read: a session, placement's numbers, and a cloud.yml with a pin."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from registrar_process import mariadb
from sqlalchemy import URL, create_engine, text

from ansible_collections.updraft.cloud.plugins.plugin_utils.model.load import load_text
from updraft.testing import boots, metal
from updraft.testing.base import Failed

TARGET = "iqn.2026-11.internal.updraft.lab:updraft.image.0123456789ab"
GOOD = f"{TARGET} LOGGED_IN off /dev/sda /dev/sda squashfs\n"


def sessions(tmp_path: Path, mounted: str) -> str:
    """What SESSIONS prints on a made-up machine; its findmnt is a fake that says `mounted`."""
    session = tmp_path / "sys/class/iscsi_session/session1"
    (session / "device/target2:0:0/2:0:0:1/block/sda").mkdir(parents=True)
    (session / "device/target2:0:0/2:0:0:0").mkdir()  # LUN 0: the controller
    for name, value in (("targetname", TARGET), ("state", "LOGGED_IN"), ("recovery_tmo", "off")):
        (session / name).write_text(f"{value}\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "findmnt").write_text(f"#!/bin/sh\necho '{mounted}'\n")
    (programs / "findmnt").chmod(0o755)
    script = boots.SESSIONS.replace("/sys/class", f"{tmp_path}/sys/class")
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=environment).stdout


def test_a_session_that_has_the_root_file_system_is_read(tmp_path: Path) -> None:
    found = sessions(tmp_path, "/dev/sda squashfs")

    assert found == GOOD
    assert boots.session_of(found) == boots.Session(TARGET, "LOGGED_IN", "off", "/dev/sda", "/dev/sda", "squashfs")


def test_a_root_file_system_in_memory_is_none(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="squashfs on /dev/loop0, and the session's disk is /dev/sda"):
        boots.session_of(sessions(tmp_path, "/dev/loop0 squashfs"))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ("", "not one session and a root file system on its disk, but: none"),
        (GOOD + GOOD, "not one session"),
        (GOOD.replace(" /dev/sda squashfs", ""), "not one session"),
        (GOOD.replace(" off ", " 120 "), "given up 120 s after the server has gone"),
    ],
)
def test_what_would_not_last_is_told(found: str, reason: str) -> None:
    with pytest.raises(Failed, match=reason):
        boots.session_of(found)


def test_what_is_read_is_told_with_its_time_and_its_sum(tmp_path: Path) -> None:
    (tmp_path / "nova").mkdir()
    (tmp_path / "nova/one.py").write_text("1\n")
    script = boots.READING.replace("/usr/lib/python3/dist-packages/nova", f"{tmp_path}/nova")
    script = script.replace("echo 3 >/proc/sys/vm/drop_caches\n", "")
    words = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert len(words) == 3 and len(words[2]) == 64
    assert float(words[1]) >= float(words[0])


def test_the_outage_is_longer_than_a_session_is_kept_by_default() -> None:
    assert boots.OUTAGE - 20 > boots.KEPT_BY_DEFAULT, "the reading begins 20 s later"
    assert "sleep 20\n" in boots.LATER


def test_a_pin_is_all_that_changes_in_the_labs_cloud() -> None:
    lab = boots.site().cloud_file.read_text()
    before, after = load_text(lab), load_text(boots.pinned_text(lab, {"node2": "0123456789ab"}))

    assert [str(problem) for problem in after.problems] == []
    assert before.site.provisioning and after.site.provisioning
    assert before.site.provisioning.images == {}
    assert after.site.provisioning.images == {"node2": "0123456789ab"}
    assert before.expanded.nodes == after.expanded.nodes
    assert (before.site.lab, before.site.networks) == (after.site.lab, after.site.networks)


def test_the_small_machine_reads_by_iscsi_and_is_large_enough_to_be_a_node() -> None:
    found = load_text(boots.site().cloud_file.read_text()).site
    assert found.lab and found.provisioning
    machine = found.lab.machines[boots.SMALL]

    # The kernel keeps some of it to itself.
    assert 1920 + 128 < machine.memory_mib < found.provisioning.iscsi_below_mib
    for firmware, name in boots.WITH_DISK.items():
        assert found.lab.machines[name].firmware == firmware
        assert found.provisioning.install[name] == "/dev/vda"
        assert found.lab.machines[name].memory_mib > found.provisioning.iscsi_below_mib


def test_placement_is_asked_for_the_whole_gib_that_a_node_offers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """On a real MariaDB server, with the columns that placement has."""
    tables = (
        "CREATE TABLE resource_classes (id INTEGER, name VARCHAR(255))",
        "CREATE TABLE resource_providers (id INTEGER, name VARCHAR(200))",
        "CREATE TABLE inventories (resource_provider_id INTEGER, resource_class_id INTEGER, total INTEGER,"
        " reserved INTEGER, allocation_ratio FLOAT)",
        "INSERT INTO resource_classes VALUES (0, 'VCPU'), (2, 'DISK_GB')",
        "INSERT INTO resource_providers VALUES (1, 'node3.lab.internal'), (2, 'node4'), (3, 'node33')",
        "INSERT INTO inventories VALUES (1, 0, 4, 0, 4.0), (1, 2, 5, 0, 1.0), (2, 2, 3, 0, 0.0001), (3, 2, 9, 0, 1.0)",
    )
    with mariadb(tmp_path_factory.mktemp("m")) as socket:
        url = URL.create("mysql+pymysql", username="root", query={"unix_socket": str(socket)})
        with create_engine(url).connect() as connection:
            connection.execute(text("CREATE DATABASE placement"))
            connection.execute(text("USE placement"))
            for table in tables:
                connection.execute(text(table))
            offered = [
                [row[0] for row in connection.execute(text(metal.OFFERED.format(name)))]
                for name in ("node3", "node4", "node5")
            ]

    assert offered == [[5], [0], []]
