# SPDX-License-Identifier: GPL-3.0-or-later
"""`./updraft storage`: the mirror of the volumes in words, and an exit code that says whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from updraft.commands import close, session_of
from updraft.records import new_record
from updraft.report import StageResult, read_json
from updraft.runner import Session, Stage, run_stage
from updraft.site import Refusal, Site

Status = Mapping[str, Any]
Statuses = Mapping[str, Status | None]
#: Exit code for a mirror that is not whole, or needs somebody.
NOT_WHOLE = 3
#: How full a thin pool may be in percent before it is told, and before it is a matter of hours.
FILLING, NEARLY_FULL = 80.0, 95.0
#: LVM's word for a pool without room.
FULL = "out_of_data"
RECORD = "storage.json"
DRILL = "drill.json"


def legs(site: Site) -> list[str]:
    """The storage servers of a mirrored site. Raises Refusal."""
    mirror = (site.cloud.get("volumes") or {}).get("mirror")
    if not isinstance(mirror, dict):
        raise Refusal(
            f"site '{site.name}' has no mirror: write volumes: {{mirror: {{legs: [storage1, storage2], address: ...}}}}"
            " in its cloud.yml"
        )
    return list(mirror["legs"])


def ask(site: Site, typed: list[str], *, raw: bool, quiet: bool = False) -> Statuses:
    """What both servers say now; None for one that does not answer. Raises Refusal when neither could be asked.

    quiet: one of many looks, which is neither shown nor kept. Raises KeyboardInterrupt when the person wanted to end.
    """
    with site.lock():
        record = new_record(site.state / "artifacts", typed, None, [])
        with session_of(site, record, raw=raw, quiet=quiet) as session:
            result, found = asked(session)
            interrupted = session.interrupted
        if quiet and (found is not None or interrupted):
            record.forget()
        if interrupted:
            raise KeyboardInterrupt
        if found is None:
            close(site, record, [result])
            raise Refusal("the storage servers could not be asked")
        if not quiet:
            record.status = "ok"
            record.save()
    return found


def asked(session: Session) -> tuple[StageResult, Statuses | None]:
    """The same within a command that has the site already; None when neither could be asked."""
    site = session.site
    names, record_file = legs(site), site.state / RECORD
    record_file.unlink(missing_ok=True)
    words = json.dumps({"storage_record": str(record_file)})
    playbook = site.root / "playbooks" / "storage_status.yml"
    result = run_stage(session, Stage("storage", playbook, ("--extra-vars", words), hosts=" and ".join(names)))
    if result.status != "ok" and not record_file.exists():
        return result, None
    return result, read_json(record_file) or dict.fromkeys(names)


def show(site: Site, typed: list[str], *, as_json: bool, raw: bool) -> int:
    """Print how the mirror is: 0 whole, 3 not."""
    statuses = ask(site, typed, raw=raw)
    drill = read_json(site.state / DRILL)
    troubles = problems(statuses)
    if as_json:
        print(json.dumps({"servers": statuses, "problems": troubles, "drill": drill}, indent=2))
    else:
        print("\n".join(["", *told(statuses, drill, datetime.now(UTC)), "", *_ending(troubles)]))
    return NOT_WHOLE if troubles else 0


def _ending(troubles: Sequence[str]) -> list[str]:
    return [f"problem: {text}" for text in troubles] or ["the mirror is whole"]


def problems(statuses: Statuses) -> list[str]:
    """What somebody has to see to, and what to do."""
    found = [f"{name} does not answer" for name, status in statuses.items() if status is None]
    serving = {name: status for name, status in statuses.items() if status and status["role"] == "serving"}
    up = [name for name, status in serving.items() if status["up"]]
    if not up:
        found.append("nobody serves the volumes: playbooks/storage_failover.yml has the survivor serve")
    if len(serving) > 1:
        newest = max(serving, key=lambda name: serving[name]["generation"])
        old = [name for name in serving if name != newest]
        found.append(f"{old[0]} returned, and is not a leg of {newest} yet: playbooks/storage_heal.yml")
    for name in up:
        status = serving[name]
        found += [f"{name}: {array['words']}" for array in status["arrays"] if not array["whole"]]
        found += [f"{name}: {text}" for text in _pool_problems(status.get("pool"))]
        found += [f"{name} lacks the address {one}" for one, there in status["addresses"].items() if not there]
    return found


def _pool_problems(pool: Status | None) -> list[str]:
    if pool is None:
        return []
    texts = []
    if pool.get("health") not in ("", None, FULL):
        texts.append(f"the thin pool is {pool['health']}: journalctl -k on it says why")
    if pool.get("fails_after"):
        texts.append(
            f"writes to the thin pool fail {pool['fails_after']} s after it is full, and should wait:"
            " ./updraft run INVENTORY storage"
        )
    if pool.get("waits") is False:
        texts.append("writes to the thin pool fail when it is full: lvchange --errorwhenfull n GROUP/POOL")
    for kind in ("data", "metadata"):
        share = pool[f"{kind}_percent"]
        if kind == "data" and (share >= 100 or pool.get("health") == FULL):
            texts.append(
                "the thin pool is full: writes wait until there is room. Remove volumes or snapshots, or add disks, now"
            )
        elif share >= NEARLY_FULL:
            texts.append(
                f"the {kind} of the thin pool is {share:.0f}% full: writes stop when it is full. Add disks now"
            )
        elif share >= FILLING:
            texts.append(f"the {kind} of the thin pool is {share:.0f}% full: add disks")
    return texts


def told(statuses: Statuses, drill: Status | None, now: datetime) -> list[str]:
    """The mirror in lines for people."""
    lines = []
    for name, status in statuses.items():
        lines.append(f"{name:12} {status['words'] if status else 'does not answer'}")
        if status and status["up"]:
            lines += [f"{'':12} {line}" for line in _serving(status)]
    lines.append(_drilled(drill, now))
    return lines


def _serving(status: Status) -> list[str]:
    lines = [_progress(array) for array in status["arrays"] if array["total"]]
    sessions = status.get("sessions") or {}
    if sessions:
        counted = ", ".join(f"{who} ({count})" for who, count in sorted(sessions.items()))
        lines.append(f"volumes in use by: {counted}")
    pool = status.get("pool")
    if pool:
        size = pool["size_bytes"] / (1 << 30)
        lines.append(
            f"thin pool: {pool['data_percent']:.1f}% of {size:.1f} GiB in use,"
            f" {pool['metadata_percent']:.1f}% of its metadata"
            + (f"; it can grow by {pool['free_bytes'] / (1 << 30):.1f} GiB" if "free_bytes" in pool else "")
        )
    lines.append("addresses: " + ", ".join(status["addresses"]))
    return lines


def _progress(array: Status) -> str:
    share = 100 * array["done"] / array["total"]
    done = "compared" if array["action"] == "check" else "copied"
    return f"{array['name']}: {share:.0f}% {done}, {array['done'] // 2048} of {array['total'] // 2048} MiB"


def _drilled(drill: Status | None, now: datetime) -> str:
    if drill is None:
        return "last drill   none yet: ./updraft drill storage INVENTORY"
    ended = datetime.fromisoformat(drill["ended"])
    pause = f"longest pause {drill['longest_pause']:.1f} s" if drill.get("load", True) else "pauses not measured"
    return f"last drill   {ended:%Y-%m-%d %H:%M}, {(now - ended).days} days ago: {drill['result']}, {pause}"
