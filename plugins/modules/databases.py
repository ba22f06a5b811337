# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.databases: databases and accounts of a MariaDB server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: databases
short_description: Databases and accounts of a MariaDB server, as whole lists
version_added: 0.1.0
description:
  - Makes databases and accounts be as the lists say, over the server's unix socket as root.
  - A database is never dropped. An account which has the name of a listed one and another host is.
  - An account has exactly the listed privileges. Passwords are compared and set as the server's hash.
options:
  databases:
    description: Databases that are to be there.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      charset:
        description: Default character set that it is made with; a service may change it later.
        type: str
        default: utf8mb4
      collation:
        description: Default collation that it is made with, of that character set.
        type: str
        default: utf8mb4_general_ci
  users:
    description: Accounts that are to be there.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name that it logs in with.
        type: str
        required: true
      host:
        description: From where; an address, a pattern of the server or a network such as 10.0.0.0/24.
        type: str
        default: "%"
      password:
        description: Its password.
        type: str
        required: true
      databases:
        description: Databases that it may use. They need not be in O(databases).
        type: list
        elements: str
        default: []
      privileges:
        description: What it may do in each of them.
        type: list
        elements: str
        default: [ALL]
      require_ssl:
        description: Whether a connection without TLS is refused.
        type: bool
        default: true
  socket:
    description: Unix socket of the server.
    type: path
    default: /run/mysqld/mysqld.sock
attributes:
  check_mode:
    description: Tells the plan; the whole of it where there is no server yet.
    support: full
  diff_mode:
    description: One element for each database and account.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: database | Make the databases and their users
  updraft.cloud.databases:
    databases:
      - {name: glance}
    users:
      - {name: glance, host: 10.77.0.0/24, password: "{{ secret }}", databases: [glance]}
"""

RETURN = r"""
actions:
  description: What was done, or would be done.
  returned: success
  type: list
  elements: str
  sample: [create database glance]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.databases import (
    DatabaseError,
    Server,
    desired_accounts,
    plan_all,
)
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import run

DATABASE = {
    "name": {"type": "str", "required": True},
    "charset": {"type": "str", "default": "utf8mb4"},
    "collation": {"type": "str", "default": "utf8mb4_general_ci"},
}
USER = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str", "default": "%"},
    "password": {"type": "str", "required": True, "no_log": True},
    "databases": {"type": "list", "elements": "str", "default": []},
    "privileges": {"type": "list", "elements": "str", "default": ["ALL"]},
    "require_ssl": {"type": "bool", "default": True},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "databases": {"type": "list", "elements": "dict", "default": [], "options": DATABASE},
    "users": {"type": "list", "elements": "dict", "default": [], "options": USER},
    "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
}


def main() -> None:
    """Read what is there, plan, apply."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    databases = {
        entry["name"]: {"charset": entry["charset"], "collation": entry["collation"]}
        for entry in module.params["databases"]
    }
    accounts: dict[str, dict[str, Any]] = {}
    server = None
    try:
        accounts = desired_accounts(module.params["users"])
        server = Server(module.params["socket"])
    except ValueError as error:
        module.fail_json(msg=f"users: {error}")
    except DatabaseError as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
    found: Any = ({}, {})
    if server:
        found = (server.databases(), server.accounts(sorted({user["user"] for user in accounts.values()})))
    run(
        module,
        plan_all(databases, accounts, found),
        server.apply if server else lambda action: None,
        hidden={"hash"},
    )


if __name__ == "__main__":
    main()
