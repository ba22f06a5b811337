# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from a mirror, a second storage network and storage pools. What is refused stands in faulty/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.plugin_utils import secrets
from ansible_collections.updraft.cloud.plugins.plugin_utils.model import Derived, derive
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import read
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.load import load_text

ROOT = Path(__file__).parents[2]
IQN = "iqn.2026-11.org.example.small"
SMALL = """
plugin: updraft.cloud.cloud
name: small
domain: small.example.org
networks:
  management: {cidr: 10.0.0.0/24, interface: eth0}
  storage: {cidr: 10.0.1.0/24, interface: eth1, vlan: 20}
  storage2: {cidr: 10.0.2.0/25, interface: eth2}
nodes:
  control1: {roles: [control, database, messaging], address: 10.0.0.10}
  storage[1:2]:
    roles: [storage]
    address: 10.0.0.21
    disks: [/dev/sdb, /dev/sdc]
    power: {kind: redfish, address: 10.0.0.121, user: operator, insecure: true}
  node[1:2]: {roles: [compute], address: 10.0.0.31, pool: general}
  node9: {roles: [compute], address: 10.0.0.39, pool: general, addresses: {storage2: null}}
volumes:
  group: data
  mirror: {legs: [storage2, storage1], address: 10.0.1.9, addresses: {storage2: 10.0.2.9}}
compute:
  storage_pools:
    vms: {volumes: {web: 2, db: 4}}
    build: {volumes: {cache: 1}}
services: []
"""


def made(text: str) -> Derived:
    loaded = load_text(text)
    assert not loaded.problems, loaded.problems
    return derive(loaded.site, loaded.expanded, Path("/state/small"))


def storage_of(found: Derived, name: str) -> dict[str, Any]:
    return dict(found.hosts[name]["cloud_node"]["storage"])


def test_both_storage_networks_have_the_host_part_of_management() -> None:
    nodes = made(SMALL).cloud["nodes"]

    assert nodes["storage2"]["addresses"] == {
        "management": "10.0.0.22",
        "storage": "10.0.1.22",
        "storage2": "10.0.2.22",
    }
    assert nodes["node1"]["addresses"] == {"management": "10.0.0.31", "storage": "10.0.1.31", "storage2": "10.0.2.31"}
    assert nodes["node9"]["addresses"] == {"management": "10.0.0.39", "storage": "10.0.1.39"}
    assert nodes["control1"]["addresses"] == {"management": "10.0.0.10", "storage": "10.0.1.10"}


def test_a_leg_knows_itself_its_peer_and_what_it_may_have_to_serve() -> None:
    found = storage_of(made(SMALL), "storage1")
    mirror = found["mirror"]

    assert found["initiator"] == mirror["initiator"] == f"{IQN}:storage1"
    assert (mirror["site"], mirror["self"], mirror["first"]) == ("small", "storage1", False)
    assert (mirror["disks"], mirror["arrays"]) == (["/dev/sdb", "/dev/sdc"], ["volumes0", "volumes1"])
    assert mirror["leg"] == {"target": f"{IQN}:updraft.leg.storage1", "address": "10.0.1.21"}
    assert mirror["peer"] == {
        "name": "storage2",
        "initiator": f"{IQN}:storage2",
        "target": f"{IQN}:updraft.leg.storage2",
        "address": "10.0.1.22",
        "management": "10.0.0.22",
    }
    assert (mirror["group"], mirror["thin_pool"]) == ("data", "data-pool")
    assert mirror["service"] == [
        {"network": "storage", "address": "10.0.1.9", "prefix": 24, "interface": "eth1.20"},
        {"network": "storage2", "address": "10.0.2.9", "prefix": 25, "interface": "eth2"},
    ]
    assert mirror["volumes"] == [
        {"name": "pool-vms-web", "size_gib": 2},
        {"name": "pool-vms-db", "size_gib": 4},
        {"name": "pool-build-cache", "size_gib": 1},
        {"name": "drill-canary", "size_gib": 1},
    ]
    assert (found["portals"], found["pools"]) == ([], [])


def test_the_legs_mirror_each_other() -> None:
    found = made(SMALL)
    one, other = (storage_of(found, name)["mirror"] for name in ("storage1", "storage2"))

    assert (one["first"], other["first"]) == (False, True)
    for a, b in ((one, other), (other, one)):
        assert (a["peer"]["name"], a["peer"]["initiator"]) == (b["self"], b["initiator"])
        assert {key: a["peer"][key] for key in ("target", "address")} == b["leg"]
    same = ("site", "arrays", "group", "thin_pool", "service", "volumes", "targets")
    assert {key: one[key] for key in same} == {key: other[key] for key in same}


def test_a_volume_of_a_pool_is_a_target_for_all_compute_nodes() -> None:
    target, second, *_ = storage_of(made(SMALL), "storage1")["mirror"]["targets"]

    assert target == {
        "iqn": f"{IQN}:updraft.pool.vms.web",
        "portals": [{"address": "10.0.1.9", "port": 3260}, {"address": "10.0.2.9", "port": 3260}],
        "luns": [{"name": "pool-vms-web", "device": "/dev/data/pool-vms-web", "read_only": False}],
        "acls": [{"initiator": f"{IQN}:{name}"} for name in ("node1", "node2", "node9")],
    }
    assert second["acls"] == target["acls"]  # the bindings of the roles count on it


def test_a_compute_node_logs_in_where_it_is_plugged_in() -> None:
    found = made(SMALL)

    assert storage_of(found, "node1")["portals"] == ["10.0.1.9", "10.0.2.9"]
    assert storage_of(found, "node9")["portals"] == ["10.0.1.9"]
    assert storage_of(found, "node1")["pools"][0] == {
        "name": "vms",
        "portals": ["10.0.1.9", "10.0.2.9"],
        "volumes": [
            {"name": "web", "target": f"{IQN}:updraft.pool.vms.web", "size_gib": 2},
            {"name": "db", "target": f"{IQN}:updraft.pool.vms.db", "size_gib": 4},
        ],
    }
    assert storage_of(found, "control1") == {
        "initiator": f"{IQN}:control1", "mirror": None, "portals": [], "canary": None, "pools": [],
        "serves": [], "volume_host": "", "multipath": False,
    }  # fmt: skip


def test_drills_have_a_volume_of_their_own() -> None:
    found = made(SMALL)
    target = storage_of(found, "storage1")["mirror"]["targets"][-1]

    assert target["iqn"] == f"{IQN}:updraft.drill"
    assert target["luns"] == [{"name": "drill-canary", "device": "/dev/data/drill-canary", "read_only": False}]
    assert storage_of(found, "node1")["canary"] == {
        "target": f"{IQN}:updraft.drill",
        "lun": "drill-canary",
        "portals": ["10.0.1.9", "10.0.2.9"],
    }


def test_a_site_may_have_no_drills() -> None:
    assert "mirror: {" in SMALL
    found = made(SMALL.replace("mirror: {", "mirror: {canary_gib: 0, ", 1))

    assert storage_of(found, "node1")["canary"] is None
    assert "drill-canary" not in str(storage_of(found, "storage1"))


def test_a_group_without_a_thin_pool() -> None:
    found = made(SMALL.replace("  group: data", "  group: data\n  thin: false"))

    assert storage_of(found, "storage1")["mirror"]["thin_pool"] == ""


def test_iscsi_is_open_on_both_networks_and_at_the_service_addresses() -> None:
    found = made(SMALL)
    ports = [port for port in found.hosts["storage1"]["cloud_node"]["ports"] if port["port"] == "3260"]

    assert [(port["address"], port["interface"], port["component"]) for port in ports] == [
        ("10.0.1.21", "eth1.20", "iscsi_target"),
        ("10.0.1.9", "eth1.20", "iscsi_target"),
        ("10.0.2.21", "eth2", "iscsi_target"),
        ("10.0.2.9", "eth2", "iscsi_target"),
    ]
    assert ports[2]["sources"] == ["10.0.2.21/32", "10.0.2.22/32", "10.0.2.31/32", "10.0.2.32/32"]


def test_an_interface_keeps_the_service_address_whoever_put_it_there() -> None:
    found = made(SMALL)

    for name, kept in (("storage1", ["storage", "storage2"]), ("node1", []), ("control1", [])):
        links = found.hosts[name]["cloud_node"]["links"]
        assert [network for network, link in links.items() if link["keep"]] == kept


def test_without_a_second_network_nothing_is_said_of_it() -> None:
    _, found = read(ROOT / "inventories" / "lab" / "cloud.yml")

    assert [port["network"] for port in found.cloud["ports"] if port["port"] == "3260"] == ["storage"]
    assert found.cloud["volumes"]["mirror"] is None
    assert found.hosts["storage1"]["cloud_node"]["storage"]["mirror"] is None


def test_the_controllers_of_a_range_count_up() -> None:
    found = made(SMALL)

    assert found.hosts["storage2"]["cloud_node"]["power"] == {
        "kind": "redfish", "address": "10.0.0.122", "user": "operator", "insecure": True,
    }  # fmt: skip
    assert found.hosts["node1"]["cloud_node"]["power"] is None


def test_what_nothing_runs_on_a_hypervisor_is_not_installed_there() -> None:
    found = made(SMALL)
    packages = found.hosts["node1"]["cloud_node"]["packages"]

    assert {"multipath-tools", "open-iscsi"} <= set(packages)
    assert not [name for name in packages if name.startswith(("ovn", "openvswitch"))]
    assert {"mdadm", "open-iscsi", "lvm2"} <= set(found.hosts["storage1"]["cloud_node"]["packages"])


def test_the_secrets_of_mirrors_and_pools() -> None:
    plain = {secret.name for secret in secrets.wanted([], [])}
    more = {secret.name: secret.make() for secret in secrets.wanted([], [], mirror=True)}

    assert more.keys() - plain == {"mirror.password", "mirror.mutual_password", "chap.mutual_password"}
    assert all(len(more[name]) == 16 for name in more.keys() - plain)


@pytest.mark.parametrize("name", ["storage_mirror", "storage_pools", "iscsi_initiator"])
def test_a_mirror_without_pools_has_the_secrets_that_its_roles_are_given(name: str) -> None:
    text = (ROOT / "playbooks/group_vars/all" / f"{name}.yml").read_text()

    asked = set(re.findall(r"cloud_secrets\.([a-z_.]+)", text))
    assert asked <= {secret.name for secret in secrets.wanted(["cinder"], [], mirror=True)}


@pytest.mark.parametrize(
    ("tree", "missing"),
    [
        ({}, ["power.a", "power.b"]),
        ({"power": {"a": "x", "b": ""}}, ["power.b"]),
        ({"power": "x"}, ["power.a", "power.b"]),
        ({"power": {"a": "x", "b": "y"}}, []),
    ],
)
def test_the_passwords_of_controllers_are_missed(tree: dict[str, object], missing: list[str]) -> None:
    assert secrets.unwritten(tree, ["a", "b"]) == missing


# Sites with the control services.
CLOUD = SMALL.replace("services: []", "services: [keystone, glance, cinder]").replace(
    "roles: [control, database, messaging]", "roles: [control, database, messaging, backup]"
)
LONE = "[backup], address: 10.0.0.39"
OWN = CLOUD[: CLOUD.index("volumes:")] + "services: [keystone, glance, cinder]\n"


def test_on_a_mirror_the_volume_service_has_one_name_and_the_service_addresses() -> None:
    found = made(CLOUD)

    assert found.cloud["volume_hosts"] == {"mirror": ["storage2", "storage1"]}
    for leg in ("storage1", "storage2"):
        storage = storage_of(found, leg)
        assert (storage["volume_host"], storage["serves"]) == ("mirror", ["10.0.1.9", "10.0.2.9"])
        assert storage["multipath"] is False


def test_without_a_mirror_each_storage_node_serves_its_own_volumes_at_its_own_addresses() -> None:
    found = made(OWN)

    assert found.cloud["volume_hosts"] == {"storage1": ["storage1"], "storage2": ["storage2"]}
    assert storage_of(found, "storage2")["volume_host"] == ""
    assert storage_of(found, "storage2")["serves"] == ["10.0.1.22", "10.0.2.22"]
    assert storage_of(found, "node1")["portals"] == []


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        pytest.param(CLOUD, ["control1", "node1", "node2", "node9"], id="a mirror, however many paths"),
        pytest.param(OWN, ["control1", "node1", "node2"], id="two storage networks, where a node is on both"),
        pytest.param(OWN.replace("  storage2: {cidr: 10.0.2.0/25, interface: eth2}\n", "").replace(
            ", addresses: {storage2: null}", ""), [], id="one path"),
    ],
)  # fmt: skip
def test_who_has_volumes_by_multipath(text: str, joined: list[str]) -> None:
    found = made(text)

    assert [name for name in found.hosts if storage_of(found, name)["multipath"]] == joined


def test_a_backup_node_reaches_volumes_the_database_and_the_message_bus() -> None:
    found = made(CLOUD)
    node = found.hosts["control1"]["cloud_node"]

    assert found.cloud["groups"]["backup"] == ["control1"]
    assert node["components"]["cinder"] == ["api", "scheduler", "backup"]
    assert {"cinder-backup", "multipath-tools", "open-iscsi"} <= set(node["packages"])
    assert node["addresses"]["storage2"] == "10.0.2.10"
    opened = {
        port["name"]: port["sources"]
        for port in found.hosts["storage1"]["cloud_node"]["ports"]
        if port["port"] == "3260"
    }
    assert all(any(source.endswith(".10/32") for source in sources) for sources in opened.values()), opened
    elsewhere = made(CLOUD.replace(", backup]", "]").replace("[compute], address: 10.0.0.39, pool: general", LONE))
    for name in ("database", "messaging"):
        (port,) = [port for port in elsewhere.hosts["control1"]["cloud_node"]["ports"] if port["name"] == name]
        assert "10.0.0.39/32" in port["sources"]


def test_only_nodes_of_a_mirrored_site_get_what_a_drill_needs() -> None:
    assert "fio" in made(SMALL).hosts["node1"]["cloud_node"]["packages"]
    assert "fio" not in made(SMALL).hosts["storage1"]["cloud_node"]["packages"]
    undrilled = SMALL.replace("address: 10.0.1.9,", "address: 10.0.1.9, canary_gib: 0,")
    assert "fio" not in made(undrilled).hosts["node1"]["cloud_node"]["packages"]
