# SPDX-License-Identifier: GPL-3.0-or-later
"""A tenant's server goes on while the storage servers under its volume change places, on inventories/lab-mirror.

    PYTHONPATH=src:. .updraft/venv/bin/python tests/drill/tenant.py

The server boots from a volume of cinder; see guest.py for what it does meanwhile. At the end cinder, which runs on the
other storage server then, has to serve a new tenant.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET

from guest import Guest, main
from machines import Machine, Wrong

from updraft.labshell import NAMESPACES
from updraft.report import read_json


class Tenant(Guest):
    """The server of a tenant."""

    def make(self) -> None:
        """Have it made as a tenant makes one."""
        self.play("verify_guest", "verify_guest=made", "verify_guest_writes=true")
        found = read_json(self.site.state / "guest.json") or {}
        self.address = str(found["port"]["floating_address"])
        self.inside = ["nsenter", f"--net={NAMESPACES / next(iter(self.servers.values())).namespace}"]
        self.kept()

    def kept(self) -> None:
        """With each write to its volume QEMU asks that it is kept. Raises Wrong."""
        node = Machine(self.site, "node1")
        for name in node.must("virsh --quiet list --name").split():
            described = ET.fromstring(node.must(f"virsh dumpxml {name}"))
            ways = [disk.attrib for disk in described.iterfind("devices/disk[@type='block']/driver")]
            if not ways or any((way.get("cache"), way.get("io")) != ("directsync", "native") for way in ways):
                raise Wrong(f"{name} on {node.name} has its volume as {ways}")
            print(f"{name} on {node.name}: {ways}", flush=True)

    def page(self, name: str) -> str:
        """A page that it serves on its floating address."""
        words = [*self.inside, "curl", "-sSf", "-m", "10", f"http://{self.address}/{name}"]
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout

    def finish(self) -> None:
        """Remove it, and have cinder on the other server serve a new tenant."""
        self.play("verify_guest", "verify_guest=seen")
        self.play("verify_guest", "verify_guest=removed")
        self.play("verify")


if __name__ == "__main__":
    sys.exit(main(Tenant, "A tenant's server goes on while storage servers change places.", "inventories/lab-mirror"))
