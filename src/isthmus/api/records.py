"""`/v1/syncs/{id}/records` and `/v1/changes`: stored records, and what happened to them, by cursor."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Router, get
from litestar.params import FromPath, FromQuery, QueryParameter

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import one
from isthmus.api.paging import Cursor, Ends, Limit, decode, ends_of
from isthmus.api.services import Services
from isthmus.api.shapes import RecordPage, RecordView, record_view
from isthmus.kernel.cursors import decode_cursor, encode_cursor
from isthmus.kernel.failures import RecordNotFound
from isthmus.kernel.limits import FEED_PAGE_MAX
from isthmus.store import feed, listing, records, syncs
from isthmus.store.rows import Change, ChangeKind

Company = Annotated[str | None, QueryParameter(max_length=200, description="Only this company, by id.")]


class ChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the feed. `id` is the same at every reading and delivery; `record` is the record as it is now, its
    values byte for byte, under your own names where the sync gives some, and null when it is deleted by now."""

    number: int
    id: str
    kind: ChangeKind
    sync: UUID
    connection: UUID
    object: str
    company: str
    remote_id: str
    at: datetime
    record: msgspec.Raw | None


class ChangePage(Ends, frozen=True, kw_only=True):
    """Changes in order. `next_cursor` is always there: keep it, and ask again with it later."""

    result: list[ChangeView]


def record_routes(services: Services, access: Access) -> Router:
    """Below a sync."""

    @get("/", guards=[access.needs(Scope.READ)], summary="Read stored records")
    async def list_records(
        request: Ask,
        sync_id: FromPath[UUID],
        limit: Limit = 100,
        cursor: Cursor = None,
        company: Company = None,
        deleted: Annotated[bool, QueryParameter(description="Also those that are deleted by now.")] = False,
    ) -> RecordPage:
        """By company and id. The vendor is not asked."""
        project = await project_of(request, services)
        at = None
        if cursor:
            direction, (at_company, at_id) = decode(cursor, 2)
            at = (direction, at_company, at_id)
        async with project.db.project(project.project.id) as tx:
            sync = await one(syncs.get, tx, sync_id, "sync")
            rows, more = await listing.records(tx, sync_id, limit, company=company, place=at, deleted=deleted)
        keys = [(row.company, row.remote_id) for row in rows]
        return RecordPage(
            result=[record_view(row, sync.names) for row in rows], **ends_of(keys, more, at[0] if at else None)
        )

    @get("/one", guards=[access.needs(Scope.READ)], summary="Read one stored record")
    async def show_record(
        request: Ask,
        sync_id: FromPath[UUID],
        remote_id: Annotated[str, QueryParameter(max_length=1_000)],
        company: Annotated[str, QueryParameter(max_length=200, description="Empty for tenant-level objects.")] = "",
    ) -> RecordView:
        """By its vendor's id; a deleted one is shown as such."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            sync = await one(syncs.get, tx, sync_id, "sync")
            row = await records.get(tx, sync_id, company, remote_id)
        if row is None:
            raise RecordNotFound(f"The sync has no record “{remote_id[:100]}”.", subject="record")
        return record_view(row, sync.names)

    return Router("/syncs/{sync_id:uuid}/records", route_handlers=[list_records, show_record], tags=["records"])


def change_routes(services: Services, access: Access) -> Router:
    """The feed."""

    @get("/", guards=[access.needs(Scope.READ)], summary="Read changes")
    async def list_changes(
        request: Ask,
        limit: Annotated[int, QueryParameter(ge=1, le=FEED_PAGE_MAX)] = 100,
        cursor: Annotated[str, QueryParameter(max_length=100, description="`0` is the beginning.")] = "0",
        connection: FromQuery[UUID | None] = None,
        sync: FromQuery[UUID | None] = None,
        object_name: Annotated[str | None, QueryParameter(name="object", max_length=200)] = None,
        company: Company = None,
        kind: FromQuery[ChangeKind | None] = None,
    ) -> ChangePage:
        """What was created, updated or deleted, in one order for the whole project; at least once. `prev_cursor` leads
        to as many numbers before this page."""
        project, after = await project_of(request, services), decode_cursor(cursor)
        wanted = feed.FeedFilter(
            connections=(connection,) if connection else None,
            syncs=(sync,) if sync else None,
            objects=(object_name,) if object_name else None,
            companies=(company,) if company is not None else None,
            kinds=(kind,) if kind else None,
        )
        async with project.db.project(project.project.id) as tx:
            page = await feed.read(tx, min(after, 2**62), limit, wanted)
        return ChangePage(
            result=[change_view(each) for each in page.changes],
            next_cursor=encode_cursor(page.next_number),
            prev_cursor=encode_cursor(max(0, after - limit)) if after else None,
            more=page.more,
        )

    return Router("/changes", route_handlers=[list_changes], tags=["changes"])


def change_view(change: Change) -> ChangeView:
    """A stored change."""
    return ChangeView(
        number=change.number,
        id=change.id,
        kind=change.kind,
        sync=change.sync_id,
        connection=change.connection_id,
        object=change.object,
        company=change.company,
        remote_id=change.remote_id,
        at=change.at,
        record=msgspec.Raw(change.raw) if change.raw else None,
    )
