# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.iscsi_session_info: until when this machine was served by iSCSI targets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: iscsi_session_info
short_description: Tell until when iSCSI targets served this machine
version_added: 0.3.0
description:
  - The program C(updraft-iscsi-losses) of the role C(iscsi_initiator) is asked, and what it says is handed on.
  - It looks at the kernel's sessions and at what kernel and iscsid wrote in the journal since this machine was started.
  - Where the target was silent, the moment is that of the last answer, not that of the error some seconds later.
options:
  portals:
    description: Addresses of targets, as V(address) or V(address:port). Without any, nothing is looked at.
    type: list
    elements: str
    required: true
  wait:
    description: Seconds to wait at most until no session with O(portals) is served any more. An error takes its time.
    type: float
    default: 0.0
attributes:
  check_mode:
    description: Changes nothing.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Ask until when the volumes were there
  updraft.cloud.iscsi_session_info:
    portals: [10.0.1.9]
    wait: 20
"""

RETURN = r"""
losses:
  description:
    - The sessions with O(portals), and the one that was logged out last.
    - RV(losses[].served) says that it lives; RV(losses[].until) when it was served last, in seconds since 1970, and
      is null where that is not known.
  type: list
  elements: dict
  returned: success
  sample: [{target: "iqn.x:web", portal: "10.0.1.9:3260", state: FAILED, served: false, until: 1795305600.25}]
began:
  description: This machine's clock when it was asked.
  type: float
  returned: success
ended:
  description: This machine's clock when it answers.
  type: float
  returned: success
"""
