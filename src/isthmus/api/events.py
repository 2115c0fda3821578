"""`/v1/events`: what happened besides changes of records, by cursor; the same events that destinations get."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.paging import Ends
from isthmus.api.services import Services
from isthmus.kernel.cursors import decode_cursor, encode_cursor
from isthmus.kernel.event_types import EVENT_TYPES
from isthmus.kernel.failures import InvalidInput
from isthmus.store import events
from isthmus.store.feed import FeedFilter


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `id` is the same at every reading and delivery; `number` is its place in the project's feed, between
    the changes. `subject` says what it is about (ids), `data` what happened."""

    number: int
    id: str
    type: str
    at: datetime
    subject: dict[str, Any]
    data: dict[str, Any]


class EventsPage(Ends, frozen=True, kw_only=True):
    """Events in order. `next_cursor` is always there: keep it, and ask again with it later."""

    result: list[EventView]


def event_routes(services: Services, access: Access) -> Router:
    """The route."""

    @get("/", guards=[access.needs(Scope.READ)], summary="Read events")
    async def list_events(
        request: Ask,
        limit: Annotated[int, QueryParameter(ge=1, le=events.EVENTS_PAGE_MAX)] = 100,
        cursor: Annotated[str, QueryParameter(max_length=100, description="`0` is the beginning.")] = "0",
        type_name: Annotated[
            str | None, QueryParameter(name="type", max_length=100, description="Only events of this type.")
        ] = None,
        connection: FromQuery[UUID | None] = None,
    ) -> EventsPage:
        """What happened to connections, syncs, runs, writes and destinations, in order, at least once; kept for 90
        days."""
        project, after = await project_of(request, services), min(decode_cursor(cursor), 2**62)
        if type_name is not None and type_name not in EVENT_TYPES:
            raise InvalidInput(
                f"There is no type of event “{type_name}”.", remedy=f"One of: {', '.join(EVENT_TYPES)}.", subject="type"
            )
        wanted = FeedFilter(
            events=(type_name,) if type_name else None, connections=(connection,) if connection else None
        )
        async with project.db.project(project.project.id) as tx:
            page = await events.read(tx, after, limit, wanted)
            before = await events.page_before(tx, after, limit) if after else 0
        return EventsPage(
            result=[
                EventView(
                    number=each.number, id=each.name, type=each.type, at=each.at, subject=each.subject, data=each.data
                )
                for each in page.events
            ],
            next_cursor=encode_cursor(page.next_number),
            prev_cursor=encode_cursor(before) if after else None,
            more=page.more,
        )

    return Router("/events", route_handlers=[list_events], tags=["events"])
