"""`/v1/proxy/{path}`: a raw call to a connection's environment, in any verb, streamed both ways.

A body towards the vendor is read whole only while it is small, so that the call can be repeated; a larger one passes by
part after part and is never sent twice. Answers are passed on as fast as the caller takes them. When the caller goes
away, the vendor's call ends.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Router, route
from litestar.enums import HttpMethod
from litestar.response.base import ASGIResponse

from isthmus.actions.proxying.call import CallNotes, RawAnswer, RawCall, calling
from isthmus.actions.proxying.paging import HEADER, Form, Pages
from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import one
from isthmus.api.metrics import Metrics
from isthmus.api.problems import Refused
from isthmus.api.relay import Relayed
from isthmus.api.services import ProjectServices, Services
from isthmus.connections.dead import refuse_dead
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, InvalidInput, TooLarge
from isthmus.store import connections, proxy_limits
from isthmus.store.proxy_limits import REQUEST_BYTES_MAX, ProxyLimits
from isthmus.transport.streaming import Once

CONNECTION_HEADER: Final = "isthmus-connection"
PREFIX: Final = b"/v1/proxy/"

SMALL_BYTES_MAX: Final = 256 * 1024
"""A body up to this size is kept until the answer is there, so that it can be sent again where that is safe."""

FRESH_S: Final = 2.0
REMEMBERED_S: Final = 4.0
"""How long a connection that was looked up is used without another look, and how long at most beside one."""

REMEMBERED_MAX: Final = 1_000

CLIENT_GONE: Final = 499
"""What the log says of a call whose caller went away."""

_METHODS: Final = [
    HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE,
]  # fmt: skip


class _Known(msgspec.Struct):
    opened: OpenConnection
    limits: ProxyLimits
    looked_s: float
    looking: asyncio.Task[None] | None = None


class KnownConnections:
    """Connections that were looked up a moment ago: calls come in rows, and the database is asked once for a row.

    After `FRESH_S` one call's connection is looked up again beside it; nobody waits for that. What is older than
    `REMEMBERED_S` is not used any more, so a connection that is changed or forgotten is noticed by then.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[UUID, UUID], _Known] = OrderedDict()

    async def opened(
        self, project: ProjectServices, connection_id: UUID, notes: CallNotes
    ) -> tuple[OpenConnection, ProxyLimits]:
        """The connection, ready for one call, and the project's limits. Raises RecordNotFound, and SignInAgain for a
        dead one.
        """
        key, now_s = (project.project.id, connection_id), self._clock.monotonic_s()
        kept = self._known.get(key)
        if kept is None or now_s >= kept.looked_s + REMEMBERED_S:
            kept = await self._look(project, connection_id, key)
        elif now_s >= kept.looked_s + FRESH_S and (kept.looking is None or kept.looking.done()):
            kept.looking = asyncio.create_task(self._look_beside(project, connection_id, key))
        before = kept.opened
        again = await project.opener.put_together(before.connection, before.grant, before.companies, notes)
        return again, kept.limits

    async def _look(self, project: ProjectServices, connection_id: UUID, key: tuple[UUID, UUID]) -> _Known:
        looked_s = self._clock.monotonic_s()
        async with project.db.project(project.project.id) as tx:
            await one(connections.get, tx, connection_id, "connection")
            limits = await proxy_limits.get(tx)
        async with project.connection(connection_id, CallNotes()) as opened:
            refuse_dead(opened.connection)
        found = self._known[key] = _Known(opened, limits, looked_s)
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return found

    async def _look_beside(self, project: ProjectServices, connection_id: UUID, key: tuple[UUID, UUID]) -> None:
        """What goes wrong is told to the next call, which finds nothing and looks itself."""
        try:
            await self._look(project, connection_id, key)
        except Failure:
            self._known.pop(key, None)


def proxy_routes(services: Services, access: Access, metrics: Metrics) -> Router:
    """The route."""
    known = KnownConnections(services.clock)

    @route(
        "/{path:path}",
        http_method=_METHODS,
        guards=[access.needs(Scope.PROXY)],
        request_max_body_size=REQUEST_BYTES_MAX,
        include_in_schema=False,
        status_code=200,
    )
    async def proxy(request: Ask) -> ASGIResponse:
        path, form = _path(request), _form(request)
        project, connection_id, notes = await project_of(request, services), _connection(request), CallNotes()
        opened, limits = await known.opened(project, connection_id, notes)
        body, stream = await _body(request, limits)
        call = RawCall(
            method=request.method,
            path=path,
            query=request.scope["query_string"],
            headers=_headers(request),
            body=body,
            stream=stream,
        )
        gone = asyncio.ensure_future(_gone(request, stream))
        try:
            if form is not None:
                return await _unless(gone, _paged(Pages(opened, call, notes, limits), form, gone, limits))
            return await _unless(gone, _answered(opened, call, notes, gone, limits, metrics))
        finally:
            metrics.proxied(notes.attempts)

    return Router("/proxy", route_handlers=[proxy], tags=["proxy"])


async def _answered(
    opened: OpenConnection,
    call: RawCall,
    notes: CallNotes,
    gone: asyncio.Future[None],
    limits: ProxyLimits,
    metrics: Metrics,
) -> ASGIResponse:
    stack = AsyncExitStack()
    try:
        answer = await stack.enter_async_context(calling(opened, call, notes, limits))
    except BaseException:
        await stack.aclose()
        raise
    length = {} if answer.size is None else {"content-length": str(answer.size)}
    return Relayed(
        answer.parts(),
        status=answer.status,
        headers={**answer.headers, **length, **_told(notes, opened.budget.remaining)},
        gone=gone,
        closing=stack.aclose,
        timeout_s=limits.timeout_s,
    )


async def _paged(pages: Pages, form: Form, gone: asyncio.Future[None], limits: ProxyLimits) -> ASGIResponse:
    refusal = await pages.first()
    if refusal is not None:
        answer = RawAnswer(refusal, pages.notes, pages.remaining)
        parts, status, headers = answer.parts(), answer.status, answer.headers
    else:
        parts, status, headers = pages.stream(form), 200, {"content-type": form.media_type}
    return Relayed(
        parts,
        status=status,
        headers={**headers, **_told(pages.notes, pages.remaining)},
        gone=gone,
        closing=_nothing,
        timeout_s=limits.timeout_s,
    )


async def _nothing() -> None:
    """Pages are whole calls: there is nothing to end."""


async def _unless(gone: asyncio.Future[None], work: Coroutine[Any, Any, ASGIResponse]) -> ASGIResponse:
    """The answer, unless the caller goes away first: then the vendor's call is ended and nobody is answered."""
    task = asyncio.ensure_future(work)
    either: set[asyncio.Future[Any]] = {task, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return ASGIResponse(status_code=CLIENT_GONE)
    finally:
        if not task.done() or task.cancelled() or task.exception() is not None or gone.done():
            gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _gone(request: Ask, stream: Once | None) -> None:
    """Ends when the caller goes away. While a body is on its way, its reader notices."""
    if stream is not None:
        await stream.ended.wait()
    while (await request.receive())["type"] != "http.disconnect":
        continue


async def _body(request: Ask, limits: ProxyLimits) -> tuple[bytes, Once | None]:
    """A small body, or the stream of a large one. Raises TooLarge at once where its length says so."""
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdigit() and len(length) < 16 else None
    if size is not None and size > limits.request_bytes:
        raise TooLarge(
            f"The body has {size:,} bytes; this project's proxy takes {limits.request_bytes:,}.",
            remedy="Send less, or raise the limit: PUT /v1/proxy-limits.",
        )
    source, begun = request.stream(), b""
    async for part in source:
        begun += part
        if len(begun) > SMALL_BYTES_MAX:
            break
    else:
        if len(begun) > limits.request_bytes:
            raise TooLarge(
                f"The body is larger than the {limits.request_bytes:,} bytes that this project's proxy takes."
            )
        return begun, None

    async def parts() -> AsyncIterator[bytes]:
        yield begun
        async for part in source:
            yield part

    return b"", Once(parts(), size, limits.request_bytes)


def _form(request: Ask) -> Form | None:
    text = request.headers.get(HEADER, "").strip().lower()
    if text in ("", "false"):
        return None
    try:
        return Form(text)
    except ValueError as error:
        raise InvalidInput(
            f"The header {HEADER} says “{text[:40]}”.",
            remedy="Send true for one JSON array, lines for JSON lines, or leave it out.",
            subject=HEADER,
        ) from error


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


def _told(notes: CallNotes, remaining: int) -> dict[str, str]:
    return {
        "x-isthmus-attempts": str(notes.attempts),
        "x-isthmus-retries": str(max(0, notes.attempts - 1)),
        "x-isthmus-waited-ms": str(round(notes.waited_s * 1_000)),
        "x-isthmus-budget-remaining": str(remaining),
    }
