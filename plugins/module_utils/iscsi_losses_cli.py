# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of `updraft-iscsi-losses`: one JSON object on stdout; 0 done, 1 failed."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_losses import addresses_of, ask
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_sessions import sessions

FAILED = 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    found = argparse.ArgumentParser(
        prog="updraft-iscsi-losses", description="Tell until when iSCSI targets served this machine; changes nothing."
    )
    found.add_argument(
        "portals", nargs="*", metavar="ADDRESS", help="of targets, with or without a port; without any nothing is told"
    )
    text = "wait at most so many seconds until none of them serves any more: an error takes its time"
    found.add_argument("--wait", type=float, default=0.0, metavar="S", help=text)
    return found


def answer(given: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    """Return exit code and JSON."""
    began = time.time()
    try:
        addresses = addresses_of(given.portals)
        found = ask(addresses, given.wait, sessions) if addresses else []
    except DisksError as error:
        return FAILED, {"failed": str(error)}
    return 0, {"losses": [asdict(loss) for loss in found], "began": began, "ended": time.time()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, and tell."""
    code, result = answer(parser().parse_args(arguments))
    print(json.dumps(result, sort_keys=True, ensure_ascii=False))
    return code
