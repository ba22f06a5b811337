# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.proof: a tenant's server on a volume, step by step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof
short_description: Be an ordinary tenant who makes a volume, boots a server from it and removes both
version_added: 0.1.0
description:
  - Uses the cloud by its API as one of its users. Everything that it makes has one name, so that a run that was cut
    is cleaned up by the step C(delete) of the next.
  - Each step waits for its end, with a limit, and says what was awaited and seen last when that does not come.
options:
  step:
    description:
      - C(volume) makes a volume from the image. With I(admin) it waits before until services are up that can serve
        a tenant, and until a compute service has reported anew, which a server sent there needs.
      - C(address) makes a port on the project's own network with a floating address.
      - C(server) boots a server on the port, from the volume if there is one, else from the image.
      - C(release) removes the server alone, so that another one can be booted from its volume, at its address.
      - C(look) finds the server that was made, waits until it runs, and says where, and its floating address.
      - C(console) returns what the guest wrote. It does not fail.
      - C(delete) removes all that has this name and waits until it is gone.
    type: str
    required: true
    choices: [volume, address, server, release, look, console, delete]
  name:
    description: Name of everything that is made.
    type: str
    default: updraft-proof
  login:
    description: The tenant.
    type: dict
    required: true
    suboptions: &login
      url: {description: "URL of the identity service, with its version.", type: str, required: true}
      project: {description: The project., type: str, required: true}
      user: {description: The user., type: str, required: true}
      password: {description: The user's password., type: str, required: true}
      region: {description: The region., type: str, default: RegionOne}
  admin:
    description: Who may ask which services are up, and where a server runs. It makes nothing.
    type: dict
    suboptions: *login
  image:
    description: Name of the image; for C(volume) and C(server).
    type: str
  size_gib:
    description: Size of the volume. At least what the image asks for.
    type: int
    default: 1
  flavor:
    description: Name of the flavor; for C(server).
    type: str
  provider:
    description: Name of the network of floating addresses.
    type: str
    default: provider
  probes:
    description: Addresses that the guest looks for; the tiny guest serves the outcome at C(/probes).
    type: list
    elements: str
    default: []
  writes:
    description: Have the tiny guest write to its volume all the time; it serves what became of it at C(/writes).
    type: bool
    default: false
  timeout:
    description: Seconds for each wait.
    type: int
    default: 400
requirements: [python3-openstacksdk]
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Verify | Make a volume from the image
  updraft.cloud.proof:
    step: volume
    image: tiny
    login: {url: "https://api.example.org:5000/v3", project: demo, user: demo, password: "{{ password }}"}
"""

RETURN = r"""
found:
  description: What the step made or found, by the kind of thing; each with C(id) and what the step knows of it.
  type: dict
  returned: always
seconds:
  description: Seconds of each part of the step.
  type: dict
  returned: always
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import tenant
from ansible_collections.updraft.cloud.plugins.module_utils.openstack_api import Api, ApiError
from ansible_collections.updraft.cloud.plugins.module_utils.tenant import Stopwatch, TenantError

Options = Mapping[str, Any]
Found = dict[str, Any]


def volume(options: Options, watch: Stopwatch) -> Found:
    """Make the volume; wait before and meanwhile for what the server will need."""
    admin = Api(**options["admin"]) if options["admin"] else None
    before = {}
    if admin:
        with watch.measure("services"):
            tenant.await_services(admin, options["timeout"])
        before = tenant.reports(admin)
    api = Api(**options["login"])
    image = tenant.find_image(api, options["image"])
    with watch.measure("volume"):
        made = tenant.make_volume(api, options["name"], image, options["size_gib"], options["timeout"])
    if admin:
        tenant.await_fresh_report(admin, before, options["timeout"])
    return {
        "image": {"name": image["name"], "id": image["id"], "parts": tenant.image_parts(image)},
        "volume": {"id": made["id"], "size_gib": made["size"], "bootable": made["bootable"] == "true"},
    }


def address(options: Options, watch: Stopwatch) -> Found:
    """Make the port and its floating address."""
    api, name = Api(**options["login"]), options["name"]
    with watch.measure("address"):
        network, router = tenant.private_network(api)
        port = tenant.make_port(api, name, network["id"])
        floating = tenant.make_floating_address(api, name, port["id"], options["provider"])
    fixed = port["fixed_ips"][0]["ip_address"]
    return {
        "network": {"id": network["id"], "name": network["name"], "gateway": router},
        "port": {"id": port["id"], "fixed_address": fixed, "floating_address": floating},
    }


def server(options: Options, watch: Stopwatch) -> Found:
    """Boot the server on what the steps before have made."""
    api, name = Api(**options["login"]), options["name"]
    flavor = tenant.only(api.get("compute", "/flavors")["flavors"], "flavor", options["flavor"])
    port = tenant.only(api.get("network", f"/ports?name={name}")["ports"], "port", name)
    roots = tenant.volumes(api, name)
    root = {"volume": roots[0]["id"]} if roots else {"image": tenant.find_image(api, options["image"])["id"]}
    body = tenant.server_body(
        name, flavor["id"], port["id"], probes=options["probes"], writes=options["writes"], **root
    )
    with watch.measure("server"):
        made = tenant.boot(api, body, options["timeout"])
    node = tenant.node_of(Api(**options["admin"]), made["id"]) if options["admin"] else None
    attached = [item["id"] for item in made["os-extended-volumes:volumes_attached"]]
    return {"server": {"name": name, "id": made["id"], "node": node, "volumes": attached, "roles": api.roles}}


def release(options: Options, watch: Stopwatch) -> Found:
    """Remove the server, and nothing of what it used."""
    with watch.measure("release"):
        return {"released": tenant.release(Api(**options["login"]), options["name"], options["timeout"])}


def look(options: Options, watch: Stopwatch) -> Found:
    """Find the server that an earlier run has made."""
    api, name = Api(**options["login"]), options["name"]
    made = tenant.only(tenant.servers(api, name), "server", name)
    with watch.measure("look"):
        tenant.await_running(api, made["id"], options["timeout"])
    node = tenant.node_of(Api(**options["admin"]), made["id"]) if options["admin"] else None
    return {
        "server": {"name": name, "id": made["id"], "node": node},
        "port": {"floating_address": tenant.floating_address(api, name)},
    }


def console(options: Options, watch: Stopwatch) -> Found:
    """What the guest wrote. The cloud may be in a bad state when this is asked."""
    with watch.measure("console"):
        try:
            text = tenant.console(Api(**options["login"]), options["name"], 60)
        except ApiError as error:
            text = f"not available: {error}"
    return {"console": text.splitlines()}


def delete(options: Options, watch: Stopwatch) -> Found:
    """Remove what has the name."""
    return {"removed": tenant.remove(Api(**options["login"]), options["name"], options["timeout"], watch)}


STEPS = {
    "volume": volume,
    "address": address,
    "server": server,
    "release": release,
    "look": look,
    "console": console,
    "delete": delete,
}


def main() -> None:
    """Do one step."""
    login = {
        "url": {"type": "str", "required": True},
        "project": {"type": "str", "required": True},
        "user": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "region": {"type": "str", "default": "RegionOne"},
    }
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "required": True, "choices": list(STEPS)},
            "name": {"type": "str", "default": "updraft-proof"},
            "login": {"type": "dict", "required": True, "options": login},
            "admin": {"type": "dict", "options": login},
            "image": {"type": "str"},
            "size_gib": {"type": "int", "default": 1},
            "flavor": {"type": "str"},
            "provider": {"type": "str", "default": "provider"},
            "probes": {"type": "list", "elements": "str", "default": []},
            "writes": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 400},
        },
        required_if=[
            ("step", "volume", ["image"]),
            ("step", "server", ["image", "flavor"]),
        ],
    )
    watch, step = Stopwatch(), module.params["step"]
    try:
        found = STEPS[step](module.params, watch)
    except (TenantError, ApiError) as error:
        module.fail_json(msg=str(error), found={}, seconds=watch.seconds)
    changed = step not in ("look", "console") and (step != "delete" or bool(found["removed"]))
    module.exit_json(changed=changed, found=found, seconds=watch.seconds)


if __name__ == "__main__":
    main()
