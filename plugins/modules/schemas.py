# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.schemas: databases brought up to date side by side."""

from __future__ import annotations

DOCUMENTATION = r"""
module: schemas
short_description: Bring the schemas of OpenStack services up to date, side by side
version_added: 0.1.0
description:
  - Runs the commands which make or upgrade what a service needs before it starts (its tables, its keys),
    the services side by side and the steps of each in order.
  - A step runs only if what it makes is missing or behind. A schema is compared with the migrations on
    disk, so that nothing is started to learn that there is nothing to do.
  - Reads where a database is, and its password, from the service's own settings on the machine.
options:
  services:
    description: The services with their steps.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The service.
        type: str
        required: true
      user:
        description: The system user that runs the commands.
        type: str
        required: true
      steps:
        description: What is done in order.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: What the step makes.
            type: str
            required: true
          command:
            description: Program and arguments. It has to be repeatable.
            type: list
            elements: str
            required: true
          done:
            description:
              - How to tell that the step is not needed. Either C(path), which exists, or C(config) and
                C(section), where the settings name the database, with C(migrations), the folder of the
                alembic versions relative to Python's path (and C(databases), if they are others on the
                same server), or with C(row), a query which finds a row.
            type: dict
            required: true
  timeout:
    description: Seconds that one command may take.
    type: int
    default: 600
attributes:
  check_mode:
    description: Says which steps would run. On a machine without packages or database these are all.
    support: full
  diff_mode:
    description: Lists the pending steps.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Bring the schema of placement up to date
  updraft.cloud.schemas:
    services:
      - name: placement
        user: placement
        steps:
          - name: schema
            done:
              config: /etc/placement/placement.conf
              section: placement_database
              migrations: placement/db/sqlalchemy/alembic/versions
            command: [placement-manage, db, sync]
"""

RETURN = r"""
steps:
  description: What ran, or in check mode would run, as C(service - step).
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.exclusive import BusyError, exclusive
from ansible_collections.updraft.cloud.plugins.module_utils.schemas import (
    Chain,
    Outcome,
    Step,
    apply,
    pending,
)

STEP = {
    "name": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str", "required": True},
    "done": {"type": "dict", "required": True},
}
SERVICE = {
    "name": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "steps": {"type": "list", "elements": "dict", "required": True, "options": STEP},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "services": {"type": "list", "elements": "dict", "required": True, "options": SERVICE},
    "timeout": {"type": "int", "default": 600},
}


def _apply(module: AnsibleModule, chains: list[Chain]) -> dict[str, Outcome]:
    """Not beside an earlier run that was cut and is still at work: migrations do not bear it."""
    timeout: int = module.params["timeout"]
    try:
        with exclusive("schemas", timeout) as lock:
            return apply(chains, timeout, lock)
    except BusyError as error:
        module.fail_json(msg=str(error))
        raise


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    chains = [
        Chain(
            service["name"],
            service["user"],
            tuple(Step(step["name"], tuple(step["command"]), step["done"]) for step in service["steps"]),
        )
        for service in module.params["services"]
    ]
    if module.check_mode:
        steps, errors = pending(chains), []
    else:
        outcomes = _apply(module, chains)
        steps = [f"{name}: {step}" for name, outcome in outcomes.items() for step in outcome.done]
        errors = [outcome.error for outcome in outcomes.values() if outcome.error]
    diff = {"before": "", "after": "".join(f"{step}\n" for step in steps)}
    if errors:
        module.fail_json(msg="\n".join(errors), changed=bool(steps), steps=steps, diff=diff)
    module.exit_json(changed=bool(steps), steps=steps, diff=diff)


if __name__ == "__main__":
    main()
