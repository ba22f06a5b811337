# SPDX-License-Identifier: GPL-3.0-or-later
"""A site in which playbooks/storage_failover.yml really runs, with FAKES of the two modules that need storage servers.

Hosts are this computer, by a local connection; one that is silent is reached by ssh at a port where nobody listens.
What the fakes answer lies in files beside the inventory, and what they were told is written down there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from updraft.site import ROOT

#: In place of updraft.cloud.storage_mirror and updraft.cloud.iscsi_session_info.
FAKE = '''\
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake: answers what a file says, and writes down what it was asked."""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule

FOLDER = {folder!r}


def main():
    options = {{name: {{"type": "raw"}} for name in {options!r}}}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    given = {{key: value for key, value in module.params.items() if value is not None}}
    # Set by what stands in for each host's Python.
    host = os.environ["FAKE_HOST"]
    with open(os.path.join(FOLDER, "asked"), "a") as log:
        print(json.dumps([host, {name!r}, given]), file=log)
    with open(os.path.join(FOLDER, {name!r} + ".json")) as file:
        answer = json.load(file)[host]
    if "fail" in answer:
        module.fail_json(msg=answer["fail"])
    now = time.time()
    if "mirror" in answer:
        answer["mirror"]["time"] = now
    module.exit_json(changed=given.get("state") == "promoted", began=now, ended=now, **answer)


main()
'''
OPTIONS = {
    "storage_mirror": ["state", "generation", "planned", "peer_is_off", "accept_loss", "wait"],
    "iscsi_session_info": ["portals", "wait"],
}


class FailoverSite:
    """The folder of it all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        cloud = folder / "ansible_collections" / "updraft" / "cloud"
        (cloud / "plugins" / "modules").mkdir(parents=True)
        for name in ("filter", "module_utils", "plugin_utils", "action"):
            (cloud / "plugins" / name).symlink_to(ROOT / "plugins" / name)
        (cloud / "galaxy.yml").symlink_to(ROOT / "galaxy.yml")
        for name, options in OPTIONS.items():
            text = FAKE.format(folder=str(folder), name=name, options=options)
            (cloud / "plugins" / "modules" / f"{name}.py").write_text(text)

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
                "ansible_python_interpreter": str(self._python(name)),
                "ansible_connection": "ssh" if name in silent else "local",
                "ansible_host": "127.0.0.1",
                "ansible_port": 1,
            }
        groups = {"storage": ["storage1", "storage2"], "compute": ["node1", "node2"], "backup": [], "state_away": []}
        children = {group: {"hosts": {name: {} for name in names}} for group, names in groups.items()}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": children}}))

    def _python(self, host: str) -> Path:
        """This Python, which knows for which host it runs."""
        file = self.folder / f"python-{host}"
        file.write_text(f'#!/bin/sh\nFAKE_HOST={host} exec {sys.executable} "$@"\n')
        file.chmod(0o755)
        return file

    def answers(self, module: str, found: dict[str, Any]) -> None:
        """What a fake answers, by host."""
        (self.folder / f"{module}.json").write_text(json.dumps(found))

    def run(self, **extra: Any) -> tuple[int, str]:
        """Run the playbook; its exit code and output, in one line."""
        (self.folder / "asked").write_text("")
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder),
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

    def asked(self, module: str) -> list[tuple[str, dict[str, Any]]]:
        """Whom a fake was asked for, and what, in order."""
        rows = [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]
        return [(host, given) for host, name, given in rows if name == module]
