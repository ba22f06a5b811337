# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from a cloud.yml for machines that boot by network."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils.model import derive
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.load import load_text
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.problems import Problems
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.registered import merge
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.registration import registrations
from tests.unit.model_kit import STATE, derived, footprints_in

JOINING = """
plugin: updraft.cloud.cloud
name: joining
domain: joining.example.org
networks:
  management: {cidr: 10.0.0.0/24, interface: eno1, dhcp: 10.0.0.128-10.0.0.191}
  storage: {cidr: 10.0.1.0/24, interface: eth1}
  provider: {cidr: 10.0.2.0/24, interface: eth2, gateway: 10.0.2.1, floating: 10.0.2.100-10.0.2.179}
nodes:
  control1: {roles: [control, database, messaging, provisioning], address: 10.0.0.10}
  storage1: {roles: [storage], address: 10.0.0.20, disks: [/dev/sdb]}
  node9: {roles: [compute, gateway], address: 10.0.0.39, pool: general, boot: network, mac: '52:54:00:00:00:39'}
provisioning: {roles: [compute, gateway], return: code}
smart_pools: {big-ones: hardware.memory_gib >= 64}
"""


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """A folder of footprints which does not change with the roles."""
    return footprints_in(tmp_path)


def test_a_cloud_whose_compute_nodes_only_register_is_right(roles: Path) -> None:
    alone = "\n".join(line for line in JOINING.splitlines() if "node9" not in line)

    assert derived(roles, alone).groups["compute"] == []


def test_a_node_that_boots_by_network_is_expected_and_not_played_with(roles: Path) -> None:
    found = derived(roles, JOINING)

    assert sorted(found.hosts) == ["control1", "storage1"]
    assert sorted(found.cloud["nodes"]) == ["control1", "storage1"]
    assert found.groups["compute"] == []
    provisioning = found.cloud["provisioning"]
    assert provisioning["systems"] == [
        {
            "name": "node9",
            "mac": "52:54:00:00:00:39",
            "address": "10.0.0.39",
            "firmware": None,
            "image": None,
            "install": None,
            "root": None,
        }
    ]
    assert [node["name"] for node in provisioning["expected"]] == ["node9"]
    assert provisioning["taken"] == ["control1", "storage1"]
    assert found.groups["big_ones"] == []


def test_a_machine_is_given_a_version_of_the_image_and_a_disk(roles: Path) -> None:
    wanted = "provisioning: {images: {node9: 3f9c0a7be214, later: 0123456789ab}, install: {node9: /dev/sda}, "
    provisioning = derived(roles, JOINING.replace("provisioning: {", wanted)).cloud["provisioning"]

    (system,) = provisioning["systems"]
    assert (system["image"], system["install"]) == ("3f9c0a7be214", "/dev/sda")
    # `later` is nobody yet: the registrar may know it one day, and its version has to be there then.
    assert provisioning["pinned"] == ["0123456789ab", "3f9c0a7be214"]


def test_a_machine_is_told_where_its_root_is_and_from_how_much_memory_on(roles: Path) -> None:
    wanted = "provisioning: {iscsi_below_mib: 3000, root: {node9: iscsi}, "
    provisioning = derived(roles, JOINING.replace("provisioning: {", wanted)).cloud["provisioning"]

    assert provisioning["disks"] == {"port": 3261, "below_mib": 3000}
    assert [system["root"] for system in provisioning["systems"]] == ["iscsi"]


def test_options_of_the_site_for_the_kernel_of_its_machines(roles: Path) -> None:
    wanted = JOINING.replace("provisioning: {", "provisioning: {kernel_options: ['console=ttyS1,57600', nosmt], ")
    assert derived(roles, JOINING).cloud["provisioning"]["kernel_options"] == ""
    found = derived(roles, wanted).cloud["provisioning"]["kernel_options"]
    assert found == "console=ttyS1,57600 nosmt updraft.keep=console,nosmt"


@pytest.mark.parametrize(("disk", "diskless"), [("", True), ("install: {node9: /dev/sda, node7: /dev/sda}, ", False)])
def test_what_boots_by_network_has_no_disk_unless_it_is_installed_on_one(
    roles: Path, disk: str, diskless: bool
) -> None:
    loaded = load_text(JOINING.replace("provisioning: {", f"provisioning: {{{disk}"))
    told = {"state": "ready", "pool": "general", "host_key": "ssh-ed25519 AAAA", "roles": ["compute"]}
    found = registrations(
        [{**told, "name": f"node{number}", "address": f"10.0.0.{number}"} for number in (7, 9)],
    )
    expanded = merge(loaded.site, loaded.expanded, found, problems := Problems())
    assert [str(problem) for problem in problems.list()] == []
    hosts = derive(loaded.site, expanded, STATE, roles).hosts

    assert {name: one["cloud_node"]["diskless"] for name, one in hosts.items()} == {
        "control1": False,
        "storage1": False,
        "node7": diskless,
        "node9": diskless,
    }


def test_the_provisioning_node_is_known_to_all(roles: Path) -> None:
    provisioning = derived(roles, JOINING).cloud["provisioning"]

    assert provisioning["server"] == "10.0.0.10"
    assert provisioning["url"] == "https://control1.joining.example.org:7777"
    assert provisioning["range"] == {"first": "10.0.0.128", "last": "10.0.0.191", "size": 64}
    assert (provisioning["return"], provisioning["approve"]) == ("code", "code")
    assert derived(roles).cloud["provisioning"] is None
