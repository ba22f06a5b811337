# SPDX-License-Identifier: GPL-3.0-or-later
"""`./updraft storage --watch`: the other leg serves when the one that served is lost, where the site chose so."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from updraft import commands, storage
from updraft.runner import INTERRUPTED
from updraft.site import Refusal, Site
from updraft.storage import Statuses

#: Seconds between two looks, and how many looks in a row have to find the same server lost.
INTERVAL, LOOKS = 5.0, 2
#: Seconds to the next attempt after a failover that was refused or failed.
PAUSE = 60.0


def lost(statuses: Statuses) -> str | None:
    """The server that served and is lost: it does not answer, and its leg has lost it, too, and can take over.

    A leg that was started anew cannot (nor one that was being brought up to date): after a loss of power of both, the
    other one is only slower, and must not be switched off.
    """
    silent = [name for name, status in statuses.items() if status is None]
    legs = [
        status
        for status in statuses.values()
        if status and status["role"] == "leg" and not status["connected"] and status["complete"]
    ]
    return silent[0] if len(silent) == 1 and legs else None


def watch(site: Site, typed: list[str], *, raw: bool, sleep: Callable[[float], None] = time.sleep) -> int:
    """Look, until the person ends it, and move serving when it has to be moved. Raises Refusal."""
    storage.legs(site)
    if site.cloud["volumes"]["mirror"].get("failover") != "by_itself":
        raise Refusal(
            "this site moves its storage by hand (playbooks/storage_failover.yml). To have it moved write"
            " volumes.mirror.failover: by_itself in cloud.yml, and the `power` of both storage servers"
        )
    told, looks, candidate = "", 0, None
    while True:
        found, words = _look(site, typed, raw=raw)
        if words != told:
            _tell(words)
            told = words
        looks = looks + 1 if found and found == candidate else int(found is not None)
        candidate = found
        if looks >= LOOKS:
            sleep(_move(site, typed, raw=raw))
            looks = 0
        sleep(INTERVAL)


def _tell(words: str) -> None:
    print(f"{datetime.now(UTC).isoformat(timespec='seconds')} {words}", flush=True)


def _look(site: Site, typed: list[str], *, raw: bool) -> tuple[str | None, str]:
    """The server that is lost, and how the mirror is in words. While another command works on the site, nobody is."""
    try:
        statuses = storage.ask(site, typed, raw=raw, quiet=True)
    except Refusal as refusal:
        return None, f"not looked at: {refusal}"
    return lost(statuses), "; ".join(storage.problems(statuses)) or "the mirror is whole"


def _move(site: Site, typed: list[str], *, raw: bool) -> float:
    """Have the survivor serve; the seconds to wait after it."""
    playbook = site.root / "playbooks" / "storage_failover.yml"
    try:
        code = commands.run(site, playbook, [], typed, raw=raw)
    except Refusal as refusal:
        _tell(f"not moved: {refusal}")
        return PAUSE
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return 0.0 if code == 0 else PAUSE
