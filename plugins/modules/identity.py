# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.identity: the identity catalogue as a whole."""

from __future__ import annotations

DOCUMENTATION = r"""
module: identity
short_description: Reconcile domains, projects, users, roles, services and endpoints of an identity service
version_added: 0.1.0
description:
  - Takes the whole list of what has to be there, compares it with what is, and makes or changes what differs.
    What is there and not in the list stays.
  - Whether a user has the right password is found out by logging in with it.
  - Runs where the identity service can be reached, with python3-openstacksdk (Debian).
options:
  url:
    description: Address of the API, ending in C(/v3).
    type: str
    required: true
  username:
    description: The administrator.
    type: str
    default: admin
  password:
    description: The administrator's password.
    type: str
    required: true
  project:
    description: The administrator's project.
    type: str
    default: admin
  bootstrap:
    description: How to make the administrator if the password is not accepted. Only where the service runs.
    type: dict
    suboptions:
      command:
        description: Program and arguments. Name, password and project are in its environment, as
          C(keystone-manage bootstrap) wants them.
        type: list
        elements: str
        required: true
      user:
        description: The system user that runs it.
        type: str
        required: true
  domains:
    description: Domains, with C(name) and C(description).
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its name., type: str, required: true}
      description: {description: What it is for., type: str}
  roles:
    description: Names of roles.
    type: list
    elements: str
    default: []
  projects:
    description: Projects.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its name., type: str, required: true}
      domain: {description: Its domain., type: str, default: Default}
      description: {description: What it is for., type: str}
      enabled: {description: Whether it can be used., type: bool}
  users:
    description: Users.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its name., type: str, required: true}
      domain: {description: Its domain., type: str, default: Default}
      description: {description: Who that is., type: str}
      password: {description: The password., type: str}
      enabled: {description: Whether the user can log in., type: bool}
  assignments:
    description: Roles of users.
    type: list
    elements: dict
    default: []
    suboptions:
      user: {description: The user., type: str, required: true}
      domain: {description: The user's domain., type: str, default: Default}
      role: {description: The role., type: str, required: true}
      project: {description: The project; without one it is the whole system., type: str}
      project_domain: {description: The project's domain; by default the user's., type: str}
  services:
    description: The services of the cloud.
    type: list
    elements: dict
    default: []
    suboptions:
      type: {description: Its type; one service of each., type: str, required: true}
      name: {description: Its name., type: str, required: true}
      description: {description: What it is for., type: str}
      endpoints:
        description: Where it is reached.
        type: list
        elements: dict
        default: []
        suboptions:
          interface: {description: For whom., type: str, required: true, choices: [public, internal, admin]}
          region: {description: The region; made if it is not there., type: str, required: true}
          url: {description: The address., type: str, required: true}
  timeout:
    description: Seconds to wait for the service to answer.
    type: int
    default: 120
attributes:
  check_mode:
    description: Says what would be done. Where nobody answers yet, that is all of it.
    support: full
  diff_mode:
    description: One line for each difference, without passwords.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Have a project with a user
  updraft.cloud.identity:
    url: https://api.example.org:5000/v3
    password: "{{ admin_password }}"
    projects: [{name: demo}]
    users: [{name: demo, password: "{{ demo_password }}"}]
    assignments: [{user: demo, role: member, project: demo}]
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

from ansible_collections.updraft.cloud.plugins.module_utils import identity, keystone
from ansible_collections.updraft.cloud.plugins.module_utils.exclusive import BusyError, exclusive
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import Action, run

NAME = {"type": "str", "required": True}
TEXT = {"type": "str"}
DOMAIN = {"type": "str", "default": identity.DEFAULT_DOMAIN}
ENDPOINT = {
    "interface": {"type": "str", "required": True, "choices": ["public", "internal", "admin"]},
    "region": NAME,
    "url": NAME,
}


def _list(options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "url": NAME,
    "username": {"type": "str", "default": "admin"},
    "password": {"type": "str", "required": True, "no_log": True},
    "project": {"type": "str", "default": "admin"},
    "bootstrap": {
        "type": "dict",
        "options": {"command": {"type": "list", "elements": "str", "required": True}, "user": NAME},
    },
    "domains": _list({"name": NAME, "description": TEXT}),
    "roles": {"type": "list", "elements": "str", "default": []},
    "projects": _list({"name": NAME, "domain": DOMAIN, "description": TEXT, "enabled": {"type": "bool"}}),
    "users": _list(
        {
            "name": NAME,
            "domain": DOMAIN,
            "description": TEXT,
            "password": {"type": "str", "no_log": True},
            "enabled": {"type": "bool"},
        }
    ),
    "assignments": _list({"user": NAME, "domain": DOMAIN, "role": NAME, "project": TEXT, "project_domain": TEXT}),
    "services": _list({"type": NAME, "name": NAME, "description": TEXT, "endpoints": _list(ENDPOINT)}),
    "timeout": {"type": "int", "default": 120},
}


def _connect(module: AnsibleModule) -> tuple[keystone.Keystone | None, bool]:
    """The connection and whether the administrator was made; None in check mode if there is nobody to ask."""
    params = module.params
    arguments = (params["url"], params["username"], params["password"], params["project"])
    if not module.check_mode:
        return keystone.connect(*arguments, params["timeout"], params["bootstrap"])
    try:
        return keystone.connect(*arguments, 0, None)
    except keystone.AbsentError:
        return None, False
    except keystone.RefusedError:
        if params["bootstrap"]:
            return None, True
        raise


def _reconcile(module: AnsibleModule) -> None:
    """Plan, apply, and end the module."""
    desired = identity.wanted(module.params)
    try:
        catalogue, bootstrapped = _connect(module)
        actual = catalogue.items() if catalogue else []
        changes = identity.plan(desired, actual, catalogue.password_works if catalogue else lambda _user: False)
    except keystone.KeystoneError as error:
        module.fail_json(msg=str(error))
        return
    steps = {change.action.name + change.action.what: change for change in changes}
    actions = [change.action for change in changes]
    if bootstrapped:
        actions.insert(0, Action("update", "administrator", module.params["username"]))

    def apply(action: Action) -> None:
        # The administrator was made when nobody could log in.
        if catalogue and action.what != "administrator":
            identity.apply(catalogue, steps[action.name + action.what])

    run(module, actions, apply, hidden={"password"})


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if module.check_mode:
        _reconcile(module)
        return
    try:
        # Two at once would both make what is missing: an identity service takes endpoints twice.
        with exclusive("identity", module.params["timeout"]):
            _reconcile(module)
    except BusyError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
