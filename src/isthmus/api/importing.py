"""`/v1/connections/import`: a sign-in that exists elsewhere, as a refresh token and the app that got it."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Router, post
from litestar.params import JSONBody

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.connections import CheckedConnection, Secret, checked_view
from isthmus.api.finding import note
from isthmus.api.patience import patience
from isthmus.api.places import CloudInput, CustomCloud, cloud_of
from isthmus.api.services import Services
from isthmus.api.shapes import Input, Text
from isthmus.connections.credentials import AppCredentials
from isthmus.connections.given import app_credentials, given_secret
from isthmus.connections.integrations import cloud_of_integration
from isthmus.connections.making import Wish
from isthmus.store import connections, consumers, integrations

Token = Annotated[str, msgspec.Meta(min_length=1, max_length=20_000, description="Write-only: never shown again.")]


class ImportedConnection(Input, frozen=True, kw_only=True):
    """A refresh token and the app that got it. With `integration`, that integration's app and cloud are meant."""

    name: Text
    refresh_token: Token
    integration: UUID | None = None
    client_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    client_secret: Secret | None = None
    certificate: Annotated[str, msgspec.Meta(max_length=100_000, description="PEM or PFX file, in base64.")] | None = (
        None
    )
    certificate_password: Secret | None = None
    tenant: Annotated[str, msgspec.Meta(max_length=200, description="Empty: the token tells it.")] = ""
    environment: Text = "Production"
    provider: Literal["business_central"] = "business_central"
    cloud: CloudInput | CustomCloud = "public"
    consumer: UUID | None = None

    def __repr__(self) -> str:
        return f"ImportedConnection(name={self.name!r})"


def import_routes(services: Services, access: Access) -> Router:
    """The route."""

    @post("/", guards=[access.needs(Scope.CONNECT)], summary="Take a sign-in over from another program")
    async def import_connection(request: Ask, data: JSONBody[ImportedConnection]) -> CheckedConnection:
        """The token is renewed at once; one that cannot be renewed is refused and nothing is kept. Then the connection
        is checked step by step."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            offered = await integrations.get(tx, data.integration) if data.integration is not None else None
            if data.consumer is not None:
                await consumers.get(tx, data.consumer)
        if offered is not None:
            cloud, app = cloud_of_integration(offered), project.connect.integrations.credentials(offered)
        else:
            cloud, app = cloud_of(data.cloud, project), _app(data)
        wish = Wish(
            provider=data.provider, cloud=cloud, tenant=data.tenant, environment=data.environment, name=data.name
        )
        token = given_secret(data.refresh_token)
        assert token is not None  # the description asks for a character at least
        async with patience():
            made = await project.connect.import_tokens(wish, app, token)
        async with project.db.project(project.project.id) as tx:
            if data.consumer is not None:
                await consumers.assign(tx, made.id, data.consumer)
            await integrations.assign(tx, made.id, data.integration)
            await note(tx, request, "connection.import", made.id, name=data.name)
            made = await connections.get(tx, made.id)
        async with patience():
            report = await project.check(made)
        return await checked_view(project, report)

    return Router("/connections/import", route_handlers=[import_connection], tags=["connections"])


def _app(data: ImportedConnection) -> AppCredentials:
    if data.client_secret is None and data.certificate is None:
        return AppCredentials(client_id=data.client_id)  # a public client, which has no secret
    return app_credentials(
        data.client_id,
        secret=data.client_secret,
        certificate_base64=data.certificate,
        password=data.certificate_password,
    )
