# SPDX-License-Identifier: GPL-3.0-or-later
"""Into the lab: log in to its machines, run a command in its network, see which machines answer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from updraft import lab
from updraft.display import PlainDisplay
from updraft.site import Refusal, Site

NAMESPACES = Path("/run/netns")


def login(site: Site, node: str, command: Sequence[str]) -> int:
    """Become ssh to a machine of the lab."""
    machines = lab.lab_of(site).get("machines", {})
    if node not in machines:
        raise Refusal(f"no machine '{node}' in the lab; it has {', '.join(machines)}")
    os.execvp("ssh", [*ssh(site, node), *command])


def ssh(site: Site, node: str) -> list[str]:
    """The words that log in to a machine of the lab. One that registered is where the registrar saw it last."""
    words = ["ssh", "-F", str(_configuration(site))]
    address = lab.registered(site).get(node)
    return [*words, *(["-o", f"HostName={address}"] if address else []), node]


def execute(site: Site, command: Sequence[str]) -> int:
    """Become a command inside the lab's network, beside its machines and outside of the cloud."""
    if not command:
        raise Refusal("give a command after --, such as: ./updraft lab exec -- ping -c 3 10.77.2.100")
    namespace = NAMESPACES / str(lab.lab_of(site).get("namespace", f"updraft-{site.name}"))
    if not namespace.exists():
        raise Refusal("the lab's network is not there: `./updraft lab up` makes it")
    if os.geteuid() != 0:
        raise Refusal("only root can enter the lab's network")
    os.execvp("nsenter", ["nsenter", f"--net={namespace}", "--", *command])


def status(site: Site) -> int:
    """Tell which machines answer, the last run and the last proof."""
    return lab.status(site, lambda: states(site), PlainDisplay())


def states(site: Site, limit: int = 15) -> dict[str, str]:
    """`answers` or `down` for each machine of the lab, asked side by side, `limit` seconds each at most."""
    machines = lab.awaited(site)
    configuration = site.state / "ssh_config"
    if not configuration.is_file():
        return dict.fromkeys(machines, "not made")

    def ask(name: str) -> str:
        words = [*ssh(site, name), "true"]
        words[1:1] = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={limit}"]
        try:
            run = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, timeout=limit + 5, check=False)
        except subprocess.TimeoutExpired:
            return "no answer"
        return "answers" if run.returncode == 0 else "down"

    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(machines, pool.map(ask, machines), strict=True))


def _configuration(site: Site) -> Path:
    """The lab's ssh configuration; Refusal when there is no lab."""
    file = site.state / "ssh_config"
    if not file.is_file():
        raise Refusal("the lab is not there: `./updraft lab up` builds it")
    return file
