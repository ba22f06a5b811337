# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator may do: see the machines, approve one, say how it stands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from . import alarms, codes, states
from .alarms import Refused
from .database import changed, now_ms
from .models import Alarm, Conversation, Host, HostMac, Token
from .presence import Presence
from .registration import replace_macs
from .schemas import Approval, Progress
from .settings import Settings

Entry = dict[str, Any]


@dataclass(slots=True)
class Operations:
    """The rules for operators, with what they depend on."""

    settings: Settings
    presence: Presence

    def hosts(self, session: Session, state: str | None = None) -> Entry:
        """Every machine (in this state), and the alarms. Fast: 5,000 machines in a fraction of a second."""
        listed = alarms.listed(session)
        kinds: dict[int, list[str]] = {}
        for alarm, _ in listed:
            if alarm.host_id is not None:
                kinds.setdefault(alarm.host_id, []).append(alarm.kind)
        now = now_ms()
        rows = session.execute(select(*Host.__table__.columns).order_by(Host.id)).all()
        names = {row.id: row.name for row in rows}
        entries = (self._entry(row, now, kinds, names) for row in rows)
        return {
            "hosts": [entry for entry in entries if state in (None, entry["state"])],
            "alarms": [_alarm(alarm, name) for alarm, name in listed],
        }

    def one(self, session: Session, name: str) -> Entry:
        """One machine, by name. Raises Refused."""
        host = self._named(session, name)
        return self._entry(host, now_ms(), {}, {})

    def _entry(self, row: Any, now: int, kinds: dict[int, list[str]], names: dict[int, str | None]) -> Entry:
        silence = self.presence.silence(row.id, row.silent_from, now)
        return {
            "id": row.id,
            "code": codes.shown(row.code),
            "name": row.name,
            "pool": row.pool,
            "roles": json.loads(row.roles),
            "state": states.effective(row.state, silence, self.settings.away_after),
            "kept_state": row.state,
            "returns_as": names.get(row.returns_as) if row.returns_as else None,
            "address": row.address,
            "mac": row.mac,
            "macs": json.loads(row.macs),
            "serial": row.serial,
            "uuid": row.uuid,
            "machine_id": row.machine_id,
            "host_key": row.host_key,
            "hardware": json.loads(row.hardware),
            "image": row.image,
            "firmware": row.firmware,
            "first_seen": iso(row.first_seen),
            "last_seen": iso(self.presence.last(row.id, row.last_seen)),
            "alarms": kinds.get(row.id, []),
            "progress": json.loads(row.progress) if row.progress else None,
        }

    def approve(self, session: Session, wanted: Approval) -> str:
        """Trust the machine with this code from now on. The same again changes nothing. Returns its name."""
        code = self._code(wanted.code)
        if wanted.pool not in self.settings.pools:
            raise Refused(422, f"there is no pool {wanted.pool}: there are {', '.join(self.settings.pools)}")
        roles = wanted.roles or list(self.settings.roles)
        if unknown := set(roles) - set(self.settings.known_roles) - set(self.settings.roles):
            raise Refused(422, f"no machine that registers may be {', '.join(sorted(unknown))}")
        host = self._coded(session, code, wanted.name)
        if host.state not in states.TRUSTED:
            host = self._accept(session, host, wanted.name)
        if (host.pool, json.loads(host.roles)) != (wanted.pool, roles):
            host.pool, host.roles = wanted.pool, json.dumps(roles)
        changed(session, host.id)
        return wanted.name

    def _code(self, text: str) -> str:
        try:
            return codes.typed(text)
        except codes.CodeError as error:
            raise Refused(422, str(error)) from error

    def _coded(self, session: Session, code: str, name: str) -> Host:
        """The one machine with this code. Raises Refused."""
        found = list(session.scalars(select(Host).where(Host.code == code)))
        trusted = [host for host in found if host.state in states.TRUSTED]
        waiting = [host for host in found if host.state == states.SEEN] or [h for h in found if h not in trusted]
        if trusted:
            if trusted[0].name != name:
                raise Refused(409, f"this code is {trusted[0].name} already")
            return trusted[0]
        if not waiting:
            raise Refused(404, f"no machine waits with the code {codes.shown(code)}")
        if len(waiting) > 1:
            raise Refused(409, f"{len(waiting)} machines have this code: they were made from one copy. Approve neither")
        return waiting[0]

    def _accept(self, session: Session, host: Host, name: str) -> Host:
        """Give a waiting machine its name; or, where it is a known one come back, that one its new key."""
        returns = session.get(Host, host.returns_as) if host.returns_as else None
        if returns is not None and returns.state in states.TRUSTED:
            return self._come_back(session, returns, host, name)
        self._free(session, host, name)
        host.state, host.name, host.taken, host.progress, host.returns_as = states.APPROVED, name, name, None, None
        return host

    def _free(self, session: Session, host: Host, name: str) -> None:
        """That neither the name nor a MAC, key or address is another machine's. Raises Refused."""
        if session.scalar(select(Host.id).where(Host.taken == name)) is not None:
            raise Refused(409, f"the name {name} is taken by another machine; retire that one first")
        if name in self.settings.reserved_names:
            raise Refused(409, f"the name {name} is another node's in cloud.yml")
        shares = select(HostMac.host_id).where(HostMac.mac.in_(json.loads(host.macs)))
        like = Host.id.in_(shares) | (Host.host_key == host.host_key) | (Host.address == host.address)
        other = session.scalar(select(Host).where(Host.state.in_(states.TRUSTED), Host.id != host.id, like).limit(1))
        if other is not None:
            raise Refused(409, f"it has a MAC, the host key or the address of {other.name}; retire that one first")

    def _come_back(self, session: Session, host: Host, row: Host, name: str) -> Host:
        """A known machine, approved by its code again: its new key is pinned, and the row that waited is gone."""
        if host.name != name:
            raise Refused(409, f"this machine is {host.name}: approve it by that name, or retire {host.name} first")
        if self.presence.silence(host.id, host.silent_from) <= self.settings.away_after:
            raise Refused(409, f"{host.name} is awake: two machines say they are it")
        macs = json.loads(row.macs)
        for field in ("code", "host_key", "address", "mac", "macs", "serial", "uuid", "machine_id", "firmware"):
            setattr(host, field, getattr(row, field))
        host.image, host.hardware, claim, row_id = row.image, row.hardware, row.claim, row.id
        host.last_seen = host.silent_from = self.presence.last(row.id, row.silent_from)
        host.state, host.progress = states.APPROVED, None
        session.execute(delete(Conversation).where(Conversation.host_id == host.id))
        for talk in session.scalars(select(Conversation).where(Conversation.host_id == row.id)):
            talk.host_id = host.id
        session.execute(delete(Token).where(Token.host_id == host.id))
        session.flush()
        session.execute(delete(Host).where(Host.id == row_id))
        session.expunge(row)
        host.claim = claim
        replace_macs(session, host, macs)
        changed(session, row_id)
        return host

    def set_state(self, session: Session, name: str, wanted: str) -> str:
        """Say how a machine stands. Returns its name. Raises Refused where the states do not allow it."""
        host = self._named(session, name)
        if wanted == states.APPROVED and host.state in states.TRUSTED:
            return name
        if not states.may(host.state, wanted):
            raise Refused(409, f"{name} is {host.state} and cannot become {wanted}")
        if wanted == states.AWAY:
            host.silent_from = 0
            self.presence.drop(host.id)
        elif wanted != host.state:
            host.state = wanted
            if wanted == states.RETIRED:
                host.taken, host.progress = None, None
                session.execute(delete(Token).where(Token.host_id == host.id))
        changed(session, host.id)
        return name

    def set_progress(self, session: Session, name: str, progress: Progress) -> str:
        """How far its rollout is. Raises Refused."""
        host = self._named(session, name)
        if host.state not in states.TRUSTED:
            raise Refused(409, f"{name} is {host.state}: nothing is rolled out on it")
        host.progress = json.dumps({**progress.model_dump(), "updated": iso(now_ms())})
        return name

    def _named(self, session: Session, name: str) -> Host:
        """The host of this name; if nobody has it, the last one that had. Raises Refused."""
        host = session.scalar(select(Host).where(Host.taken == name))
        if host is None:
            host = session.scalar(select(Host).where(Host.name == name).order_by(Host.id.desc()).limit(1))
        if host is None:
            raise Refused(404, f"no machine has the name {name}")
        return host


def purge(session: Session, settings: Settings, presence: Presence) -> int:
    """Forget machines that waited and went: those that came again with another key, and those silent for long."""
    now, gone = now_ms(), []
    for host in session.scalars(select(Host).where(Host.state == states.SEEN)):
        silence = presence.silence(host.id, host.silent_from, now)
        if silence > settings.seen_keep or (silence > settings.away_after and _came_again(session, host)):
            gone.append(host.id)
    for start in range(0, len(gone), 500):
        session.execute(delete(Host).where(Host.id.in_(gone[start : start + 500])))
    for host_id in gone:
        changed(session, host_id)
    old = now - 7 * 86400 * 1000
    session.execute(delete(Token).where(Token.expires < old, Token.used.is_(None)))
    session.execute(delete(Alarm).where(Alarm.acknowledged < old))
    return len(gone)


def _came_again(session: Session, host: Host) -> bool:
    shares = select(HostMac.host_id).where(HostMac.mac.in_(json.loads(host.macs)))
    later = select(Host.id).where(Host.id.in_(shares), Host.id != host.id, Host.last_seen > host.last_seen)
    return session.scalar(later.limit(1)) is not None


def iso(at: int) -> str:
    """Milliseconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _alarm(alarm: Alarm, name: str | None) -> Entry:
    return {
        "id": alarm.id,
        "kind": alarm.kind,
        "subject": alarm.subject,
        "address": alarm.address,
        "host": name,
        "message": alarm.message,
        "count": alarm.count,
        "first": iso(alarm.first),
        "last": iso(alarm.last),
    }
