# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.storage_mirror: this server's part in the mirror of volumes, by the program that keeps it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_mirror
short_description: Bring a storage server to its part in the mirror of volumes
version_added: 0.1.0
description:
  - The program C(updraft-mirror) of the role C(storage_mirror) does the work, and keeps by itself to what was decided
    when a server starts again. It is asked, and what it says is handed on.
  - What could make two servers write is refused, with the reason.
options:
  state:
    description:
      - V(status) only looks. V(converged) brings the server to the part that it has, and gives it its first one.
      - V(demoted) ends serving and offers this server's disks to the other; V(promoted) takes serving over from it.
      - V(alone) serves without the other.
      - V(rejoined) makes a server that returned the other leg. V(healed), on the one that serves, takes it in.
    type: str
    choices: [status, converged, demoted, promoted, alone, rejoined, healed]
    default: status
  generation:
    description: How often serving has moved, with this move. Needed by V(promoted), V(alone) and V(rejoined).
    type: int
  planned:
    description: For V(promoted), that the other server was demoted before.
    type: bool
    default: false
  peer_is_off:
    description: For V(promoted), that the other server is proven off.
    type: bool
    default: false
  accept_loss:
    description: For V(promoted), that writes may be lost which the other server had acknowledged alone.
    type: bool
    default: false
  wait:
    description: Seconds to wait for the other server (its demotion, for V(promoted)), or for the copy to end.
    type: int
    default: 0
attributes:
  check_mode:
    description: Says what would be done.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: storage_mirror | Take the part that this server has
  updraft.cloud.storage_mirror:
    state: converged
    wait: 120
"""

RETURN = r"""
mirror:
  description: What the program says, as C(updraft-mirror status) has it.
  type: dict
  returned: success
actions:
  description: What was done, or would be done.
  type: list
  elements: str
  returned: success
"""
