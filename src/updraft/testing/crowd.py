# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up machines which register at once, by the agent that real ones run. Only their hardware is invented.

    python -m updraft.testing.crowd URL ADDRESS CA-FILE COUNT SECONDS

Each comes at a moment of its own in the first half of the seconds and keeps in touch until they are over. Prints a
JSON object: the code of each machine, and the state in which the registrar has it at the end.
"""

from __future__ import annotations

import base64
import importlib.machinery
import importlib.util
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

AGENT = Path(__file__).parents[3] / "roles/node_image/files/updraft-register"
#: The cards of the crowd: nobody else's MAC address begins so.
CARDS = "52:54:00:c0:de"


def agent_module() -> Any:
    """The agent's file as a module."""
    loader = importlib.machinery.SourceFileLoader("updraft_register", str(AGENT))
    spec = importlib.util.spec_from_loader("updraft_register", loader)
    if spec is None:
        raise ImportError(str(AGENT))
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True  # none beside a file that goes into images
    loader.exec_module(module)
    return module


def machine(root: Path, number: int) -> None:
    """The files that the agent reads, of a machine that is like no other."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + os.urandom(32)
    files = {
        "proc/meminfo": "MemTotal: 4194304 kB\n",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: invented\n",
        "sys/class/dmi/id/product_serial": f"CROWD-{number}\n",
        "sys/class/dmi/id/product_uuid": f"c0dec0de-0000-4000-8000-{number:012x}\n",
        "etc/machine-id": f"{number:032x}\n",
        "etc/ssh/ssh_host_ed25519_key.pub": f"ssh-ed25519 {base64.b64encode(blob).decode()} root@crowd\n",
        "sys/class/net/eth0/address": f"{CARDS}:{number:02x}\n",
        "sys/class/net/eth0/device/vendor": "0x1af4\n",
        "proc/cmdline": f"BOOTIF=01-{CARDS.replace(':', '-')}-{number:02x}\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def live(module: Any, root: Path, client: Any, begin: float, end: float) -> Any:
    """One machine's life, from its start to the end of the seconds. Returns its agent."""
    agent = module.Agent(root, client, module.command_line(root), consoles=())
    agent.tell = lambda *lines: None
    time.sleep(begin)
    while time.monotonic() < end:
        time.sleep(min(agent.step(), max(end - time.monotonic(), 0)))
    return agent


def main(arguments: list[str]) -> int:
    """Let them live; exit code 0."""
    url, address, authority, count, seconds = *arguments[:3], int(arguments[3]), float(arguments[4])
    module, end = agent_module(), time.monotonic() + float(seconds)
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder) / str(number) for number in range(count)]

        def one(number: int, root: Path) -> None:
            machine(root, number)
            client = module.Client(url, address, authority)
            agent = live(module, root, client, number * float(seconds) / 2 / count, end)
            found[module.code_of(module.host_key(root))] = agent.state

        threads = [threading.Thread(target=one, args=pair) for pair in enumerate(roots)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
