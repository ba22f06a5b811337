# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.cobbler: all distros, profiles and systems of a Cobbler."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cobbler
short_description: Reconcile the distros, profiles and systems of Cobbler
version_added: 0.3.0
description:
  - Takes the whole list of what has to be there, reads what is there once, and makes, changes and removes what differs.
  - What it makes has the owner C(updraft). What somebody else owns is never changed or removed; that a wanted name or
    address is somebody else's is an error, before anything is done.
  - At the end the reservations are written, once, and the DHCP server reads them again. Boot files are written anew
    only when a distro or a template differs, or when an earlier run was cut.
  - Runs where cobblerd runs.
options:
  url:
    description: Where cobblerd answers.
    type: str
    default: http://127.0.0.1:25151
  ca:
    description: File with the authority that signed its certificate, for O(url) with https.
    type: path
  username:
    description: The account.
    type: str
    default: updraft
  password:
    description: Its password.
    type: str
    required: true
  distros:
    description: What can be booted.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its name., type: str, required: true}
      kernel: {description: Path of the kernel., type: str, required: true}
      initrd: {description: Path of the initial RAM disk., type: str, required: true}
      kernel_options: {description: Options of the kernel., type: str}
  profiles:
    description: What a machine may be given.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its name., type: str, required: true}
      distro: {description: What it boots., type: str, required: true}
      kernel_options: {description: Options of the kernel beside those of the distro., type: str}
  systems:
    description: Machines that are known.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its name., type: str, required: true}
      mac: {description: MAC address of the card that it boots by., type: str, required: true}
      ip: {description: The address that it keeps., type: str}
      profile: {description: What it boots., type: str, required: true}
      kernel_options: {description: Options of the kernel beside those of the profile., type: str}
      boot:
        description: Whether it boots by network, or is sent to its own disk.
        type: str
        choices: [network, disk]
        default: network
  renders:
    description: Files, and directories with the files in them, which Cobbler writes boot files from. When they differ,
      all is written anew.
    type: list
    elements: path
    default: []
  dhcp_unit:
    description: Unit of dnsmasq, which gets SIGHUP when reservations have changed and it runs.
    type: str
  timeout:
    description: Seconds to wait until cobblerd answers.
    type: int
    default: 120
attributes:
  check_mode:
    description: Says what would be done. Where nobody answers yet, that is all of it.
    support: full
  diff_mode:
    description: One element for each object.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Have two machines boot an image
  updraft.cloud.cobbler:
    password: "{{ cobbler_password }}"
    distros: [{name: node-1, kernel: /srv/images/node-1/vmlinuz, initrd: /srv/images/node-1/initrd.img}]
    profiles: [{name: node, distro: node-1, kernel_options: "boot=live quiet"}]
    systems:
      - {name: node1, mac: "52:54:00:00:00:01", ip: 10.0.0.11, profile: node}
      - {name: node2, mac: "52:54:00:00:00:02", profile: node, kernel_options: console=ttyS0}
    dhcp_unit: cobbler-dhcp.service
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import cobbler, cobbler_api
from ansible_collections.updraft.cloud.plugins.module_utils.exclusive import BusyError, exclusive
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, run

NAME = {"type": "str", "required": True}
TEXT = {"type": "str"}


def _list(options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "url": {"type": "str", "default": "http://127.0.0.1:25151"},
    "ca": {"type": "path"},
    "username": {"type": "str", "default": "updraft"},
    "password": {"type": "str", "required": True, "no_log": True},
    "distros": _list({"name": NAME, "kernel": NAME, "initrd": NAME, "kernel_options": TEXT}),
    "profiles": _list({"name": NAME, "distro": NAME, "kernel_options": TEXT}),
    "systems": _list(
        {
            "name": NAME,
            "mac": NAME,
            "ip": TEXT,
            "profile": NAME,
            "kernel_options": TEXT,
            "boot": {"type": "str", "choices": ["network", "disk"], "default": "network"},
        }
    ),
    "renders": {"type": "list", "elements": "path", "default": []},
    "dhcp_unit": TEXT,
    "timeout": {"type": "int", "default": 120},
}


def _reconcile(module: AnsibleModule) -> None:
    """Plan, apply, and end the module."""
    params = module.params
    login = (params["url"], params["username"], params["password"], params["ca"])
    record = cobbler_api.Record(params["renders"])
    service: cobbler_api.Cobbler | None = None
    try:
        desired = cobbler.wanted(params["distros"], params["profiles"], params["systems"])
        try:
            service = cobbler_api.connect(*login, 0 if module.check_mode else params["timeout"])
        except cobbler_api.AbsentError:
            if not module.check_mode:
                raise
        actual = service.read() if service else cobbler.found({})
        actions = cobbler.plan(desired, actual, stale=record.stale())
    except cobbler.CobblerError as error:
        module.fail_json(msg=str(error))
        return

    def apply(action: Action) -> None:
        assert service is not None
        record.begin()
        service.apply(action)
        if action.what == cobbler.SYNC:
            if params["dhcp_unit"]:
                cobbler_api.reload(params["dhcp_unit"])
            record.end()
            service.close()

    run(module, actions, apply)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if module.check_mode:
        _reconcile(module)
        return
    try:
        with exclusive("cobbler", module.params["timeout"]):
            _reconcile(module)
    except BusyError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
