# SPDX-License-Identifier: GPL-3.0-or-later
"""The first time: two servers with blank disks become a mirror. Later: what the model wants, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import mirror_decisions as decide
from ansible_collections.updraft.cloud.plugins.module_utils.mirror import Mirror
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_decisions import Member, Pair, Refused, Scene, Waits
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_state import State

#: The generation of a mirror that was never handed over.
FIRST = 1


def converge(mirror: Mirror) -> dict[str, Any]:
    """Bring this server to what its configuration says. Raises Refused; Waits where the peer is not there yet."""
    state = mirror.store.read()
    if state.role == "new" and not mirror.config.first:
        return _become_leg(mirror)
    if state.role == "new":
        return _create(mirror, state)
    if state.role == "leg":
        return mirror.boot()
    if mirror.system.up():
        done = _result(mirror, mirror.above())
        # Nodes log out in the same run, where they can.
        if held := mirror.system.held_targets():
            raise Waits("; ".join(held))
        return done
    if state.generation == FIRST and mirror.config.first:
        # Its very first run may have been cut before all arrays were made.
        return _create(mirror, state)
    return mirror.boot()


def _become_leg(mirror: Mirror) -> dict[str, Any]:
    changed = _make_blank(mirror, mirror.system.own_members())
    state = mirror.store.read().leg(FIRST, mirror.system.boot_id(), complete=False)
    mirror.store.write(state)
    done = mirror.boot()
    return {**done, "changed": [*changed, "become a leg", *done["changed"]]}


def _make_blank(mirror: Mirror, own: Sequence[Member]) -> list[str]:
    """Wipe disks which the operator named, and refuse all others that hold something unknown."""
    foreign = [disk for disk in own if disk.holds]
    refused = [
        f"{disk.path} is not blank: it holds {' and '.join(disk.holds)}. If all of it may be destroyed, say so once:"
        f" volumes_wipe: [{disk.path}]"
        for disk in foreign
        if disk.path not in mirror.config.wipe
    ]
    if refused:
        raise Refused("; ".join(refused))
    for disk in foreign:
        mirror.system.wipe(disk.path)
    return [f"wipe {disk.path}" for disk in foreign]


def _create(mirror: Mirror, state: State) -> dict[str, Any]:
    system, peer = mirror.system, mirror.config.peer.name
    own = system.own_members()
    if state.role == "new":
        known = [disk.path for disk in own if disk.uuid]
        if known:
            raise Refused(
                f"{', '.join(known)} hold a mirror already, and this server does not remember it. If {peer} serves:"
                f" updraft-mirror rejoin --generation N with the N of `updraft-mirror status` on {peer}"
            )
        changed = _make_blank(mirror, own)
    else:
        changed = []
    scene = mirror.scene(log_in=True, peer=False)
    if scene.leg is None:
        raise Waits(f"waiting for the leg of {peer}: it is not exported yet, or {peer} serves (then heal)")
    blank = [pair for pair in scene.pairs if pair.own.blank and pair.array not in scene.running]
    _may_create(blank, scene, peer)
    rest = [pair for pair in scene.pairs if pair not in blank]
    starts = decide.members(rest, alone=False)
    if rest and state.role == "serving":
        starts = decide.boot(state, _only(scene, rest), peer)
    mirror.store.write(state.serving(FIRST))
    system.withdraw_leg()
    for pair in blank:
        assert pair.peer is not None
        system.create_array(pair.array, [pair.own.path, pair.peer.path])
        changed.append(f"create array {pair.array}")
    return _result(mirror, changed + mirror.serve(starts, scene))


def _may_create(blank: Sequence[Pair], scene: Scene, peer: str) -> None:
    problems = [
        f"{pair.array}: the peer's {pair.peer.path} holds {' and '.join(pair.peer.holds) or 'a mirror'}"
        for pair in blank
        if pair.peer is not None and not pair.peer.blank
    ]
    if problems:
        raise Refused(f"{'; '.join(problems)}, and this server's disk is blank: promote {peer}, then heal this one")
    if scene.session:
        raise Refused(f"{peer} uses this server's disks: it serves")
    if scene.leg is not None and blank and scene.leg.generation != FIRST:
        raise Refused(
            f"{peer} is a leg of generation {scene.leg.generation}: a mirror was there before, and is not made anew"
        )
    if scene.answers:
        raise Refused(f"somebody serves already: {', '.join(scene.answers)}")


def _only(scene: Scene, pairs: Sequence[Pair]) -> Scene:
    return Scene(scene.boot, pairs, scene.leg, scene.answers, scene.session, scene.running)


def _result(mirror: Mirror, changed: list[str]) -> dict[str, Any]:
    state = mirror.store.read()
    return {"role": state.role, "generation": state.generation, "up": mirror.system.up(), "changed": changed}


def check(mirror: Mirror, plan: Callable[[], list[str]]) -> dict[str, Any]:
    """Tell what converge would change. `plan` tells it of what stands on running arrays."""
    state = mirror.store.read()
    changed: list[str] = []
    if state.role == "new":
        changed = [f"create array {name}" for name in mirror.config.arrays] if mirror.config.first else ["become a leg"]
    elif state.role == "leg":
        changed = [] if mirror.system.exported() else ["export the disks"]
    elif not mirror.system.up():
        changed = ["start to serve"]
    else:
        changed = plan()
    return _result(mirror, changed)


def retry(attempt: Callable[[], dict[str, Any]], wait: float) -> dict[str, Any]:
    """Repeat as long as it waits for the peer, at most so many seconds. Raises what the last attempt raised."""
    end = time.monotonic() + wait
    while True:
        try:
            return attempt()
        except Waits:
            if time.monotonic() >= end:
                raise
        time.sleep(0.2)
