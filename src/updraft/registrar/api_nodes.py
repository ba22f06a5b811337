# SPDX-License-Identifier: GPL-3.0-or-later
"""The API for machines: no login, and nothing to be had but one's own state."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from . import codes, registration, states, tokens
from .models import Host
from .schemas import NodeState, Registration, Waiting
from .service import Service, peer

router = APIRouter(prefix="/v1/nodes", tags=["machines"])


async def service_of(request: Request) -> Service:
    """The service that a request is for. (A coroutine: for a plain function FastAPI would take a thread.)"""
    service: Service = request.app.state.service
    return service


Use = Annotated[Service, Depends(service_of)]
Handle = Annotated[str, Path(pattern=tokens.TOKEN_PATTERN)]


@router.post("", status_code=201, responses={200: {"model": Waiting}, 403: {"description": "Refused; an alarm"}})
async def register(told: Registration, request: Request, response: Response, service: Use) -> Waiting:
    """Tell what you are. 201: never seen; 200: known. The handle in the answer yields your state, nothing else."""
    address = peer(request)
    done = await service.write(address, service.registrar.register, told, address)
    if not done.new:
        response.status_code = 200
    response.headers["location"] = f"/v1/nodes/{done.handle}"
    return Waiting(id=done.handle, state=done.state, code=codes.shown(done.code), wait=service.settings.wait)


@router.get("/{handle}", responses={404: {"description": "No such conversation: register again"}})
async def follow(
    handle: Handle,
    request: Request,
    service: Use,
    wait: Annotated[float, Query(ge=0, le=60)] = 0,
    known: Annotated[str | None, Query(pattern="^[a-z_]{1,16}$")] = None,
) -> NodeState:
    """How you stand. It is your sign of life, too. With `wait`, the answer comes when something changes, or after so
    many seconds; with `known`, the state that you know, at once when it is another already."""
    host = await _look(service, request, handle)
    if wait > 0 and known in (None, host.state):
        with service.notifier.waiting(host.id) as change:
            # It may have changed before it was waited for.
            seen, host = host.state, await _look(service, request, handle)
            if host.state == seen:
                await asyncio.wait({change}, timeout=min(wait, service.settings.wait))
                host = await _look(service, request, handle, heard=False) if change.done() else host
    return NodeState(state=host.state, name=host.name, message=states.MESSAGES[host.state])


async def _look(service: Service, request: Request, handle: str, *, heard: bool = True) -> Host:
    """The host of a conversation, which has just asked. Not `heard`: it is woken, and may be gone since it asked."""
    host = await service.read(registration.look, handle)
    if states.heard(host.state) != host.state:
        host = await service.write(peer(request), registration.awake, handle)
    if heard:
        service.presence.touch(host.id)
    return host
