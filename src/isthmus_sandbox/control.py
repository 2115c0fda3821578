"""The control API under `/_sandbox/`: clock, faults, limits, switches, journal, reset. No vendor has such a route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, get_args

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus_sandbox.control_input import BadControlRequest, explain_bad_request, number, read_settings, refuse_unknown
from isthmus_sandbox.control_page import render_index
from isthmus_sandbox.entra.control import create_entra_control
from isthmus_sandbox.estate import Estate, UnknownWorld
from isthmus_sandbox.faults import BadRule, FaultRule
from isthmus_sandbox.throttle import Limits, RetryAfter

CONTROL_PREFIX = "/_sandbox"
BUSINESS_CENTRAL_PREFIX = "/_sandbox/business-central"
JOURNAL_LIMIT_MAX = 20_000
CLOCK_JUMP_MAX_S = 10 * 366 * 86_400


def create_control_app(estate: Estate, addresses: Mapping[str, Any]) -> ASGIApp:
    """The ASGI application that every port serves under the prefix; the product's own routes are a part of it."""
    general = _create_general_app(estate, addresses)

    async def control(scope: Scope, receive: Receive, send: Send) -> None:
        await estate.faults.commit_due()
        product = scope["path"].startswith(BUSINESS_CENTRAL_PREFIX)
        await (estate.business_central_control if product else general)(scope, receive, send)

    return control


def _create_general_app(estate: Estate, addresses: Mapping[str, Any]) -> Starlette:
    routes = [*general_routes(estate, addresses), Mount("/entra", routes=create_entra_control(lambda: estate.entra))]
    index = _General(estate, addresses).index
    return Starlette(
        routes=[Route(CONTROL_PREFIX, index), Mount(CONTROL_PREFIX, routes=routes)],
        exception_handlers={BadControlRequest: explain_bad_request, HTTPException: _explain_http},
    )


def general_routes(estate: Estate, addresses: Mapping[str, Any]) -> list[BaseRoute]:
    """The routes of the sandbox itself, below the prefix."""
    general, traffic = _General(estate, addresses), _Traffic(estate)
    return [
        Route("/", general.index),
        Route("/state", general.state),
        Route("/addresses", general.addresses),
        Route("/clock", general.clock),
        Route("/clock/advance", general.advance_clock, methods=["POST"]),
        Route("/reset", general.reset, methods=["POST"]),
        Route("/flush", general.flush, methods=["POST"]),
        Route("/faults", traffic.list_faults, methods=["GET"]),
        Route("/faults", traffic.add_fault, methods=["POST"]),
        Route("/faults", traffic.clear_faults, methods=["DELETE"]),
        Route("/faults/{number:int}", traffic.clear_faults, methods=["DELETE"]),
        Route("/limits", traffic.read_limits, methods=["GET"]),
        Route("/limits", traffic.set_limits, methods=["POST"]),
        Route("/limits/counters", traffic.clear_counters, methods=["DELETE"]),
        Route("/journal", traffic.read_journal, methods=["GET"]),
        Route("/journal", traffic.clear_journal, methods=["DELETE"]),
    ]


class _General:
    """State, addresses, clock and reset."""

    def __init__(self, estate: Estate, addresses: Mapping[str, Any]) -> None:
        self._estate = estate
        self._addresses = addresses

    async def index(self, request: Request) -> Response:
        return HTMLResponse(render_index(self._estate, self._addresses))

    async def state(self, request: Request) -> Response:
        estate = self._estate
        return JSONResponse(
            {
                "world": estate.world,
                "now": estate.clock.now().isoformat(),
                "clock_offset_s": estate.clock.offset_s,
                "addresses": dict(self._addresses),
                **estate.directory.summary(),
                "requests_received": estate.journal.received,
                "faults": [_rule(rule) for rule in estate.faults.all()],
                "late_commits": estate.faults.late_commits,
                "limits": asdict(estate.throttle.limits),
            }
        )

    async def addresses(self, request: Request) -> Response:
        return JSONResponse(dict(self._addresses))

    async def clock(self, request: Request) -> Response:
        clock = self._estate.clock
        return JSONResponse({"now": clock.now().isoformat(), "time_s": clock.time_s(), "offset_s": clock.offset_s})

    async def advance_clock(self, request: Request) -> Response:
        settings = await read_settings(request)
        refuse_unknown(settings, {"seconds"})
        seconds = number(settings, "seconds")
        if abs(seconds) > CLOCK_JUMP_MAX_S:
            raise BadControlRequest(f"'seconds' must lie within {CLOCK_JUMP_MAX_S} of now.")
        await self._estate.advance_clock(seconds)
        return await self.clock(request)

    async def reset(self, request: Request) -> Response:
        settings = await read_settings(request)
        refuse_unknown(settings, {"world"})
        try:
            self._estate.reset(settings.get("world"))
        except UnknownWorld as error:
            raise BadControlRequest(str(error)) from error
        return await self.state(request)

    async def flush(self, request: Request) -> Response:
        return JSONResponse({"committed": await self._estate.faults.commit_due(everything=True)})


class _Traffic:
    """Faults, limits and the journal."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate

    async def list_faults(self, request: Request) -> Response:
        faults = self._estate.faults
        return JSONResponse({"faults": [_rule(rule) for rule in faults.all()], "late_commits": faults.late_commits})

    async def add_fault(self, request: Request) -> Response:
        try:
            rule = self._estate.faults.add(await read_settings(request))
        except BadRule as error:
            raise BadControlRequest(str(error)) from error
        return JSONResponse(_rule(rule), 201)

    async def clear_faults(self, request: Request) -> Response:
        self._estate.faults.clear(request.path_params.get("number"))
        return await self.list_faults(request)

    async def read_limits(self, request: Request) -> Response:
        throttle = self._estate.throttle
        limits = throttle.limits
        return JSONResponse(
            {
                **asdict(limits),
                "scaled_requests": limits.scaled_requests,
                "scaled_window_s": limits.scaled_window_s,
                "counters": throttle.report(),
            }
        )

    async def set_limits(self, request: Request) -> Response:
        """`scale` sets both divisors at once: 100 means 60 requests per 3 seconds."""
        settings = await read_settings(request)
        refuse_unknown(settings, {item.name for item in fields(Limits)} | {"scale"})
        if "scale" in settings:
            scale = number(settings, "scale")
            settings.update(requests_divisor=scale, window_divisor=scale)
            del settings["scale"]
        for name in settings.keys() - {"enabled", "retry_after"}:
            if number(settings, name) <= 0 and name not in ("queued_max", "service_time_s"):
                raise BadControlRequest(f"'{name}' must be greater than zero.")
        if not isinstance(settings.get("enabled", True), bool):
            raise BadControlRequest("'enabled' must be true or false.")
        if settings.get("retry_after", "none") not in get_args(RetryAfter):
            raise BadControlRequest(f"'retry_after' must be one of {', '.join(get_args(RetryAfter))}.")
        self._estate.throttle.limits = replace(self._estate.throttle.limits, **settings)
        self._estate.throttle.clear()
        return await self.read_limits(request)

    async def clear_counters(self, request: Request) -> Response:
        self._estate.throttle.clear()
        return await self.read_limits(request)

    async def read_journal(self, request: Request) -> Response:
        query = request.query_params
        try:
            limit = min(int(query.get("limit", "1000")), JOURNAL_LIMIT_MAX)
        except ValueError as error:
            raise BadControlRequest("'limit' must be a whole number.") from error
        journal = self._estate.journal
        entries = journal.entries(server=query.get("server"), path_contains=query.get("path", ""), limit=max(1, limit))
        return JSONResponse({"received": journal.received, "entries": entries})

    async def clear_journal(self, request: Request) -> Response:
        self._estate.journal.clear()
        return JSONResponse({"received": 0, "entries": []})


def _rule(rule: FaultRule) -> dict[str, Any]:
    return {item.name: getattr(rule, item.name) for item in fields(rule) if not item.name.startswith("_")}


async def _explain_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "no such control route", 405: "this control route takes another method"}.get(status, str(error))
    return JSONResponse({"error": f"{request.method} {request.url.path}: {text}. See {CONTROL_PREFIX}/."}, status)
