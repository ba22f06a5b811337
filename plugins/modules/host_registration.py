# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.host_registration: how a machine stands with the registrar."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_registration
short_description: Approve a machine that registered, put it in service, or retire it
version_added: 0.2.0
description:
  - Asks the registrar how the machine stands, and says what has to change. The same again changes nothing.
  - Runs wherever the registrar can be reached; the provisioning node always can.
options:
  name:
    description: The name of the machine in the cloud.
    type: str
    required: true
  state:
    description:
      - V(approved) pins the host key of the machine that shows O(code), and makes it a node of the cloud. One that is
        in service already stays so.
      - V(in_service) says that it does its work. It has to be approved.
      - V(retired) takes its name, its key and its boot token from it. One that is not known is retired enough.
    type: str
    choices: [approved, in_service, retired]
    default: approved
  code:
    description: The eight characters that the machine shows on its console. Needed for V(approved).
    type: str
  pool:
    description: The pool it belongs to. Needed for V(approved).
    type: str
  roles:
    description: What it becomes; by default what the site says for all.
    type: list
    elements: str
    default: []
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
    description: Asks only, and tells what it would change.
    support: full
  diff_mode:
    description: Shows name, state, code, pool and roles before and after.
    support: full
seealso:
  - module: updraft.cloud.host_registration_info
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Approve the machine that shows this code
  updraft.cloud.host_registration:
    url: https://control1.cloud.example.org:7777
    password: "{{ cloud_secrets.registrar_operator_password }}"
    ca_certificate: "{{ cloud_secrets.ca_certificate }}"
    code: 7K3M-Q2XZ
    name: node2
    pool: community
"""

RETURN = r"""
host:
  description: The machine as the registrar has it (as it would be in check mode); empty if it is not known.
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.host_registration import (
    CLIENT_SPEC,
    HostRegistrationError,
    Wanted,
    apply,
    client_of,
    plan,
)
from ansible_collections.updraft.cloud.plugins.module_utils.registrar_client import RegistrarError


def main() -> None:
    """Ask, plan, say."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["approved", "in_service", "retired"], "default": "approved"},
            "code": {"type": "str"},
            "pool": {"type": "str"},
            "roles": {"type": "list", "elements": "str", "default": []},
            **CLIENT_SPEC,
        },
        required_if=[("state", "approved", ["code", "pool"])],
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    wanted = Wanted(given["name"], given["state"], given["code"] or "", given["pool"], tuple(given["roles"]))
    try:
        client = client_of(given)
        made = plan(wanted, client.hosts())
        if made.action and not module.check_mode:
            apply(client, wanted, made)
    except (HostRegistrationError, RegistrarError) as error:
        module.fail_json(msg=f"{given['name']}: {error}")
    result: dict[str, Any] = {"changed": made.action is not None, "host": made.after}
    if module._diff:
        result["diff"] = {"before": made.before, "after": made.after}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
