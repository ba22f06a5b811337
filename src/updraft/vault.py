# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets of a site, kept with ansible-vault and never printed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

import yaml
from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret

from ansible_collections.updraft.cloud.plugins.plugin_utils import secrets
from ansible_collections.updraft.cloud.plugins.plugin_utils.ca import make_authority
from ansible_collections.updraft.cloud.plugins.plugin_utils.model import SERVICES
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import read
from updraft.report import write_private
from updraft.site import Refusal, Site

VARIABLE = "cloud_secrets"


def ensure_secrets(site: Site) -> list[str]:
    """Make what is missing of the site's secrets. The names of what was made (never the values).

    Raises Refusal when the file is there but cannot be opened, is not locked, or cannot be completed.
    """
    vault = _vault(site)
    existing = _read(site, vault)
    services = site.cloud.get("services", SERVICES)  # an empty list means none: hypervisors alone
    want = secrets.wanted(
        services,
        site.cloud.get("projects") or {},
        provisioning=site.cloud.get("provisioning") is not None,
        mirror=bool((site.cloud.get("volumes") or {}).get("mirror")),
    )
    try:
        tree, added = secrets.complete(existing, want, lambda: make_authority(f"Updraft site {site.name}"))
    except secrets.SecretsError as error:
        raise Refusal(f"{site.secrets_file}: {error}") from None
    if added:
        _write(site, vault, tree)
    return added


def write_secrets(site: Site, tree: Mapping[str, Any]) -> None:
    """Replace the site's secrets by these, locked."""
    _write(site, _vault(site), tree)


def _write(site: Site, vault: VaultLib, tree: Mapping[str, Any]) -> None:
    text = yaml.safe_dump({VARIABLE: dict(tree)}, default_flow_style=False)
    site.secrets_file.parent.mkdir(parents=True, exist_ok=True)
    write_private(site.secrets_file, vault.encrypt(text).decode("utf-8"))


def unwritten_secrets(site: Site) -> list[str]:
    """The dotted names of secrets that only a person knows and has not written yet. The site's model is right."""
    _, derived = read(site.cloud_file)
    machines = [name for name, variables in derived.hosts.items() if variables["cloud_node"]["power"]]
    return secrets.unwritten(secrets_of(site), machines) if machines else []


def secrets_of(site: Site) -> dict[str, Any]:
    """The site's secrets; {} when there are none yet. Raises Refusal when they cannot be opened."""
    return _read(site, _vault(site)) if site.secrets_file.exists() else {}


def _vault(site: Site) -> VaultLib:
    """The vault of this checkout, opened with the password that Ansible uses, too."""
    tool = site.root / "tools" / "vault-password"
    run = subprocess.run([str(tool)], capture_output=True, check=False)
    password = run.stdout.strip()
    if run.returncode or not password:
        raise Refusal(f"no vault password: {run.stderr.decode(errors='replace').strip() or tool}")
    return VaultLib([("default", VaultSecret(password))])


def _read(site: Site, vault: VaultLib) -> dict[str, Any]:
    """The secrets that are there; an empty dict when there are none yet."""
    file = site.secrets_file
    if not file.exists():
        return {}
    locked = file.read_bytes()
    if not vault.is_encrypted(locked):
        raise Refusal(f"{file} is in clear text: lock it with `ansible-vault encrypt {file}`")
    try:
        found = yaml.safe_load(vault.decrypt(locked))
    except AnsibleVaultError:
        raise Refusal(
            f"{file} cannot be opened with this vault password: name the right one in UPDRAFT_VAULT_PASSWORD_FILE"
        ) from None
    except yaml.YAMLError:
        raise Refusal(f"{file} is no YAML: repair it with `ansible-vault edit {file}`") from None
    tree = found.get(VARIABLE) if isinstance(found, dict) else None
    if not isinstance(tree, dict):
        raise Refusal(f"{file} holds no {VARIABLE}: repair it with `ansible-vault edit {file}`")
    return tree
