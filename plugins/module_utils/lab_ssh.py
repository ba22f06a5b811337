# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH to the machines of a lab: keys made beforehand and pinned, through the namespace, without touching ~/.ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.lab_host import run
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import Machine, Site

USER_KEY = "ssh_key"
KNOWN_HOSTS = "known_hosts"
REGISTERED_HOSTS = "known_hosts.registered"  # written by the inventory, of machines that were approved
CONFIG = "ssh_config"
HOST_KEYS = "host_keys"
_MADE = (USER_KEY, f"{USER_KEY}.pub", KNOWN_HOSTS, CONFIG)


def ensure_keys(site: Site) -> bool:
    """Make the user's key, a host key for each machine, known_hosts and ssh_config; return whether anything changed."""
    changed = _private_directory(site.state)
    changed |= _ensure_key(site.state / USER_KEY, f"updraft-{site.name}")
    _private_directory(site.state / HOST_KEYS)
    for machine in site.prepared:
        changed |= _ensure_key(host_key(site, machine), machine.name)
    changed |= _write(site.state / KNOWN_HOSTS, known_hosts(site))
    changed |= _write(site.state / CONFIG, ssh_config(site))
    return changed


def keys_exist(site: Site) -> bool:
    """Say whether anything is there that `ensure_keys` makes."""
    return any((site.state / name).exists() for name in _MADE)


def remove_keys(site: Site) -> None:
    """Remove all that `ensure_keys` makes, but not the state directory, which others write to as well."""
    for name in _MADE:
        (site.state / name).unlink(missing_ok=True)
    (site.state / "machines.lock").unlink(missing_ok=True)
    shutil.rmtree(site.state / HOST_KEYS, ignore_errors=True)


def host_key(site: Site, machine: Machine) -> Path:
    """Return where the private host key of a machine is kept."""
    return site.state / HOST_KEYS / machine.name


def known_hosts(site: Site) -> str:
    """Return the text of known_hosts: each machine by its names and its management address."""
    lines = []
    for machine in site.prepared:
        kind, key = host_key(site, machine).with_name(f"{machine.name}.pub").read_text().split()[:2]
        lines.append(f"{machine.name},{machine.fqdn},{machine.address} {kind} {key}\n")
    return "".join(lines)


def ssh_config(site: Site) -> str:
    """Return the text of a client configuration which reaches every machine by its name."""
    text = ""
    for machine in site.prepared:
        text += f"Host {machine.name} {machine.fqdn} {machine.address}\n  HostName {machine.address}\n"
    text += "Host *\n"
    options = {
        "User": "root",
        "IdentityFile": f'"{site.state / USER_KEY}"',
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": f'"{site.state / KNOWN_HOSTS}" "{site.state / REGISTERED_HOSTS}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "LogLevel": "ERROR",
        "ProxyCommand": f"nsenter --net=/run/netns/{site.namespace} nc %h %p",
    }
    return text + "".join(f"  {key} {value}\n" for key, value in options.items())


def login(site: Site, machine: Machine, *command: str, limit: float = 20) -> subprocess.CompletedProcess[str]:
    """Run a command on a machine over SSH; the result tells whether that worked."""
    options = ["-F", str(site.state / CONFIG), "-o", "BatchMode=yes", "-o", f"ConnectTimeout={limit:.0f}"]
    ssh = ["ssh", *options, machine.name, *command]
    try:
        return subprocess.run(
            ssh, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=limit + 5, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(ssh, 255, "", f"no answer within {limit:.0f} s")


def _private_directory(path: Path) -> bool:
    if path.is_dir() and path.stat().st_mode & 0o777 == 0o700:
        return False
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return True


def _ensure_key(path: Path, comment: str) -> bool:
    if path.exists() and path.with_name(f"{path.name}.pub").exists():
        return False
    path.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return True


def _write(path: Path, text: str) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    new.rename(path)
    return True
