"""Making connections, and what they sign in with: an app by itself, or one through which a person is going to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.auth.entra.clouds import Cloud
from isthmus.connections.credentials import (
    AppCredentials,
    GrantKind,
    seal_certificate,
    seal_secret,
    seal_staged,
)
from isthmus.connections.keyring import Keyring
from isthmus.connections.making import SHARED_TENANT, Guard, Wish, ask, ensure_connection
from isthmus.connections.opening import Opener
from isthmus.kernel.failures import InvalidInput
from isthmus.store import connections, grants, staging
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Connection

_NAME_ATTEMPTS_MAX: Final = 5
"""Names that somebody else takes in the same moment."""


class Connecting:
    """Creates connections of one project and replaces the app that they sign in with; nothing is sent."""

    def __init__(self, db: Database, keyring: Keyring, opener: Opener, project_id: UUID) -> None:
        self._db = db
        self._keyring = keyring
        self._opener = opener
        self._project_id = project_id

    @property
    def project_id(self) -> UUID:
        """The project whose connections these are."""
        return self._project_id

    async def with_app(self, wish: Wish, app: AppCredentials) -> Connection:
        """Keep a connection that signs in as an app. Nothing is sent; check it next.

        A connection of that name that leads to the same place gets the new credentials instead, and keeps its data.
        """
        if (app.secret is None) == (app.certificate is None):
            raise InvalidInput("An app signs in with a client secret or with a certificate: give one of them.")
        wish.cloud.authority(wish.tenant)  # refuses what cannot be a tenant
        async with self._db.project(self._project_id) as tx:
            kind = GrantKind.APP if app.secret is not None else GrantKind.APP_CERTIFICATE
            connection, grant = await ensure_connection(tx, wish, kind, app.client_id)
            cloud: dict[str, Any] = msgspec.to_builtins(wish.cloud)
            await grants.set_settings(tx, grant.id, tenant=grant.tenant, client_id=app.client_id, cloud=cloud)
            await self._keep_credential(tx, grant.id, app)
            kept = await connections.get(tx, connection.id)
        self._opener.forget_tokens(grant.id)
        return kept

    async def prepare(self, wish: Wish, kind: GrantKind, client_id: str, scopes: Sequence[str] = ()) -> Connection:
        """A connection of its own that nobody has signed in to yet; where its name is taken, a number is added."""
        cloud: dict[str, Any] = msgspec.to_builtins(wish.cloud)
        tenant = wish.tenant or SHARED_TENANT
        wish.cloud.authority(tenant)  # refuses what cannot be a tenant
        for _ in range(_NAME_ATTEMPTS_MAX):
            try:
                async with self._db.project(self._project_id) as tx:
                    taken = {each.name for each in await connections.every(tx)}
                    name = next(name for name in _numbered(wish.name) if name not in taken)
                    grant = await grants.create(
                        tx,
                        provider=wish.provider,
                        kind=kind,
                        cloud=cloud,
                        tenant=tenant,
                        client_id=client_id,
                        scopes=list(scopes),
                    )
                    return await connections.create(
                        tx, grant_id=grant.id, provider=wish.provider, environment=wish.environment, name=name
                    )
            except InvalidInput as failure:
                if failure.subject != name:
                    raise  # else somebody has taken the name in the same moment
        raise InvalidInput(f"The name “{wish.name}” is taken again and again.", remedy="Try again.")

    async def use_app(
        self,
        connection_id: UUID,
        app: AppCredentials,
        *,
        tenant: str,
        cloud: Cloud,
        guard: Guard | None = None,
    ) -> Connection:
        """Let a connection sign in as an app from now on. Nothing is sent; try the credentials first, check it next."""
        kind = GrantKind.APP if app.secret is not None else GrantKind.APP_CERTIFICATE
        return await self._give(connection_id, app, kind, tenant=tenant, cloud=cloud, scopes=None, guard=guard)

    async def keep_for_sign_in(
        self,
        connection_id: UUID,
        app: AppCredentials,
        *,
        tenant: str,
        cloud: Cloud,
        scopes: Sequence[str],
        guard: Guard | None = None,
    ) -> None:
        """Give a connection that nobody has signed in to yet the app through which a person is going to."""
        place = tenant or SHARED_TENANT
        await self._give(connection_id, app, GrantKind.PERSON, tenant=place, cloud=cloud, scopes=scopes, guard=guard)

    async def _give(
        self,
        connection_id: UUID,
        app: AppCredentials,
        kind: GrantKind,
        *,
        tenant: str,
        cloud: Cloud,
        scopes: Sequence[str] | None,
        guard: Guard | None,
    ) -> Connection:
        """Put an app in place of what the connection's grant had; None keeps its scopes."""
        cloud.authority(tenant)  # refuses what cannot be a tenant
        plain: dict[str, Any] = msgspec.to_builtins(cloud)
        async with self._db.project(self._project_id) as tx:
            await ask(guard, tx)
            connection = await connections.get(tx, connection_id)
            grant = await grants.get(tx, connection.grant_id)
            await grants.set_settings(tx, grant.id, tenant=tenant, client_id=app.client_id, cloud=plain)
            await grants.set_kind(tx, grant.id, kind, grant.scopes if scopes is None else list(scopes))
            await self._keep_credential(tx, grant.id, app)
        self._opener.forget_tokens(grant.id)
        return connection

    async def _keep_credential(self, tx: Transaction, grant_id: UUID, app: AppCredentials) -> None:
        await grants.set_secret(
            tx,
            grant_id,
            secret_sealed=seal_secret(self._keyring, grant_id, app.secret) if app.secret else None,
            certificate_sealed=seal_certificate(self._keyring, grant_id, app.certificate) if app.certificate else None,
            secret_expires_at=app.ends_at,
        )
        if app.staged is not None:
            secret, certificate = app.staged.secret, app.staged.certificate
            await staging.stage(
                tx,
                grant_id,
                secret_sealed=seal_staged(self._keyring, grant_id, secret) if secret else None,
                certificate_sealed=seal_staged(self._keyring, grant_id, certificate) if certificate else None,
                from_at=app.staged_from,
            )
        await grants.forget_access_token(tx, grant_id)


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} {number}" for number in count(2))
