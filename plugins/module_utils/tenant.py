# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tenant does with a cloud, by its API alone: a volume, an address, a server, and all of it away again.

Everything that is made carries one name, so that a later run finds and removes what a cut one left behind.
Things are the dictionaries which the APIs return.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import Api, ApiError

T = TypeVar("T")
Thing = Mapping[str, Any]
EVERY_SECONDS = 2.0
#: A volume in one of these states cannot be deleted yet; it leaves them by itself.
BUSY = frozenset({"creating", "downloading", "attaching", "detaching", "reserved", "in-use", "uploading", "deleting"})
#: What must be alive where a server is to run: agents of neutron by their binary.
AGENTS = {"ovn-controller": "OVN's controller", "neutron-ovn-metadata-agent": "the metadata agent"}


class TenantError(RuntimeError):
    """A step did not come to its end; the text says which, what was awaited and what was seen last."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Not there yet; `seen` says what is there instead."""

    seen: str


@dataclass(slots=True)
class Stopwatch:
    """Seconds that steps took, by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, step: str) -> Iterator[None]:
        """Write down how long the body took, also when it failed."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = round(time.monotonic() - start, 1)


def wait(
    what: str,
    look: Callable[[], T | Pending],
    limit: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what `look` finds once it is not Pending any more.

    Raises TenantError after `limit` seconds, with what was awaited and what was seen last.
    """
    start = clock()
    while True:
        found = look()
        if not isinstance(found, Pending):
            return found
        if clock() - start >= limit:
            raise TenantError(f"{what}: not within {limit:.0f} s; seen last: {found.seen}")
        sleep(EVERY_SECONDS)


def only(items: Iterable[Thing], what: str, name: str) -> Thing:
    """Return the one of this name. Raises TenantError when the tenant sees none."""
    for item in items:
        if name in (item.get("name"), item.get("id")):
            return item
    raise TenantError(f"the tenant sees no {what} of the name {name}")


def named(items: Iterable[Thing], name: str) -> list[Thing]:
    """Return those of this name."""
    return [item for item in items if item.get("name") == name]


# What the administrator is asked before: a tenant cannot see it.


def missing_services(compute: Iterable[Thing], volume: Iterable[Thing], agents: Iterable[Thing]) -> list[str]:
    """Return what keeps a tenant from a server on a volume: what must be up somewhere and is not.

    `compute` and `volume` are the services of nova and cinder, `agents` those of neutron.
    """
    computes = {item["host"] for item in compute if item["binary"] == "nova-compute" and item["state"] == "up"}
    volumes = [item for item in volume if item["binary"] == "cinder-volume" and item["state"] == "up"]
    missing = [] if computes else ["no nova-compute is up"]
    missing += [] if volumes else ["no cinder-volume is up"]
    alive = {(item["binary"], item["host"]) for item in agents if item["alive"]}
    # Ports are bound where instances run; a gateway without nova has agents of its own.
    for binary, label in AGENTS.items():
        if computes and not any((binary, host) in alive for host in computes):
            missing.append(f"{label} is alive on none of {', '.join(sorted(computes))}")
    return missing


def await_services(admin: Api, limit: float) -> None:
    """Wait until some node can run a server, a storage node can make a volume and the agents report."""

    def look() -> bool | Pending:
        missing = missing_services(
            admin.get("compute", "/os-services")["services"],
            admin.get("block-storage", "/os-services")["services"],
            admin.get("network", "/agents")["agents"],
        )
        return Pending("; ".join(missing)) if missing else True

    wait("services of the cloud", look, limit)


def reports(admin: Api) -> dict[str, str]:
    """Return when each compute service that is up gave its last report."""
    services = admin.get("compute", "/os-services?binary=nova-compute")["services"]
    return {item["host"]: str(item["updated_at"]) for item in services if item["state"] == "up"}


def await_fresh_report(admin: Api, before: Mapping[str, str], limit: float) -> None:
    """Wait until a compute service has reported since `before`.

    One that has just been started counts as up by the report of the process before it, and a server sent there fails.
    """

    def look() -> bool | Pending:
        now = reports(admin)
        fresh = [host for host, stamp in now.items() if before.get(host) != stamp]
        return True if fresh else Pending(f"last reports: {now}" if now else "no compute service is up")

    wait("a new report of a compute service", look, limit)


def node_of(admin: Api, server: str) -> str:
    """Return the node on which a server runs, as nova calls it."""
    return str(admin.get("compute", f"/servers/{server}")["server"]["OS-EXT-SRV-ATTR:host"])


# What the tenant does.


def find_image(api: Api, name: str) -> Thing:
    """Return the image of this name."""
    return only(api.get("image", f"/images?name={quote(name)}")["images"], "image", name)


def image_parts(image: Thing) -> dict[str, str]:
    """Return the ids of what the image consists of: disk, and kernel and ramdisk where it names them."""
    found = {"disk": str(image["id"])}
    return found | {part: str(image[f"{part}_id"]) for part in ("kernel", "ramdisk") if image.get(f"{part}_id")}


def private_network(api: Api) -> tuple[Thing, str]:
    """Return the project's own network, the first by name, and the address of its router."""
    networks = api.get("network", f"/networks?project_id={api.project_id}&router:external=false")["networks"]
    if not networks:
        raise TenantError("the project has no network of its own")
    network: Thing = min(networks, key=lambda item: str(item["name"]))
    for subnet in api.get("network", f"/subnets?network_id={network['id']}")["subnets"]:
        if subnet["gateway_ip"]:
            return network, str(subnet["gateway_ip"])
    raise TenantError(f"the network {network['name']} has no gateway")


def make_volume(api: Api, name: str, image: Thing, size_gib: int, limit: float) -> Thing:
    """Make a volume from the image and wait until it can be used."""
    size = max(size_gib, int(image.get("min_disk") or 0), 1)
    body = {"volume": {"name": name, "size": size, "imageRef": image["id"]}}
    volume = api.post("block-storage", "/volumes", body)["volume"]["id"]

    def look() -> Thing | Pending:
        now: Thing = api.get("block-storage", f"/volumes/{volume}")["volume"]
        if now["status"].startswith("error"):
            raise TenantError(f"volume {volume} is in state {now['status']}: {messages(api, volume)}")
        return now if now["status"] == "available" else Pending(f"volume {volume} is {now['status']}")

    return wait("volume from the image", look, limit)


def messages(api: Api, volume: str) -> str:
    """Return what cinder tells its user about a volume that failed."""
    found = api.get("block-storage", f"/messages?resource_uuid={volume}")["messages"]
    return "; ".join(item["user_message"] for item in found if item.get("user_message")) or "cinder says no more"


def make_port(api: Api, name: str, network: str) -> Thing:
    """Make a port which lets ping and HTTP in. A port made beforehand can have its floating address beforehand."""
    group = {"security_group": {"name": name, "description": "ping and HTTP from everywhere"}}
    made = api.post("network", "/security-groups", group)["security_group"]["id"]
    for rule in ({"protocol": "icmp"}, {"protocol": "tcp", "port_range_min": 80, "port_range_max": 80}):
        where = {"security_group_id": made, "direction": "ingress", "ethertype": "IPv4"}
        api.post("network", "/security-group-rules", {"security_group_rule": where | rule})
    port = {"name": name, "network_id": network, "security_groups": [made]}
    found: Thing = api.post("network", "/ports", {"port": port})["port"]
    return found


def make_floating_address(api: Api, name: str, port: str, provider: str) -> str:
    """Take a floating address of the provider network for the port."""
    outside = only(api.get("network", f"/networks?name={quote(provider)}")["networks"], "network", provider)
    body = {"floating_network_id": outside["id"], "port_id": port, "description": name}
    return str(api.post("network", "/floatingips", {"floatingip": body})["floatingip"]["floating_ip_address"])


def floating_address(api: Api, name: str) -> str:
    """Return the floating address that `make_floating_address` took under this name."""
    found = api.get("network", f"/floatingips?project_id={api.project_id}&description={quote(name)}")["floatingips"]
    if not found:
        raise TenantError(f"there is no floating address '{name}'")
    return str(found[0]["floating_ip_address"])


def server_body(
    name: str,
    flavor: str,
    port: str,
    *,
    volume: str = "",
    image: str = "",
    probes: Sequence[str] = (),
    writes: bool = False,
) -> dict[str, Any]:
    """Return what nova is asked for: a server on the volume, or else from the image.

    The tiny guest finds in its user data which addresses to look for, and whether it writes to its volume.
    """
    body: dict[str, Any] = {"name": name, "flavorRef": flavor, "networks": [{"port": port}]}
    if volume:
        root = {"boot_index": 0, "uuid": volume, "source_type": "volume", "destination_type": "volume"}
        body["block_device_mapping_v2"] = [root | {"delete_on_termination": False}]
    else:
        body["imageRef"] = image
    if probes or writes:
        text = "write\n" * writes + "".join(f"probe {address}\n" for address in probes)
        body["user_data"] = base64.b64encode(text.encode()).decode()
    return {"server": body}


def boot(api: Api, body: Thing, limit: float) -> Thing:
    """Ask for a server and wait until it runs. Its guest may still be booting then."""
    return await_running(api, api.post("compute", "/servers", body)["server"]["id"], limit)


def await_running(api: Api, server: str, limit: float) -> Thing:
    """Return a server once nova says that it runs. Raises TenantError when it is in state ERROR."""

    def look() -> Thing | Pending:
        now: Thing = api.get("compute", f"/servers/{server}")["server"]
        if now["status"] == "ERROR":
            fault = now.get("fault", {}).get("message", "nova says no more")
            raise TenantError(f"server {server} is in state ERROR: {fault}")
        return now if now["status"] == "ACTIVE" else Pending(_state(now))

    return wait("server", look, limit)


def _state(server: Thing) -> str:
    return f"server {server['id']} is {server['status']}, {server.get('OS-EXT-STS:task_state') or 'no task'}"


def servers(api: Api, name: str) -> list[Thing]:
    """Return the project's servers of this name."""
    return named(api.get("compute", "/servers/detail")["servers"], name)


def volumes(api: Api, name: str) -> list[Thing]:
    """Return the project's volumes of this name."""
    return named(api.get("block-storage", "/volumes/detail")["volumes"], name)


def console(api: Api, name: str, lines: int) -> str:
    """Return the end of the guests' consoles; empty where there is no server or it has not written yet."""
    body = {"os-getConsoleOutput": {"length": lines}}
    found = [api.post("compute", f"/servers/{server['id']}/action", body) for server in servers(api, name)]
    return "\n".join(str(answer.get("output") or "") for answer in found)


def remove(api: Api, name: str, limit: float, watch: Stopwatch) -> list[str]:
    """Remove everything of this name that the project has, and wait until it is gone.

    Returns what was there, as `server NAME ID`. Raises TenantError when something stays.
    """
    removed: list[str] = []
    mine = f"project_id={api.project_id}"

    def drop(service: str, path: str, what: str, items: Iterable[Thing]) -> None:
        for item in items:
            api.delete(service, f"/{path}/{item['id']}")
            removed.append(f"{what} {name} {item['id']}")

    with watch.measure("delete server"):
        drop("compute", "servers", "server", servers(api, name))
        addresses = api.get("network", f"/floatingips?{mine}&description={name}")["floatingips"]
        drop("network", "floatingips", "floating address", addresses)
        wait("deletion of the server", lambda: _none_left(api, name), limit)
    drop("network", "ports", "port", api.get("network", f"/ports?{mine}&name={name}")["ports"])
    with watch.measure("delete volume"):
        removed += [f"volume {name} {item['id']}" for item in volumes(api, name)]
        wait("deletion of the volume", lambda: _delete_volumes(api, name), limit)
    groups = api.get("network", f"/security-groups?{mine}&name={name}")["security_groups"]
    drop("network", "security-groups", "security group", groups)
    return removed


def release(api: Api, name: str, limit: float) -> list[str]:
    """Remove the servers of this name and keep volume, port and floating address. Returns their ids."""
    gone = [str(server["id"]) for server in servers(api, name)]
    for server in gone:
        api.delete("compute", f"/servers/{server}")
    wait("deletion of the server", lambda: _none_left(api, name), limit)

    def free() -> bool | Pending:
        held = [one for one in volumes(api, name) if one["status"] != "available"]
        return Pending(", ".join(f"volume {one['id']} is {one['status']}" for one in held)) if held else True

    wait("volume without its server", free, limit)
    return gone


def _none_left(api: Api, name: str) -> bool | Pending:
    left = servers(api, name)
    return Pending(", ".join(map(_state, left))) if left else True


def _delete_volumes(api: Api, name: str) -> bool | Pending:
    """Ask to delete each volume that can be deleted now; say what is left."""
    left = volumes(api, name)
    for volume in left:
        if volume["status"] == "error_deleting":
            raise TenantError(f"volume {volume['id']} could not be deleted: {messages(api, volume['id'])}")
        if volume["status"] not in BUSY:
            try:
                api.delete("block-storage", f"/volumes/{volume['id']}")
            except ApiError as error:
                # Between a look and a word its state may have changed.
                if error.status not in (400, 409):
                    raise
    return Pending(", ".join(f"{volume['id']} is {volume['status']}" for volume in left)) if left else True
