"""New write: choose what to do, fill it in, see the exact request, then send it. Two short pages."""

from __future__ import annotations

import hashlib
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from isthmus.actions.writing import DryRun, Verb, WriteWish
from isthmus.connections.agreements import not_asked_for
from isthmus.connections.opening import OpenConnection
from isthmus.console.admission import known_id
from isthmus.console.asking import QuietJournal, errors_of
from isthmus.console.connections import COMMON
from isthmus.console.operation_story import title_of
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.console.writes import ANSWER_WAIT_S, notice_of
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.store import approvals, connections

KINDS: Final = (
    ("create", "Create a record", "A customer, an invoice with its lines, …"),
    ("update", "Change a record", "Only the fields that are named; the rest stays."),
    ("upsert", "Create or change", "Looked for by fields that you name, then created or changed."),
    ("action", "Do something with a record", "Post an invoice, send it, cancel it, …"),
    ("delete", "Delete a record", "For good, at the vendor’s side."),
)
FIELDS: Final = ("connection", "verb", "object", "route", "company", "record", "action", "body", "match", "key")
BODY_CHARACTERS_MAX: Final = 16_000
READ_ONLY: Final = ("id", "lastModifiedDateTime", "number")

EXAMPLES: Final = {
    "customers": '{\n  "displayName": "Adventure Works"\n}',
    "vendors": '{\n  "displayName": "Fabrikam"\n}',
    "items": '{\n  "displayName": "Desk lamp",\n  "unitPrice": 49.90\n}',
    "contacts": '{\n  "displayName": "Robert Townes"\n}',
    "salesInvoices": '{\n  "customerNumber": "10000",\n  "salesInvoiceLines": [\n    {"lineType": "Item", '
    '"lineObjectNumber": "1896-S", "quantity": 2}\n  ]\n}',
    "salesOrders": '{\n  "customerNumber": "10000",\n  "salesOrderLines": [\n    {"lineType": "Item", '
    '"lineObjectNumber": "1896-S", "quantity": 2}\n  ]\n}',
    "purchaseInvoices": '{\n  "vendorNumber": "10000",\n  "purchaseInvoiceLines": [\n    {"lineType": "Item", '
    '"lineObjectNumber": "1896-S", "quantity": 2}\n  ]\n}',
}
"""A body to begin with. Values are the example company's; the check says what does not fit."""


class Typed(msgspec.Struct, frozen=True, kw_only=True):
    """The form as it was filled in."""

    connection: str = ""
    verb: str = "create"
    object: str = ""
    route: str = ""
    company: str = ""
    record: str = ""
    action: str = ""
    body: str = ""
    match: str = ""
    key: str = ""


@get("/writes/new", opt={"role": "operator"})
async def new_write_page(visit: Visiting) -> Response[str]:
    """What to do first, then its details."""
    typed = _typed(dict(visit.query))
    if typed.object and typed.connection and visit.query.get("verb"):
        return await _details(visit, typed, {})
    return await _first(visit, typed, {})


@post("/writes/new", opt={"role": "operator"}, status_code=200)
async def new_write(visit: Visiting) -> Response[Any]:
    """Check only, or write. The key of the form makes a second press harmless."""
    typed = _typed(dict(visit.form))
    connection_id = known_id(typed.connection)
    if connection_id is None or not typed.object:
        return await _first(visit, typed, {"object": "Say what to write to."}, status=422)
    try:
        wish = _wish(typed)
        if visit.text("do") != "write":
            planned = await visit.here.writer.dry_run(visit.project.id, connection_id, wish)
            return await _details(visit, typed, {}, planned=planned)
        operation = await visit.here.writer.submit(
            visit.project.id, connection_id, wish, planner=visit.planner, wait_s=ANSWER_WAIT_S
        )
    except Failure as failure:
        return await _details(visit, typed, errors_of(failure, _field_of(failure)), status=status_here(failure))
    await visit.note("operation.write", str(operation.id), object=typed.object, verb=typed.verb)
    notice = notice_of(operation)
    return visit.go(f"/console/writes/{operation.id}", notice)


def _typed(given: dict[str, str]) -> Typed:
    kept = {name: given.get(name, "").strip()[:BODY_CHARACTERS_MAX] for name in FIELDS}
    kept["verb"] = kept["verb"] if kept["verb"] in {verb for verb, _, _ in KINDS} else "create"
    return msgspec.convert(kept, Typed)


def _wish(typed: Typed) -> WriteWish:
    """The wish of the form. Raises InvalidInput."""
    verb = Verb(typed.verb)
    body = None
    if verb in (Verb.CREATE, Verb.UPDATE, Verb.UPSERT):
        if not typed.body:
            raise InvalidInput("The fields are missing.", remedy="Write them as JSON.", subject="body")
        try:
            msgspec.json.decode(typed.body)
        except msgspec.DecodeError as error:
            raise InvalidInput(
                f"The fields are not JSON: {error}.",
                remedy="Names and texts stand in double quotes, numbers without.",
                subject="body",
            ) from error
        body = typed.body.encode()
    if verb in (Verb.UPDATE, Verb.DELETE, Verb.ACTION) and not typed.record:
        raise InvalidInput("Which record?", remedy="Give its id; it stands on the record’s page.", subject="record")
    if verb is Verb.ACTION and not typed.action:
        raise InvalidInput("Which action?", remedy="Choose one.", subject="action")
    return WriteWish(
        verb=verb,
        object=typed.object,
        route=typed.route or "v2.0",
        company=typed.company or None,
        record_id=typed.record if verb in (Verb.UPDATE, Verb.DELETE, Verb.ACTION) else None,
        action=typed.action if verb is Verb.ACTION else None,
        body=body,
        match=tuple(part.strip() for part in typed.match.split(",") if part.strip()) if verb is Verb.UPSERT else (),
        idempotency_key=_key(typed) if typed.key else None,
    )


def _key(typed: Typed) -> str:
    """The same form with the same content is the same write; when something was changed, it is another."""
    return f"console-{typed.key[:40]}-{hashlib.sha256(msgspec.json.encode(typed)).hexdigest()[:16]}"


def _field_of(failure: Failure) -> str:
    """Which field of the form a failure is about."""
    if failure.subject in ("body", "record", "action"):
        return str(failure.subject)
    if failure.subject == "record_id":
        return "record"
    by_code = {"record_not_found": "record", "company_not_found": "company", "unsupported": "action"}
    return by_code.get(failure.code, "body" if failure.code in ("unknown_field", "bad_request") else "")


async def _first(visit: Visit, typed: Typed, errors: dict[str, str], *, status: int = 200) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        every = await connections.every(tx)
    return await visit.page(
        "write_first.html",
        status=status,
        form=typed,
        errors=errors,
        connections=every,
        kinds=KINDS,
        common=COMMON,
    )


async def _details(
    visit: Visit, typed: Typed, errors: dict[str, str], *, planned: DryRun | None = None, status: int = 200
) -> Response[str]:
    connection_id = visit.uuid(typed.connection)
    try:
        about = await _about(visit, connection_id, typed)
    except Failure as failure:
        return await _first(visit, typed, errors_of(failure, "object"), status=status_here(failure))
    waits = await _waits(visit, connection_id, about["obj"].name)
    body = typed.body or (EXAMPLES.get(typed.object, "{\n  \n}") if typed.verb in ("create", "upsert") else "{\n  \n}")
    return await visit.page(
        "write_new.html",
        status=status,
        form=msgspec.structs.replace(typed, body=body, key=typed.key or new_id().hex),
        errors=errors,
        planned=planned,
        waits=waits,
        not_asked=not_asked_for(about["connection"], about["obj"].name, write=True),
        needs_body=typed.verb in ("create", "update", "upsert"),
        needs_record=typed.verb in ("update", "delete", "action"),
        title=title_of(typed.verb, typed.object, typed.action or None) if typed.verb != "action" else typed.object,
        **about,
    )


async def _waits(visit: Visit, connection_id: UUID, object: str) -> bool:
    """Whether what this form asks for is sent only after somebody else has looked at it."""
    async with visit.services.db.project(visit.project.id) as tx:
        rules = await approvals.rules(tx)
        origin = await approvals.integration_of(tx, connection_id)
    rule = approvals.rule_for(rules, integration_id=origin, connection_id=connection_id, object=object)
    return rule is not None and rule.required


async def _about(visit: Visit, connection_id: UUID, typed: Typed) -> dict[str, Any]:
    """What the object offers, as it describes itself now."""
    async with visit.here.connection(connection_id, QuietJournal()) as opened:
        obj = await opened.describe(typed.object, opened.access.provider.parse_route(typed.route or "v2.0"))
        return {
            "connection": opened.connection,
            "obj": obj,
            "writable": [field for field in obj.fields if field.name not in READ_ONLY],
            "actions": [(name, name) for name in obj.actions],
            "companies": _companies(opened) if not obj.tenant_level else [],
        }


def _companies(opened: OpenConnection) -> list[tuple[str, str]]:
    return [
        (each.remote_id, each.display_name or each.name)
        for each in opened.companies
        if each.selected and each.missing_since is None
    ]


HANDLERS: Final[list[ControllerRouterHandler]] = [new_write_page, new_write]
