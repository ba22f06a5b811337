# SPDX-License-Identifier: GPL-3.0-or-later
"""A site: its inventory, and the folder where Updraft keeps what it knows about it."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class Refusal(Exception):
    """Something the person has to change first; shown as a plain message, without a traceback."""


@dataclass(frozen=True, slots=True)
class Site:
    """One site, known by the folder of its cloud.yml."""

    inventory: Path
    cloud: dict[str, Any]  # cloud.yml as it is written: not checked, not derived
    root: Path = ROOT

    @property
    def name(self) -> str:
        """The site's name, as cloud.yml gives it."""
        return str(self.cloud["name"])

    @property
    def nodes(self) -> str:
        """Its nodes as cloud.yml writes them: `control1, storage[1:2] and those that registered`."""
        found = self.cloud.get("nodes")
        written = ", ".join(map(str, found)) if isinstance(found, dict) else ""
        return f"{written} and those that registered" if self.registers else written

    @property
    def registers(self) -> bool:
        """Whether machines boot by network and register here."""
        return isinstance(self.cloud.get("provisioning"), dict)

    @property
    def state(self) -> Path:
        """The folder of the site's report, keys and run artifacts, readable by its owner alone."""
        return self.root / ".updraft" / self.name

    @property
    def cloud_file(self) -> Path:
        """The site's cloud.yml."""
        return self.inventory / "cloud.yml"

    @property
    def secrets_file(self) -> Path:
        """The site's secrets, locked with ansible-vault, where Ansible finds them by itself."""
        return self.inventory / "group_vars" / "all" / "secrets.yml"

    def make_state(self) -> Path:
        """Make the state folder if it is missing, and close it to others."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.state.chmod(0o700)
        return self.state

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the site for one command that changes it; refuse while another one does."""
        handle = os.open(self.make_state() / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.read(handle, 32).decode().strip() or "unknown"
                raise Refusal(
                    f"another run (process {owner}) works on site '{self.name}': wait for it, or end it"
                ) from None
            os.truncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
            yield
        finally:
            os.close(handle)


def find_site(text: str, root: Path = ROOT) -> Site:
    """The site that the command line means: a folder with a cloud.yml, that file, or a site's short name.

    Raises Refusal when there is no such inventory or its cloud.yml has no usable name.
    """
    return load_site(find_inventory(text, root), root)


def find_joining(text: str | None, root: Path = ROOT) -> Site:
    """The site whose machines register: the one that is named, else the only one that there is, else the lab.

    Raises Refusal when nothing says which one is meant, or the site has no registrar.
    """
    if text is None:
        folders = sorted(file.parent for file in (root / "inventories").glob("*/cloud.yml"))
        sites = [site for site in (load_site(folder, root) for folder in folders) if site.registers]
        chosen = sites if len(sites) == 1 else [site for site in sites if site.name == "lab"]
        if not chosen:
            names = ", ".join(site.name for site in sites)
            raise Refusal(f"say which site with -i INVENTORY: machines register at {names or 'none of inventories/'}")
        return chosen[0]
    site = find_site(text, root)
    if not site.registers:
        raise Refusal(f"no machine registers at site '{site.name}': its cloud.yml has no section `provisioning`")
    return site


def find_inventory(text: str, root: Path = ROOT) -> Path:
    """The folder of the cloud.yml that the command line means, whatever the file holds."""
    for candidate in (Path(text), root / text, root / "inventories" / text):
        inventory = candidate.parent if candidate.is_file() else candidate
        if (inventory / "cloud.yml").is_file():
            return inventory.resolve()
    raise Refusal(f"no inventory '{text}': give the folder of a cloud.yml, such as inventories/rack")


def load_site(inventory: Path, root: Path = ROOT) -> Site:
    """Read as much of cloud.yml as is needed before it is checked: that it is a mapping with a name."""
    file = inventory / "cloud.yml"
    try:
        cloud = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refusal(f"{file}: cannot be read: {error}") from None
    name = cloud.get("name") if isinstance(cloud, dict) else None
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Refusal(f"{file}: name: give the site a name of small letters, digits and hyphens, such as 'rack'")
    return Site(inventory, cloud, root)
