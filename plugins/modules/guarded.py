# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.guarded: settings that undo themselves unless the controller comes back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guarded
short_description: Change settings that could cut the connection, with a way back that needs nobody
version_added: 0.1.0
description:
  - Writes files and makes them take effect as M(updraft.cloud.files) and a command would, for settings
    which can cut the machine off (network, firewall).
  - Before anything is written, the former files are kept and a timer is started which brings them back.
    The commands run detached from the connection. Then the controller drops its connection, makes a new
    one and confirms. Without that within O(seconds), the machine returns to its former settings by
    itself; after a power cut it does so at boot.
  - What to do is decided by what is there, never by an earlier run. A run that was cut is begun again.
options:
  name:
    description: Names the group of settings; there is one way back for each name.
    type: str
    required: true
  files:
    description: As O(files) of M(updraft.cloud.files).
    type: list
    elements: dict
    required: true
  apply:
    description: Commands, each a list of words, which make the files take effect. No shell.
    type: list
    elements: list
    required: true
  restore:
    description: Commands which make the former files take effect; by default those of O(apply).
    type: list
    elements: list
    default: []
  observe:
    description:
      - A command which prints what is in effect. When it prints something else than after the last
        confirmed change, the settings are applied again.
    type: list
    elements: str
    default: []
  links:
    description:
      - Interfaces which must have C(addresses) (with prefix) and C(mtu) and be up, each a dictionary
        with these keys and C(name). If one does not come up, the former settings come back.
    type: list
    elements: dict
    default: []
  seconds:
    description: How long the machine waits for the confirmation.
    type: int
    default: 240
notes:
  - Needs systemd on the target.
attributes:
  check_mode:
    description: Tells what would be written and why, and changes nothing.
    support: full
  diff_mode:
    description: One element for each path.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Firewall | Load the rules, with a way back
  updraft.cloud.guarded:
    name: firewall
    files:
      - {path: /etc/updraft/firewall.nft, template: firewall.nft.j2, mode: "0644", validate: nft -c -f %s}
    apply:
      - [systemctl, restart, updraft-firewall.service]
    observe: [nft, --stateless, list, table, inet, updraft]
"""

RETURN = r"""
changed_paths:
  description: Paths which were, or in check mode would be, made, changed or removed.
  returned: success
  type: list
  elements: str
reasons:
  description: Why the settings had to be applied although no file differs.
  returned: success
  type: list
  elements: str
late:
  description: Whether it failed because the former settings had come back before the new ones were confirmed.
  returned: failure
  type: bool
confirmed:
  description: Whether a new connection confirmed the settings.
  returned: when something was changed
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.exclusive import BusyError
from ansible_collections.updraft.cloud.plugins.module_utils.files import FilesError
from ansible_collections.updraft.cloud.plugins.module_utils.files_payload import unpack
from ansible_collections.updraft.cloud.plugins.module_utils.guard import GuardError, Late, confirm, start
from ansible_collections.updraft.cloud.plugins.module_utils.guard_scripts import Guard


def main() -> None:
    """Take what the action rendered; begin, or confirm what was begun."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "payload": {"type": "str", "required": True, "no_log": True},
            "apply": {"type": "list", "elements": "list", "required": True},
            "restore": {"type": "list", "elements": "list", "default": []},
            "observe": {"type": "list", "elements": "str", "default": []},
            "links": {"type": "list", "elements": "dict", "default": []},
            "seconds": {"type": "int", "default": 240},
            "step": {"type": "str", "choices": ["start", "confirm"], "default": "start"},
        },
        supports_check_mode=True,
    )
    given = module.params
    guard = Guard(
        name=given["name"],
        apply=tuple(tuple(str(word) for word in command) for command in given["apply"]),
        restore=tuple(tuple(str(word) for word in command) for command in given["restore"]),
        observe=tuple(given["observe"]),
        links=tuple(given["links"]),
        seconds=given["seconds"],
    )
    entries = unpack(given["payload"]).entries
    try:
        if given["step"] == "confirm":
            result = confirm(guard, entries)
        else:
            result = start(guard, entries, check=module.check_mode, diff=module._diff)
    except (GuardError, FilesError, BusyError, OSError) as error:
        module.fail_json(msg=str(error), late=isinstance(error, Late))
    for text in result.pop("warnings", []):
        module.warn(text)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
