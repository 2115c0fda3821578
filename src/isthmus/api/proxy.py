"""`/v1/proxy/{path}`: a raw call to a connection's environment, in any verb.

Bodies are bounded and held in memory once on their way, in both directions: the transport below reads whole answers.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, Router, route
from litestar.enums import HttpMethod

from isthmus.actions.proxying.call import CallNotes, RawAnswer, RawCall, send
from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import one
from isthmus.api.metrics import Metrics
from isthmus.api.problems import Refused
from isthmus.api.services import Services
from isthmus.connections.dead import refuse_dead
from isthmus.kernel.failures import InvalidInput
from isthmus.store import connections

CONNECTION_HEADER: Final = "isthmus-connection"
PREFIX: Final = b"/v1/proxy/"

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""The largest body towards the vendor: above Business Central's own limits for attachments by API [verify]."""

_METHODS: Final = [
    HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE,
]  # fmt: skip


class PassedOn(Response[bytes]):
    """A vendor's answer: its own content type, or none."""


def proxy_routes(services: Services, access: Access, metrics: Metrics) -> Router:
    """The route."""

    @route(
        "/{path:path}",
        http_method=_METHODS,
        guards=[access.needs(Scope.PROXY)],
        request_max_body_size=BODY_BYTES_MAX,
        include_in_schema=False,
        status_code=200,
    )
    async def proxy(request: Ask) -> Response[bytes]:
        call = RawCall(
            method=request.method,
            path=_path(request),
            query=request.scope["query_string"],
            headers=_headers(request),
            body=await request.body(),
        )
        connection_id = _connection(request)
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            refuse_dead(await one(connections.get, tx, connection_id, "connection"))
        notes = CallNotes()
        try:
            async with project.connection(connection_id, notes) as opened:
                answer = await send(opened, call, notes)
        finally:
            metrics.proxied(notes.attempts)
        return _passed_on(answer)

    return Router("/proxy", route_handlers=[proxy], tags=["proxy"])


def _path(request: Ask) -> bytes:
    """What follows the prefix on the request line, byte for byte; other spellings of the prefix are not taken."""
    raw: bytes = request.scope["raw_path"]
    if not raw.startswith(PREFIX):
        raise InvalidInput(
            "The proxy's own address is written in another way.", remedy="Call /v1/proxy/ exactly.", subject="path"
        )
    return raw[len(PREFIX) :]


def _connection(request: Ask) -> UUID:
    text = request.headers.get(CONNECTION_HEADER, "")
    try:
        return UUID(text)
    except ValueError as error:
        raise Refused(
            422,
            "connection_header_missing",
            "Which connection is meant?",
            f"The header {CONNECTION_HEADER} does not hold the id of a connection.",
            "Send it with an id of GET /v1/connections.",
        ) from error


def _headers(request: Ask) -> dict[str, str]:
    """Names in lower case, repeated ones joined."""
    headers: dict[str, str] = {}
    for name, value in request.headers.multi_items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _passed_on(answer: RawAnswer) -> Response[bytes]:
    told: dict[str, Any] = {
        "x-isthmus-attempts": str(answer.attempts),
        "x-isthmus-retries": str(max(0, answer.attempts - 1)),
        "x-isthmus-waited-ms": str(round(answer.waited_s * 1_000)),
        "x-isthmus-budget-remaining": str(answer.remaining),
    }
    return PassedOn(
        answer.body,
        status_code=answer.status,
        headers={**answer.headers, **told},
        media_type=answer.headers.get("content-type", "application/octet-stream"),
    )
