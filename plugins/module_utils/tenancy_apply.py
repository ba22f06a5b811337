# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the plan of `tenancy.py` by the cloud's APIs. Each step may be repeated after a cut."""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import Api, ApiError
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action
from ansible_collections.updraft.cloud.plugins.module_utils.tenancy import CONTENT, PARTS, QUOTAS, Fields, Kind
from ansible_collections.updraft.cloud.plugins.module_utils.tenancy_read import DOMAIN_ID, State, quota_path

#: How an image's part is called in the folder of its files, by the format.
_FILE = {form: part for part, (form, _) in PARTS.items()}
_CONTAINER = dict(PARTS.values())


@contextlib.contextmanager
def _opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    """Open a file, or one member of an archive."""
    if not member:
        with path.open("rb") as data:
            yield data
        return
    with tarfile.open(path) as archive:
        inner = archive.extractfile(member)
        if inner is None:
            raise OSError(f"{path} has no file {member}")
        yield inner


class Applier:
    """Makes things, in the order of the plan."""

    def __init__(
        self,
        api: Api,
        state: State,
        wanted: Mapping[str, Kind],
        passwords: Mapping[str, str],
        files: Mapping[str, str],
    ) -> None:
        """Take the connection, what is there, the wish, passwords by project, and the path of each image's file."""
        self.api = api
        self.state = state
        self.wanted = wanted
        self.passwords = passwords
        self.files = files
        #: Images whose file is not on this machine yet.
        self.lacking: list[str] = []

    def apply(self, action: Action) -> None:
        """Carry out one action."""
        steps: Mapping[str, Callable[[Action, Fields], None]] = {
            "flavor": self.flavor,
            "image": self.image,
            "project": self.project,
            "user": self.user,
            "quota": self.quota,
            "network": self.network,
            "subnet": self.subnet,
            "router": self.router,
            "security group rule": self.rule,
            "aggregate": self.aggregate,
        }
        steps[action.what](action, self.wanted[action.what][action.name])

    def _id(self, kind: str, name: str) -> str:
        return self.state.id(kind, name)

    def flavor(self, action: Action, fields: Fields) -> None:
        """Nova cannot change sizes: a flavor with others is made anew; servers keep a copy of the old one."""
        if action.kind == "update" and set(action.after or {}) - {"properties"}:
            self.api.delete("compute", f"/flavors/{self._id('flavor', action.name)}")
        if action.kind == "create" or set(action.after or {}) - {"properties"}:
            sizes = {"vcpus": fields["vcpus"], "ram": fields["memory_mib"], "disk": fields["disk_gib"]}
            made = self.api.post("compute", "/flavors", {"flavor": {"name": action.name, **sizes}})
            self.state.ids["flavor", action.name] = made["flavor"]["id"]
        if fields["properties"]:
            path = f"/flavors/{self._id('flavor', action.name)}/os-extra_specs"
            self.api.post("compute", path, {"extra_specs": fields["properties"]})

    def image(self, action: Action, fields: Fields) -> None:
        """Make an image; one with other content is hidden, because servers may still start from its kernel."""
        changed = set(action.after or {})
        if action.kind == "update" and not changed & {"content", "format", "parts"}:
            names = {"min_disk_gib": "min_disk", "min_memory_mib": "min_ram"}
            pairs = {names[key]: fields[key] for key in changed & set(names)}
            pairs |= fields["properties"] if "properties" in changed else {}
            self._patch_image(action.name, pairs)
            return
        path, member = self._image_file(action.name, fields)
        if not path.is_file():
            self.lacking.append(action.name)
            return
        if action.kind == "update":
            self._patch_image(action.name, {"os_hidden": True})
        for leftover in self.state.unfinished.pop(action.name, []):
            self.api.delete("image", f"/images/{leftover}")
        body = {
            "name": action.name,
            "visibility": "public",
            "disk_format": fields["format"],
            "container_format": _CONTAINER.get(fields["format"], "bare"),
            "min_disk": fields["min_disk_gib"],
            "min_ram": fields["min_memory_mib"],
            CONTENT: fields["content"],
            **fields["properties"],
        }
        if fields.get("parts"):
            body |= {f"{part}_id": self._id("image", f"{action.name}-{part}") for part in PARTS}
        made = self.api.post("image", "/images", body)["id"]
        with _opened(path, member) as data:
            self.api.upload(made, data)
        self.state.ids["image", action.name] = made

    def _image_file(self, name: str, fields: Fields) -> tuple[Path, str]:
        """Return where an image's data lies: a file, and the member of it when it is an archive."""
        part = _FILE.get(fields["format"], "disk")
        whole = self.files[name if part == "disk" else name.removesuffix(f"-{part}")]
        return Path(whole), part if part != "disk" or fields.get("parts") else ""

    def _patch_image(self, name: str, pairs: Mapping[str, Any]) -> None:
        changes = [{"op": "add", "path": f"/{key}", "value": value} for key, value in pairs.items()]
        path = f"/images/{self._id('image', name)}"
        self.api.patch("image", path, changes, "application/openstack-images-v2.1-json-patch")

    def project(self, action: Action, fields: Fields) -> None:
        """A project of the default domain."""
        if action.kind == "create":
            body = {"name": action.name, "domain_id": DOMAIN_ID, **fields}
            made = self.api.post("identity", "/projects", {"project": body})
            self.state.ids["project", action.name] = made["project"]["id"]
        else:
            self.api.patch("identity", f"/projects/{self._id('project', action.name)}", {"project": fields})

    def user(self, action: Action, fields: Fields) -> None:
        """A user with its password, who is a member of its project."""
        project = self._id("project", fields["project"])
        password = self.passwords[fields["project"]]
        if ("user", action.name) not in self.state.ids:
            body = {"name": action.name, "domain_id": DOMAIN_ID, "password": password, "default_project_id": project}
            made = self.api.post("identity", "/users", {"user": body})
            self.state.ids["user", action.name] = made["user"]["id"]
        elif "password_works" in (action.after or {}):
            self.api.patch("identity", f"/users/{self._id('user', action.name)}", {"user": {"password": password}})
        role = self.api.get("identity", "/roles?name=member")["roles"][0]["id"]
        self.api.put("identity", f"/projects/{project}/users/{self._id('user', action.name)}/roles/{role}")

    def quota(self, action: Action, _: Fields) -> None:
        """Only the limits that differ."""
        after = action.after or {}
        for service, names in QUOTAS.items():
            limits = {theirs: after[ours] for ours, theirs in names.items() if ours in after}
            if limits:
                path, key = quota_path(service, self._id("project", action.name))
                self.api.put(service, path, {key: limits})

    def network(self, action: Action, fields: Fields) -> None:
        """The external network, or a project's own."""
        if action.kind == "update":
            path = f"/networks/{self._id('network', action.name)}"
            self.api.put("network", path, {"network": {"mtu": fields["mtu"]}})
            return
        body: Fields = {"name": action.name}
        if fields["external"]:
            body |= {"router:external": True, "mtu": fields["mtu"]}
            body |= {"provider:network_type": "flat", "provider:physical_network": fields["physical"]}
        else:
            body |= {"project_id": self._id("project", fields["project"])}
        made = self.api.post("network", "/networks", {"network": body})
        self.state.ids["network", action.name] = made["network"]["id"]

    def subnet(self, action: Action, fields: Fields) -> None:
        """A subnet; its range of addresses is for ever."""
        names = {"gateway": "gateway_ip", "dhcp": "enable_dhcp", "pools": "allocation_pools", "dns": "dns_nameservers"}
        body = {theirs: fields[ours] for ours, theirs in names.items() if ours in (action.after or {})}
        if not body.get("allocation_pools", True):
            del body["allocation_pools"]
        if action.kind == "update":
            if "cidr" in (action.after or {}):
                raise ApiError(f"its range cannot be changed from {(action.before or {})['cidr']} to {fields['cidr']}")
            self.api.put("network", f"/subnets/{self._id('subnet', action.name)}", {"subnet": body})
            return
        body |= {"name": action.name, "cidr": fields["cidr"], "ip_version": 4}
        body["network_id"] = self._id("network", action.name)
        if fields["project"]:
            body["project_id"] = self._id("project", fields["project"])
        made = self.api.post("network", "/subnets", {"subnet": body})
        self.state.ids["subnet", action.name] = made["subnet"]["id"]

    def router(self, action: Action, fields: Fields) -> None:
        """A router with its way out and its subnets."""
        gateway = {"network_id": self._id("network", fields["outside"])} if fields["outside"] else None
        if action.kind == "create":
            body: Fields = {"name": action.name, "project_id": self._id("project", fields["project"])}
            made = self.api.post("network", "/routers", {"router": body | {"external_gateway_info": gateway}})
            self.state.ids["router", action.name] = made["router"]["id"]
        path = f"/routers/{self._id('router', action.name)}"
        if action.kind == "update" and "outside" in (action.after or {}):
            self.api.put("network", path, {"router": {"external_gateway_info": gateway}})
        if "subnets" in (action.after or {}):
            before = (action.before or {}).get("subnets") or []
            for name in fields["subnets"]:
                if name not in before:
                    subnet = self._id("subnet", name)
                    self.api.put("network", f"{path}/add_router_interface", {"subnet_id": subnet})

    def rule(self, _: Action, fields: Fields) -> None:
        """One rule of a project's first group, which neutron makes with the project's first network."""
        project = self._id("project", fields["project"])
        if ("security group", fields["project"]) not in self.state.ids:
            groups = self.api.get("network", f"/security-groups?name=default&project_id={project}")["security_groups"]
            self.state.ids["security group", fields["project"]] = groups[0]["id"]
        body = {
            "security_group_id": self._id("security group", fields["project"]),
            "direction": "ingress",
            "ethertype": "IPv4",
            "protocol": fields["protocol"],
            "port_range_min": fields["first"],
            "port_range_max": fields["last"],
            "project_id": project,
        }
        self.api.post("network", "/security-group-rules", {"security_group_rule": body})

    def aggregate(self, action: Action, fields: Fields) -> None:
        """An aggregate with exactly these hosts."""
        if action.kind == "create":
            body = {"name": action.name, "availability_zone": fields["zone"]}
            made = self.api.post("compute", "/os-aggregates", {"aggregate": body})
            self.state.ids["aggregate", action.name] = str(made["aggregate"]["id"])
        path = f"/os-aggregates/{self._id('aggregate', action.name)}/action"
        after, before = action.after or {}, action.before or {}
        if "properties" in after or "zone" in after:
            properties = {**fields["properties"], "availability_zone": fields["zone"]}
            self.api.post("compute", path, {"set_metadata": {"metadata": properties}})
        if "hosts" in after:
            there = set(before.get("hosts") or [])
            for host in sorted(set(fields["hosts"]) - there):
                self.api.post("compute", path, {"add_host": {"host": host}})
            for host in sorted(there - set(fields["hosts"])):
                self.api.post("compute", path, {"remove_host": {"host": host}})
