"""`/v1/connections/{id}/…`: its health and history, a new secret, another environment, and its end."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Router, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from isthmus.api.access import Access, Ask, Scope, caller_of, project_of
from isthmus.api.connections import CheckedConnection, Secret, checked_view
from isthmus.api.finding import one
from isthmus.api.patience import patience
from isthmus.api.services import Services
from isthmus.api.shapes import HealthView, Input, Text, health_view
from isthmus.api.signing_in import NoJournal
from isthmus.connections.credentials import NewSecret
from isthmus.connections.disconnecting import losses
from isthmus.connections.ending import end_of
from isthmus.connections.given import app_credentials
from isthmus.kernel.failures import InvalidInput
from isthmus.store import connections, grants, health
from isthmus.store.database import Transaction
from isthmus.store.disconnecting import Losses
from isthmus.store.rows import Connection

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class GivenSecret(Input, frozen=True, kw_only=True):
    """A client secret or a certificate. A certificate tells itself when it ends."""

    client_secret: Secret | None = None
    certificate: Annotated[str, msgspec.Meta(max_length=100_000, description="PEM or PFX file, in base64.")] | None = (
        None
    )
    certificate_password: Secret | None = None
    secret_expires_at: (
        Annotated[Moment, msgspec.Meta(description="As Entra shows it; warnings come before.")] | None
    ) = None

    def __repr__(self) -> str:
        return "GivenSecret(…)"


class StagedSecret(GivenSecret, frozen=True, kw_only=True):
    """A second secret that waits. Without `from` it takes over when the one in use is refused."""

    from_at: Annotated[Moment, msgspec.Meta(description="From then on it is tried first.")] | None = msgspec.field(
        default=None, name="from"
    )

    def __repr__(self) -> str:
        return "StagedSecret(…)"


class SecretDate(Input, frozen=True, kw_only=True):
    """When the secret in use ends; null: not known."""

    secret_expires_at: Moment | None


class Environment(Input, frozen=True, kw_only=True):
    """Another environment of the same tenant, for example after it was renamed."""

    environment: Text


class Ending(Input, frozen=True, kw_only=True):
    """`keep` leaves syncs and records, so that connecting again goes on with them; `erase` forgets everything."""

    data: Literal["keep", "erase"]
    confirm: Annotated[Text, msgspec.Meta(description="The connection's name.")]


class SecretView(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a secret, never the secret. With `integration` it is your own app's: its end is watched
    there, once for all connections that use it.
    """

    kind: Literal["secret", "certificate", "none"]
    expires_at: datetime | None
    staged: bool
    staged_at: datetime | None
    staged_expires_at: datetime | None
    staged_from: datetime | None
    integration: UUID | None = None


class ChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """The connection entered `state` for `reason`."""

    at: datetime
    state: str
    before: str
    reason: str | None
    turn: str | None
    message: str | None


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection is, its secret, and what it went through, newest first."""

    health: HealthView
    secret: SecretView
    history: list[ChangeView]


class StagedView(msgspec.Struct, frozen=True, kw_only=True):
    """`accepted`: the identity provider has taken it already. Otherwise it is tried when its turn comes."""

    accepted: bool
    secret: SecretView


class EndedConnection(msgspec.Struct, frozen=True, kw_only=True):
    """What was ended and, with `erase`, lost. `at_the_vendor` says how an administrator takes the consent back."""

    name: str
    data: Literal["kept", "erased"]
    credentials_forgotten: bool
    losses: Losses
    at_the_vendor: str


def care_routes(services: Services, access: Access) -> Router:
    """The routes, beside those of `connections`."""
    handlers = [*_health(services, access), *_secrets(services, access), *_moving_and_ending(services, access)]
    return Router(
        "/connections",
        route_handlers=handlers,
        tags=["connections"],
    )


def _health(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @get("/{connection_id:uuid}/health", guards=[access.needs(Scope.READ)], summary="Show a connection's health")
    async def show_health(request: Ask, connection_id: FromPath[UUID]) -> HealthReport:
        """State, reason, whose turn, the one thing that fixes it, the secret's end, and the history."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            connection = await one(connections.get, tx, connection_id, "connection")
            history = await health.history(tx, connection_id)
            secret = await _secret(tx, connection)
        changes = [msgspec.convert(msgspec.structs.asdict(each), ChangeView) for each in history]
        return HealthReport(health=health_view(connection), secret=secret, history=changes)

    return [show_health]


def _secrets(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @put("/{connection_id:uuid}/secret", guards=[access.needs(Scope.CONNECT)], summary="Replace the secret")
    async def renew_secret(
        request: Ask, connection_id: FromPath[UUID], data: JSONBody[GivenSecret]
    ) -> CheckedConnection:
        """Tried first: one that is refused replaces nothing. Nobody has to consent again. Then all is checked."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(connections.get, tx, connection_id, "connection")
        async with patience():
            connection = await project.renewing.replace(
                connection_id, given_secret(data), NoJournal(), actor=caller_of(request).actor
            )
            report = await project.check(connection)
        return await checked_view(project, report)

    @patch("/{connection_id:uuid}/secret", guards=[access.needs(Scope.CONNECT)], summary="Say when the secret ends")
    async def date_secret(request: Ask, connection_id: FromPath[UUID], data: JSONBody[SecretDate]) -> SecretView:
        """Warnings come 30, 14, 7 and 1 days before, by event and by mail."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            connection = await one(connections.get, tx, connection_id, "connection")
        await project.renewing.set_expiry(connection_id, data.secret_expires_at, actor=caller_of(request).actor)
        async with project.db.project(project.project.id) as tx:
            return await _secret(tx, connection)

    @put("/{connection_id:uuid}/staged-secret", guards=[access.needs(Scope.CONNECT)], summary="Stage a second secret")
    async def stage_secret(request: Ask, connection_id: FromPath[UUID], data: JSONBody[StagedSecret]) -> StagedView:
        """It waits beside the one in use and takes over when that is refused, or from a date on."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            connection = await one(connections.get, tx, connection_id, "connection")
        async with patience():
            accepted = await project.renewing.stage(
                connection_id, given_secret(data), NoJournal(), actor=caller_of(request).actor, from_at=data.from_at
            )
        async with project.db.project(project.project.id) as tx:
            return StagedView(accepted=accepted, secret=await _secret(tx, connection))

    @delete("/{connection_id:uuid}/staged-secret", guards=[access.needs(Scope.CONNECT)], summary="Drop a staged secret")
    async def unstage_secret(request: Ask, connection_id: FromPath[UUID]) -> None:
        """The one in use stays."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(connections.get, tx, connection_id, "connection")
        await project.renewing.unstage(connection_id, actor=caller_of(request).actor)

    return [renew_secret, date_secret, stage_secret, unstage_secret]


def _moving_and_ending(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @put("/{connection_id:uuid}/environment", guards=[access.needs(Scope.CONNECT)], summary="Choose the environment")
    async def move_connection(
        request: Ask, connection_id: FromPath[UUID], data: JSONBody[Environment]
    ) -> CheckedConnection:
        """For one that was renamed: syncs and records stay. The connection is checked at once."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(connections.get, tx, connection_id, "connection")
        connection = await project.move(connection_id, data.environment, actor=caller_of(request).actor)
        async with patience():
            report = await project.check(connection)
        return await checked_view(project, report)

    @get("/{connection_id:uuid}/losses", guards=[access.needs(Scope.READ)], summary="Count what ending it would lose")
    async def show_losses(request: Ask, connection_id: FromPath[UUID]) -> Losses:
        """Runs and unsent writes stop in any case; the rest goes only when data is erased."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(connections.get, tx, connection_id, "connection")
        return await losses(project.db, project.project.id, connection_id)

    @post(
        "/{connection_id:uuid}/disconnect",
        status_code=200,
        guards=[access.needs(Scope.CONNECT)],
        summary="Disconnect",
    )
    async def disconnect_connection(
        request: Ask, connection_id: FromPath[UUID], data: JSONBody[Ending]
    ) -> EndedConnection:
        """Forgets the credentials and stops all work. `confirm` has to be the connection's name."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            connection = await one(connections.get, tx, connection_id, "connection")
        if data.confirm != connection.name:
            raise InvalidInput(
                "The confirmation is not the connection's name.", remedy=f"Send {connection.name}.", subject="confirm"
            )
        ended = await project.disconnect(connection_id, erase=data.data == "erase", actor=caller_of(request).actor)
        return EndedConnection(
            name=ended.name,
            data="erased" if ended.erased else "kept",
            credentials_forgotten=ended.forgotten,
            losses=ended.losses,
            at_the_vendor=ended.at_the_vendor,
        )

    return [move_connection, show_losses, disconnect_connection]


def given_secret(data: GivenSecret) -> NewSecret:
    """What was given, as it is tried and kept. Raises InvalidInput."""
    app = app_credentials(
        "",
        secret=data.client_secret,
        certificate_base64=data.certificate,
        password=data.certificate_password,
    )
    return NewSecret(secret=app.secret, certificate=app.certificate, ends_at=data.secret_expires_at)


async def _secret(tx: Transaction, connection: Connection) -> SecretView:
    grant = await grants.get(tx, connection.grant_id)
    ends_at, integration = await end_of(tx, connection, grant)
    kind: Literal["secret", "certificate", "none"] = "none"
    if grant.certificate_sealed is not None:
        kind = "certificate"
    elif grant.secret_sealed is not None:
        kind = "secret"
    return SecretView(
        kind=kind,
        expires_at=ends_at,
        staged=grant.staged_at is not None,
        staged_at=grant.staged_at,
        staged_expires_at=grant.staged_expires_at,
        staged_from=grant.staged_from,
        integration=integration.id if integration else None,
    )
