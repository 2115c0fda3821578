"""Data: what is stored, the records of a sync with search, and one record with its payload and history."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.console import payloads
from isthmus.console.asking import QuietJournal
from isthmus.console.freshness import by_trouble
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure, RecordNotFound
from isthmus.store import browsing, connections, overview, records, syncs, versions
from isthmus.store.rows import RecordRow

PAGE_RECORDS: Final = 50
COLUMNS: Final = ("number", "displayName", "name", "description", "code", "documentDate", "totalAmountIncludingTax")
"""Fields that tell records apart, of which the first few that a record has are shown in lists."""

COLUMNS_MAX: Final = 3
TITLES: Final = ("displayName", "name", "description", "number", "code")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A record in a list."""

    row: RecordRow
    fields: list[str]


@get("/data")
async def data_page(visit: Visiting) -> Response[str]:
    """What is stored, sync by sync."""
    async with visit.services.db.project(visit.project.id) as tx:
        lines = by_trouble(await overview.counted(tx, await overview.sync_lines(tx)), visit.services.clock.now())
        every = await connections.every(tx)
    lines.sort(key=lambda each: (each[0].connection_name, each[0].object))
    return await visit.page("data.html", lines=lines, connections=every)


@get("/data/{sync_id:uuid}")
async def records_page(visit: Visiting, sync_id: FromPath[UUID]) -> Response[str]:
    """A page of records, found by id or text."""
    text, company = visit.query.get("q", "").strip(), visit.query.get("company", "")
    async with visit.services.db.project(visit.project.id) as tx:
        sync = await syncs.get(tx, sync_id)
        connection = await connections.get(tx, sync.connection_id)
        companies = await connections.companies_of(tx, sync.connection_id)
        (line,) = await overview.counted(tx, await overview.sync_lines(tx, sync_id=sync_id))
    wanted = browsing.Wanted(company=company or None, text=text or None, deleted=visit.query.get("deleted") == "1")
    found = await browsing.browse(
        visit.services.db,
        visit.project.id,
        sync_id,
        wanted,
        after=_place(visit.query.get("after", "")),
        before=_place(visit.query.get("before", "")),
        limit=PAGE_RECORDS,
    )
    shown, columns = _shown(found.records)
    kept = {"q": text, "company": company, "deleted": visit.query.get("deleted", "")}
    return await visit.page(
        "records.html",
        sync=sync,
        connection=connection,
        companies=companies,
        company_names={row.remote_id: row.display_name or row.name for row in companies},
        line=line,
        shown=shown,
        columns=columns,
        found=found,
        text=text,
        company=company,
        deleted=wanted.deleted,
        earlier=_address(sync_id, kept, "before", found.first) if found.earlier and found.first else "",
        later=_address(sync_id, kept, "after", found.last) if found.later and found.last else "",
    )


@get("/data/{sync_id:uuid}/record")
async def record_page(visit: Visiting, sync_id: FromPath[UUID]) -> Response[str]:
    """One record: its payload, when it changed, and how it compares with the vendor's copy now."""
    company, remote_id = visit.query.get("company", ""), visit.query.get("id", "")
    async with visit.services.db.project(visit.project.id) as tx:
        sync = await syncs.get(tx, sync_id)
        connection = await connections.get(tx, sync.connection_id)
        companies = await connections.companies_of(tx, sync.connection_id)
        row = await records.get(tx, sync_id, company, remote_id)
        if row is None:
            raise RecordNotFound("There is no such record here.", remedy="Search for it under Data.")
        history = await browsing.changes_of(tx, sync_id, company, remote_id)
        earlier = await versions.of_record(tx, sync_id, company, remote_id)
    compared = await _compared(visit, sync.connection_id, sync.object, sync.route, row) if _asked(visit) else {}
    return await visit.page(
        "record.html",
        sync=sync,
        connection=connection,
        row=row,
        company=next((each.display_name or each.name for each in companies if each.remote_id == company), company),
        history=history,
        changed=_changed(row, earlier),
        title=_title(row) or sync.object,
        plain=payloads.plain(row.raw),
        asked=_asked(visit),
        here=f"/console/data/{sync_id}/record?" + urlencode({"company": company, "id": remote_id}),
        **{"differences": [], "failure": None, **compared},
    )


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What one change did to a record."""

    at: datetime
    differences: list[payloads.FieldDifference]


def _changed(row: RecordRow, earlier: list[versions.Version]) -> list[Changed]:
    """Neighbouring versions compared, the newest change first. A deleted record has none: its content is gone."""
    if row.deleted or not row.raw:
        return []
    newer = [row.raw, *(each.raw for each in earlier)]
    found = []
    for after, version in zip(newer, earlier, strict=False):
        try:
            found.append(Changed(at=version.replaced_at, differences=payloads.difference(version.raw, after)))
        except msgspec.DecodeError:
            break
    return found


def _title(row: RecordRow) -> str:
    """What a person would call the record."""
    fields = _fields(row)
    return next((_text(fields[name]) for name in TITLES if fields.get(name) not in (None, "")), "")


def _asked(visit: Visit) -> bool:
    return visit.query.get("compare") == "1" and visit.may("operator")


async def _compared(visit: Visit, connection_id: UUID, name: str, route: str, row: RecordRow) -> dict[str, Any]:
    """The stored copy against the vendor's, read now; a refusal is shown in its place."""
    try:
        async with visit.here.connection(connection_id, QuietJournal()) as opened:
            obj = await opened.describe(name, route)
            page = await opened.access.record(obj, row.company or None, row.remote_id)
    except Failure as failure:
        return {"failure": failure.to_dict()}
    return {"differences": payloads.difference(row.raw, page.raws[0])}


def _shown(rows: list[RecordRow]) -> tuple[list[Shown], list[str]]:
    """Rows with the few fields that tell them apart."""
    decoded = [_fields(row) for row in rows]
    columns = [name for name in COLUMNS if any(fields.get(name) not in (None, "") for fields in decoded)][:COLUMNS_MAX]
    shown = [
        Shown(row=row, fields=[_text(fields.get(name)) for name in columns])
        for row, fields in zip(rows, decoded, strict=True)
    ]
    return shown, columns


def _fields(row: RecordRow) -> dict[str, Any]:
    try:
        value = payloads.decode(row.raw)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else payloads.encode(value)
    return text if len(text) <= 120 else text[:119] + "…"


def _place(text: str) -> browsing.Place | None:
    """A cursor as it stands in the address: `stream:id`."""
    stream, colon, remote_id = text.partition(":")
    if not colon or not stream.isdigit() or len(stream) > 9:
        return None
    return browsing.Place(stream_id=int(stream), remote_id=remote_id)


def _address(sync_id: UUID, kept: dict[str, str], name: str, place: browsing.Place) -> str:
    given = {key: value for key, value in kept.items() if value} | {name: f"{place.stream_id}:{place.remote_id}"}
    return f"/console/data/{sync_id}?{urlencode(given)}"


HANDLERS: Final[list[ControllerRouterHandler]] = [data_page, records_page, record_page]
