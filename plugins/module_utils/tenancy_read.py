# SPDX-License-Identifier: GPL-3.0-or-later
"""What tenants find in a cloud, read from its APIs into the fields of `tenancy.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import AbsentError, Api, password_works
from ansible_collections.updraft.cloud.plugins.module_utils.tenancy import CONTENT, PARTS, QUOTAS, Kind, rule_name

DOMAIN_ID = "default"


@dataclass
class State:
    """What is there: fields by kind and name, and the identifiers which changes need."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    #: Images of ours that a cut run left without their data.
    unfinished: dict[str, list[str]] = field(default_factory=dict)

    def id(self, kind: str, name: str) -> str:
        """Return the identifier of something that is there."""
        return self.ids[kind, name]


class Reader:
    """Reads one kind after the other; later kinds need the identifiers of earlier ones."""

    def __init__(self, api: Api, url: str, wanted: Mapping[str, Kind], passwords: Mapping[str, str]) -> None:
        """Take the connection, the address for trial logins, the wish, and the users' passwords."""
        self.api = api
        self.url = url
        self.wanted = wanted
        self.passwords = passwords
        self.state = State()

    def read(self, *, tolerant: bool) -> State:
        """Return what is there. A service that does not answer counts as empty when `tolerant`."""
        readers: Mapping[str, Callable[[], Kind]] = {
            "flavor": self.flavors,
            "image": self.images,
            "project": self.projects,
            "user": self.users,
            "quota": self.quotas,
            "network": self.networks,
            "subnet": self.subnets,
            "router": self.routers,
            "security group rule": self.rules,
            "aggregate": self.aggregates,
        }
        for kind, reader in readers.items():
            if not self.wanted[kind]:
                continue
            try:
                self.state.kinds[kind] = reader()
            except AbsentError:
                if not tolerant:
                    raise
                self.state.kinds[kind] = {}
        return self.state

    def flavors(self) -> Kind:
        """All flavors, private ones too."""
        found: Kind = {}
        for item in self.api.get("compute", "/flavors/detail?is_public=None")["flavors"]:
            self.state.ids["flavor", item["name"]] = item["id"]
            sizes = {"vcpus": item["vcpus"], "memory_mib": item["ram"], "disk_gib": item["disk"]}
            found[item["name"]] = {**sizes, "properties": item.get("extra_specs") or {}}
        return found

    def images(self) -> Kind:
        """The images which Updraft made and which are whole."""
        listed = self.api.get("image", "/images?visibility=public&limit=1000&sort=created_at:asc")["images"]
        whole = {item["id"] for item in listed if item["status"] == "active"}
        found: Kind = {}
        for item in listed:
            if CONTENT not in item:
                continue
            name = item["name"]
            if item["id"] not in whole:
                self.state.unfinished.setdefault(name, []).append(item["id"])
                continue
            self.state.ids["image", name] = item["id"]
            found[name] = {
                "content": item[CONTENT],
                "format": item["disk_format"],
                "min_disk_gib": item["min_disk"],
                "min_memory_mib": item["min_ram"],
                "properties": {key: value for key, value in item.items() if isinstance(value, str)},
                "parts": all(item.get(f"{part}_id") in whole for part in PARTS),
            }
        return found

    def projects(self) -> Kind:
        """The projects of the default domain."""
        found: Kind = {}
        for item in self.api.get("identity", f"/projects?domain_id={DOMAIN_ID}")["projects"]:
            self.state.ids["project", item["name"]] = item["id"]
            found[item["name"]] = {"enabled": item["enabled"]}
        return found

    def users(self) -> Kind:
        """The users that are wanted and there: whether they are members, and whether the wanted password works."""
        found: Kind = {}
        for item in self.api.get("identity", f"/users?domain_id={DOMAIN_ID}")["users"]:
            name = item["name"]
            self.state.ids["user", name] = item["id"]
            if name in self.wanted["user"]:
                found[name] = self._user(name, item["id"], self.wanted["user"][name]["project"])
        return found

    def _user(self, name: str, user: str, project: str) -> dict[str, Any]:
        project_id = self.state.ids.get(("project", project))
        if project_id is None:
            return {"project": project, "member": False, "password_works": False}
        query = f"/role_assignments?user.id={user}&scope.project.id={project_id}&include_names=true"
        roles = [entry["role"]["name"] for entry in self.api.get("identity", query)["role_assignments"]]
        member = "member" in roles
        works = member and password_works(self.url, name, self.passwords[project], project)
        return {"project": project, "member": member, "password_works": works}

    def quotas(self) -> Kind:
        """The limits of the projects that are there."""
        found: Kind = {}
        for name in self.wanted["quota"]:
            project = self.state.ids.get(("project", name))
            if project is None:
                continue
            found[name] = {}
            for service, names in QUOTAS.items():
                path, key = quota_path(service, project)
                limits = self.api.get(service, path)[key]
                found[name] |= {ours: limits[theirs] for ours, theirs in names.items() if theirs in limits}
        return found

    def networks(self) -> Kind:
        """The networks of the wanted names, each in its project; the external one in any."""
        found: Kind = {}
        for item in self.api.get("network", "/networks")["networks"]:
            name = item["name"]
            wanted = self.wanted["network"].get(name)
            if wanted is None or not self._in_project(item, wanted["project"]):
                continue
            if wanted["external"] != item["router:external"]:
                continue
            self.state.ids["network", name] = item["id"]
            physical = item.get("provider:physical_network")
            more = {"physical": physical, "mtu": item["mtu"]}
            found[name] = {"project": wanted["project"], "external": item["router:external"], **more}
        return found

    def _in_project(self, item: Mapping[str, Any], project: str) -> bool:
        return not project or item["project_id"] == self.state.ids.get(("project", project))

    def subnets(self) -> Kind:
        """The subnets of the wanted names within the networks of the same name."""
        found: Kind = {}
        for item in self.api.get("network", "/subnets")["subnets"]:
            name = item["name"]
            wanted = self.wanted["subnet"].get(name)
            if wanted is None or item["network_id"] != self.state.ids.get(("network", name)):
                continue
            self.state.ids["subnet", name] = item["id"]
            found[name] = {
                "project": wanted["project"],
                "cidr": item["cidr"],
                "gateway": item["gateway_ip"],
                "dhcp": item["enable_dhcp"],
                "pools": item["allocation_pools"],
                "dns": item["dns_nameservers"],
            }
        return found

    def routers(self) -> Kind:
        """The routers of the wanted names, with the names of networks and subnets that they join."""
        networks = {value: name for (kind, name), value in self.state.ids.items() if kind == "network"}
        subnets = {value: name for (kind, name), value in self.state.ids.items() if kind == "subnet"}
        found: Kind = {}
        for item in self.api.get("network", "/routers")["routers"]:
            name = item["name"]
            wanted = self.wanted["router"].get(name)
            if wanted is None or not self._in_project(item, wanted["project"]):
                continue
            self.state.ids["router", name] = item["id"]
            ports = self.api.get("network", f"/ports?device_id={item['id']}&device_owner=network:router_interface")[
                "ports"
            ]
            joined = [subnets.get(address["subnet_id"], "") for port in ports for address in port["fixed_ips"]]
            gateway = (item.get("external_gateway_info") or {}).get("network_id") or ""
            found[name] = {"project": wanted["project"], "outside": networks.get(gateway, ""), "subnets": joined}
        return found

    def rules(self) -> Kind:
        """What the first security groups of the wanted projects let in from everywhere by IPv4."""
        found: Kind = {}
        for name in {fields["project"] for fields in self.wanted["security group rule"].values()}:
            project = self.state.ids.get(("project", name))
            if project is None:
                continue
            groups = self.api.get("network", f"/security-groups?name=default&project_id={project}")["security_groups"]
            for group in groups:
                self.state.ids["security group", name] = group["id"]
                for rule in group["security_group_rules"]:
                    fields = _rule(rule)
                    if fields is not None:
                        found[rule_name(name, fields)] = {"project": name, **fields}
        return found

    def aggregates(self) -> Kind:
        """All host aggregates."""
        found: Kind = {}
        for item in self.api.get("compute", "/os-aggregates")["aggregates"]:
            self.state.ids["aggregate", item["name"]] = str(item["id"])
            hosts = sorted(item["hosts"])
            found[item["name"]] = {"zone": item["availability_zone"], "properties": item["metadata"], "hosts": hosts}
        return found


def _rule(rule: Mapping[str, Any]) -> dict[str, Any] | None:
    is_open = rule["direction"] == "ingress" and rule["ethertype"] == "IPv4" and not rule["remote_group_id"]
    if not is_open or rule["remote_ip_prefix"] not in (None, "0.0.0.0/0"):
        return None
    return {"protocol": rule["protocol"], "first": rule["port_range_min"], "last": rule["port_range_max"]}


def quota_path(service: str, project: str) -> tuple[str, str]:
    """Return where a service keeps the limits of a project, and how it calls them."""
    return (f"/quotas/{project}", "quota") if service == "network" else (f"/os-quota-sets/{project}", "quota_set")
