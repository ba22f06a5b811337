# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's machines: from the model's data to namespaces, bridges and command lines."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import (
    lab_bare,
    lab_container,
    lab_machine,
    lab_network,
    lab_ssh,
)
from ansible_collections.updraft.cloud.plugins.module_utils.lab_bare import BareMachine, bare_arguments
from ansible_collections.updraft.cloud.plugins.module_utils.lab_container import Container, run_arguments
from ansible_collections.updraft.cloud.plugins.module_utils.lab_cpio import Entry, archive
from ansible_collections.updraft.cloud.plugins.module_utils.lab_image import Image
from ansible_collections.updraft.cloud.plugins.module_utils.lab_network import Interface
from ansible_collections.updraft.cloud.plugins.module_utils.lab_qemu import VirtualMachine, qemu_arguments, seed_entries
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import (
    LabError,
    Site,
    interface_name,
    mac_address,
    parse_site,
    size_bytes,
)


def link(parent: str, address: str | None) -> dict[str, Any]:
    return {"parent": parent, "interface": parent, "address": address, "prefix": 24, "mtu": 1500, "vlan": None}


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """What the playbooks hand over for a container and a virtual machine."""
    return {
        "cloud": {
            "name": "lab",
            "domain": "lab.example",
            "networks": {
                "management": {"cidr": "10.77.0.0/24", "mtu": 1500},
                "provider": {"cidr": "10.77.2.0/24", "mtu": 1500, "gateway": "10.77.2.1"},
                "storage": {"cidr": "10.77.1.0/24", "mtu": 9000},
            },
            "lab": {
                "namespace": "updraft-lab",
                "machines": {
                    "control1": {"kind": "container", "memory_mib": 4096},
                    "storage1": {"kind": "vm", "memory_mib": 1536, "disks": ["8G"], "cpus": 2},
                },
            },
        },
        "nodes": {
            "control1": {"fqdn": "control1.lab.example", "links": {"management": link("eth0", "10.77.0.10")}},
            "storage1": {
                "fqdn": "storage1.lab.example",
                "links": {"management": link("eth0", "10.77.0.20"), "storage": link("eth1", "10.77.1.20")},
                "packages": ["lvm2", "chrony", "lvm2"],
            },
        },
        "state": str(tmp_path / "state"),
        "cache": str(tmp_path / "cache"),
    }


@pytest.fixture
def site(data: dict[str, Any]) -> Site:
    return parse_site(data)


def test_a_site_is_parsed_from_the_models_data(site: Site) -> None:
    control, storage = site.machines
    assert (control.address, storage.address) == ("10.77.0.10", "10.77.0.20")
    assert storage.packages == ("chrony", "lvm2")
    assert [(one.interface, one.bridge, one.mtu) for one in storage.links] == [
        ("eth0", "br-management", 1500),
        ("eth1", "br-storage", 9000),
    ]
    assert {network.name: network.address for network in site.networks} == {
        "management": "10.77.0.1/24",
        "provider": "10.77.2.1/24",
        "storage": None,
    }


def test_tagged_networks_share_the_interface_of_the_first(data: dict[str, Any]) -> None:
    data["nodes"]["storage1"]["links"]["storage"] = {**link("eth0", "10.77.1.20"), "interface": "eth0.20", "vlan": 20}
    storage = parse_site(data).machines[1]
    assert [(one.interface, one.address) for one in storage.links] == [("eth0", "10.77.0.20/24")]


@pytest.fixture
def bare(data: dict[str, Any]) -> Site:
    """The same lab with two machines which no node describes, one of them spare."""
    data["cloud"]["lab"]["namespace"] = "updraft-unit"
    for network, interface in (("management", "eth0"), ("storage", "eth1"), ("provider", "eth2")):
        data["cloud"]["networks"][network]["interface"] = interface
    data["cloud"]["lab"]["machines"]["node1"] = {"kind": "bare", "memory_mib": 3072, "firmware": "uefi"}
    data["cloud"]["lab"]["machines"]["node2"] = {"kind": "bare", "memory_mib": 2048, "spare": True}
    return parse_site(data)


def test_a_bare_machine_is_plugged_in_everywhere_and_has_no_address(bare: Site) -> None:
    node1 = bare.machines[2]
    assert [(one.interface, one.bridge, one.address) for one in node1.links] == [
        ("eth0", "br-management", None),
        ("eth1", "br-storage", None),
        ("eth2", "br-provider", None),
    ]
    assert [machine.name for machine in bare.prepared] == ["control1", "storage1"]


def test_a_bare_machine_starts_from_its_first_network_card_and_nothing_else(bare: Site) -> None:
    machine = BareMachine(bare, bare.machines[2])
    machine.state.mkdir(parents=True)
    (machine.state / "OVMF_VARS_4M.fd").touch()
    words = bare_arguments(machine)
    cards = [word for word in words if word.startswith("virtio-net-pci")]
    assert [card.rpartition(",")[2] for card in cards] == ["bootindex=1", "romfile=", "romfile="]
    assert "-kernel" not in words and "-initrd" not in words
    assert next(word for word in words if "OVMF" in word).endswith("OVMF_CODE_4M.fd")
    assert "type=1,manufacturer=Updraft,product=Lab,serial=LAB-NODE1" in words


def test_a_bare_machine_has_the_card_that_cloud_yml_expects(data: dict[str, Any]) -> None:
    data["cloud"]["lab"]["machines"] = {"node3": {"kind": "bare", "memory_mib": 2048, "disks": ["6G"], "spare": True}}
    for network, interface in (("management", "eth0"), ("storage", "eth1"), ("provider", "eth2")):
        data["cloud"]["networks"][network]["interface"] = interface
    expected = {"name": "node3", "mac": "52:54:00:77:00:33", "serial": "CZ1", "pool": "general"}
    data["cloud"]["provisioning"] = {"network": "management", "interfaces": {}, "expected": [expected]}
    (node3,) = (site := parse_site(data)).machines
    assert [one.mac for one in node3.links] == [
        "52:54:00:77:00:33",
        mac_address("lab", "node3", "eth1"),
        mac_address("lab", "node3", "eth2"),
    ]
    assert (node3.pool, node3.disks) == ("general", ("6G",))
    words = bare_arguments(BareMachine(site, node3))
    assert "type=1,manufacturer=Updraft,product=Lab,serial=CZ1" in words

    data["cloud"]["provisioning"]["network"] = "storage"
    assert [one.mac for one in parse_site(data).machines[0].links][:2] == [
        mac_address("lab", "node3", "eth0"),
        "52:54:00:77:00:33",
    ]


def test_the_disk_of_a_bare_machine_is_made_once_and_empty(
    data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(lab_bare, "run", made.append)
    data["cloud"]["lab"]["machines"] = {"node3": {"kind": "bare", "memory_mib": 2048, "disks": ["6G"]}}
    for network in data["cloud"]["networks"].values():
        network["interface"] = "eth0"
    (node3,) = (site := parse_site(data)).machines
    machine = BareMachine(site, node3)
    file = machine.state / "disk0.qcow2"
    machine.add_disks()
    assert made == [["qemu-img", "create", "-q", "-f", "qcow2", str(file), str(6 * 1024**3)]]
    file.parent.mkdir(parents=True)
    file.touch()
    machine.add_disks()
    assert len(made) == 1
    words = " ".join(bare_arguments(machine))
    assert f"file={file},format=qcow2,if=none,id=disk0,cache=unsafe" in words
    assert "virtio-blk-pci,drive=disk0,serial=node3-0" in words


def test_uefi_finds_a_disk_with_the_servers_own_ipxe(bare: Site) -> None:
    machine = BareMachine(bare, replace(bare.machines[2], disks=("6G",)))
    machine.state.mkdir(parents=True)
    (machine.state / "OVMF_VARS_4M.fd").touch()
    first = next(word for word in bare_arguments(machine) if word.startswith("virtio-net-pci"))
    assert first.endswith("bootindex=1,romfile=")


def test_the_code_of_a_bare_machine_is_the_last_on_its_console(bare: Site) -> None:
    machine = BareMachine(bare, bare.machines[2])
    assert machine.code() is None
    machine.state.mkdir(parents=True)
    machine.console.write_text("BdsDxe: loading\n code 1234-ABCD\n\x1b[1m code 7K2M-9QWX \x1b[0m waiting\n")
    assert machine.code() == "7K2M-9QWX"


def test_power_is_for_bare_machines_only(bare: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_machine, "refuse_foreign", lambda site: None)
    with pytest.raises(LabError, match="the lab has no bare machine storage1"):
        lab_machine.powered(bare, ["storage1"], "on", limit=1, check=True)
    assert lab_machine.powered(bare, [], "on", limit=1, check=True) == {"changed": True, "codes": {}}
    assert lab_machine.powered(bare, [], "off", limit=1, check=True) == {"changed": False, "codes": {}}


def test_a_site_without_machines_is_refused(data: dict[str, Any]) -> None:
    data["cloud"]["lab"] = None
    with pytest.raises(LabError, match=r"'lab' is no lab: its cloud\.yml has no `lab:` section"):
        parse_site(data)


def test_an_unknown_kind_is_refused_with_its_path(data: dict[str, Any]) -> None:
    data["cloud"]["lab"]["machines"]["control1"]["kind"] = "jail"
    broken = parse_site(data)
    with pytest.raises(LabError, match=r"control1\.kind: 'jail' is not known; write container, vm or bare"):
        lab_machine.driver(broken, broken.machines[0])


@pytest.mark.parametrize(
    ("text", "expected"), [("8G", 8 * 1024**3), ("512M", 512 * 1024**2), ("1GiB", 1024**3), ("7", 7)]
)
def test_sizes(text: str, expected: int) -> None:
    assert size_bytes(text) == expected


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(LabError, match="'much' is no size"):
        size_bytes("much")


def test_interface_names_fit_and_stay_apart() -> None:
    assert interface_name("", "node1", "eth0") == "node1-eth0"
    long = [interface_name("", "a-very-long-name-of-a-node", f"eth{number}") for number in range(20)]
    assert all(len(name) <= 15 for name in long)
    assert len(set(long)) == 20


def test_hardware_addresses_are_qemus_and_stay_the_same() -> None:
    assert mac_address("lab", "node1", "eth0") == mac_address("lab", "node1", "eth0")
    assert mac_address("lab", "node1", "eth0") != mac_address("other", "node1", "eth0")
    assert mac_address("lab", "node1", "eth0").startswith("52:54:00:")


def test_the_network_is_planned_from_nothing_and_then_not_again(site: Site) -> None:
    commands = lab_network.plan_bridges(site.namespace, site.networks, None)
    assert ["ip", "-n", "updraft-lab", "address", "add", "10.77.2.1/24", "dev", "br-provider"] in commands
    assert all(command[:3] in (["ip", "-n", "updraft-lab"],) for command in commands)
    actual = {
        network.bridge: Interface(network.mtu, True, None, frozenset({network.address} if network.address else ()))
        for network in site.networks
    }
    assert lab_network.plan_bridges(site.namespace, site.networks, actual) == []


def test_a_namespace_which_was_not_finished_is_finished() -> None:
    whole = lab_network.plan_namespace("ns", None)
    assert whole[0] == ["ip", "netns", "add", "ns"]
    assert lab_network.plan_namespace("ns", {"lo": Interface(65536, False)}) == whole[1:]
    assert lab_network.plan_namespace("ns", {"lo": Interface(65536, True)}) == []


def test_a_bridge_of_no_network_goes_and_a_changed_address_is_replaced(site: Site) -> None:
    actual = {
        "br-management": Interface(1500, True, None, frozenset({"10.9.0.1/24"})),
        "br-provider": Interface(1500, True, None, frozenset({"10.77.2.1/24"})),
        "br-storage": Interface(9000, False),
        "br-old": Interface(1500, True),
    }
    ip = "ip -n updraft-lab"
    assert [" ".join(command) for command in lab_network.plan_bridges(site.namespace, site.networks, actual)] == [
        f"{ip} address del 10.9.0.1/24 dev br-management",
        f"{ip} address add 10.77.0.1/24 dev br-management",
        f"{ip} link set br-storage up",
        f"{ip} link delete br-old",
    ]


def test_a_container_is_connected_by_a_veth_and_a_virtual_machine_by_a_tap(site: Site) -> None:
    control, storage = site.machines
    veth = lab_network.plan_port(site.namespace, control, control.links[0], "updraft-lab-control1", {})
    assert veth[0][-2:] == ["netns", "updraft-lab-control1"]
    tap = lab_network.plan_port(site.namespace, storage, storage.links[1], None, {})
    assert tap[0] == [
        "nsenter", "--net=/run/netns/updraft-lab", "ip", "tuntap", "add", "storage1-eth1", "mode", "tap",
    ]  # fmt: skip
    assert ["ip", "-n", "updraft-lab", "link", "set", "storage1-eth1", "mtu", "9000"] in tap
    done = {"storage1-eth1": Interface(9000, True, "br-storage")}
    assert lab_network.plan_port(site.namespace, storage, storage.links[1], None, done) == []


def test_what_ip_prints_is_understood() -> None:
    printed = [
        {
            "ifname": "br-storage",
            "flags": ["BROADCAST", "UP"],
            "mtu": 9000,
            "master": "x",
            "addr_info": [
                {"family": "inet", "local": "10.77.1.1", "prefixlen": 24},
                {"family": "inet6", "local": "fe80::1", "prefixlen": 64},
            ],
        },
        {},
    ]
    assert lab_network.parse_interfaces(printed) == {
        "br-storage": Interface(9000, True, "x", frozenset({"10.77.1.1/24"}))
    }


def test_qemu_gets_the_disks_and_cards_of_the_machine(site: Site) -> None:
    vm = VirtualMachine(site, site.machines[1])
    command = " ".join(qemu_arguments(vm, Image("vm-1", Path("/cache/vm-1")), "tcg"))
    assert "-accel tcg,thread=multi -cpu max -smp 1 -m 1536M" in command
    assert "-kernel /cache/vm-1/vmlinuz" in command
    assert f"file={site.state}/machines/storage1/disk0.raw,format=raw,if=none,id=disk1" in command
    assert "ifname=storage1-eth1" in command
    assert "host_mtu=9000" in command
    assert "-accel kvm -cpu host -smp 2 -m" in " ".join(qemu_arguments(vm, Image("vm-1", Path("/c")), "kvm"))


def test_a_container_cannot_reach_the_computers_hardware_and_clock(site: Site) -> None:
    arguments = run_arguments(Container(site, site.machines[0]))
    assert "--privileged" not in arguments
    assert {"--cap-drop=SYS_TIME", "--cap-drop=SYS_MODULE", "--cap-drop=SYS_RAWIO"} <= set(arguments)
    assert "--network=ns:/run/netns/updraft-lab-control1" in arguments
    assert "--memory=4096m" in arguments
    assert arguments[-2:] == ["/run/updraft/updraft-lab/control1/root", "/sbin/updraft-lab-init"]


def test_the_seed_is_written_last_with_the_machines_identity(site: Site) -> None:
    seed = [Entry("/etc/hostname", b"storage1\n"), Entry("/etc/machine-id", b"0123\n")]
    entries = {entry.path: entry.content for entry in seed_entries(site.machines[1], seed)}
    assert entries["/seed/etc/hostname"] == b"storage1\n"
    assert entries["/machine-id"] == b"0123\n"
    assert "/seed/etc/machine-id" not in entries
    assert entries["/names"] is not None
    assert [line.split()[1] for line in entries["/names"].decode().splitlines()] == ["eth0", "eth1"]


def test_only_the_management_address_is_seeded(site: Site) -> None:
    (entry,) = lab_machine.network_files(site.machines[1])
    assert entry.path == "/etc/systemd/network/10-updraft-eth0.network"
    assert b"Address=10.77.0.20/24\n" in (entry.content or b"")


def test_keys_are_made_once_pinned_and_private(site: Site) -> None:
    assert lab_ssh.ensure_keys(site)
    assert not lab_ssh.ensure_keys(site)
    files = [path for path in site.state.rglob("*") if path.is_file() and path.suffix != ".pub"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert site.state.stat().st_mode & 0o777 == 0o700
    lines = (site.state / "known_hosts").read_text().splitlines()
    assert lines[0].startswith("control1,control1.lab.example,10.77.0.10 ssh-ed25519 ")
    config = (site.state / "ssh_config").read_text()
    assert "Host storage1 storage1.lab.example 10.77.0.20\n  HostName 10.77.0.20\n" in config
    assert "StrictHostKeyChecking yes" in config
    asked = subprocess.run(
        ["ssh", "-G", "-F", str(site.state / "ssh_config"), "control1"], capture_output=True, text=True, check=True
    )
    assert "hostname 10.77.0.10\n" in asked.stdout
    lab_ssh.remove_keys(site)
    assert not lab_ssh.keys_exist(site)


def test_every_machine_has_an_identity_of_its_own(site: Site) -> None:
    lab_ssh.ensure_keys(site)
    identities = {
        entry.content
        for machine in site.machines
        for entry in lab_machine.seed(site, machine)
        if entry.path == "/etc/machine-id"
    }
    assert len(identities) == 2
    assert all(len(identity or b"") == 33 for identity in identities)


def test_an_archive_is_what_the_kernel_reads() -> None:
    data = archive([Entry("/etc/hostname", b"node1\n"), Entry("/bin/tool", b"x" * 5, 0o755)])
    assert len(data) % 512 == 0
    names, position = [], 0
    while True:
        assert data[position : position + 6] == b"070701"
        fields = [int(data[position + 6 + 8 * number : position + 14 + 8 * number], 16) for number in range(13)]
        name = data[position + 110 : position + 110 + fields[11] - 1].decode()
        if name == "TRAILER!!!":
            break
        names.append((name, oct(fields[1]), fields[6]))
        position += 110 + fields[11]
        position += -position % 4
        position += fields[6]
        position += -position % 4
    assert names == [
        ("bin", "0o40755", 0),
        ("bin/tool", "0o100755", 5),
        ("etc", "0o40755", 0),
        ("etc/hostname", "0o100644", 6),
    ]


@pytest.mark.parametrize(("pid", "runs"), [(os.getpid(), True), (2**22 + 1, False)])
def test_a_container_whose_processes_were_killed_does_not_run(
    data: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pid: int, runs: bool
) -> None:
    """podman goes on to list it."""
    container = Container(parse_site(data), parse_site(data).machines[0])
    container.runtime = tmp_path
    (tmp_path / container.namespace).symlink_to("/proc/self/ns/net")
    monkeypatch.setattr(lab_container, "NAMESPACES", tmp_path)
    listed = subprocess.CompletedProcess([], 0, json.dumps([{"Names": [container.name], "Pid": pid}]), "")
    monkeypatch.setattr(lab_container, "run", lambda *_words, **_limits: listed)
    assert container.running() == runs


def test_what_is_there_without_a_state_is_another_labs(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    site = parse_site(data)
    monkeypatch.setattr(Container, "exists", lambda _self: True)
    monkeypatch.setattr(VirtualMachine, "exists", lambda self: self.machine.name == "storage1")
    site.machine_state(site.machines[0]).mkdir(parents=True)
    assert [machine.name for machine in lab_machine.orphans(site)] == ["storage1"]
