"""Writes: every operation with what came in, what was sent and what came back, and what a person may decide."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.console import payloads
from isthmus.console.admission import known_id
from isthmus.console.asking import errors_of
from isthmus.console.connect.words import provider_title
from isthmus.console.operation_story import VERBS, tell, title_of
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.console.words import OPERATION_TONES
from isthmus.kernel.failures import Failure, InvalidInput, RecordNotFound, VendorTimeout
from isthmus.store import connections, operations, writes
from isthmus.store.operations import Operation, OperationState
from isthmus.store.writes import WriteLine

PAGE_WRITES: Final = 50
TROUBLES_SHOWN: Final = 20
ROWS_SHOWN: Final = 200

REMOTE_ID_CHARACTERS_MAX: Final = 200
PROPOSAL_WAIT_S: Final = 10.0
"""How long the page of a waiting write asks the vendor for the record as it is."""

CORRECTED_BYTES_MAX: Final = 2_000
"""How long a refused body may be to be taken along in an address."""

ANSWER_WAIT_S: Final = 20.0
"""How long a page waits for the vendor; afterwards the story tells how it goes on."""


@get("/writes")
async def writes_page(visit: Visiting) -> Response[str]:
    """All operations, newest first, under those that wait for somebody."""
    state, verb = visit.query.get("state", ""), visit.query.get("verb", "")
    wanted = writes.WriteFilter(
        states=(state,) if state else None,
        verb=verb or None,
        object=visit.query.get("object") or None,
        connection_id=known_id(visit.query.get("connection", "")),
        batch_id=known_id(visit.query.get("batch", "")),
        before=known_id(visit.query.get("before", "")),
    )
    plain = wanted == writes.WriteFilter()
    async with visit.services.db.project(visit.project.id) as tx:
        found = await writes.lines(tx, wanted, PAGE_WRITES + 1)
        waiting = await writes.waiting(tx)
        troubles = await writes.undecided(tx, TROUBLES_SHOWN) if plain else []
        names = await writes.objects(tx)
        every = await connections.every(tx)
    troubles.sort(key=_rank)
    kept = {"state": state, "verb": verb, "object": wanted.object, "connection": wanted.connection_id}
    return await visit.page(
        "writes.html",
        shown=found[:PAGE_WRITES],
        more=len(found) > PAGE_WRITES,
        troubles=troubles,
        waiting=waiting,
        objects=names,
        connections=every,
        states=list(OPERATION_TONES),
        verbs=VERBS,
        kept=kept | {"batch": wanted.batch_id},
        filtered=any(kept.values()) or wanted.batch_id is not None,
        paged=wanted.before is not None,
        title_of=title_of,
    )


@get("/writes/{operation_id:uuid}")
async def write_page(visit: Visiting, operation_id: FromPath[UUID]) -> Response[str]:
    """One operation as a story."""
    return await _page(visit, operation_id)


@get("/writes/{operation_id:uuid}/requests/{request_number:int}")
async def write_request_page(
    visit: Visiting, operation_id: FromPath[UUID], request_number: FromPath[int]
) -> Response[str]:
    """One request of an operation, as it was sent and answered, without any secret."""
    async with visit.services.db.project(visit.project.id) as tx:
        operation = await operations.get(tx, operation_id)
    if not 1 <= request_number <= len(operation.journal):
        raise RecordNotFound("There is no such request.", remedy="The first forty requests of a write are kept.")
    entry = operation.journal[request_number - 1]
    sent = entry.get("purpose") in ("create", "update", "action", "delete")
    body = operation.sent_body if sent else None
    base = f"/console/writes/{operation.id}"
    return await visit.page(
        "request.html",
        number=request_number,
        at=_entry_time(entry),
        entry=entry,
        curl=payloads.as_curl(str(entry["method"]), str(entry["url"]), headers=_headers(body), body=body),
        raw=msgspec.json.encode(entry),
        body=body,
        trail=[("/console/writes", "Writes"), (base, title_of(operation.verb, operation.object, _action(operation)))],
        earlier=f"{base}/requests/{request_number - 1}" if request_number > 1 else "",
        later=f"{base}/requests/{request_number + 1}" if request_number < len(operation.journal) else "",
    )


@post("/writes/{operation_id:uuid}/reconcile", opt={"role": "operator"}, status_code=200)
async def reconcile(visit: Visiting, operation_id: FromPath[UUID]) -> Response[Any]:
    """Look now instead of waiting for the worker."""
    await _existing(visit, operation_id)
    try:
        await visit.here.writer.reconcile(visit.project.id, operation_id)
    except Failure as failure:
        return await _page(visit, operation_id, errors_of(failure), status=status_here(failure))
    await visit.note("operation.reconcile", str(operation_id))
    return visit.go(f"/console/writes/{operation_id}", "write-looked")


@post("/writes/{operation_id:uuid}/retry", opt={"role": "operator"}, status_code=200)
async def retry(visit: Visiting, operation_id: FromPath[UUID]) -> Response[Any]:
    """Send again. Where nobody knows whether it took place, a person has to say that it did not."""
    operation = await _existing(visit, operation_id)
    if operation.state is OperationState.NEEDS_PERSON and not visit.text("looked"):
        words = "Tick that you have looked at the vendor’s side and it is not there; else it may happen twice."
        return await _page(visit, operation_id, {"looked": words}, status=422)
    try:
        again = await visit.here.writer.retry(visit.project.id, operation_id)
    except Failure as failure:
        return await _page(visit, operation_id, errors_of(failure), status=status_here(failure))
    await visit.note("operation.retry", str(operation_id), object=operation.object, verb=operation.verb)
    return _told(visit, again)


@post("/writes/{operation_id:uuid}/decide", opt={"role": "operator"}, status_code=200)
async def decide(visit: Visiting, operation_id: FromPath[UUID]) -> Response[Any]:
    """Note what a person found at the vendor's side; nothing is sent."""
    operation = await _existing(visit, operation_id)
    answer, remote_id = visit.text("took_place"), visit.text("remote_id")[:REMOTE_ID_CHARACTERS_MAX]
    if answer not in ("yes", "no"):
        return await _page(visit, operation_id, {"took_place": "Say whether it took place."}, status=422)
    try:
        await visit.here.writer.decide(
            visit.project.id, operation_id, took_place=answer == "yes", remote_id=remote_id or None
        )
    except Failure as failure:
        return await _page(visit, operation_id, errors_of(failure), status=status_here(failure))
    await visit.note("operation.decide", str(operation_id), object=operation.object, took_place=answer == "yes")
    return visit.go(f"/console/writes/{operation_id}", "write-decided")


@post("/writes/{operation_id:uuid}/approve", opt={"role": "operator"}, status_code=200)
async def approve(visit: Visiting, operation_id: FromPath[UUID]) -> Response[Any]:
    """Allow exactly what was shown, and send it."""
    await _existing(visit, operation_id)
    try:
        approved = await visit.here.writer.approve(
            visit.project.id, operation_id, visit.planner, seen=visit.text("seen") or None, wait_s=ANSWER_WAIT_S
        )
    except Failure as failure:
        return await _page(visit, operation_id, errors_of(failure), status=status_here(failure))
    return _told(visit, approved)


@post("/writes/{operation_id:uuid}/refuse", opt={"role": "operator"}, status_code=200)
async def refuse(visit: Visiting, operation_id: FromPath[UUID]) -> Response[Any]:
    """Say no, with the reason for whoever planned it."""
    await _existing(visit, operation_id)
    try:
        await visit.here.writer.refuse(visit.project.id, operation_id, visit.planner, visit.text("reason"))
    except Failure as failure:
        return await _page(visit, operation_id, errors_of(failure, "reason"), status=status_here(failure))
    return visit.go(f"/console/writes/{operation_id}", "write-refused")


async def _existing(visit: Visit, operation_id: UUID) -> Operation:
    async with visit.services.db.project(visit.project.id) as tx:
        return await operations.get(tx, operation_id)


def _told(visit: Visit, operation: Operation) -> Redirect:
    """Back to the story, with a word about how it stands."""
    return visit.go(f"/console/writes/{operation.id}", notice_of(operation))


def notice_of(operation: Operation) -> str:
    """What the page says about an operation that was just touched."""
    match operation.state:
        case OperationState.CONFIRMED:
            return "write-confirmed"
        case OperationState.WAITING_FOR_APPROVAL:
            return ""  # the page's own banner says it
        case state:
            return "" if state.settled else "write-open"


async def _page(
    visit: Visit, operation_id: UUID, errors: dict[str, str] | None = None, *, status: int = 200
) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        operation = await operations.get(tx, operation_id)
        connection = await connections.get(tx, operation.connection_id)
        companies = {
            each.remote_id: each.display_name or each.name for each in await connections.companies_of(tx, connection.id)
        }
        rows = (
            await writes.lines(tx, writes.WriteFilter(batch_id=operation.batch_id), ROWS_SHOWN)
            if operation.batch_id
            else []
        )
    action = _action(operation)
    proposal, stale = await _proposal(visit, operation)
    return await visit.page(
        "write.html",
        status=status,
        operation=operation,
        state=operation.state.value,
        connection=connection,
        company=companies.get(operation.company or "", operation.company or ""),
        title=title_of(operation.verb, operation.object, action),
        story=tell(operation, provider_title(connection.provider)),
        rows=rows[::-1],
        asked=operation.body,
        asked_plain=payloads.plain(operation.body) if operation.body else "",
        sent=operation.sent_body,
        same=_same(operation.body, operation.sent_body),
        differences=_differences(operation),
        answer=operation.record,
        answer_plain=payloads.plain(operation.record) if operation.record else "",
        wish={name: value for name, value in operation.wish.items() if value not in (None, "", [], False)},
        curl=_curl(operation),
        errors=errors or {},
        title_of=title_of,
        proposal=proposal,
        stale=stale,
        own=operation.planned_by == visit.planner.name,
        next_write=_next_write(operation),
        lasting=not (operation.failure or {}).get("retryable"),
        corrected=_corrected(operation),
    )


async def _proposal(visit: Visit, operation: Operation) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What a waiting write would send now, or what was kept of it and why it could not be asked again."""
    if operation.state is not OperationState.WAITING_FOR_APPROVAL:
        return operation.proposal, None
    try:
        async with asyncio.timeout(PROPOSAL_WAIT_S):
            return msgspec.to_builtins(await visit.here.writer.proposal(visit.project.id, operation.id)), None
    except Failure as failure:
        return operation.proposal, failure.to_dict()
    except TimeoutError:
        late = VendorTimeout(
            f"The vendor has not answered within {PROPOSAL_WAIT_S:g} s.",
            remedy="What you see was kept when the write was asked for. It is looked at once more before it is sent.",
        )
        return operation.proposal, late.to_dict()


def _rank(line: WriteLine) -> tuple[int, str]:
    return writes.UNDECIDED.index(line.state), str(line.id)


def _action(operation: Operation) -> str | None:
    action = operation.wish.get("action")
    return str(action) if action else None


def _same(first: bytes | None, second: bytes | None) -> bool:
    """True when what was sent says the same as what was asked for."""
    if first is None or second is None:
        return first is second
    try:
        return bool(payloads.decode(first) == payloads.decode(second))
    except msgspec.DecodeError:
        return first == second


def _differences(operation: Operation) -> list[payloads.FieldDifference]:
    """Asked for and answered, where both are there: what the vendor made of it."""
    if operation.sent_body is None or operation.record is None:
        return []
    try:
        asked = payloads.decode(operation.sent_body)
        found = payloads.difference(operation.sent_body, operation.record)
    except msgspec.DecodeError:
        return []
    return [each for each in found if isinstance(asked, dict) and each.name in asked]


def _curl(operation: Operation) -> str:
    """The request that carried the write, for a terminal."""
    for entry in operation.journal:
        if entry.get("purpose") in ("create", "update", "delete", "action"):
            body = operation.sent_body
            return payloads.as_curl(str(entry["method"]), str(entry["url"]), headers=_headers(body), body=body)
    return ""


def _headers(body: bytes | None) -> dict[str, str]:
    return {"Content-Type": "application/json"} if body else {}


def _entry_time(entry: dict[str, Any]) -> datetime:
    try:
        return msgspec.convert(entry.get("at"), type=datetime)
    except msgspec.ValidationError as error:
        raise InvalidInput("That request was kept without its time.") from error


def _corrected(operation: Operation) -> dict[str, str]:
    """Where the form begins for the same write with other contents, when they are short enough for an address."""
    body = operation.body or b""
    shown = payloads.plain(body) if body and len(body) <= CORRECTED_BYTES_MAX else ""
    if not shown or "[redacted]" in shown:
        return {}
    return {
        "connection": str(operation.connection_id),
        "verb": operation.verb,
        "object": operation.object,
        "route": operation.route,
        "company": operation.company or "",
        "record": operation.remote_id or "" if operation.verb in ("update", "action") else "",
        "action": _action(operation) or "",
        "match": ", ".join(map(str, operation.wish.get("match") or ())),
        "body": shown,
    }


def _next_write(operation: Operation) -> dict[str, str]:
    """Where the form begins for another write to the same record."""
    if operation.state is not OperationState.CONFIRMED or not operation.remote_id or operation.verb == "delete":
        return {}
    return {
        "connection": str(operation.connection_id),
        "object": operation.object,
        "route": operation.route,
        "company": operation.company or "",
        "record": operation.remote_id,
    }


HANDLERS: Final[list[ControllerRouterHandler]] = [
    writes_page,
    write_page,
    write_request_page,
    reconcile,
    retry,
    decide,
    approve,
    refuse,
]
