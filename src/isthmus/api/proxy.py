"""`/v1/proxy/{path}`: a raw call to a connection's environment, in any verb.

Bodies are bounded and held in memory once on their way, in both directions: the transport below reads whole answers.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final
from uuid import UUID

from litestar import Response, Router, route
from litestar.enums import HttpMethod

from isthmus.actions.proxying.call import CallNotes, RawAnswer, RawCall, send
from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import one
from isthmus.api.metrics import Metrics
from isthmus.api.problems import Refused
from isthmus.api.services import ProjectServices, Services
from isthmus.connections.dead import refuse_dead
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import InvalidInput
from isthmus.store import connections

CONNECTION_HEADER: Final = "isthmus-connection"
PREFIX: Final = b"/v1/proxy/"

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""The largest body towards the vendor: above Business Central's own limits for attachments by API [verify]."""

REMEMBERED_S: Final = 2.0
"""How long a connection that was looked up is used without another look."""

REMEMBERED_MAX: Final = 1_000

_METHODS: Final = [
    HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE,
]  # fmt: skip


class PassedOn(Response[bytes]):
    """A vendor's answer: its own content type, or none."""


class KnownConnections:
    """Connections that were looked up a moment ago: calls come in rows, and the database is asked once for a row.

    A connection that is changed or forgotten meanwhile is noticed within `REMEMBERED_S`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[UUID, UUID], tuple[OpenConnection, float]] = OrderedDict()

    async def opened(self, project: ProjectServices, connection_id: UUID, notes: CallNotes) -> OpenConnection:
        """The connection, ready for one call. Raises RecordNotFound, and SignInAgain for a dead one."""
        key, now_s = (project.project.id, connection_id), self._clock.monotonic_s()
        kept = self._known.get(key)
        if kept is not None and now_s < kept[1]:
            before = kept[0]
            return await project.opener.put_together(before.connection, before.grant, before.companies, notes)
        async with project.db.project(project.project.id) as tx:
            await one(connections.get, tx, connection_id, "connection")
        async with project.connection(connection_id, notes) as opened:
            refuse_dead(opened.connection)
            self._known[key] = (opened, now_s + REMEMBERED_S)
            self._known.move_to_end(key)
            while len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)
            return opened


def proxy_routes(services: Services, access: Access, metrics: Metrics) -> Router:
    """The route."""
    known = KnownConnections(services.clock)

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
        project, connection_id, notes = await project_of(request, services), _connection(request), CallNotes()
        opened = await known.opened(project, connection_id, notes)
        try:
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
