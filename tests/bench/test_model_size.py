# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand nodes, as Ansible loads them: what that costs beside reading the file, and beside a hundred nodes.

.updraft/venv/bin/python -m pytest -s tests/bench/test_model_size.py
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import fill, read
from tests.bench.growth import GROWTH, seconds

HEAD = """
plugin: updraft.cloud.cloud
name: large
domain: large.example.org
networks:
  management: {cidr: 10.0.0.0/16, interface: eth0}
  storage: {cidr: 10.1.0.0/16, interface: eth1}
  provider: {cidr: 10.2.0.0/24, interface: eth2, gateway: 10.2.0.1, floating: 10.2.0.100-10.2.0.179}
nodes:
  control1: {roles: [control, database, messaging], address: 10.0.0.10}
  storage1: {roles: [storage], address: 10.0.0.20, disks: [/dev/sdb]}
"""
NODE = (
    "  node{0}: {{roles: [compute, gateway], address: 10.0.{1}.{2}, pool: general, mac: 52:54:00:00:{1:02x}:{2:02x}}}\n"
)


def site(folder: Path, nodes: int) -> Path:
    """A cloud.yml with so many compute nodes, each written on its own."""
    file = folder / f"{nodes}" / "cloud.yml"
    file.parent.mkdir()
    file.write_text(HEAD + "".join(NODE.format(n, 1 + n // 200, 1 + n % 200) for n in range(nodes)))
    return file


def load(file: Path) -> None:
    """All of the inventory."""
    inventory = InventoryManager(DataLoader(), sources=None, parse=False)
    fill(inventory._inventory, file)
    inventory._inventory.reconcile_inventory()


def parse(file: Path) -> None:
    """The file alone, by Ansible's own reader."""
    DataLoader().load_from_file(str(file))


def size(file: Path) -> int:
    """The bytes of all variables, as a fork of Ansible would carry them."""
    return len(pickle.dumps(read(file)[1]))


def test_a_thousand_nodes(tmp_path: Path) -> None:
    small, large = site(tmp_path, 100), site(tmp_path, 1000)
    took, reading, few = seconds(lambda: load(large), lambda: parse(large), lambda: load(small))
    figures = {
        "seconds": round(took, 2),
        "times_reading_the_file": round(took / reading, 1),
        "times_100_nodes": round(took / few, 1),
        "kib_a_node": round(size(large) / 1000 / 1024, 1),
        "size_times_100_nodes": round(size(large) / size(small), 1),
    }
    print(json.dumps({"model": figures}))

    assert figures["times_reading_the_file"] < 2
    assert figures["times_100_nodes"] < GROWTH
    assert figures["size_times_100_nodes"] < 12
