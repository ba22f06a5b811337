# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin of a site: cloud.yml in, hosts, groups and variables out."""

from __future__ import annotations

DOCUMENTATION = """
name: cloud
short_description: The machines of a cloud, from its cloud.yml
version_added: 0.1.0
author: The Updraft developers
description:
  - Reads a C(cloud.yml), the one place where the facts of a cloud are written, checks all of it and derives
    what follows from it. All faults are reported at once, each with its path and its cure, before any machine
    is contacted.
  - Where the file has a section C(provisioning), the hosts that registered and were approved are asked of the
    registrar, and become nodes as if they were written in the file. With the environment variable
    E(UPDRAFT_REGISTRAR) set to V(cache) the registrar's last answer is taken if it is silent, with V(off)
    without asking; what happens otherwise is said by C(provisioning.unreachable).
  - Every host gets the variable C(cloud), which is the same for all, and C(cloud_node), which is its own.
    One that registered also has C(hardware), as it told, and C(registration_state).
  - The groups are the node roles (V(control), V(database), V(messaging), V(provisioning), V(gateway), V(storage)
    and V(compute), which always exist), C(pool_<name>) for each pool of compute nodes, C(state_<state>) for
    V(approved), V(ready), V(in_service) and V(away), and the names of C(smart_pools).
  - A host that is away stays a node of the cloud, which others know and let in; the playbooks leave it out by
    V(!state_away).
  - Hosts are reached as root over SSH with host keys pinned in C(.updraft/<site>/known_hosts) of the
    checkout, those that registered with the key that was approved (C(known_hosts.registered)) and no other;
    those of a lab through its network namespace.
  - What can be written in C(cloud.yml) is described by C(docs/cloud.schema.json), which editors understand.
requirements:
  - netaddr
options:
  plugin:
    description: Says that this plugin reads the file. It is the first line of every C(cloud.yml).
    type: str
    required: true
    choices: [updraft.cloud.cloud]
notes:
  - The file must be named C(cloud.yml). It is plain data, without Jinja and without secrets.
"""

EXAMPLES = """
# inventories/small/cloud.yml
plugin: updraft.cloud.cloud
name: small
domain: small.example.org
networks:
  management: {cidr: 10.0.0.0/24, interface: eno1}
  storage: {cidr: 10.0.1.0/24, interface: eno2}
  provider:
    {cidr: 203.0.113.0/24, interface: eno3, gateway: 203.0.113.1, floating: 203.0.113.100-203.0.113.179}
nodes:
  control1: {roles: [control, database, messaging], address: 10.0.0.10}
  storage1: {roles: [storage], address: 10.0.0.20, disks: [/dev/sdb]}
  node[1:4]: {roles: [compute, gateway], address: 10.0.0.31, pool: general}
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin

from ansible_collections.updraft.cloud.plugins.plugin_utils.model.expand import Expanded
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import NAME, fill
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.load import ModelError
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.registration import Registration
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.types import Site
from ansible_collections.updraft.cloud.plugins.plugin_utils.registry import RegistryError, registered


class InventoryModule(BaseInventoryPlugin):
    """Hands a cloud.yml to the model, and what the model derives to Ansible."""

    NAME = "updraft.cloud.cloud"

    def verify_file(self, path: str) -> bool:
        """Whether this is a file for the plugin: a cloud.yml."""
        return Path(path).name == NAME and os.access(path, os.R_OK)

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Read the file. Raises AnsibleParserError with everything that is wrong with it."""
        super().parse(inventory, loader, path, cache)
        self._path = path
        try:
            fill(inventory, Path(path), self._registered)
        except (ModelError, RegistryError, OSError, ValueError) as error:
            raise AnsibleParserError(str(error)) from error

    def _registered(self, site: Site, expanded: Expanded, state: Path) -> list[Registration]:
        """The hosts that registered, as the registrar tells."""
        answer = registered(site, expanded, state, self._secrets)
        if answer.warning:
            self.display.warning(answer.warning)
        return answer.found

    def _secrets(self) -> Mapping[str, Any]:
        """The site's secrets, opened as Ansible opens them for its plays; {} where there are none yet."""
        file = Path(self._path).parent / "group_vars" / "all" / "secrets.yml"
        if self.loader is None or not file.is_file():
            return {}
        found = self.loader.load_from_file(str(file), cache="none")
        secrets = found.get("cloud_secrets") if isinstance(found, Mapping) else None
        return secrets if isinstance(secrets, Mapping) else {}
