"""The secret of a host's own app, for all connections that sign in through it: tried first, put in use or staged.

It is kept at the integration, sealed, and copied, sealed, to every grant of the app. A mistyped secret replaces
nothing: it is tried in the tenant of somebody who has connected; only with an app that nobody has connected with yet
there is nobody to ask.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from isthmus.client.protocols import Journal
from isthmus.connections import host_app
from isthmus.connections.credentials import (
    AppCredentials,
    NewSecret,
    cloud_of,
    in_use_already,
    same_proof,
    seal_certificate,
    seal_secret,
    seal_staged,
    staged_credential_of,
)
from isthmus.connections.keyring import Keyring
from isthmus.connections.making import Wish
from isthmus.connections.opening import Opener
from isthmus.connections.renewing import refuse_past
from isthmus.connections.trial import SOMEBODY_ELSE, try_app
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import ConfigurationFailure, Conflict, Failure, InvalidInput, SecretExpired, SecretWrong
from isthmus.store import app_secrets, grants, health, integrations, staging
from isthmus.store.audit import Author
from isthmus.store.database import Database, Transaction
from isthmus.store.integrations import Integration
from isthmus.store.rows import Grant

TRIALS_MAX: Final = 3
"""Tenants that are asked, one after the other, while one says nothing about the secret itself."""

BY_ITSELF: Final = Author(actor="isthmus")

_REFUSED: Final = (SecretWrong, SecretExpired, InvalidInput)
"""The secret itself is the trouble."""


class PutInUse(msgspec.Struct, frozen=True, kw_only=True):
    """How many sign-ins use a new secret, and whether the identity provider has accepted it before."""

    sign_ins: int
    tried: bool


class AppSecrets:
    """Replaces, stages and dates what the integrations of one project prove themselves with."""

    def __init__(self, db: Database, keyring: Keyring, opener: Opener, clock: Clock, project_id: UUID) -> None:
        self._db = db
        self._keyring = keyring
        self._opener = opener
        self._clock = clock
        self._project_id = project_id

    async def replace(self, integration_id: UUID, new: NewSecret, journal: Journal, *, by: Author) -> PutInUse:
        """Try it, then use it for every connection of the app from now on; nobody consents anew (OA-15).

        Connections that stand still because of the old one are checked by themselves. Raises SecretWrong and what else
        is said about it; then nothing has changed.
        """
        integration = await self._checked(integration_id, new)
        tried = await self._try(integration, new, journal)
        return await self._use(integration, new, tried=tried, by=by, act="integration.secret")

    async def stage(
        self, integration_id: UUID, new: NewSecret, journal: Journal, *, by: Author, from_at: datetime | None = None
    ) -> bool:
        """Keep it beside the one in use, here and at every connection; True when it has been accepted already (OA-38).

        It takes over when the old one is refused or has ended, or at `from_at`. One that is to begin later may not be
        valid yet; any other is refused here.
        """
        integration = await self._checked(integration_id, new)
        used = host_app.in_use(self._keyring, integration)
        if used is not None and same_proof(used.credential(), new.credential()):
            raise in_use_already()
        now = self._clock.now()
        try:
            tried = await self._try(integration, new, journal)
        except Failure:
            if from_at is None or from_at <= now:
                raise
            tried = False
        if integration.secret_expires_at is not None and integration.secret_expires_at <= now:
            from_at = from_at or now  # there is nothing to wait for
        async with self._db.project(self._project_id) as tx:
            sealed = host_app.seal_waiting(self._keyring, integration.id, new)
            await app_secrets.stage(tx, integration.id, expires_at=new.expires_at, from_at=from_at, **sealed)
            users = await integrations.grants_of(tx, integration.id, integration.client_id)
            for grant in users:
                await staging.stage(
                    tx,
                    grant.id,
                    secret_sealed=seal_staged(self._keyring, grant.id, new.secret) if new.secret else None,
                    certificate_sealed=seal_staged(self._keyring, grant.id, new.certificate)
                    if new.certificate
                    else None,
                    from_at=from_at,
                )
            await health.try_new_secret(tx, [grant.id for grant in users])
            await by.note(
                tx,
                "integration.secret_staged",
                integration.id,
                name=integration.name,
                **{"from": from_at.isoformat() if from_at else None},
            )
        return tried

    async def unstage(self, integration_id: UUID, *, by: Author) -> None:
        """Forget the one that waits, here and where it was copied to."""
        async with self._db.project(self._project_id) as tx:
            integration = await integrations.get(tx, integration_id)
            waiting = host_app.waiting(self._keyring, integration)
            await app_secrets.unstage(tx, integration.id)
            for grant in await integrations.grants_of(tx, integration.id, integration.client_id):
                if waiting is not None and self._same(grant, waiting):
                    await staging.unstage(tx, grant.id)
            await by.note(tx, "integration.secret_unstaged", integration.id, name=integration.name)

    async def set_expiry(self, integration_id: UUID, ends_at: datetime | None, *, by: Author) -> None:
        """When the one in use ends, as Entra shows it. Raises InvalidInput for a certificate, which tells it."""
        async with self._db.project(self._project_id) as tx:
            integration = await integrations.get(tx, integration_id)
            if integration.certificate_sealed is not None:
                raise InvalidInput("A certificate says itself when it ends.", subject="secret_expires_at")
            if integration.secret_sealed is None and ends_at is not None:
                raise InvalidInput("This integration has no secret.", subject="secret_expires_at")
            await app_secrets.set_expiry(tx, integration.id, ends_at)
            await by.note(
                tx,
                "integration.secret_expiry",
                integration.id,
                name=integration.name,
                expires_at=ends_at.isoformat() if ends_at else None,
            )

    async def let_take_over(self, integration_id: UUID, journal: Journal) -> Failure | None:
        """The time of the staged one has come: try it and use it. What is said against it; then it stays behind the one
        in use. Raises what says nothing about it, such as TransientFailure."""
        async with self._db.project(self._project_id) as tx:
            integration = await integrations.get(tx, integration_id)
        waiting = host_app.waiting(self._keyring, integration)
        if waiting is None:
            return None
        try:
            tried = await self._try(integration, waiting, journal)
        except _REFUSED as refusal:
            async with self._db.project(self._project_id) as tx:
                await app_secrets.not_from_a_date(tx, integration.id)
                await BY_ITSELF.note(tx, "integration.staged_secret_refused", integration.id, name=integration.name)
            return refusal
        await self._use(integration, waiting, tried=tried, by=BY_ITSELF, act="integration.staged_secret_promoted")
        return None

    async def _checked(self, integration_id: UUID, new: NewSecret) -> Integration:
        new.credential()  # refuses what cannot be sent
        refuse_past(new.expires_at, self._clock.now())
        async with self._db.project(self._project_id) as tx:
            integration = await integrations.get(tx, integration_id)
        if not integration.client_id:
            raise InvalidInput("This integration has no app of its own.", remedy="Enter its client id first.")
        return integration

    async def _try(self, integration: Integration, new: NewSecret, journal: Journal) -> bool:
        """Whether the identity provider accepts it; False when nobody has connected yet, so that nobody can be asked.

        The app's own token is asked for: a person's refresh token is not spent. A tenant where consent is missing has
        looked at the secret; one that does not know the app any more has not, and the next one is asked.
        """
        async with self._db.project(self._project_id) as tx:
            found = await app_secrets.to_try_on(tx, integration.id, integration.client_id)
        known = [grant for grant in found if not cloud_of(grant).authority(grant.tenant).shared]
        unclear: Failure | None = None
        app = AppCredentials(client_id=integration.client_id, secret=new.secret, certificate=new.certificate)
        for grant in known[:TRIALS_MAX]:
            wish = Wish(provider=grant.provider, cloud=cloud_of(grant), tenant=grant.tenant, environment="", name="")
            try:
                await try_app(self._opener, self._clock, wish, app, journal)
            except SOMEBODY_ELSE:
                return True
            except (SecretWrong, SecretExpired, ConfigurationFailure):
                raise
            except Failure as failure:
                unclear = failure
            else:
                return True
        if unclear is not None:
            unclear.message += " The new secret could not be tried, so nothing was changed."
            raise unclear
        return False

    async def _use(self, integration: Integration, new: NewSecret, *, tried: bool, by: Author, act: str) -> PutInUse:
        """Here, and at every grant of the app, in one transaction with its audit entry."""
        async with self._db.project(self._project_id) as tx:
            present = await integrations.get(tx, integration.id, lock=True)
            if present.client_id != integration.client_id or (by is BY_ITSELF and present.staged_at is None):
                raise Conflict("The integration was changed in the same moment, so its secret was left alone.")
            before = host_app.waiting(self._keyring, present)
            sealed = host_app.seal_in_use(self._keyring, integration.id, new)
            await app_secrets.put_in_use(tx, integration.id, secret_expires_at=new.expires_at, **sealed)
            users = await integrations.grants_of(tx, integration.id, integration.client_id)
            for grant in users:
                await self._hand_on(tx, grant, new, before)
            await health.try_new_secret(tx, [grant.id for grant in users])
            await by.note(tx, act, integration.id, name=integration.name, sign_ins=len(users), tried=tried)
        for grant in users:
            self._opener.forget_tokens(grant.id)
        return PutInUse(sign_ins=len(users), tried=tried)

    async def _hand_on(self, tx: Transaction, grant: Grant, new: NewSecret, before: NewSecret | None) -> None:
        """The grant's copy. What somebody has staged for this connection alone goes on waiting."""
        await staging.put_in_use(
            tx,
            grant.id,
            secret_sealed=seal_secret(self._keyring, grant.id, new.secret) if new.secret else None,
            certificate_sealed=seal_certificate(self._keyring, grant.id, new.certificate) if new.certificate else None,
            expires_at=None,  # watched at the integration
        )
        await grants.forget_access_token(tx, grant.id)
        if grant.staged_at is not None and not any(self._same(grant, each) for each in (new, before) if each):
            await staging.stage(
                tx,
                grant.id,
                secret_sealed=grant.staged_secret_sealed,
                certificate_sealed=grant.staged_certificate_sealed,
                expires_at=grant.staged_expires_at,
                from_at=grant.staged_from,
            )

    def _same(self, grant: Grant, secret: NewSecret) -> bool:
        """Whether it is the secret that waits at the grant."""
        return same_proof(staged_credential_of(self._keyring, grant), secret.credential())
