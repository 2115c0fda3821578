"""`/v1/connections`: list, look, connect by app credentials, check, choose companies, forget."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Response, Router, delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from isthmus.actions.reading.setup import company_id
from isthmus.api.access import Access, Ask, Scope, caller_of, project_of
from isthmus.api.finding import note, one
from isthmus.api.paging import Cursor, Limit, ends, place
from isthmus.api.patience import patience
from isthmus.api.places import CloudInput, CustomCloud, cloud_of
from isthmus.api.services import ProjectServices, Services
from isthmus.api.shapes import (
    CompanyView,
    ConnectionPage,
    ConnectionState,
    ConnectionView,
    FailureView,
    Input,
    Text,
    company_view,
    connection_view,
    failure_view,
)
from isthmus.connections.checking import Report
from isthmus.connections.given import app_credentials
from isthmus.connections.making import Wish
from isthmus.store import connections, consumers, listing
from isthmus.store.database import Transaction
from isthmus.store.rows import Connection

Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=4_000, description="Write-only: never shown again.")]


class NewConnection(Input, frozen=True, kw_only=True):
    """A connection that signs in as an app. The same name and place again replaces the credentials, keeps the data."""

    name: Text
    tenant: Annotated[Text, msgspec.Meta(description="Tenant id or domain.")]
    environment: Annotated[Text, msgspec.Meta(description="As Business Central shows it.")] = "Production"
    provider: Literal["business_central"] = "business_central"
    client_id: Text
    client_secret: Secret | None = None
    certificate: Annotated[str, msgspec.Meta(max_length=100_000, description="PEM or PFX file, in base64.")] | None = (
        None
    )
    certificate_password: Secret | None = None
    secret_expires_at: Annotated[datetime, msgspec.Meta(tz=True, description="As Entra shows it.")] | None = None
    cloud: CloudInput | CustomCloud = "public"
    consumer: UUID | None = None
    check: Annotated[bool, msgspec.Meta(description="Check it at once and answer with the steps.")] = True

    def __repr__(self) -> str:
        return f"NewConnection(name={self.name!r})"  # the credentials stay out of logs


class ConnectionChange(Input, frozen=True, kw_only=True):
    """Whose connection it is; null takes it away from everybody."""

    consumer: UUID | None


class CompanySelection(Input, frozen=True, kw_only=True):
    """Exactly these companies are read, by id or name."""

    companies: Annotated[list[Text], msgspec.Meta(max_length=1_000)]


class CheckStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a check."""

    name: str
    title: str
    passed: bool
    optional: bool
    detail: str
    failure: FailureView | None


class CheckedConnection(msgspec.Struct, frozen=True, kw_only=True):
    """A connection and the steps of the check that was just taken; no steps where none was asked for."""

    connection: ConnectionView
    steps: list[CheckStep]


class CompanyList(msgspec.Struct, frozen=True, kw_only=True):
    """The companies of a connection."""

    result: list[CompanyView]


def connection_routes(services: Services, access: Access) -> Router:
    """The routes."""
    handlers = [*_looking(services, access), *_connecting(services, access), *_keeping(services, access)]
    return Router("/connections", route_handlers=handlers, tags=["connections"])


def _looking(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @get("/", guards=[access.needs(Scope.READ)], summary="List connections")
    async def list_connections(
        request: Ask,
        limit: Limit = 100,
        cursor: Cursor = None,
        consumer: FromQuery[UUID | None] = None,
        in_state: Annotated[ConnectionState | None, QueryParameter(name="state")] = None,
    ) -> ConnectionPage:
        """Oldest first, with their companies."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            rows, more = await listing.page(tx, Connection, limit, at, consumer_id=consumer, state=in_state)
            shown = [await _view(tx, row) for row in rows]
        return ConnectionPage(result=shown, **ends(rows, more, at))

    @get("/{connection_id:uuid}", guards=[access.needs(Scope.READ)], summary="Show a connection")
    async def show_connection(request: Ask, connection_id: FromPath[UUID]) -> ConnectionView:
        """With its state, the reason for it, and whose turn it is."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return await _view(tx, await one(connections.get, tx, connection_id, "connection"))

    return [list_connections, show_connection]


def _connecting(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @post("/", guards=[access.needs(Scope.CONNECT)], summary="Connect with an app's credentials")
    async def create_connection(request: Ask, data: JSONBody[NewConnection]) -> Response[CheckedConnection]:
        """Keeps the credentials sealed, then checks them step by step. Under the name of a connection that is
        there they replace its own, and are tried before (200). A check that fails is no error of this request:
        the connection is there, its state says what is missing."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            status = 200 if await connections.is_there(tx, data.name) else 201
            if data.consumer is not None:
                await consumers.get(tx, data.consumer)
        wish = Wish(
            provider=data.provider,
            cloud=cloud_of(data.cloud, project),
            tenant=data.tenant,
            environment=data.environment,
            name=data.name,
        )
        app = app_credentials(
            data.client_id,
            secret=data.client_secret,
            certificate_base64=data.certificate,
            password=data.certificate_password,
        )
        app = msgspec.structs.replace(app, expires_at=data.secret_expires_at)
        async with patience():
            connection = await project.connect.with_app(wish, app)
        async with project.db.project(project.project.id) as tx:
            if data.consumer is not None:
                await consumers.assign(tx, connection.id, data.consumer)
            await note(tx, request, "connection.credentials", connection.id, name=connection.name)
            connection = await connections.get(tx, connection.id)
        if not data.check:
            async with project.db.project(project.project.id) as tx:
                unchecked = CheckedConnection(connection=await _view(tx, connection), steps=[])
                return Response(unchecked, status_code=status)
        async with patience():
            report = await project.check(connection)
        return Response(await checked_view(project, report), status_code=status)

    @post("/{connection_id:uuid}/check", status_code=200, guards=[access.needs(Scope.CONNECT)], summary="Check it")
    async def check_connection(request: Ask, connection_id: FromPath[UUID]) -> CheckedConnection:
        """Takes every step from the token to the permissions; each that fails comes with its remedy."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            connection = await one(connections.get, tx, connection_id, "connection")
        async with patience():
            report = await project.check(connection)
        return await checked_view(project, report)

    return [create_connection, check_connection]


def _keeping(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @patch("/{connection_id:uuid}", guards=[access.needs(Scope.CONNECT)], summary="Say whose connection it is")
    async def change_connection(
        request: Ask, connection_id: FromPath[UUID], data: JSONBody[ConnectionChange]
    ) -> ConnectionView:
        """Give a connection to a consumer, or to nobody."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(connections.get, tx, connection_id, "connection")
            if data.consumer is not None:
                await consumers.get(tx, data.consumer)
            await consumers.assign(tx, connection_id, data.consumer)
            await note(tx, request, "connection.assign", connection_id, consumer=str(data.consumer or ""))
            return await _view(tx, await connections.get(tx, connection_id))

    @put("/{connection_id:uuid}/companies", guards=[access.needs(Scope.CONNECT)], summary="Choose companies")
    async def select_companies(
        request: Ask, connection_id: FromPath[UUID], data: JSONBody[CompanySelection]
    ) -> CompanyList:
        """Syncs that name no companies read the selected ones."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(connections.get, tx, connection_id, "connection")
            known = await connections.companies_of(tx, connection_id)
            chosen = [company_id(known, name) for name in data.companies]
            await connections.select_companies(tx, connection_id, chosen)
            await note(tx, request, "connection.companies", connection_id, companies=chosen)
            return CompanyList(result=[company_view(row) for row in await connections.companies_of(tx, connection_id)])

    @delete("/{connection_id:uuid}", guards=[access.needs(Scope.CONNECT)], summary="Forget a connection")
    async def delete_connection(request: Ask, connection_id: FromPath[UUID]) -> None:
        """Forgets its credentials, syncs and stored records. Nothing happens at the vendor's side."""
        project = await project_of(request, services)

        async with project.db.project(project.project.id) as tx:
            await one(connections.get, tx, connection_id, "connection")
        await project.disconnect(connection_id, erase=True, actor=caller_of(request).actor)

    return [change_connection, select_companies, delete_connection]


async def _view(tx: Transaction, row: Connection) -> ConnectionView:
    return connection_view(row, await connections.companies_of(tx, row.id))


async def checked_view(project: ProjectServices, report: Report) -> CheckedConnection:
    """A connection and the check that was just taken, as they are answered."""
    async with project.db.project(project.project.id) as tx:
        shown = await _view(tx, report.connection)
    steps = [
        CheckStep(
            name=step.name,
            title=step.title,
            passed=step.passed,
            optional=step.optional,
            detail=step.detail,
            failure=failure_view(step.failure),
        )
        for step in report.steps
    ]
    return CheckedConnection(connection=shown, steps=steps)
