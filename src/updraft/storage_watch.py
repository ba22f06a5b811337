# SPDX-License-Identifier: GPL-3.0-or-later
"""`./updraft storage --watch`: the other leg serves when the one that served is lost, where the site chose so."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from updraft import commands, storage
from updraft.site import Refusal, Site
from updraft.storage import Statuses

#: Seconds between two looks, and how many looks in a row have to find the same server lost.
INTERVAL, LOOKS = 5.0, 2
#: Seconds to the next attempt after a failover that was refused or failed.
PAUSE = 60.0


def lost(statuses: Statuses) -> str | None:
    """The server that served and is lost: it does not answer, and its leg has lost it, too."""
    silent = [name for name, status in statuses.items() if status is None]
    legs = [status for status in statuses.values() if status and status["role"] == "leg" and not status["connected"]]
    return silent[0] if len(silent) == 1 and legs else None


def watch(site: Site, typed: list[str], *, raw: bool, sleep: Callable[[float], None] = time.sleep) -> int:
    """Look, for ever, and move serving when it has to be moved. Raises Refusal."""
    storage.legs(site)
    if site.cloud["volumes"]["mirror"].get("failover") != "by_itself":
        raise Refusal(
            "this site moves its storage by hand (playbooks/storage_failover.yml). To have it moved write"
            " volumes.mirror.failover: by_itself in cloud.yml, and the `power` of both storage servers"
        )
    told, looks, candidate = "", 0, None
    while True:
        statuses = storage.ask(site, typed, raw=raw, quiet=True)
        words = "; ".join(storage.problems(statuses)) or "the mirror is whole"
        if words != told:
            print(f"{datetime.now(UTC).isoformat(timespec='seconds')} {words}", flush=True)
            told = words
        found = lost(statuses)
        looks = looks + 1 if found and found == candidate else int(found is not None)
        candidate = found
        if looks >= LOOKS:
            sleep(_move(site, typed, raw=raw))
            looks = 0
        sleep(INTERVAL)


def _move(site: Site, typed: list[str], *, raw: bool) -> float:
    """Have the survivor serve; the seconds to wait after it."""
    playbook = site.root / "playbooks" / "storage_failover.yml"
    return 0.0 if commands.run(site, playbook, [], typed, raw=raw) == 0 else PAUSE
