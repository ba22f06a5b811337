# SPDX-License-Identifier: GPL-3.0-or-later
"""A site in which playbooks/storage_failover.yml really runs, with a FAKE of the two programs that it asks.

Hosts are this computer, by a local connection and with a shell of their own (fake_shell.py); one that is silent is
reached by ssh at a port where nobody listens. What the programs answer lies in files beside the inventory, and what
they were told is written down there.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from updraft.site import ROOT


class FailoverSite:
    """The folder of it all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def inventory(self, silent: set[str], power: dict[str, Any] | None) -> None:
        """storage1 and storage2, node1 and node2; `power` is storage1's board."""
        hosts: dict[str, Any] = {}
        for name in ("storage1", "storage2", "node1", "node2"):
            hosts[name] = {
                "cloud_node": {
                    "power": power if name == "storage1" else None,
                    "storage": {"portals": ["10.0.1.9"] if name.startswith("node") else []},
                },
                "cloud_secrets": {"power": {"storage1": "secret"}},
                "ansible_python_interpreter": sys.executable,
                "ansible_shell_executable": str(self._shell(name)),
                "ansible_connection": "ssh" if name in silent else "local",
                "ansible_host": "127.0.0.1",
                "ansible_port": 1,
            }
        groups = {"storage": ["storage1", "storage2"], "compute": ["node1", "node2"], "backup": [], "state_away": []}
        children = {group: {"hosts": {name: {} for name in names}} for group, names in groups.items()}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": children}}))

    def _shell(self, host: str) -> Path:
        """The fake shell, which knows for which host it runs."""
        file = self.folder / f"shell-{host}"
        words = shlex.join([sys.executable, str(Path(__file__).with_name("fake_shell.py")), str(self.folder), host])
        file.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        file.chmod(0o755)
        return file

    def answers(self, program: str, found: dict[str, Any]) -> None:
        """What a program answers, by host."""
        (self.folder / f"{program}.json").write_text(json.dumps(found))

    def run(self, **extra: Any) -> tuple[int, str]:
        """Run the playbook; its exit code and output, in one line."""
        (self.folder / "asked").write_text("")
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_INVENTORY_ENABLED": "yaml",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_RETRIES": "0",
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }
        words = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.folder / "hosts.yml")]
        words += [str(ROOT / "playbooks" / "storage_failover.yml"), "-e", json.dumps(extra)]
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=ROOT
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def asked(self, program: str) -> list[tuple[str, list[str]]]:
        """Whom a program was asked for, and with what words, in order."""
        rows = [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]
        return [(host, words) for host, name, words in rows if name == program]
