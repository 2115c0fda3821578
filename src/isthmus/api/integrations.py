"""`/v1/integrations` and `/v1/connect-page`: a provider set up once, and how the connect pages look."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Router, delete, get, post, put
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.connections import Secret
from isthmus.api.finding import author_of, note
from isthmus.api.places import CloudInput, CustomCloud, cloud_of
from isthmus.api.services import ProjectServices, Services
from isthmus.api.shapes import Input, Text
from isthmus.auth.entra.clouds import Cloud
from isthmus.connections.credentials import NewSecret
from isthmus.connections.given import app_credentials
from isthmus.connections.integrations import (
    IntegrationWish,
    Mode,
    SharedObject,
    cloud_of_integration,
    remarks_of,
    remarks_on_objects,
    shared_objects,
    usable_page,
)
from isthmus.kernel.failures import InvalidInput
from isthmus.store import integrations
from isthmus.store.integrations import ConnectPage, Integration

Title = Annotated[str, msgspec.Meta(max_length=100)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=300, description="Your customer reads this.")]
Certificate = Annotated[str, msgspec.Meta(max_length=100_000, description="PEM or PFX file, in base64.")]
Moment = Annotated[datetime, msgspec.Meta(tz=True, description="As Entra shows it.")]
Address = Annotated[str, msgspec.Meta(max_length=2_000)]


class ObjectToShare(Input, frozen=True, kw_only=True):
    """An object that your customers share with you, and why, in plain words."""

    object: Text
    reason: Reason
    access: Literal["read", "write"] = "read"
    title: Annotated[Title, msgspec.Meta(description="What people call it; made from the name when empty.")] = ""


Tenant = Annotated[
    str,
    msgspec.Meta(
        max_length=255, description="Id or domain, for an app of a single organization; empty: it serves any."
    ),
]


class NewIntegration(Input, frozen=True, kw_only=True):
    """A provider, set up once. `offline_access` and the resource's prefix are added to the scopes for you."""

    name: Text
    provider: Literal["business_central"] = "business_central"
    client_id: Annotated[
        str, msgspec.Meta(max_length=200, description="Your own app; leave it out when customers bring theirs.")
    ] = ""
    client_secret: Secret | None = None
    certificate: Certificate | None = None
    certificate_password: Secret | None = None
    secret_expires_at: Moment | None = None
    cloud: CloudInput | CustomCloud = "public"
    scopes: Annotated[list[Text], msgspec.Meta(max_length=20, description="Empty: the provider's usual ones.")] = (
        msgspec.field(default_factory=list)
    )
    objects: Annotated[list[ObjectToShare], msgspec.Meta(max_length=50)] = msgspec.field(default_factory=list)
    modes: Annotated[list[Mode], msgspec.Meta(max_length=4, description="Ways to connect; empty: the usual ones.")] = (
        msgspec.field(default_factory=list)
    )
    tenant: Tenant = ""

    def __repr__(self) -> str:
        return f"NewIntegration(name={self.name!r})"


class IntegrationChange(Input, frozen=True, kw_only=True):
    """The integration as it shall be from now on, without its secret. Another client id forgets the secret."""

    name: Text
    provider: Literal["business_central"] = "business_central"
    client_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    cloud: CloudInput | CustomCloud | None = None
    scopes: Annotated[list[Text], msgspec.Meta(max_length=20)] = msgspec.field(default_factory=list)
    objects: Annotated[list[ObjectToShare], msgspec.Meta(max_length=50)] = msgspec.field(default_factory=list)
    modes: Annotated[list[Mode], msgspec.Meta(max_length=4)] = msgspec.field(default_factory=list)
    tenant: Tenant = ""


class IntegrationView(msgspec.Struct, frozen=True, kw_only=True):
    """An integration. Its secret is write-only: `has_secret` tells whether there is one, `secret_staged` whether
    another waits beside it.
    """

    id: UUID
    name: str
    provider: str
    client_id: str
    has_secret: bool
    secret_expires_at: datetime | None
    secret_staged: bool
    staged_at: datetime | None
    staged_expires_at: datetime | None
    staged_from: datetime | None
    cloud: str
    scopes: list[str]
    objects: list[ObjectToShare]
    modes: list[Mode]
    tenant: str
    remarks: Annotated[list[str], msgspec.Meta(description="What is allowed and yet leads customers nowhere.")]
    connections: int
    redirect_uri: str
    created_at: datetime
    updated_at: datetime


class IntegrationList(msgspec.Struct, frozen=True, kw_only=True):
    """The project's integrations, oldest first."""

    result: list[IntegrationView]


class ConnectPageInput(Input, frozen=True, kw_only=True):
    """How the connect pages look and where they may lead back to. Everything is replaced; a logo of null stays."""

    host_name: Annotated[str, msgspec.Meta(max_length=80, description="Your product's name.")] = ""
    accent: Annotated[str, msgspec.Meta(max_length=7, description="A colour such as #0a6552.")] = ""
    logo: Annotated[
        str | None, msgspec.Meta(description="PNG, JPEG, WebP, GIF or SVG in base64; an empty text removes it.")
    ] = None
    support: Annotated[str, msgspec.Meta(max_length=200, description="Where your customers get help.")] = ""
    privacy_url: Address = ""
    allowed_origins: Annotated[list[Address], msgspec.Meta(max_length=50)] = msgspec.field(default_factory=list)


class ConnectPageView(msgspec.Struct, frozen=True, kw_only=True):
    """How the connect pages look. The logo is at `logo_url`."""

    host_name: str
    accent: str
    logo_url: str | None
    support: str
    privacy_url: str
    allowed_origins: list[str]


def integration_routes(services: Services, access: Access) -> Router:
    """Integrations."""
    handlers = [*_looking(services, access), *_changing(services, access)]
    return Router(
        "/integrations",
        route_handlers=handlers,
        tags=["integrations"],
    )


def _looking(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @get("/", guards=[access.needs(Scope.READ)], summary="List integrations")
    async def list_integrations(request: Ask) -> IntegrationList:
        """Oldest first, with the number of connections that each has."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            rows = await integrations.every(tx)
            used = await integrations.connections_by_integration(tx)
        return IntegrationList(result=[_view(services, row, used.get(row.id, 0)) for row in rows])

    @get("/{integration_id:uuid}", guards=[access.needs(Scope.READ)], summary="Show an integration")
    async def show_integration(request: Ask, integration_id: FromPath[UUID]) -> IntegrationView:
        """Everything but the secret."""
        return await shown_integration(services, await project_of(request, services), integration_id)

    return [list_integrations, show_integration]


def _changing(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @post("/", guards=[access.needs(Scope.ADMIN)], summary="Add an integration")
    async def create_integration(request: Ask, data: JSONBody[NewIntegration]) -> IntegrationView:
        """Set a provider up once: your app, what is shared and why, and the ways to connect."""
        project = await project_of(request, services)
        wish = _wish(data, cloud_of(data.cloud, project))
        made = await project.connect.integrations.create(wish, _app(data), by=author_of(request))
        return await shown_integration(services, project, made.id)

    @put("/{integration_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Change an integration")
    async def replace_integration(
        request: Ask, integration_id: FromPath[UUID], data: JSONBody[IntegrationChange]
    ) -> IntegrationView:
        """What is left out takes its usual value; the cloud stays when it is null. Connections stay as they are."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            before = await integrations.get(tx, integration_id)
        cloud = cloud_of(data.cloud, project) if data.cloud is not None else cloud_of_integration(before)
        await project.connect.integrations.replace(integration_id, _wish(data, cloud), by=author_of(request))
        return await shown_integration(services, project, integration_id)

    @delete("/{integration_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Forget an integration")
    async def delete_integration(request: Ask, integration_id: FromPath[UUID]) -> None:
        """Links that wait for somebody end; connections stay."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            before = await integrations.get(tx, integration_id)
            await integrations.delete(tx, integration_id)
            await note(tx, request, "integration.delete", integration_id, name=before.name)

    return [create_integration, replace_integration, delete_integration]


def connect_page_routes(services: Services, access: Access) -> Router:
    """How the connect pages look."""

    @get("/", guards=[access.needs(Scope.READ)], summary="Show how the connect pages look")
    async def show_connect_page(request: Ask) -> ConnectPageView:
        """Name, logo, colour, and the origins that may open the pages."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return _page_view(services, project, await integrations.connect_page(tx))

    @put("/", guards=[access.needs(Scope.ADMIN)], summary="Say how the connect pages look")
    async def save_connect_page(request: Ask, data: JSONBody[ConnectPageInput]) -> ConnectPageView:
        """Your name, logo and colour; pages lead back to, and report to, the allowed origins only."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            before = await integrations.connect_page(tx)
            logo = before.logo if data.logo is None else _bytes(data.logo)
            page = usable_page(
                ConnectPage(
                    host_name=data.host_name.strip(),
                    accent=data.accent,
                    logo=logo,
                    support=data.support.strip(),
                    privacy_url=data.privacy_url,
                    allowed_origins=list(data.allowed_origins),
                ),
                development=project.development,
            )
            await integrations.save_connect_page(tx, page)
            await note(tx, request, "connect_page.change", "connect page", origins=page.allowed_origins)
            return _page_view(services, project, page)

    return Router("/connect-page", route_handlers=[show_connect_page, save_connect_page], tags=["integrations"])


async def shown_integration(services: Services, project: ProjectServices, integration_id: UUID) -> IntegrationView:
    """One integration as it is now. Raises RecordNotFound."""
    async with project.db.project(project.project.id) as tx:
        row = await integrations.get(tx, integration_id)
        used = await integrations.connections_by_integration(tx)
    return _view(services, row, used.get(row.id, 0))


def _view(services: Services, row: Integration, used: int) -> IntegrationView:
    return IntegrationView(
        id=row.id,
        name=row.name,
        provider=row.provider,
        client_id=row.client_id,
        has_secret=row.has_credential,
        secret_expires_at=row.secret_expires_at,
        secret_staged=row.staged_at is not None,
        staged_at=row.staged_at,
        staged_expires_at=row.staged_expires_at,
        staged_from=row.staged_from,
        cloud=cloud_of_integration(row).name,
        scopes=row.scopes,
        objects=[
            ObjectToShare(object=each.object, reason=each.reason, access=each.access, title=each.shown)
            for each in shared_objects(row)
        ],
        modes=[Mode(mode) for mode in row.modes],
        tenant=row.tenant,
        remarks=[
            *remarks_of(row.tenant, row.modes),
            *remarks_on_objects(row.provider, [each.object for each in shared_objects(row)]),
        ],
        connections=used,
        redirect_uri=f"{services.public_url}/oauth/callback",
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _page_view(services: Services, project: ProjectServices, page: ConnectPage) -> ConnectPageView:
    return ConnectPageView(
        host_name=page.host_name,
        accent=page.accent,
        logo_url=f"{services.public_url}/connect/logo/{project.project.id}" if page.logo else None,
        support=page.support,
        privacy_url=page.privacy_url,
        allowed_origins=page.allowed_origins,
    )


def _wish(data: NewIntegration | IntegrationChange, cloud: Cloud) -> IntegrationWish:
    return IntegrationWish(
        name=data.name,
        provider=data.provider,
        client_id=data.client_id.strip(),
        cloud=cloud,
        scopes=list(data.scopes),
        objects=[
            SharedObject(object=each.object, reason=each.reason, access=each.access, title=each.title)
            for each in data.objects
        ],
        modes=[mode.value for mode in data.modes],
        tenant=data.tenant.strip(),
    )


def _app(data: NewIntegration) -> NewSecret | None:
    if not data.client_secret and not data.certificate:
        return None
    app = app_credentials(
        data.client_id,
        secret=data.client_secret,
        certificate_base64=data.certificate,
        password=data.certificate_password,
    )
    return NewSecret(secret=app.secret, certificate=app.certificate, ends_at=data.secret_expires_at)


def _bytes(text: str) -> bytes | None:
    if not text:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidInput("The logo is not base64.", remedy="Encode the file as base64.", subject="logo") from error
