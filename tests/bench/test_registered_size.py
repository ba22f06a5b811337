# SPDX-License-Identifier: GPL-3.0-or-later
"""Five thousand machines that registered: the registrar lists them, and Ansible's inventory has them.

Ten times the machines cost some ten times as much (9 to 19 were seen), and a hundred times
where each is compared with each. The seconds are printed, and judged nowhere.

.updraft/venv/bin/python -m pytest -s tests/bench/test_registered_size.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.updraft.cloud.plugins.plugin_utils import registry
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import fill
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.registration import registrations
from tests.bench.growth import GROWTH, seconds
from tests.unit.registrar_kit import running, settings_for

CLOUD = """
plugin: updraft.cloud.cloud
name: large
domain: large.example.org
networks:
  management: {cidr: 10.0.0.0/16, interface: eth0, dhcp: 10.0.16.0-10.0.63.255}
  storage: {cidr: 10.1.0.0/16, interface: eth1}
  provider: {cidr: 10.2.0.0/24, interface: eth2, gateway: 10.2.0.1, floating: 10.2.0.100-10.2.0.179}
nodes:
  control1: {roles: [control, database, messaging, provisioning], address: 10.0.0.10}
  storage1: {roles: [storage], address: 10.0.0.20, disks: [/dev/sdb]}
  gate1: {roles: [gateway], address: 10.0.0.30}
provisioning: {}
smart_pools: {big: hardware.memory_gib >= 64, some: "pool == 'community' and hardware.disk_count > 1"}
"""
DISK = {"size_gib": 960.2, "model": "DISK", "rotational": False, "serial": "D123456"}
NIC = {"speed_mbit": 10000, "link": True}


def host(number: int) -> dict[str, Any]:
    """A machine as the registrar tells of it: with 4 disks and 4 interfaces, some 2 KiB."""
    mac = f"52:54:00:00:{number // 256:02x}:{number % 256:02x}"
    return {
        "id": number, "code": "7K3M-Q2XZ", "name": f"node{number}", "pool": "community", "roles": ["compute"],
        "state": "in_service", "kept_state": "in_service", "returns_as": None,
        "address": f"10.0.{16 + number // 250}.{1 + number % 250}", "mac": mac, "macs": [mac],
        "serial": f"S{number}", "uuid": f"00000000-0000-4000-8000-{number:012x}", "machine_id": f"{number:032x}",
        "host_key": "ssh-ed25519 " + "A" * 68, "image": "1", "firmware": "uefi",
        "hardware": {
            "vendor": "QEMU", "product": "PC", "cpus": 64, "cpu_model": "a processor with a long name",
            "memory_mib": 65536 * (1 + number % 2),
            "disks": [{**DISK, "name": f"sd{letter}"} for letter in "abcd"],
            "nics": [{**NIC, "name": f"eth{nic}", "mac": mac if nic == 0 else "52:54:01:00:00:00"} for nic in range(4)],
        },
        "first_seen": "2026-11-21T10:00:00Z", "last_seen": "2026-11-21T10:00:00Z", "alarms": [], "progress": None,
    }  # fmt: skip


def loading(folder: Path, count: int) -> Callable[[], None]:
    """What is measured: from the text of the registrar's answer to hosts, groups and known_hosts."""
    file = folder / str(count) / "cloud.yml"
    file.parent.mkdir()
    file.write_text(CLOUD)
    text = json.dumps({"hosts": [host(number) for number in range(count)], "alarms": []})

    def ask(site: Any, _expanded: Any, state: Path) -> Any:
        hosts = json.loads(text)["hosts"]
        found = registrations(hosts)
        registry._keep(state, "https://control1", hosts, found, site.domain)
        return found

    def load() -> None:
        inventory = InventoryManager(DataLoader(), sources=None, parse=False)
        fill(inventory._inventory, file, ask)
        inventory._inventory.reconcile_inventory()
        assert len(inventory._inventory.groups["big"].hosts) == count
        assert len(inventory._inventory.hosts) == count + 3

    return load


def test_five_thousand_registered(tmp_path: Path) -> None:
    judge("inventory", loading(tmp_path, 5000), loading(tmp_path, 500))


def test_five_thousand_listed(tmp_path: Path) -> None:
    """What the registrar and the one who asks do, together."""
    with ExitStack() as stack:

        def listing(count: int) -> Callable[[], None]:
            folder = tmp_path / str(count)
            folder.mkdir()
            site = stack.enter_context(running(settings_for(folder)))
            site.fill(range(count))

            def ask() -> None:
                assert len(site.hosts()) == count

            return ask

        judge("listing", listing(5000), listing(500))


def judge(name: str, large: Callable[[], None], small: Callable[[], None]) -> None:
    """Print what many and a tenth of them take, and judge the ratio."""
    many, few = seconds(large, small)
    figures = {"seconds": round(many, 2), "times_500": round(many / few, 1)}
    print(json.dumps({name: figures}))
    assert figures["times_500"] < GROWTH
