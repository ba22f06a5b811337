# SPDX-License-Identifier: GPL-3.0-or-later
"""The page for people: who waits, what every machine is doing, and what was refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError

from . import alarms
from .alarms import Refused
from .api_nodes import Use
from .api_operators import _refuse
from .operations import Entry
from .schemas import Approval
from .service import Service, peer
from .sessions import Login

router = APIRouter(include_in_schema=False)

#: Machines in service that are shown at once; a search finds the others.
SHOWN = 200
FORM = "application/x-www-form-urlencoded"

templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def version(value: Any) -> str:
    """A short mark of what is shown: the page replaces only what differs."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


templates.filters["version"] = version
templates.filters["speed"] = lambda mbit: f"{mbit / 1000:g} Gbit/s" if mbit >= 1000 else f"{mbit} Mbit/s"
templates.filters["gib"] = lambda mib: f"{mib / 1024:.0f} GiB" if mib >= 1024 else f"{mib} MiB"


def render(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A template as an answer."""
    return HTMLResponse(templates.get_template(name).render(**values), status)


@router.get("/")
async def index(
    request: Request,
    service: Use,
    q: Annotated[str, Query(max_length=100)] = "",
    done: Annotated[str, Query(max_length=63, pattern="^[a-z0-9-]*$")] = "",
) -> Response:
    """The page."""
    login = service.sessions.of(request)
    if login is None:
        return RedirectResponse("/login", 303)
    return await _page(service, login, q, notice=f"{done} is approved." if done else "")


@router.get("/parts")
async def parts(request: Request, service: Use, q: Annotated[str, Query(max_length=100)] = "") -> Response:
    """The part of the page that changes, for the script that asks for it again and again."""
    login = service.sessions.of(request)
    if login is None:
        raise Refused(401, "log in")
    return render("parts.html", csrf=login.csrf, **await _values(service, q))


@router.get("/login")
async def login_page(request: Request, service: Use) -> Response:
    """The form to log in."""
    if service.sessions.of(request) is not None:
        return RedirectResponse("/", 303)
    return render("login.html", error="")


@router.post("/login")
async def log_in(request: Request, service: Use) -> Response:
    """Log in. No session exists yet to carry a CSRF token, so the browser's word on the origin has to do."""
    address = peer(request)
    try:
        _same_origin(request)
        form = await _form(request)
        service.sessions.check_password("operator", form.get("password", ""), address)
    except Refused as refused:
        try:
            await service.write(address, _refuse, refused)
        except Refused:
            return render("login.html", refused.status, error=refused.message)
    response = RedirectResponse("/", 303)
    service.sessions.begin(response)
    return response


@router.post("/logout")
async def log_out(request: Request, service: Use) -> Response:
    """Log out."""
    await _checked(request, service)
    response = RedirectResponse("/login", 303)
    service.sessions.end(response)
    return response


@router.post("/approve")
async def approve(request: Request, service: Use) -> Response:
    """Approve a machine by the page's form."""
    login, form = await _checked(request, service)
    try:
        given = {name: form.get(name, "").strip() for name in ("code", "name", "pool")}
        await service.write(peer(request), service.operations.approve, Approval.model_validate(given))
    except ValidationError as error:
        fields = ", ".join(sorted({str(fault["loc"][0]) for fault in error.errors() if fault["loc"]}))
        return await _page(service, login, "", 422, error=f"{fields}: not as it should be (a name is like node2)")
    except Refused as refused:
        return await _page(service, login, "", refused.status, error=refused.message)
    return RedirectResponse("/?" + urlencode({"done": given["name"]}), 303)


@router.post("/acknowledge")
async def acknowledge(request: Request, service: Use) -> Response:
    """Take an alarm from the page."""
    login, form = await _checked(request, service)
    number = form.get("number", "")
    try:
        if not number.isdecimal() or len(number) > 9:
            raise Refused(422, "an alarm has a number")
        await service.write(peer(request), alarms.acknowledge, int(number))
    except Refused as refused:
        return await _page(service, login, "", refused.status, error=refused.message)
    return RedirectResponse("/", 303)


async def _checked(request: Request, service: Service) -> tuple[Login, dict[str, str]]:
    """The session and the form of a request that changes something. Raises Refused."""
    _same_origin(request)
    login = service.sessions.of(request)
    if login is None:
        raise Refused(401, "log in first")
    form = await _form(request)
    service.sessions.check_csrf(login, form.get("csrf", ""))
    return login, form


def _same_origin(request: Request) -> None:
    """Raises Refused for a form which the browser says is of another site."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "this form is of another site")


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises Refused for anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refused(415, f"a form is {FORM}")
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise Refused(400, "the form makes no sense") from None


async def _page(
    service: Service, login: Login, q: str, status: int = 200, *, error: str = "", notice: str = ""
) -> HTMLResponse:
    values = await _values(service, q)
    return render("index.html", status, csrf=login.csrf, error=error, notice=notice, **values)


async def _values(service: Service, q: str) -> dict[str, Any]:
    """What the page shows, sorted by what a person has to do."""
    data = await service.read(service.operations.hosts)
    hosts = [entry for entry in data["hosts"] if _found(entry, q)]
    groups: dict[str, list[Entry]] = {"waiting": [], "working": [], "away": [], "in_service": [], "retired": []}
    for entry in hosts:
        groups[_group(entry)].append(entry)
    groups["in_service"].sort(key=lambda entry: str(entry["name"]))
    return {
        "groups": groups,
        "counts": {name: len(entries) for name, entries in groups.items()},
        "alarms": data["alarms"],
        "pools": service.settings.pools,
        "shown": SHOWN,
        "q": q,
    }


def _found(entry: Entry, q: str) -> bool:
    words = q.casefold().split()
    text = " ".join(
        str(entry[key]) for key in ("name", "code", "pool", "address", "macs", "serial", "state")
    ).casefold()
    return all(word in text for word in words)


def _group(entry: Entry) -> str:
    state = str(entry["state"])
    return {"seen": "waiting", "approved": "working", "ready": "working"}.get(state, state)
