# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.rabbitmq: virtual hosts, users and permissions of a RabbitMQ broker."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rabbitmq
short_description: Virtual hosts, users and permissions of a RabbitMQ broker, as whole lists
version_added: 0.1.0
description:
  - Compares the lists with one export of the broker's definitions and imports what differs at once.
  - Passwords are compared and sent as salted hashes, and none is ever on a command line.
  - Virtual hosts are never removed, since queues and messages go with them. A user in the list has
    exactly the listed permissions.
options:
  vhosts:
    description: Virtual hosts that are to be there.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      default_queue_type:
        description: Type of a queue that is declared without one.
        type: str
        choices: [quorum, classic, stream]
        default: quorum
  users:
    description: Users that are to be there.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name that it logs in with.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
      tags:
        description: Tags such as C(administrator).
        type: list
        elements: str
        default: []
      permissions:
        description: What it may do, by virtual host.
        type: list
        elements: dict
        default: []
        suboptions:
          vhost:
            description: Name of the virtual host.
            type: str
            default: /
          configure:
            description: Regular expression of the resources which it may make and remove.
            type: str
            default: .*
          write:
            description: Regular expression of the resources which it may write to.
            type: str
            default: .*
          read:
            description: Regular expression of the resources which it may read.
            type: str
            default: .*
  absent_users:
    description: Users that are removed.
    type: list
    elements: str
    default: [guest]
  program:
    description: The broker's command.
    type: str
    default: rabbitmqctl
  timeout:
    description: Seconds that one call of it may take.
    type: int
    default: 90
attributes:
  check_mode:
    description: Tells the plan; the whole of it where there is no broker yet.
    support: full
  diff_mode:
    description: One element for each virtual host, user and permission.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: messaging | Make the users of the message bus
  updraft.cloud.rabbitmq:
    vhosts:
      - {name: /}
    users:
      - {name: nova, password: "{{ secret }}", permissions: [{vhost: /}]}
"""

RETURN = r"""
actions:
  description: What was done, or would be done.
  returned: success
  type: list
  elements: str
  sample: [create user nova, delete user guest]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.rabbitmq import (
    Broker,
    BrokerError,
    definitions_of,
    desired_objects,
    found_objects,
    plan_all,
)
from ansible_collections.updraft.cloud.plugins.module_utils.reconcile import result_of

VHOST = {
    "name": {"type": "str", "required": True},
    "default_queue_type": {"type": "str", "choices": ["quorum", "classic", "stream"], "default": "quorum"},
}
PERMISSION = {
    "vhost": {"type": "str", "default": "/"},
    "configure": {"type": "str", "default": ".*"},
    "write": {"type": "str", "default": ".*"},
    "read": {"type": "str", "default": ".*"},
}
USER = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "tags": {"type": "list", "elements": "str", "default": []},
    "permissions": {"type": "list", "elements": "dict", "default": [], "options": PERMISSION},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "vhosts": {"type": "list", "elements": "dict", "default": [], "options": VHOST},
    "users": {"type": "list", "elements": "dict", "default": [], "options": USER},
    "absent_users": {"type": "list", "elements": "str", "default": ["guest"]},
    "program": {"type": "str", "default": "rabbitmqctl"},
    "timeout": {"type": "int", "default": 90},
}


def main() -> None:
    """Read what is there, plan, apply."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    broker = Broker(module.params["program"], module.params["timeout"])
    desired = desired_objects(module.params["vhosts"], module.params["users"])
    found: Any = {}
    try:
        found = found_objects(broker.definitions())
    except BrokerError as error:
        if not module.check_mode:
            module.fail_json(msg=f"RabbitMQ cannot be asked: {error}")
    actions = plan_all(desired, found, module.params["absent_users"])
    if not module.check_mode:
        try:
            apply(broker, actions, definitions_of(actions, desired))
        except BrokerError as error:
            module.fail_json(msg=f"RabbitMQ refused: {error}")
    module.exit_json(**result_of(actions, diff=module._diff, hidden={"password"}))


def apply(broker: Broker, actions: Any, definitions: dict[str, Any]) -> None:
    """One import for all that is made or changed; then what is too much."""
    if definitions:
        broker.load(definitions)
    for action in actions:
        if action.kind == "delete":
            broker.delete(action)


if __name__ == "__main__":
    main()
