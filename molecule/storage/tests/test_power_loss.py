# SPDX-License-Identifier: GPL-3.0-or-later
"""A thin pool whose server lost its power: LVM activates it, though its map tells of space that nobody uses.

leaked-data-blocks.gz is such a map, of a storage server whose power was cut under load (blocks that were not in use are
zeros): 1,558 chunks of 64 KiB are taken, 29 of them for writes that had not been acknowledged.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

testinfra_hosts = ["ssh://storage1"]

MAP = Path(__file__).with_name("leaked-data-blocks.gz")
#: A pool of the same shape (its size, its three volumes) on a file, whose map that one takes the place of.
MAKE = """
set -e
truncate --size 2G /var/tmp/trial.disk
vgcreate --quiet --setautoactivation n trial "$(losetup --find --show /var/tmp/trial.disk)"
lvcreate --quiet --yes --type thin-pool --extents 306 --chunksize 64k --poolmetadatasize 4m --name pool trial
for name in one two three; do lvcreate --quiet --type thin --virtualsize 1g --thinpool pool --name $name trial; done
vgchange --quiet --activate n trial
lvcreate --quiet --yes --size 4m --name map trial
base64 --decode <<< {map} | gunzip > /dev/trial/map
lvchange --quiet --activate n trial/map
lvconvert --quiet --yes --thinpool trial/pool --poolmetadata map
"""
REMOVE = """
vgremove --quiet --force --yes trial
losetup --detach $(losetup --noheadings --output NAME --associated /var/tmp/trial.disk)
rm /var/tmp/trial.disk
"""


@pytest.fixture
def cut(host: Host) -> Iterator[str]:
    """The group of a pool whose power was cut."""
    host.check_output(MAKE.format(map=base64.b64encode(MAP.read_bytes()).decode()))
    try:
        yield "trial"
    finally:
        host.check_output(REMOVE)


def test_it_is_activated(host: Host, cut: str) -> None:
    debians = host.run(f"vgchange --activate y --config 'global/thin_check_options=[\"-q\"]' {cut}")
    assert "Check of pool trial/pool failed" in debians.stderr  # it is such a map
    host.check_output(f"vgchange --quiet --activate y {cut}")
    volumes = host.check_output(f"lvs --noheadings --options data_percent --select segtype=thin {cut}")
    assert sorted(volumes.split()) == ["0.00", "4.06", "5.27"]  # percent of 1 GiB: 1,529 chunks
