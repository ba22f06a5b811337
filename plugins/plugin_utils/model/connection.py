# SPDX-License-Identifier: GPL-3.0-or-later
"""How Ansible reaches a node: as root over SSH, with the host keys that the site has pinned."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any

from .registration import Registration
from .types import Node, Site

#: The host keys of machines that registered, as they were approved. The inventory writes it.
REGISTERED_HOSTS = "known_hosts.registered"
MARKS = ("ansible.cfg", "galaxy.yml")


def state_of(file: Path, name: str) -> Path:
    """The folder where Updraft keeps what it knows about a site: .updraft/<site> of the checkout.

    The checkout is the nearest folder above the site's cloud.yml with an ansible.cfg.
    """
    file = file.resolve()
    root = next((above for above in file.parents if any((above / mark).is_file() for mark in MARKS)), file.parent)
    return root / ".updraft" / name


def connection(site: Site, node: Node, state: Path, registered: Registration | None = None) -> dict[str, Any]:
    """The connection variables of a host. In a lab, SSH goes through the lab's network namespace.

    A machine that registered is reached where it booted, and shows the host key that was approved: no other.
    """
    keys = state / (REGISTERED_HOSTS if registered else "known_hosts")
    options = {
        "UserKnownHostsFile": _quoted(keys),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
    }
    variables: dict[str, Any] = {
        "ansible_host": registered.address if registered else str(node.address),
        "ansible_user": "root",
        "ansible_control_path_dir": sockets(site, state),
    }
    if site.lab:
        namespace = f"/run/netns/{site.lab.namespace}"
        options["IdentitiesOnly"] = "yes"
        options["ProxyCommand"] = f"nsenter --net={namespace} nc %h %p"
        variables["ansible_ssh_private_key_file"] = str(state / "ssh_key")
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    variables["ansible_ssh_common_args"] = shlex.join(words)
    return variables


def sockets(site: Site, state: Path) -> str:
    """The folder of the site's open SSH connections.

    Its own, for two labs may have the same addresses in two namespaces; short, for the path of a socket
    has at most 107 characters.
    """
    return f"~/.ansible/cp/{site.name[:16]}-{hashlib.sha256(bytes(state)).hexdigest()[:8]}"


def _quoted(path: Path) -> str:
    """A path as ssh's options take it."""
    return f'"{path}"' if " " in str(path) else str(path)
