# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a lab: that its machines are the cloud's nodes and fit on one computer."""

from __future__ import annotations

from .expand import Expanded
from .problems import Problems, did_you_mean
from .types import Lab, Machine, Node, Site


def check_lab(site: Site, expanded: Expanded, problems: Problems) -> None:
    """Report machines without nodes, nodes without machines, and what is too large."""
    lab = site.lab
    if lab is None or problems.under("lab.machines", "nodes"):
        return
    for name, machine in lab.machines.items():
        path = f"lab.machines.{name}"
        if name in expanded.nodes:
            _machine(machine, expanded.nodes[name], path, problems)
        elif machine.kind == "bare":
            _unwritten(site, path, problems)
        else:
            problems.add(path, f"there is no node '{name}'", did_you_mean(name, expanded.nodes))
        if machine.kind == "bare":
            _installed(site, machine, path, problems)
    for name in expanded.nodes:
        if name not in lab.machines:
            cure = f"write {name}: {{kind: vm, memory_mib: 2048}}"
            problems.add(f"lab.machines.{name}", f"is missing: {expanded.paths[name]} needs a machine", cure)
    _budget(lab, problems)


def _machine(machine: Machine, node: Node, path: str, problems: Problems) -> None:
    if (machine.kind == "bare") != (node.boot == "network"):
        text = f"is {machine.kind}, and nodes.{node.name}.boot is {node.boot}"
        problems.add(f"{path}.kind", text, "write kind: bare and boot: network, or neither")
        return
    if machine.kind == "bare":
        return  # What disks it has is its own affair: `disks` of a node are those that hold data.
    own = [role for role in ("storage", "compute", "backup") if role in node.roles]
    if machine.kind == "container" and own:
        text = f"a container has no kernel of its own, which the role {own[0]} needs"
        problems.add(f"{path}.kind", text, "write kind: vm")
    elif len(machine.disks) != len(node.disks):
        text = f"has {len(machine.disks)} sizes, nodes.{node.name}.disks has {len(node.disks)}"
        problems.add(f"{path}.disks", text, "write one size for each, such as disks: [8G]")


def _unwritten(site: Site, path: str, problems: Problems) -> None:
    """It is no node of cloud.yml: it becomes one by registering."""
    if site.provisioning is None:
        text = "a bare machine boots by network, and there is no section provisioning"
        problems.add(f"{path}.kind", text, "write provisioning: {network: management}, or kind: vm and a node for it")


def _installed(site: Site, machine: Machine, path: str, problems: Problems) -> None:
    wanted = site.provisioning.install.get(machine.name) if site.provisioning else None
    if wanted and not machine.disks and not problems.under(f"{path}.disks"):
        text = f"is missing: provisioning.install.{machine.name} is {wanted}"
        problems.add(f"{path}.disks", text, "write disks: [6G], or remove it from provisioning.install")


def _budget(lab: Lab, problems: Problems) -> None:
    running = [machine for machine in lab.machines.values() if not machine.spare]
    memory = sum(machine.memory_mib for machine in running)
    if memory > lab.memory_mib:
        text = f"the machines take {memory} MiB together, {memory - lab.memory_mib} more than lab.memory_mib allows"
        problems.add("lab.machines", text, "give them less memory, or raise lab.memory_mib if the computer has it")
    disk = sum(int(size.rstrip("G")) for machine in running for size in machine.disks)
    if disk > lab.disk_gib:
        text = f"the disks take {disk} GiB together, {disk - lab.disk_gib} more than lab.disk_gib allows"
        problems.add("lab.machines", text, "make them smaller, or raise lab.disk_gib if the computer has it")
