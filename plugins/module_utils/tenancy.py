# SPDX-License-Identifier: GPL-3.0-or-later
"""What tenants find in a cloud: flavors, images, networks, projects, aggregates; the wish in plain fields. Pure.

Each kind is a mapping from name to fields, in the form in which `tenancy_api.py` reports what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, plan

Fields = dict[str, Any]
Kind = dict[str, Fields]

#: In the order in which they are made.
KINDS = (
    "flavor",
    "image",
    "project",
    "user",
    "quota",
    "network",
    "subnet",
    "router",
    "security group rule",
    "aggregate",
)
#: Names of the limits in the model, by the service that keeps them, with the service's own name.
QUOTAS: Mapping[str, Mapping[str, str]] = {
    "compute": {"instances": "instances", "cores": "cores", "memory_mib": "ram"},
    "block-storage": {"volumes": "volumes", "gigabytes": "gigabytes", "snapshots": "snapshots"},
    "network": {"floating_addresses": "floatingip", "networks": "network", "ports": "port"},
}
#: What the first group of a project lets in: the answer to ping, and SSH.
RULES: Sequence[Fields] = (
    {"protocol": "icmp", "first": None, "last": None},
    {"protocol": "tcp", "first": 22, "last": 22},
)
#: Image formats in which Glance knows the three files of a guest that comes with its own kernel.
PARTS = {"kernel": ("aki", "aki"), "ramdisk": ("ari", "ari")}
CONTENT = "updraft_content"


def flavors(given: Mapping[str, Mapping[str, Any]]) -> Kind:
    """Flavors; sizes are part of a flavor's identity for nova, so a changed one is made anew."""
    return {
        name: {
            "vcpus": item["vcpus"],
            "memory_mib": item["memory_mib"],
            "disk_gib": item.get("disk_gib") or 0,
            "properties": {key: str(value) for key, value in (item.get("properties") or {}).items()},
        }
        for name, item in given.items()
    }


def images(given: Sequence[Mapping[str, Any]]) -> Kind:
    """Images; one with `kernel` becomes three, of which two are for the third only."""
    result: Kind = {}
    for item in given:
        fields = {
            "content": item["content"],
            "format": item["format"],
            "min_disk_gib": item.get("min_disk_gib") or 0,
            "min_memory_mib": item.get("min_memory_mib") or 0,
            "properties": {key: str(value) for key, value in (item.get("properties") or {}).items()},
        }
        if item.get("parts"):
            for part, (form, _) in PARTS.items():
                result[f"{item['name']}-{part}"] = {
                    "content": item["content"],
                    "format": form,
                    "min_disk_gib": 0,
                    "min_memory_mib": 0,
                    "properties": {},
                }
            fields["parts"] = True
        result[item["name"]] = fields
    return result


def networks(provider: Mapping[str, Any] | None, projects: Mapping[str, Mapping[str, Any]]) -> Kind:
    """The external network, and each project's own."""
    result: Kind = {}
    if provider:
        result[provider["name"]] = {
            "project": "",
            "external": True,
            "physical": provider["physical"],
            "mtu": provider["mtu"],
        }
    for name, item in projects.items():
        if item.get("network"):
            result[name] = {"project": name, "external": False}
    return result


def subnets(provider: Mapping[str, Any] | None, projects: Mapping[str, Mapping[str, Any]]) -> Kind:
    """One subnet for each network, of the same name."""
    result: Kind = {}
    if provider:
        pools = [{"start": provider["first"], "end": provider["last"]}] if provider.get("first") else []
        result[provider["name"]] = {
            "project": "",
            "cidr": provider["cidr"],
            "gateway": provider.get("gateway"),
            "dhcp": False,
            "pools": pools,
            "dns": [],
        }
    for name, item in projects.items():
        if item.get("network"):
            result[name] = {"project": name, "cidr": item["network"], "dhcp": True, "dns": list(item.get("dns") or [])}
    return result


def routers(provider: Mapping[str, Any] | None, projects: Mapping[str, Mapping[str, Any]]) -> Kind:
    """A router for each project with a network, out through the external network when there is one."""
    outside = provider["name"] if provider else ""
    return {
        name: {"project": name, "outside": outside, "subnets": [name]}
        for name, item in projects.items()
        if item.get("network")
    }


def quotas(projects: Mapping[str, Mapping[str, Any]]) -> Kind:
    """The limits that are given; all others stay what they are."""
    return {name: dict(item["quota"]) for name, item in projects.items() if item.get("quota")}


def users(projects: Mapping[str, Mapping[str, Any]]) -> Kind:
    """Each project's user, who is its member."""
    return {item["user"]: {"project": name, "member": True, "password_works": True} for name, item in projects.items()}


def rule_name(project: str, rule: Mapping[str, Any]) -> str:
    """Return how a rule of a project's first group is called in plans."""
    ports = f" {rule['first']}" if rule["first"] else ""
    return f"{project}: {rule['protocol']}{ports}"


def rules(projects: Mapping[str, Mapping[str, Any]]) -> Kind:
    """What each project's first security group lets in."""
    with_group = [name for name, item in projects.items() if item.get("network")]
    return {rule_name(name, rule): {"project": name, **rule} for name in with_group for rule in RULES}


def aggregates(pools: Mapping[str, Sequence[str]]) -> Kind:
    """A host aggregate for each pool, which is also its availability zone."""
    return {
        name: {"zone": name, "properties": {"pool": name}, "hosts": sorted(hosts)}
        for name, hosts in pools.items()
        if hosts
    }


def desired(given: Mapping[str, Any]) -> dict[str, Kind]:
    """Return the whole wish of the module's parameters, by kind."""
    provider, projects = given["provider"], given["projects"]
    return {
        "flavor": flavors(given["flavors"]),
        "image": images(given["images"]),
        "project": {name: {"enabled": True} for name in projects},
        "user": users(projects),
        "quota": quotas(projects),
        "network": networks(provider, projects),
        "subnet": subnets(provider, projects),
        "router": routers(provider, projects),
        "security group rule": rules(projects),
        "aggregate": aggregates(given["pools"]),
    }


def whole_plan(wanted: Mapping[str, Kind], actual: Mapping[str, Kind]) -> list[Action]:
    """Return the steps for all kinds, in their order. What nobody wants stays: tenants make things too."""
    actions: list[Action] = []
    for kind in KINDS:
        actions += plan(wanted[kind], actual.get(kind, {}), what=kind, same=_same)
    return actions


def _same(field: str, wanted: Any, found: Any) -> bool:
    if field in ("properties", "subnets", "hosts") and isinstance(wanted, dict):
        # Services add properties of their own.
        return all(found.get(key) == value for key, value in wanted.items())
    if field == "subnets":
        return set(wanted) <= set(found)
    return bool(wanted == found)
