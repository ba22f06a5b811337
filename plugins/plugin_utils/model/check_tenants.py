# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what tenants get: images, flavors, projects, and what the proof uses of them."""

from __future__ import annotations

from collections.abc import Iterable

from .expand import PROVIDER
from .problems import Problems, did_you_mean
from .types import SERVICES, Image, Project, Service, Site

#: Whom a limit of a project belongs to.
LIMITS: dict[str, Service] = {
    "instances": "nova",
    "cores": "nova",
    "memory_mib": "nova",
    "volumes": "cinder",
    "gigabytes": "cinder",
    "snapshots": "cinder",
    "networks": "neutron",
    "ports": "neutron",
    "floating_addresses": "neutron",
}
RESERVED_PROJECTS = {"admin", "service"}
RESERVED_USERS = {"admin", "service", *SERVICES}


def check_tenants(site: Site, problems: Problems) -> None:
    """Report images, flavors and projects that the cloud could not make or keep apart."""
    for key, wanted, service in (
        ("images", site.images, "glance"),
        ("flavors", site.flavors, "nova"),
        ("projects", site.projects, "keystone"),
    ):
        if wanted and service not in site.services and not problems.under("services"):
            problems.add(key, f"nothing serves them without {service}", f"remove them, or add {service} to services")
    for name, image in site.images.items():
        _image(image, f"images.{name}", problems)
    users: dict[str, str] = {}
    for name, project in site.projects.items():
        _project(site, project, f"projects.{name}", users, problems)
    _proof(site, problems)


def _image(image: Image, path: str, problems: Problems) -> None:
    remote = image.source.startswith("https://")
    if remote and image.checksum is None and not problems.under(f"{path}.checksum"):
        cure = "write checksum: sha256:... or sha512:... as its publisher gives it"
        problems.add(f"{path}.checksum", "is missing: what is fetched has to be compared with it", cure)
    if image.source == "tiny" and image.checksum is not None:
        problems.add(f"{path}.checksum", "the image tiny is made here, its sum is not known before", "remove it")


def _project(site: Site, project: Project, path: str, users: dict[str, str], problems: Problems) -> None:
    user = project.user or project.name
    if project.name in RESERVED_PROJECTS:
        problems.add(path, f"'{project.name}' is a project of the cloud itself", "choose another name")
    elif user in RESERVED_USERS:
        problems.add(f"{path}.user", f"'{user}' is a user of the cloud itself", "choose another name")
    other = users.setdefault(user, path)
    if other != path:
        problems.add(f"{path}.user", f"'{user}' is also the user of {other}", "give each project a user of its own")
    _private_network(site, project, path, problems)
    for limit, service in LIMITS.items():
        if getattr(project.quota, limit) is not None and service not in site.services:
            problems.add(f"{path}.quota.{limit}", f"needs {service}", f"remove it, or add {service} to services")
    _floating(site, project, path, problems)


def _private_network(site: Site, project: Project, path: str, problems: Problems) -> None:
    if project.network is None:
        return
    if "neutron" not in site.services and not problems.under("services"):
        problems.add(f"{path}.network", "needs neutron", "remove it, or add neutron to services")
    for network in site.networks.values():
        if project.network in network.cidr or network.cidr in project.network:
            text = f"{project.network} overlaps networks.{network.name} ({network.cidr})"
            problems.add(f"{path}.network", text, "write a private range that the rack does not use")


def _floating(site: Site, project: Project, path: str, problems: Problems) -> None:
    provider, limit = site.networks.get(PROVIDER), project.quota.floating_addresses
    if provider and provider.floating and limit is not None and limit > provider.floating.size:
        text = f"{limit} is more than networks.{PROVIDER}.floating has ({provider.floating.size})"
        problems.add(f"{path}.quota.floating_addresses", text, f"write at most {provider.floating.size}")


def _proof(site: Site, problems: Problems) -> None:
    proof = site.proof
    _named("project", proof.project, site.projects, problems)
    _named("image", proof.image, site.images, problems)
    _named("flavor", proof.flavor, site.flavors, problems)
    image = site.images.get(proof.image) if proof.image else next(iter(site.images.values()), None)
    flavor = site.flavors.get(proof.flavor) if proof.flavor else next(iter(site.flavors.values()), None)
    if image and flavor and flavor.memory_mib < image.min_memory_mib:
        text = (
            f"{flavor.name} has {flavor.memory_mib} MiB of memory, the image {image.name} needs {image.min_memory_mib}"
        )
        problems.add("proof.flavor", text, "write proof: {flavor: ...} with a larger one")


def _named(key: str, name: str | None, known: Iterable[str], problems: Problems) -> None:
    if name is not None and name not in known and not problems.under(f"{key}s"):
        problems.add(f"proof.{key}", f"there is no {key} '{name}'", did_you_mean(name, known))
