# SPDX-License-Identifier: GPL-3.0-or-later
"""What iPXE is answered, behind the web server of the provisioning network: which way to go on, and a token or none.

Anybody on that network can ask for any machine. So a token is made only for a machine that is trusted and has been
silent, asked for from its reserved address; and it is good for one use, for this machine, for some minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from . import states, tokens
from .api_nodes import Use
from .database import now_ms
from .models import Host, HostMac, Token
from .presence import Presence
from .schemas import canonical_serial, canonical_uuid
from .settings import Settings

router = APIRouter(prefix="/boot", tags=["boot"])

#: As firmware writes it: colons, or dashes in one mode of iPXE.
MAC_TYPED = r"^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"
#: Unused tokens of one machine: who asks again and again cannot push out the one that the machine got.
OPEN = 5
PAUSE = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """token: for a trusted machine, or empty. wait: it counts as awake, so it asks again."""

    token: str = ""
    wait: bool = False


@router.get("/ipxe", response_class=PlainTextResponse)
async def ipxe(
    request: Request,
    service: Use,
    mac: Annotated[str, Query(pattern=MAC_TYPED)],
    uuid: Annotated[str, Query(max_length=64)] = "",
    serial: Annotated[str, Query(max_length=256)] = "",
) -> PlainTextResponse:
    """The script for a machine."""
    plain = mac.lower().replace("-", ":")
    address = forwarded(request)
    answer = await service.write(address, answer_for, service.settings, service.presence, plain, uuid, serial, address)
    query = urlencode({"mac": plain, "uuid": uuid, "serial": serial}, quote_via=quote)
    return PlainTextResponse(script(service.settings, answer, plain, query), headers={"cache-control": "no-store"})


def forwarded(request: Request) -> str:
    """The address that asked the web server: the last one it was told, which is the one that it added itself."""
    return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()


def answer_for(
    session: Session, settings: Settings, presence: Presence, mac: str, uuid: str, serial: str, address: str
) -> Answer:
    """Find the machine, and make it a token where it may have one."""
    host = session.scalar(
        select(Host)
        .join(HostMac, HostMac.host_id == Host.id)
        .where(HostMac.mac == mac, Host.state.in_(states.TRUSTED))
        .limit(1)
    )
    if host is None or settings.returns != "token":
        return Answer()
    same = canonical_uuid(uuid) == canonical_uuid(host.uuid) and canonical_serial(serial) == canonical_serial(
        host.serial
    )
    if not same or (settings.strict_address and address != host.address):
        return Answer()
    if presence.silence(host.id, host.silent_from) <= settings.token_after:
        return Answer(wait=True)
    return Answer(token=_make(session, settings, host, mac))


def _make(session: Session, settings: Settings, host: Host, mac: str) -> str:
    text, now = tokens.new_token(), now_ms()
    unused = select(Token.token).where(Token.host_id == host.id, Token.used.is_(None))
    session.execute(delete(Token).where(Token.host_id == host.id, Token.used.is_(None), Token.expires < now))
    surplus = list(session.scalars(unused.order_by(Token.issued.desc()).offset(OPEN - 1).limit(100)))
    session.execute(delete(Token).where(Token.token.in_(surplus)))
    session.add(
        Token(
            token=tokens.digest(text),
            host_id=host.id,
            mac=mac,
            uuid=canonical_uuid(host.uuid),
            serial=canonical_serial(host.serial),
            issued=now,
            expires=now + settings.token_valid * 1000,
        )
    )
    return text


def script(settings: Settings, answer: Answer, mac: str, query: str) -> str:
    """The iPXE script."""
    lines = ["#!ipxe"]
    once_more = [f"sleep {PAUSE}", f"chain --replace {settings.boot_url}/boot/ipxe?{query}"]
    if answer.wait:
        said = "this machine was heard a moment ago; it gets its boot token once it is known to be down"
        return "\n".join([*lines, f"echo Updraft: {said}", *once_more]) + "\n"
    lines.append(f"set updraft-token {answer.token}".rstrip())
    # Cobbler knows whom cloud.yml or an approval names, and gives all others its default profile.
    lines += [f"chain {settings.cobbler_url}/mac/{mac} || goto again", "exit"]
    # One that is being restarted must not strand a machine.
    lines += [":again", "echo Updraft: no answer from Cobbler; asking again", *once_more]
    return "\n".join(lines) + "\n"
