# SPDX-License-Identifier: GPL-3.0-or-later
"""A tenant's server goes on while the storage servers under its volume change places, on inventories/lab-mirror.

    PYTHONPATH=src:. .updraft/venv/bin/python tests/drill/tenant.py

The server boots from a volume of cinder; see guest.py for what it does meanwhile. At the end cinder, which runs on the
other storage server then, has to serve a new tenant.
"""

from __future__ import annotations

import subprocess
import sys

from guest import Guest, main

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
