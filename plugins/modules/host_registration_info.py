# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.host_registration_info: what the registrar knows."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_registration_info
short_description: Tell which machines registered, and what was refused
version_added: 0.2.0
description:
  - Asks the registrar. Changes nothing.
options:
  name:
    description: Only the machine of this name.
    type: str
  state:
    description: Only the machines in this state.
    type: str
    choices: [seen, approved, ready, in_service, away, retired]
  url:
    description: Address of the registrar; the name in it is that of its certificate.
    type: str
    required: true
  address:
    description: Where it is reached, if not by its name.
    type: str
  password:
    description: The operator's password.
    type: str
    required: true
  ca_certificate:
    description: The site's CA, PEM. No other is trusted.
    type: str
    required: true
  namespace:
    description: Network namespace for the connection, of a lab on this computer. Only root can enter it.
    type: str
  timeout:
    description: Seconds for each answer.
    type: int
    default: 20
attributes:
  check_mode:
    description: Only asks.
    support: full
seealso:
  - module: updraft.cloud.host_registration
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Ask who waits for approval
  updraft.cloud.host_registration_info:
    url: https://control1.cloud.example.org:7777
    password: "{{ cloud_secrets.registrar_operator_password }}"
    ca_certificate: "{{ cloud_secrets.ca_certificate }}"
    state: seen
"""

RETURN = r"""
hosts:
  description: The machines, each with its code, name, pool, state, address, hardware and alarms.
  returned: success
  type: list
  elements: dict
alarms:
  description: What was refused and nobody has acknowledged.
  returned: success
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.host_registration import CLIENT_SPEC, client_of
from ansible_collections.updraft.cloud.plugins.module_utils.registrar_client import RegistrarError


def main() -> None:
    """Ask, choose, tell."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "state": {"type": "str", "choices": ["seen", "approved", "ready", "in_service", "away", "retired"]},
            **CLIENT_SPEC,
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    try:
        client = client_of(given)
        found = client.listing(given["state"])
    except RegistrarError as error:
        module.fail_json(msg=str(error))
    hosts = [host for host in found["hosts"] if given["name"] in (None, host["name"])]
    module.exit_json(changed=False, hosts=hosts, alarms=found.get("alarms", []))


if __name__ == "__main__":
    main()
