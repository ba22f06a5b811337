# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from a cloud.yml: groups, addresses, ports, packages, certificates and connections."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ansible_collections.updraft.cloud.plugins.plugin_utils.model import SERVICES, derive, json_schema
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.connection import state_of
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.footprints import FootprintError, footprints
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import read
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.load import load_text
from tests.unit.model_kit import SMALL, derived, footprints_in
from updraft import reference
from updraft.check import check

ROOT = Path(__file__).parents[2]


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """A folder of footprints which does not change with the roles."""
    return footprints_in(tmp_path)


def port(variables: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (entry for entry in variables["cloud_node"]["ports"] if entry["name"] == name)
    assert isinstance(found, dict)
    return found


def test_groups_are_roles_and_pools(roles: Path) -> None:
    groups = derived(roles).groups

    assert groups == {
        "control": ["control1"],
        "database": ["control1"],
        "messaging": ["control1"],
        "provisioning": [],
        "gateway": ["gate1"],
        "storage": ["storage1"],
        "compute": ["node1", "node2", "node3", "node4"],
        "backup": [],
        "pool_big_ones": ["node1", "node2", "node3", "node4"],
        **{f"state_{state}": [] for state in ("approved", "ready", "in_service", "away")},
    }


def test_role_groups_exist_without_nodes(roles: Path) -> None:
    alone = SMALL.replace("roles: [gateway]", "roles: [compute], pool: big-ones") + "services: []\n"

    assert derived(roles, alone).groups["gateway"] == []


def test_a_range_counts_up(roles: Path) -> None:
    nodes = derived(roles).cloud["nodes"]

    assert [nodes[f"node{number}"]["addresses"] for number in (1, 4)] == [
        {"management": "10.0.0.32", "storage": "10.0.1.32"},
        {"management": "10.0.0.35", "storage": "10.0.1.35"},
    ]


def test_a_range_keeps_its_zeros(roles: Path) -> None:
    groups = derived(roles, SMALL.replace("node[1:4]", "node[08:11]")).groups

    assert groups["compute"] == ["node08", "node09", "node10", "node11"]


def test_the_storage_address_follows_where_it_is_of_use(roles: Path) -> None:
    nodes = derived(roles).cloud["nodes"]

    assert nodes["control1"]["addresses"] == {"management": "10.0.0.10", "storage": "10.0.1.10"}
    assert nodes["gate1"]["addresses"] == {"management": "10.0.0.50"}


def test_an_address_can_be_written_or_refused(roles: Path) -> None:
    text = SMALL.replace("address: 10.0.0.10", "address: 10.0.0.10, addresses: {storage: null, provider: 10.0.2.10}")

    assert derived(roles, text).cloud["nodes"]["control1"]["addresses"] == {
        "management": "10.0.0.10",
        "provider": "10.0.2.10",
    }


def test_interfaces_have_their_vlan_and_the_nodes_own_names(roles: Path) -> None:
    hosts = derived(roles).hosts

    assert hosts["storage1"]["cloud_node"]["interfaces"] == {"management": "eth0", "storage": "eth0.20"}
    assert hosts["node2"]["cloud_node"]["interfaces"] == {"management": "eth0", "storage": "eth7.20"}
    assert hosts["node2"]["cloud_node"]["links"]["storage"] == {
        "interface": "eth7.20",
        "parent": "eth7",
        "vlan": 20,
        "mtu": 1500,
        "address": "10.0.1.33",
        "prefix": 24,
        "gateway": None,
        "keep": False,
    }


def test_a_gateway_is_plugged_into_provider_without_an_address(roles: Path) -> None:
    node = derived(roles).hosts["gate1"]["cloud_node"]

    assert node["interfaces"] == {"management": "eth0", "provider": "eth1"}
    assert "provider" not in node["addresses"]


def test_packages_are_the_union_of_what_the_roles_need(roles: Path) -> None:
    hosts = derived(roles).hosts

    assert hosts["control1"]["cloud_node"]["packages"] == ["chrony", "mariadb-server", "nova-api", "zlib"]
    assert hosts["node1"]["cloud_node"]["packages"] == ["chrony", "nova-compute", "zlib"]
    assert hosts["control1"]["cloud_node"]["services"] == ["nova"]
    assert hosts["control1"]["cloud_node"]["components"] == {"nova": ["api"]}
    assert hosts["storage1"]["cloud_node"]["services"] == []


def test_services_which_are_not_wanted_leave_nothing(roles: Path) -> None:
    without = derived(roles, SMALL + "services: [keystone, glance, placement, neutron, cinder]\n")

    assert without.hosts["node1"]["cloud_node"]["packages"] == ["chrony", "zlib"]
    assert without.cloud["urls"] == {}


def test_ports_are_open_to_whom_they_are_for(roles: Path) -> None:
    hosts = derived(roles).hosts

    assert port(hosts["control1"], "database") == {
        "name": "database",
        "port": "3306",
        "protocol": "tcp",
        "network": "management",
        "interface": "eth0",
        "address": "10.0.0.10",
        "sources": ["10.0.0.10/32", "10.0.0.20/32"],
        "process": "mariadbd",
        "component": "database",
        "optional": False,
    }
    iscsi = port(hosts["storage1"], "iscsi")
    assert (iscsi["interface"], iscsi["address"], iscsi["optional"]) == ("eth0.20", "10.0.1.20", True)
    assert iscsi["sources"] == ["10.0.1.32/30"], "four addresses side by side are one block, and no more than that"
    assert port(hosts["node1"], "ssh")["sources"] == ["10.0.0.0/24"]
    assert port(hosts["control1"], "ntp")["sources"] == ["10.0.0.0/24"]
    assert port(hosts["node3"], "consoles")["sources"] == ["0.0.0.0/0"]
    assert [entry["name"] for entry in hosts["storage1"]["cloud_node"]["ports"]] == ["ssh", "iscsi"]


def test_the_ledger_says_where_each_port_is(roles: Path) -> None:
    ledger = {entry["name"]: entry for entry in derived(roles).cloud["ports"]}

    assert ledger["database"]["nodes"] == ["control1"]
    assert ledger["ntp"]["nodes"] == ["control1"]
    assert len(ledger["ssh"]["nodes"]) == 7
    assert ledger["consoles"]["component"] == "nova-compute"


def test_urls_are_what_the_ledger_serves(roles: Path) -> None:
    cloud = derived(roles).cloud

    assert cloud["endpoint"] == {"address": "10.0.0.10", "name": "api.small.example.org"}
    assert cloud["urls"] == {"compute": "https://api.small.example.org:8774"}


def test_an_endpoint_elsewhere_serves_there_too(roles: Path) -> None:
    text = SMALL.replace("address: 10.0.0.10", "address: 10.0.0.10, addresses: {provider: 10.0.2.10}")
    found = derived(roles, text + "endpoint: {address: 10.0.2.10}\n")

    entries = [entry for entry in found.hosts["control1"]["cloud_node"]["ports"] if entry["name"] == "compute"]
    assert [(entry["address"], entry["sources"]) for entry in entries] == [
        ("10.0.0.10", ["10.0.0.0/24"]),
        ("10.0.2.10", ["0.0.0.0/0"]),
    ]


def test_certificates_name_all_by_which_a_node_is_called(roles: Path) -> None:
    text = SMALL.replace("address: 10.0.0.10", "address: 10.0.0.10, addresses: {provider: 10.0.2.10}")
    (certificate,) = derived(roles, text).hosts["control1"]["cloud_node"]["certificates"]

    assert certificate["directory"] == "/etc/mysql/tls"
    assert certificate["names"] == ["api.small.example.org", "control1.small.example.org", "control1", "localhost"]
    assert certificate["addresses"] == ["10.0.0.10", "10.0.1.10", "10.0.2.10", "127.0.0.1"]


def test_a_rack_is_reached_with_pinned_keys(roles: Path) -> None:
    host = derived(roles).hosts["node1"]

    assert (host["ansible_host"], host["ansible_user"]) == ("10.0.0.32", "root")
    assert "UserKnownHostsFile=/state/small/known_hosts" in host["ansible_ssh_common_args"]
    assert "StrictHostKeyChecking=yes" in host["ansible_ssh_common_args"]
    assert "ProxyCommand" not in host["ansible_ssh_common_args"]


def test_a_lab_is_reached_through_its_namespace() -> None:
    _, found = read(ROOT / "inventories" / "lab" / "cloud.yml")
    host = found.hosts["storage1"]

    assert "nsenter --net=/run/netns/updraft-lab nc %h %p" in host["ansible_ssh_common_args"]
    assert host["ansible_ssh_private_key_file"] == str(ROOT / ".updraft" / "lab" / "ssh_key")
    assert host["cloud_node"]["machine"] == {"kind": "vm"}


def test_two_sites_with_the_same_addresses_share_no_connection(roles: Path) -> None:
    loaded = load_text(SMALL)
    folders = {
        derive(loaded.site, loaded.expanded, state, roles).hosts["node1"]["ansible_control_path_dir"]
        for state in (Path("/a/small"), Path("/b/small"))
    }

    assert len(folders) == 2


def test_the_state_is_the_checkouts(tmp_path: Path) -> None:
    (tmp_path / "inventories" / "a").mkdir(parents=True)
    (tmp_path / "ansible.cfg").touch()

    assert state_of(tmp_path / "inventories" / "a" / "cloud.yml", "a") == tmp_path / ".updraft" / "a"


def test_defaults_and_plain_values(roles: Path) -> None:
    text = SMALL + "projects: {demo: {quota: {instances: -1}}}\nimages: {tiny: {source: tiny}}\n"
    cloud = derived(roles, text).cloud

    assert cloud["projects"]["demo"] == {
        "name": "demo",
        "user": "demo",
        "network": None,
        "dns": [],
        "quota": {"instances": -1},
    }
    assert cloud["images"]["tiny"]["format"] == "raw"
    assert cloud["proof"] == {"project": "demo", "image": "tiny", "flavor": None}
    assert cloud["networks"]["provider"]["floating"] == {"first": "10.0.2.100", "last": "10.0.2.179", "size": 80}
    assert json.loads(json.dumps(cloud)) == cloud, "only what Ansible's variables are made of"


def test_a_mac_address_is_not_a_number() -> None:
    loaded = load_text(SMALL.replace("address: 10.0.0.20", "address: 10.0.0.20, mac: 52:54:00:12:34:56"))

    assert loaded.problems == []
    assert loaded.expanded.nodes["storage1"].mac == "52:54:00:12:34:56"


def test_one_machine_can_be_everything() -> None:
    text = """
plugin: updraft.cloud.cloud
name: one
domain: one.example.org
networks:
  management: {cidr: 10.0.0.0/24, interface: eth0}
  storage: {cidr: 10.0.1.0/24, interface: eth1}
  provider: {cidr: 10.0.2.0/24, interface: eth2, gateway: 10.0.2.1, floating: 10.0.2.100-10.0.2.179}
nodes:
  all-in-1:
    {roles: [control, database, messaging, gateway, storage, compute], address: 10.0.0.10, pool: all, disks: [/dev/sdb]}
"""
    node = derived(ROOT, text).hosts["all-in-1"]["cloud_node"]

    assert node["services"] == ["keystone", "glance", "placement", "nova", "neutron", "cinder"]
    directories = [certificate["directory"] for certificate in node["certificates"]]
    assert len(directories) == len(set(directories)) > 0
    ports = [(entry["port"], entry["protocol"], entry["network"]) for entry in node["ports"]]
    assert len(ports) == len(set(ports)), "no two components serve the same port"


def test_the_roles_of_this_checkout_can_be_read() -> None:
    found = footprints(SERVICES)

    assert {item.service for item in found if item.service} == set(SERVICES)
    assert all(item.name and item.on for item in found)
    networks = {port.network for item in found for port in item.ports}
    assert networks <= {"management", "storage", "storage2", "provider", "provisioning"}


def test_hypervisors_alone_need_no_control_node(roles: Path) -> None:
    text = SMALL.replace("  control1: {roles: [control, database, messaging], address: 10.0.0.10}\n", "")

    assert derived(roles, text + "services: []\n").cloud["endpoint"]["address"] is None


def test_missing_footprints_are_none(tmp_path: Path) -> None:
    assert footprints(("nova",), tmp_path) == ()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("packages: [x]", "'on' is missing"),
        ("on: [computer]", "unknown node roles computer"),
        ("on: [all]\nports: [{name: x, port: 1, protocol: tcp, network: management, process: x}]", "'from' is missing"),
    ],
)
def test_a_wrong_footprint_is_named(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "roles" / "odd" / "meta").mkdir(parents=True)
    (tmp_path / "roles" / "odd" / "meta" / "footprint.yml").write_text(text)

    with pytest.raises(FootprintError, match=rf"roles/odd/meta/footprint.yml: .*{what}"):
        footprints((), tmp_path)


@pytest.mark.parametrize("site", ["lab", "lab-mirror", "lab-storage", "rack"])
def test_the_examples_are_right(site: str) -> None:
    out = io.StringIO()
    file = ROOT / "inventories" / site / "cloud.yml"

    assert check(file.parent, out=out) == 0

    assert f"site {site}" in out.getvalue()
    jsonschema.validate(yaml.safe_load(file.read_text()), json_schema())
    first = [line for line in file.read_text().splitlines() if "yaml-language-server" in line]
    assert first == ["# yaml-language-server: $schema=../../docs/cloud.schema.json"]


def test_the_rack_is_two_storage_servers_and_eight_nodes_in_forty_lines() -> None:
    file = ROOT / "inventories" / "rack" / "cloud.yml"
    settings = [line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    _, found = read(file)

    assert len(settings) <= 40
    assert [len(found.groups[role]) for role in ("control", "storage", "compute")] == [1, 2, 8]
    assert found.cloud["networks"]["provider"]["floating"]["size"] == 80


def test_the_lab_fits_into_ten_gigabytes() -> None:
    _, found = read(ROOT / "inventories" / "lab" / "cloud.yml")
    started = [machine for machine in found.cloud["lab"]["machines"].values() if not machine["spare"]]

    assert sum(machine["memory_mib"] for machine in started) <= 10240


@pytest.mark.parametrize("name", reference.pages())
def test_the_written_pages_are_current(name: str) -> None:
    assert (reference.DOCS / name).read_text() == reference.pages()[name], f"write it again: {reference.__doc__}"


def test_the_schema_refuses_what_it_can_see() -> None:
    validator = jsonschema.Draft7Validator(json_schema())
    validator.check_schema(json_schema())
    refused = 0
    for file in sorted((Path(__file__).parent / "faulty").glob("*.yml")):
        try:
            data = yaml.safe_load(file.read_text())
        except yaml.YAMLError:
            continue
        refused += not validator.is_valid(data)

    assert refused >= 20
