# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.preflight: what a machine is, against what the model says of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Compare a machine with what the model says of it
version_added: 0.1.0
description:
  - Reads operating system, memory, disks, interfaces, name, time and kernel modules in one round trip
    and compares them on the controller. Changes nothing and does not fail for what it finds; give the
    results of all hosts to M(updraft.cloud.preflight_table).
options:
  wanted:
    description: What the machine should be; see the inputs of the role C(preflight).
    type: dict
    required: true
attributes:
  check_mode:
    description: Only reads.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Preflight | Read the machine
  updraft.cloud.preflight:
    wanted: "{{ __preflight_wanted }}"
  register: __preflight
"""

RETURN = r"""
lines:
  description: What does not fit; each has host, what, found, wanted and cure.
  returned: success
  type: list
  elements: dict
facts:
  description: What was read.
  returned: success
  type: dict
ansible_facts:
  description: C(preflight_virtualization), kvm or qemu, if M(updraft.cloud.kvm_probe) has it on record.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.machine_facts import read


def main() -> None:
    """Read; the action compares."""
    module = AnsibleModule(argument_spec={"wanted": {"type": "dict", "required": True}}, supports_check_mode=True)
    wanted = module.params["wanted"]
    module.exit_json(changed=False, facts=read(wanted.get("modules", []), wanted.get("disks", [])))


if __name__ == "__main__":
    main()
