"""`/v1/connect-sessions`: a short-lived link by which one of your customers connects."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from isthmus.api.access import Access, Ask, Scope, caller_of, project_of
from isthmus.api.finding import note
from isthmus.api.paging import Cursor, Ends, Limit, ends, place
from isthmus.api.problems import request_id_of
from isthmus.api.services import ProjectServices, Services
from isthmus.api.shapes import FailureView, Input, Text, failure_view
from isthmus.connections.integrations import Mode
from isthmus.connections.sessions import EXPIRES_S_DEFAULT, EXPIRES_S_MAX, EXPIRES_S_MIN, SessionWish
from isthmus.connections.sessions_end import failure_of
from isthmus.kernel.failures import InvalidInput
from isthmus.store import integrations, listing
from isthmus.store.connect_sessions import ConnectSession

SessionStatus = Literal["pending", "opened", "connected", "cancelled", "failed", "expired"]
Address = Annotated[str, msgspec.Meta(max_length=2_000)]
Short = Annotated[str, msgspec.Meta(max_length=200)]


class ConsumerInput(Input, frozen=True, kw_only=True):
    """One of your customers under your own id, who is added when new. A name that is given becomes its name."""

    external_id: Text
    name: Short = ""


class Preset(Input, frozen=True, kw_only=True):
    """What you know already; your customer is not asked for it."""

    mode: Mode | None = None
    tenant: Short = ""
    environment: Short = ""
    client_id: Short = ""


class NewConnectSession(Input, frozen=True, kw_only=True):
    """A link for one customer. Name the integration by id or name; with `connection` it is connected again."""

    consumer: ConsumerInput
    integration: Annotated[Short, msgspec.Meta(description="Its id or its name.")] = ""
    connection: UUID | None = None
    return_url: Annotated[Address, msgspec.Meta(description="Where the person goes afterwards.")] = ""
    origin: Annotated[Address, msgspec.Meta(description="The page that opens a popup; else that of return_url.")] = ""
    preset: Preset = Preset()
    expires_in: Annotated[
        int, msgspec.Meta(ge=EXPIRES_S_MIN, le=EXPIRES_S_MAX, description="Seconds until it has to be opened.")
    ] = EXPIRES_S_DEFAULT


class ConnectSessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A link's story. `failed` and `cancelled` can still become `connected` through the same link until it expires."""

    id: UUID
    status: SessionStatus
    step: str
    consumer: UUID
    integration: UUID
    connection: UUID | None
    reconnect: bool
    failure: FailureView | None
    return_url: str
    origin: str
    created_at: datetime
    opened_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime


class ConnectSessionPage(Ends, frozen=True, kw_only=True):
    """Links without their addresses, newest first."""

    result: list[ConnectSessionView]


class CreatedConnectSession(msgspec.Struct, frozen=True, kw_only=True):
    """The session and its link, which is shown this once: give `url` to your customer's browser."""

    session: ConnectSessionView
    url: str

    def __repr__(self) -> str:
        return f"CreatedConnectSession({self.session.id})"


def connect_session_routes(services: Services, access: Access) -> Router:
    """Connect sessions."""

    @post("/", guards=[access.needs(Scope.CONNECT)], summary="Make a link to connect")
    async def create_connect_session(request: Ask, data: JSONBody[NewConnectSession]) -> CreatedConnectSession:
        """Open `url` as a whole page or with the popup script `/connect.js`; the vendor's sign-in cannot be framed."""
        project = await project_of(request, services)
        preset = {name: str(value) for name, value in msgspec.to_builtins(data.preset).items() if value}
        wish = SessionWish(
            consumer=data.consumer.external_id,
            consumer_name=data.consumer.name.strip(),
            integration_id=await _integration_id(project, data.integration),
            connection_id=data.connection,
            return_url=data.return_url,
            origin=data.origin,
            preset=preset,
            expires_in_s=data.expires_in,
        )
        made = await project.connect.sessions.create(
            wish, actor=caller_of(request).actor, request_id=request_id_of(request)
        )
        return CreatedConnectSession(session=_view(made.session), url=f"{services.public_url}/connect/{made.token}")

    @get("/", guards=[access.needs(Scope.CONNECT)], summary="List links to connect")
    async def list_connect_sessions(
        request: Ask,
        limit: Limit = 100,
        cursor: Cursor = None,
        consumer: FromQuery[UUID | None] = None,
        integration: FromQuery[UUID | None] = None,
        in_status: Annotated[SessionStatus | None, QueryParameter(name="status")] = None,
    ) -> ConnectSessionPage:
        """Newest first, without the addresses of the links; those that ended go with retention's `links`."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            rows, more = await listing.page(
                tx, ConnectSession, limit, at, consumer_id=consumer, integration_id=integration, status=in_status
            )
        return ConnectSessionPage(result=[_view(row) for row in rows], **ends(rows, more, at))

    @get("/{session_id:uuid}", guards=[access.needs(Scope.CONNECT)], summary="Show how a link fares")
    async def show_connect_session(request: Ask, session_id: FromPath[UUID]) -> ConnectSessionView:
        """Poll it, or wait for the events `connect_session.completed` and `connect_session.failed`."""
        project = await project_of(request, services)
        return _view(await project.connect.sessions.show(session_id))

    @delete("/{session_id:uuid}", guards=[access.needs(Scope.CONNECT)], status_code=200, summary="Cancel a link")
    async def cancel_connect_session(request: Ask, session_id: FromPath[UUID]) -> ConnectSessionView:
        """It cannot be used any more. One that has ended already stays as it ended."""
        project = await project_of(request, services)
        ended = await project.connect.sessions.revoke(session_id)
        async with project.db.project(project.project.id) as tx:
            await note(tx, request, "connect_session.cancel", session_id)
        return _view(ended)

    return Router(
        "/connect-sessions",
        route_handlers=[
            list_connect_sessions,
            create_connect_session,
            show_connect_session,
            cancel_connect_session,
        ],
        tags=["connect sessions"],
    )


async def _integration_id(project: ProjectServices, named: str) -> UUID | None:
    """An integration by id or name. Raises InvalidInput with the names that there are."""
    if not named:
        return None
    try:
        return UUID(named)
    except ValueError:
        async with project.db.project(project.project.id) as tx:
            found = await integrations.named(tx, named)
            if found is not None:
                return found.id
            names = [each.name for each in await integrations.every(tx)]
    raise InvalidInput(f"There is no integration “{named}”.", nearest=names[:5], subject="integration")


def _view(session: ConnectSession) -> ConnectSessionView:
    finished = session.status == "connected" or session.reconnect
    return ConnectSessionView(
        id=session.id,
        status=session.status,  # type: ignore[arg-type]  # the table's own words
        step=session.step,
        consumer=session.consumer_id,
        integration=session.integration_id,
        connection=session.connection_id if finished else None,
        reconnect=session.reconnect,
        failure=failure_view(failure_of(session)),
        return_url=session.return_url,
        origin=session.origin,
        created_at=session.created_at,
        opened_at=session.opened_at,
        ended_at=session.ended_at,
        expires_at=session.expires_at,
    )
