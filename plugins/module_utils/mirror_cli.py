# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of `updraft-mirror`: one JSON object on stdout; 0 done, 2 refused (with the reason), 1 failed."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import mirror_converge, mirror_status
from ansible_collections.updraft.cloud.plugins.module_utils.disks import DisksError
from ansible_collections.updraft.cloud.plugins.module_utils.exclusive import BusyError, exclusive
from ansible_collections.updraft.cloud.plugins.module_utils.iscsi_targets import TargetsError
from ansible_collections.updraft.cloud.plugins.module_utils.lio import LioError
from ansible_collections.updraft.cloud.plugins.module_utils.mirror import Mirror, say
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_config import ConfigError, load
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Refused, Waits
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_slots import SlotError
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_state import StateError, Store
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_system import Machine
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_watch import Watch

LOCK = "mirror"
#: Seconds for which a verb waits for another one.
LOCKED_SECONDS = 120.0
FAILED, REFUSED = 1, 2
ERRORS = (DisksError, LioError, TargetsError, ConfigError, StateError, SlotError, BusyError, OSError)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="updraft-mirror", description="The mirror of two storage servers.")
    verbs = top.add_subparsers(dest="verb", required=True)

    def verb(name: str, text: str, *, generation: bool = False) -> argparse.ArgumentParser:
        found = verbs.add_parser(name, help=text, description=text)
        if generation:
            found.add_argument("--generation", type=int, required=True, metavar="N", help="number of changes")
        return found

    verb("status", "tell what this server is, what it holds and what it sees of the peer; changes nothing")
    verb("boot", "go on as what this server is by its state, where that is safe without anybody's word")
    verb("watch", "boot, and then look once a second; the service updraft-mirror runs it")
    converge = verb("converge", "make the mirror, or bring it to what /etc/updraft/mirror.json says")
    converge.add_argument("--wait", type=float, default=0, metavar="S", help="seconds to wait for the peer")
    converge.add_argument("--check", action="store_true", help="only tell what would change")
    verb("demote", "hand over: stop serving with everything written, and become a leg")
    promote = verb("promote", "serve, which the peer no longer does", generation=True)
    how = promote.add_mutually_exclusive_group()
    how.add_argument("--planned", action="store_true", help="the peer was demoted, and offers its disks")
    how.add_argument("--peer-is-off", action="store_true", help="the peer has no power: fenced, or seen by a person")
    promote.add_argument("--wait", type=float, default=0, metavar="S", help="seconds to wait for the peer's demotion")
    promote.add_argument("--accept-loss", action="store_true", help="serve a copy that may lack the last writes")
    serve = verb("serve", "serve without the peer, on the word of a person")
    serve.add_argument("--alone", action="store_true", required=True, help="with this server's disks only")
    serve.add_argument("--generation", type=int, metavar="N", help="the generation that `status` tells")
    verb("rejoin", "become a leg of the peer, which serves", generation=True)
    heal = verb("heal", "take the peer's disks in, and wait until everything is on both")
    heal.add_argument("--wait", type=float, default=0, metavar="S", help="seconds to wait for the copy")
    mark = verb("mark", "take a person's word for what this leg holds", generation=True)
    word = mark.add_mutually_exclusive_group(required=True)
    word.add_argument("--complete", action="store_true", help="it holds everything")
    word.add_argument("--incomplete", action="store_true", help="it lacks something")
    down = verb("down", "take everything down in order; the state stays")
    down.add_argument("--at-shutdown", action="store_true", help="only when the computer is being switched off")
    verb("save-targets", "keep the targets of the volume service for the other server")
    return top


def carry_out(mirror: Mirror, machine: Machine, given: argparse.Namespace) -> dict[str, Any]:
    """Do what a verb says. Raises Refused."""
    verbs: dict[str, Callable[[], dict[str, Any]]] = {
        "boot": mirror.boot,
        "demote": mirror.demote,
        "promote": lambda: mirror.promote(
            given.generation, planned=given.planned, off=given.peer_is_off, accept_loss=given.accept_loss
        ),
        "serve": lambda: mirror.serve_alone(given.generation),
        "rejoin": lambda: mirror.rejoin(given.generation),
        "heal": lambda: mirror.heal(given.wait),
        "mark": lambda: mirror.mark(given.generation, complete=given.complete),
        "down": mirror.down,
    }
    return verbs[given.verb]()


def answer(given: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    """Return exit code and JSON of a verb."""
    try:
        return 0, _run(given)
    except Refused as error:
        return REFUSED, {"refused": str(error), "waits": isinstance(error, Waits), "changed": []}
    except ERRORS as error:
        return FAILED, {"failed": str(error)}


def _run(given: argparse.Namespace) -> dict[str, Any]:
    config = load()
    machine, store = Machine(config), Store()
    mirror = Mirror(config, machine, store)
    if given.verb == "status":
        return mirror_status.status(config, machine, store)
    if given.verb == "converge" and given.check:
        return mirror_converge.check(mirror, machine.plan_above)
    if given.verb == "down" and given.at_shutdown and not _switching_off():
        return {"changed": []}
    if given.verb == "converge":
        return mirror_converge.retry(lambda: _alone(lambda: mirror_converge.converge(mirror)), given.wait)
    if given.verb == "save-targets":
        return mirror.save_targets()
    if given.verb == "promote":
        return mirror_converge.retry(lambda: _alone(lambda: carry_out(mirror, machine, given)), given.wait)
    return _alone(lambda: carry_out(mirror, machine, given))


def _alone(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    with exclusive(LOCK, LOCKED_SECONDS):
        return act()


def _switching_off() -> bool:
    state = subprocess.run(["systemctl", "is-system-running"], capture_output=True, text=True, check=False)
    return state.stdout.strip() == "stopping"


def watch() -> None:
    """Look once a second, for ever. A verb that runs is not disturbed."""
    config = load()
    mirror = Mirror(config, Machine(config), Store())
    watcher = Watch(mirror)
    told = ""
    while True:
        try:
            with contextlib.suppress(BusyError), exclusive(LOCK, 0):
                watcher.look(time.monotonic())
            told = ""
        except ERRORS as error:
            if str(error) != told:
                say(f"failed, and is tried again: {error}")
                told = str(error)
        time.sleep(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb."""
    given = parser().parse_args(arguments)
    os.umask(0o077)
    if given.verb == "watch":
        watch()
    code, result = answer(given)
    print(json.dumps(result, sort_keys=True, ensure_ascii=False))
    return code
