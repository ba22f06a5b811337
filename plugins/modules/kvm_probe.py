# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.kvm_probe: is KVM usable on this machine?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: kvm_probe
short_description: Find out by starting a guest whether KVM is usable
version_added: 0.1.0
description:
  - Starts the machine's own kernel under KVM with a RAM disk of busybox and waits until the guest's own program
    runs. The device C(/dev/kvm) alone says little where virtualization is nested.
  - The answer is kept in O(cache) and holds until the machine starts again.
  - Loads C(kvm_amd) or C(kvm_intel) when the device is missing.
options:
  cache:
    description: Where the answer is kept; a folder which is emptied at each start.
    type: path
    default: /run/updraft/kvm.json
  limit:
    description: Seconds after which a guest that does not run counts as hanging.
    type: int
    default: 90
  refresh:
    description: Ask again, whatever is on record.
    type: bool
    default: false
  qemu:
    description: The emulator.
    type: str
    default: qemu-system-x86_64
  busybox:
    description: A statically linked busybox.
    type: path
    default: /bin/busybox
  fact:
    description: Name of the fact which gets C(kvm) or C(qemu).
    type: str
    default: hypervisor_virtualization
notes:
  - Changes nothing and so runs in check mode as well. Where QEMU is not installed yet, the answer is C(qemu) and is
    not kept.
author: The Updraft developers
"""

EXAMPLES = r"""
- name: hypervisor | Find out whether KVM is usable
  updraft.cloud.kvm_probe:
  register: __hypervisor_kvm
"""

RETURN = r"""
usable:
  description: Whether a guest ran under KVM.
  type: bool
  returned: always
virtualization:
  description: C(kvm) or C(qemu).
  type: str
  returned: always
reason:
  description: Why, in words.
  type: str
  returned: always
seconds:
  description: From power-on of the guest to its own program.
  type: float
  returned: always
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.kvm import ask
from ansible_collections.updraft.cloud.plugins.module_utils.kvm_record import RECORD


def main() -> None:
    """Ask and tell."""
    module = AnsibleModule(
        argument_spec={
            "cache": {"type": "path", "default": RECORD},
            "limit": {"type": "int", "default": 90},
            "refresh": {"type": "bool", "default": False},
            "qemu": {"type": "str", "default": "qemu-system-x86_64"},
            "busybox": {"type": "path", "default": "/bin/busybox"},
            "fact": {"type": "str", "default": "hypervisor_virtualization"},
        },
        supports_check_mode=True,
    )
    given = module.params
    keep = not module.check_mode and shutil.which(given["qemu"]) is not None
    answer = ask(
        Path(given["cache"]), given["limit"], given["qemu"], Path(given["busybox"]), refresh=given["refresh"], keep=keep
    )
    module.exit_json(
        changed=False,
        usable=answer.usable,
        virtualization=answer.virtualization,
        reason=answer.reason,
        seconds=answer.seconds,
        ansible_facts={given["fact"]: answer.virtualization},
    )


if __name__ == "__main__":
    main()
