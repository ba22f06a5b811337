# SPDX-License-Identifier: GPL-3.0-or-later
"""A small site with footprints of its own, for the tests of what follows from a cloud.yml."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.updraft.cloud.plugins.plugin_utils.model import Derived, derive
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.load import load_text

STATE = Path("/state/small")
SMALL = """
plugin: updraft.cloud.cloud
name: small
domain: small.example.org
networks:
  management: {cidr: 10.0.0.0/24, interface: eth0}
  storage: {cidr: 10.0.1.0/24, interface: eth0, vlan: 20}
  provider: {cidr: 10.0.2.0/24, interface: eth1, gateway: 10.0.2.1, floating: 10.0.2.100-10.0.2.179}
nodes:
  control1: {roles: [control, database, messaging], address: 10.0.0.10}
  storage1: {roles: [storage], address: 10.0.0.20, disks: [/dev/sdb]}
  node[1:4]: {roles: [compute], address: 10.0.0.32, pool: big-ones, interfaces: {storage: eth7}}
  gate1: {roles: [gateway], address: 10.0.0.50}
"""
DATABASE = """
on: [database]
packages: [mariadb-server, zlib]
certificates: [{name: database, directory: /etc/mysql/tls, owner: root, group: mysql}]
ports: [{name: database, port: 3306, protocol: tcp, network: management, from: [control, storage], process: mariadbd}]
"""
HOST = """
"on": [all]
packages: [zlib, chrony]
ports:
  - {name: ssh, port: 22, protocol: tcp, network: management, from: [network], process: sshd}
  - {name: ntp, port: 123, protocol: udp, network: management, from: [controller], process: chronyd, on: [control]}
"""
TARGET = """
on: [storage]
packages: [lio]
ports: [{name: iscsi, port: 3260, protocol: tcp, network: storage, from: [compute], process: kernel, optional: true}]
"""
NOVA = """
components:
  api:
    on: [control]
    packages: [nova-api]
    ports: [{name: compute, port: 8774, protocol: tcp, network: management, from: [network], process: haproxy}]
  compute:
    on: [compute]
    packages: [nova-compute]
    ports: [{name: consoles, port: 5900-6000, protocol: tcp, network: management, from: [any], process: qemu}]
"""


def footprints_in(folder: Path) -> Path:
    """A folder of footprints which does not change with the roles."""
    for name, text in (("database", DATABASE), ("host", HOST), ("iscsi_target", TARGET)):
        (folder / "roles" / name / "meta").mkdir(parents=True)
        (folder / "roles" / name / "meta" / "footprint.yml").write_text(text)
    (folder / "roles" / "openstack" / "services").mkdir(parents=True)
    (folder / "roles" / "openstack" / "services" / "nova.yml").write_text(NOVA)
    return folder


def derived(root: Path, text: str = SMALL) -> Derived:
    """What follows from a cloud.yml that is right."""
    loaded = load_text(text)
    assert [str(problem) for problem in loaded.problems] == []
    return derive(loaded.site, loaded.expanded, STATE, root)
