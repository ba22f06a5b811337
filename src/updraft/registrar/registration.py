# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine may do: register, and ask how it stands.

Registering yields a handle by which to ask for the state, and nothing else. Who claims to be a trusted machine has to
show the pinned host key from the reserved address, or a token made for this boot. All else is refused and an alarm.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from . import codes, states, tokens
from .alarms import Refused
from .database import changed, now_ms
from .models import Conversation, Host, HostMac, Token
from .presence import Presence
from .schemas import Registration, canonical_serial, canonical_uuid
from .settings import Settings

#: Conversations of one machine that are kept: one is in use, the others are answers that were lost.
HANDLES = 4


@dataclass(frozen=True, slots=True)
class Registered:
    """The outcome of a registration."""

    handle: str
    host_id: int
    state: str
    code: str
    new: bool


@dataclass(slots=True)
class Registrar:
    """The rules for machines, with what they depend on."""

    settings: Settings
    presence: Presence

    def register(self, session: Session, told: Registration, address: str) -> Registered:
        """Take in a machine. Raises Refused; then nothing has changed."""
        trusted = self._claimed(session, told)
        if trusted is None:
            self._no_token(told)
            host, new = self._wait(session, told, address, None)
        else:
            host, new = self._returned(session, trusted, told, address)
        if host.state in states.TRUSTED:
            host.state = states.heard(host.state)
        self.presence.touch(host.id)
        changed(session, host.id)
        return Registered(self._handle(session, host), host.id, host.state, host.code, new)

    def _claimed(self, session: Session, told: Registration) -> Host | None:
        """The trusted host that this machine says it is. Raises Refused when it is like one, but not the same."""
        shares = select(HostMac.host_id).where(HostMac.mac.in_(told.macs))
        like = (Host.id.in_(shares)) | (Host.host_key == told.host_key)
        found = list(session.scalars(select(Host).where(Host.state.in_(states.TRUSTED), like)))
        if not found:
            return None
        for host in found:
            if len(found) > 1 or not same_machine(host, told):
                raise Refused(
                    403,
                    f"this machine has a MAC or the host key of {host.name}, and is not the machine that was approved",
                    kind="clone",
                    subject=str(host.name),
                    host_id=host.id,
                )
        return found[0]

    def _returned(self, session: Session, host: Host, told: Registration, address: str) -> tuple[Host, bool]:
        """A machine that says it is a trusted one."""
        if self.settings.strict_address and address != host.address:
            raise _refused(host, "address", f"{host.name} has the address {host.address}, and this is {address}")
        if told.host_key == host.host_key:
            if told.boot_token:
                self._repeated(session, host, told.boot_token)
            return host, False
        if told.boot_token:
            self._redeem(session, host, told)
            return host, False
        if self.presence.silence(host.id, host.silent_from) <= self.settings.away_after:
            raise _refused(
                host, "double", f"another host key, and no token, while {host.name} is awake: a clone, or a quick reset"
            )
        return self._wait(session, told, address, host)

    def _no_token(self, told: Registration) -> None:
        """A machine that nobody trusts can have no token."""
        if told.boot_token:
            raise Refused(403, "the boot token is not one of ours", kind="token-forged", subject=told.boot_mac)

    def _token(self, session: Session, host: Host, text: str) -> Token:
        """The token, if it is this host's. Raises Refused."""
        token = session.get(Token, tokens.digest(text))
        if token is None:
            raise _refused(
                host, "token-forged", f"a boot token that was never made, by one that says it is {host.name}"
            )
        if token.host_id != host.id:
            raise _refused(host, "token-foreign", f"a boot token of another host, by one that says it is {host.name}")
        return token

    def _repeated(self, session: Session, host: Host, text: str) -> None:
        """The pinned key, and a token: the one that pinned it, told again because an answer was lost.

        An unused one is spent: a machine with a disk boots with its old key. Raises Refused."""
        token = self._token(session, host, text)
        if token.used is None:
            self._check(host, token)
            self._spend(session, host, token, host.host_key)
        elif token.used_key != host.host_key:
            raise _refused(host, "token-replayed", f"a boot token of {host.name} was used a second time")

    def _redeem(self, session: Session, host: Host, told: Registration) -> None:
        """Pin a new host key by a token. Raises Refused."""
        token = self._token(session, host, told.boot_token or "")
        if token.used is not None:
            raise _refused(host, "token-replayed", f"a boot token of {host.name} was used a second time")
        self._check(host, token)
        mine = (canonical_uuid(told.uuid), canonical_serial(told.serial))
        if token.mac not in told.macs or (token.uuid, token.serial) != mine:
            raise _refused(host, "token-foreign", f"the boot token was made for another machine than {host.name}")
        if self.settings.returns != "token":
            raise _refused(host, "token-forged", "this site takes no boot tokens: a code has to be approved")
        self._spend(session, host, token, told.host_key)
        take_over(session, host, told)

    def _check(self, host: Host, token: Token) -> None:
        """A token's time, and that nobody has answered for the host since it was made. Raises Refused."""
        if token.expires < now_ms():
            raise _refused(host, "token-expired", f"a boot token of {host.name} came too late")
        if self.presence.last(host.id, host.silent_from) > token.issued:
            raise _refused(host, "double", f"{host.name} was heard after this boot token was made: two say they are it")

    def _spend(self, session: Session, host: Host, token: Token, key: str) -> None:
        """Use a token up, and with it all others of the host. The machine has booted: it has to be converged."""
        token.used, token.used_key = now_ms(), key
        session.execute(delete(Token).where(Token.host_id == host.id, Token.used.is_(None), Token.token != token.token))
        host.state, host.progress = states.READY, None

    def _wait(self, session: Session, told: Registration, address: str, returns: Host | None) -> tuple[Host, bool]:
        """A machine that waits for its code to be approved: its row, and whether it is new."""
        claim = claim_of(told)
        host = session.scalar(select(Host).where(Host.claim == claim))
        now, new = now_ms(), host is None
        if host is None:
            waiting = select(func.count()).select_from(Host).where(Host.state == states.SEEN)
            if (session.scalar(waiting) or 0) >= self.settings.seen_limit:
                raise Refused(429, "too many machines wait", kind="flood", subject="waiting machines")
            host = Host(claim=claim, state=states.SEEN, first_seen=now, last_seen=now, silent_from=now, address=address)
            describe(host, told)
            session.add(host)
            session.flush()
        elif host.state == states.SEEN:
            host.address = address
            describe(host, told)
        replace_macs(session, host, told.macs)
        host.returns_as = returns.id if returns else None
        if returns is None and host.state == states.SEEN:
            self._declared(session, host, told)
        return host, new

    def _declared(self, session: Session, host: Host, told: Registration) -> None:
        """Approve a machine that cloud.yml declares, where the site wants that."""
        if self.settings.approve != "declared":
            return
        for entry in self.settings.declared:
            serial = canonical_serial(str(entry["serial"]))
            if not serial or str(entry["mac"]).lower() not in told.macs or serial != canonical_serial(told.serial):
                continue
            # Neither over a machine that has the name or the address, nor against an operator who retired this one.
            before = (Host.taken == str(entry["name"])) | (
                (Host.name == str(entry["name"])) & (Host.state == states.RETIRED)
            )
            there = Host.state.in_(states.TRUSTED) & (Host.address == host.address)
            if session.scalar(select(Host.id).where(before | there).limit(1)) is None:
                host.state, host.name, host.taken = states.APPROVED, str(entry["name"]), str(entry["name"])
                host.pool = str(entry.get("pool") or self.settings.pools[0])
                host.roles = json.dumps(list(entry.get("roles") or self.settings.roles))
            return

    def _handle(self, session: Session, host: Host) -> str:
        """A new handle; the oldest of a host are forgotten."""
        handle = tokens.new_token()
        old = select(Conversation.handle).where(Conversation.host_id == host.id)
        surplus = list(session.scalars(old.order_by(Conversation.created.desc()).offset(HANDLES - 1).limit(1000)))
        if surplus:
            session.execute(delete(Conversation).where(Conversation.handle.in_(surplus)))
        session.add(Conversation(handle=tokens.digest(handle), host_id=host.id, created=now_ms()))
        return handle


def look(session: Session, handle: str) -> Host:
    """The host of a conversation. Raises Refused."""
    host = session.scalar(
        select(Host)
        .join(Conversation, Conversation.host_id == Host.id)
        .where(Conversation.handle == tokens.digest(handle))
    )
    if host is None:
        raise Refused(404, "there is no such conversation: register again")
    return host


def awake(session: Session, handle: str) -> Host:
    """An approved host gives its first sign of life: it is ready. Raises Refused."""
    host = look(session, handle)
    state = states.heard(host.state)
    if state != host.state:
        host.state = state
        changed(session, host.id)
    return host


def same_machine(host: Host, told: Registration) -> bool:
    """Whether a machine has the identity of a host: it boots by one of its MACs, with its uuid and serial."""
    return (
        told.boot_mac in json.loads(host.macs)
        and canonical_uuid(told.uuid) == canonical_uuid(host.uuid)
        and canonical_serial(told.serial) == canonical_serial(host.serial)
    )


def claim_of(told: Registration) -> str:
    """What makes two registrations the same row."""
    parts = (told.boot_mac, canonical_uuid(told.uuid), canonical_serial(told.serial), told.host_key)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def describe(host: Host, told: Registration) -> None:
    """Copy what a machine tells of itself."""
    host.code, host.host_key = codes.code_of(told.host_key), told.host_key
    host.mac, host.macs = told.boot_mac, json.dumps(told.macs)
    host.serial, host.uuid, host.machine_id = told.serial, told.uuid, told.machine_id
    host.firmware, host.image, host.hardware = told.firmware, told.image, told.hardware.model_dump_json()


def take_over(session: Session, host: Host, told: Registration) -> None:
    """A trusted host has a new host key: pin it. Conversations under the old one end."""
    session.execute(delete(Conversation).where(Conversation.host_id == host.id))
    stale = select(Host.id).where(Host.claim == claim_of(told), Host.id != host.id)
    session.execute(delete(Host).where(Host.id.in_(list(session.scalars(stale)))))
    host.claim = claim_of(told)
    describe(host, told)
    replace_macs(session, host, told.macs)


def replace_macs(session: Session, host: Host, macs: list[str]) -> None:
    """The MACs by which a host is found."""
    known = set(session.scalars(select(HostMac.mac).where(HostMac.host_id == host.id)))
    if gone := known - set(macs):
        session.execute(delete(HostMac).where(HostMac.host_id == host.id, HostMac.mac.in_(gone)))
    session.add_all(HostMac(host_id=host.id, mac=mac) for mac in macs if mac not in known)


def _refused(host: Host, kind: str, message: str) -> Refused:
    return Refused(403, message, kind=kind, subject=str(host.name), host_id=host.id)
