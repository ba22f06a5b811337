# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand nodes, as Ansible loads them: the seconds, and that ten times the nodes cost ten times as much.

.updraft/venv/bin/python -m pytest -s tests/bench/test_model_size.py
"""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import fill, read

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
LIMIT_SECONDS = 3


def site(folder: Path, nodes: int) -> Path:
    """A cloud.yml with so many compute nodes, each written on its own."""
    file = folder / f"{nodes}" / "cloud.yml"
    file.parent.mkdir()
    file.write_text(HEAD + "".join(NODE.format(n, 1 + n // 200, 1 + n % 200) for n in range(nodes)))
    return file


def seconds(file: Path) -> float:
    """The best of three: what else the computer does is not what is measured."""
    taken = []
    for _ in range(3):
        inventory = InventoryManager(DataLoader(), sources=None, parse=False)
        start = time.perf_counter()
        fill(inventory._inventory, file)
        inventory._inventory.reconcile_inventory()
        taken.append(time.perf_counter() - start)
    return min(taken)


def size(file: Path) -> int:
    """The bytes of all variables, as a fork of Ansible would carry them."""
    return len(pickle.dumps(read(file)[1]))


def test_a_thousand_nodes(tmp_path: Path) -> None:
    small, large = site(tmp_path, 100), site(tmp_path, 1000)
    figures = {
        "seconds": round(seconds(large), 2),
        "times_100_nodes": round(seconds(large) / seconds(small), 1),
        "kib_a_node": round(size(large) / 1000 / 1024, 1),
        "size_times_100_nodes": round(size(large) / size(small), 1),
    }
    print(json.dumps({"model": figures}))

    assert figures["seconds"] < LIMIT_SECONDS
    assert figures["times_100_nodes"] < 20
    assert figures["size_times_100_nodes"] < 12
