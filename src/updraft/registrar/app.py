# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the service together: one application for machines and operators, one for iPXE."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Scope

from . import api_nodes, api_operators, boot, pages
from .alarms import Refused
from .limits import Limits
from .service import Service
from .settings import Settings

log = logging.getLogger("updraft.registrar")

HERE = Path(__file__).parent
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}


def make_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """The application on the TLS port. It starts and stops the service."""
    service = service or Service(settings)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="Updraft registrar",
        version="1",
        description="Machines register, operators approve them. See docs/registration.md.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # both would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=life,
    )
    app.state.service = service
    app.include_router(api_nodes.router)
    app.include_router(api_operators.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    _errors(app)

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if not request.url.path.startswith("/static/"):
            response.headers.setdefault("cache-control", "no-store")
        return response

    def rate(scope: Scope) -> tuple[str, float]:
        if not scope["path"].startswith("/v1/nodes"):
            return "operator", settings.rate_operator
        return ("register", settings.rate_register) if scope["method"] == "POST" else ("poll", settings.rate_poll)

    _limit(app, settings, service, rate, _client)
    return app


def make_boot_app(settings: Settings, service: Service) -> FastAPI:
    """The application on the plain port behind the web server, for iPXE. The other one starts the service."""
    app = FastAPI(title="Updraft boot scripts", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service = service
    app.include_router(boot.router)
    _errors(app)

    def asking(scope: Scope) -> str:
        return boot.forwarded(Request(scope)) or _client(scope)

    _limit(app, settings, service, lambda scope: ("boot", settings.rate_boot), asking)
    return app


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]).removeprefix("::ffff:") if client else ""


def _limit(
    app: FastAPI,
    settings: Settings,
    service: Service,
    rate: Callable[[Scope], tuple[str, float]],
    address: Callable[[Scope], str],
) -> None:
    """Limits come first: what is added last is outermost."""
    app.add_middleware(
        Limits,
        buckets=service.buckets,
        rate=rate,
        address=address,
        body_limit=settings.body_limit,
        body_time=settings.body_time,
    )


def _errors(app: FastAPI) -> None:
    """Every refusal has a status, and one sentence in `detail`."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        headers = {"www-authenticate": 'Basic realm="updraft"'} if _asks_basic(request, error.status) else {}
        return JSONResponse({"detail": error.message}, error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        # Where and what, but not the input: it may be long, and it may not be JSON at all.
        faults = [{"at": ".".join(map(str, fault["loc"])), "problem": fault["msg"]} for fault in error.errors()[:20]]
        return JSONResponse({"detail": "the request is not as it should be", "faults": faults}, 422)

    @app.exception_handler(SQLAlchemyError)
    async def database(_request: Request, error: SQLAlchemyError) -> Response:
        log.error("the database: %s", str(error).splitlines()[0])
        return PlainTextResponse("the database does not answer\n", 503, {"retry-after": "5"})


def _asks_basic(request: Request, status: int) -> bool:
    """Programs are told how to log in; a browser that is told would ask by a window of its own."""
    return status == 401 and request.url.path.startswith("/v1/")
