# SPDX-License-Identifier: GPL-3.0-or-later
"""The API for operators and their programs."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from . import alarms
from .alarms import Refused
from .api_nodes import Use
from .schemas import NAME, Approval, HostOut, Hosts, Progress, Wanted
from .service import peer


async def operator(request: Request, service: Use) -> str:
    """The address of an operator. Raises Refused for everybody else."""
    address = peer(request)
    try:
        service.sessions.operator(request, request.method, address)
    except Refused as refused:
        if refused.kind is not None:
            await service.write(address, _refuse, refused)
        raise
    return address


def _refuse(_session: Any, refused: Refused) -> None:
    raise refused


Operator = Annotated[str, Depends(operator)]
Named = Annotated[str, Path(pattern=NAME, max_length=63)]
State = Literal["seen", "approved", "ready", "in_service", "away", "retired"]

router = APIRouter(
    prefix="/v1",
    tags=["operators"],
    responses={401: {"description": "Not logged in"}, 429: {"description": "Too often"}},
)


@router.get("/hosts", response_model=Hosts)
async def hosts(_: Operator, service: Use, state: Annotated[State | None, Query()] = None) -> Response:
    """All machines, and what was refused."""
    # Not through the model, and written in the thread: thousands of machines, and all of it was checked when it came.
    text = await service.read(lambda session: json.dumps(service.operations.hosts(session, state)))
    return Response(text, media_type="application/json")


@router.get("/hosts/{name}", response_model=HostOut)
async def host(_: Operator, name: Named, service: Use) -> JSONResponse:
    """One machine."""
    return JSONResponse(await service.read(service.operations.one, name))


@router.post("/hosts/approve", response_model=HostOut, responses={404: {}, 409: {}})
async def approve(address: Operator, wanted: Approval, service: Use) -> JSONResponse:
    """Trust the machine with this code from now on: its host key is pinned. The same again changes nothing."""
    name = await service.write(address, service.operations.approve, wanted)
    return JSONResponse(await service.read(service.operations.one, name))


@router.post("/hosts/{name}/state", response_model=HostOut, responses={404: {}, 409: {}})
async def state(address: Operator, name: Named, wanted: Wanted, service: Use) -> JSONResponse:
    """Say how a machine stands. `away`: it was switched off on purpose, and its return need not wait for silence."""
    name = await service.write(address, service.operations.set_state, name, wanted.state)
    return JSONResponse(await service.read(service.operations.one, name))


@router.put("/hosts/{name}/progress", response_model=HostOut, responses={404: {}, 409: {}})
async def progress(address: Operator, name: Named, progress: Progress, service: Use) -> JSONResponse:
    """How far a machine's rollout is."""
    await service.write(address, service.operations.set_progress, name, progress)
    return JSONResponse(await service.read(service.operations.one, name))


@router.post("/alarms/{number}/acknowledge", responses={404: {}})
async def acknowledge(
    address: Operator, number: Annotated[int, Path(ge=1, le=2**31 - 1)], service: Use
) -> JSONResponse:
    """Take an alarm from the page."""
    await service.write(address, alarms.acknowledge, number)
    return JSONResponse({"id": number})
