# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.reach: try connections that must succeed and connections that must not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: reach
short_description: Try connections which must succeed and others which must not
version_added: 0.1.0
description:
  - Opens all TCP connections side by side from this machine, tells what became of each, and fails if that
    is not what was expected. Nothing is sent. Changes nothing.
options:
  probes:
    description:
      - Each has C(address), C(port) and C(expect), and for the messages C(target), C(name) and C(why).
      - C(expect) is C(open), or C(dropped) for no answer at all; a refusal is an answer and shows that no
        packet filter stands in front.
    type: list
    elements: dict
    required: true
  seconds:
    description: How long a connection may take.
    type: int
    default: 5
attributes:
  check_mode:
    description: Only connects.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Ports | Knock at the ports of others
  updraft.cloud.reach:
    probes:
      - {address: 10.77.0.10, port: 5000, expect: open, target: control1, name: identity, why: all may}
      - {address: 10.77.1.10, port: 5000, expect: dropped, target: control1, name: identity, why: wrong network}
"""

RETURN = r"""
found:
  description: The probes, each with C(state) (C(open), C(refused) or C(dropped)).
  returned: with -v
  type: list
  elements: dict
tried:
  description: How many connections were tried.
  returned: success
  type: int
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

AT_ONCE = 200


async def knock(address: str, port: int, seconds: float) -> str:
    """What became of one connection."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "dropped"
    writer.close()
    return "open"


async def knock_all(probes: Sequence[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """All of them side by side, in their order."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(probe: Mapping[str, Any]) -> dict[str, Any]:
        async with limit:
            state = await knock(str(probe["address"]), int(probe["port"]), seconds)
        return {**probe, "state": state}

    return list(await asyncio.gather(*(one(probe) for probe in probes)))


def main() -> None:
    """Knock, compare, tell."""
    module = AnsibleModule(
        argument_spec={
            "probes": {"type": "list", "elements": "dict", "required": True},
            "seconds": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    found = asyncio.run(knock_all(module.params["probes"], module.params["seconds"]))
    wrong = [
        f"{probe.get('target')}: {probe.get('name')} at {probe['address']}:{probe['port']} is {probe['state']}, "
        f"not {probe['expect']}: {probe.get('why')}"
        for probe in found
        if probe["state"] != probe["expect"]
    ]
    result: dict[str, Any] = {"found": found} if module._verbosity else {}
    if wrong:
        module.fail_json(msg="\n".join(wrong), **result)
    module.exit_json(changed=False, tried=len(found), **result)


if __name__ == "__main__":
    main()
