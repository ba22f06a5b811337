# SPDX-License-Identifier: GPL-3.0-or-later
"""Which secrets a site has, and how the missing ones are made.

Every service has a password of its own for each thing that it logs in to, so that one which leaks
opens one door. Passwords are letters and digits only: they stand in URLs and ini files as they are.
"""

from __future__ import annotations

import copy
import secrets
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

#: Secrets which every site has, and their length in characters. Add here what a role needs.
SECRETS: Mapping[str, int] = {
    "admin_password": 32,  # the cloud's administrator
    "metadata_secret": 48,  # shared by nova and the metadata agents
    "chap.password": 16,  # initiators are known to take 12 to 16
}

#: Names that belong to a secret and are made once with it.
NAMES: Mapping[str, str] = {"chap.user": "updraft"}

#: Secrets of a site whose machines boot by network and register.
PROVISIONING: Mapping[str, int] = {
    "registrar_operator_password": 24,  # people type it on the registrar's page
    "registrar_session_key": 48,  # signs the sessions of that page
    "cobbler_password": 32,  # the API's user `updraft`
    "databases.registrar": 32,
}

#: Secrets of a site whose storage nodes mirror each other: the two directions of CHAP between the legs, and the one by
#: which the targets of pools and of the drill's volume prove themselves to nodes.
MIRROR: Mapping[str, int] = {"mirror.password": 16, "mirror.mutual_password": 16, "chap.mutual_password": 16}

#: What only a person knows: the passwords of the controllers that switch machines on and off, by machine.
POWER = "power"

#: Groups that are there even when no service or project needs a secret in them.
GROUPS = ("databases", "messaging", "users", "projects")

#: Services that speak over the message bus.
MESSAGING = ("nova", "neutron", "cinder")

#: Services that are no user of the catalogue themselves.
WITHOUT_USER = ("keystone",)

ALPHABET = string.ascii_letters + string.digits

Tree = dict[str, object]


class SecretsError(ValueError):
    """What is there cannot be completed; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Secret:
    """One value of the tree: its dotted name and how to make it."""

    name: str
    make: Callable[[], str]


def password(length: int = 32) -> str:
    """A random password of `length` letters and digits (5.9 bits each)."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def wanted(
    services: Iterable[str],
    projects: Iterable[str],
    *,
    provisioning: bool = False,
    mirror: bool = False,
) -> list[Secret]:
    """Every secret of a site but its CA and those of `unwritten`, for these services and projects of its cloud.yml.

    provisioning: whether machines boot by network. mirror: whether storage nodes mirror each other.
    """
    names = dict(SECRETS)
    for there, more in ((provisioning, PROVISIONING), (mirror, MIRROR)):
        names |= more if there else {}
    for service in services:
        names[f"databases.{service}"] = 32
        if service in MESSAGING:
            names[f"messaging.{service}"] = 32
        if service not in WITHOUT_USER:
            names[f"users.{service}"] = 32
    for project in projects:
        names[f"projects.{project}"] = 32
    fixed = [Secret(name, partial(str, value)) for name, value in NAMES.items()]
    return fixed + [Secret(name, partial(password, length)) for name, length in names.items()]


def complete(
    existing: Mapping[str, object], want: Sequence[Secret], authority: Callable[[], tuple[str, str]]
) -> tuple[Tree, list[str]]:
    """Add what is missing to `existing`, and change nothing that is there.

    `authority` makes the site's CA: its certificate and key, PEM. Returns the whole tree and the
    dotted names of what was added, sorted. Raises SecretsError when half of a CA is there or a name
    stands where a group of names belongs.
    """
    tree: Tree = {group: {} for group in GROUPS} | copy.deepcopy(dict(existing))
    added = [secret.name for secret in want if _add(tree, secret)]
    there = [name for name in ("ca_certificate", "ca_key") if tree.get(name)]
    if len(there) == 1:
        raise SecretsError(f"only {there[0]} of the site's CA is there: put its other half back, or remove it")
    if not there:
        tree["ca_certificate"], tree["ca_key"] = authority()
        added += ["ca_certificate", "ca_key"]
    return tree, sorted(added)


def unwritten(tree: Mapping[str, object], machines: Iterable[str]) -> list[str]:
    """The secrets that nobody can make and that are missing: the passwords of these machines' power controllers."""
    there = tree.get(POWER)
    known = there if isinstance(there, Mapping) else {}
    return [f"{POWER}.{name}" for name in machines if not known.get(name)]


def _add(tree: Tree, secret: Secret) -> bool:
    """Put the secret into the tree unless a value is there; whether it was added."""
    *groups, leaf = secret.name.split(".")
    place = tree
    for group in groups:
        inner = place.setdefault(group, {})
        if not isinstance(inner, dict):
            raise SecretsError(f"{group} is a value, but it has to hold {secret.name}: remove it")
        place = inner
    if place.get(leaf):
        return False
    place[leaf] = secret.make()
    return True
