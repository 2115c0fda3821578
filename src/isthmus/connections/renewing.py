"""A new secret or certificate for a connection: tried first, then put in use; nobody has to consent again (OA-15).

`replace` changes it now. `stage` keeps a second one beside the one in use (Entra lets two be valid at once [verify]):
it takes over by itself when the first is refused, or from a date on. A mistyped secret replaces nothing.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from isthmus.auth.entra.credentials import Credential
from isthmus.auth.tokens import TokenSet
from isthmus.client.protocols import Journal
from isthmus.connections.credentials import (
    GrantKind,
    NewSecret,
    cloud_of,
    credential_of,
    in_use_already,
    same_proof,
    seal_certificate,
    seal_secret,
    seal_staged,
    seal_token,
)
from isthmus.connections.keyring import Keyring
from isthmus.connections.opening import Opener
from isthmus.connections.tokens import obtain
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    AppNotRegistered,
    ConsentMissing,
    Failure,
    InvalidInput,
    PermissionMissing,
    SignInAgain,
    TransientFailure,
)
from isthmus.providers.registry import provider_named
from isthmus.store import audit, connections, grants, health, staging
from isthmus.store.database import Database, Transaction
from isthmus.store.grants import Promotion, Refreshing
from isthmus.store.rows import Connection, Grant

_ACCEPTED_ALL_THE_SAME = (ConsentMissing, AppNotRegistered, PermissionMissing, SignInAgain, TransientFailure)
"""Refusals that say nothing against the secret: it is kept, and what is said is left to the check."""


class Renewing:
    """Replaces and stages what the connections of one project sign in with."""

    def __init__(self, db: Database, keyring: Keyring, opener: Opener, clock: Clock, project_id: UUID) -> None:
        self._db = db
        self._keyring = keyring
        self._opener = opener
        self._clock = clock
        self._project_id = project_id

    async def replace(self, connection_id: UUID, new: NewSecret, journal: Journal, *, actor: str) -> Connection:
        """Try it at the identity provider and use it from now on; check the connection next.

        The refresh token of a person's sign-in stays good. Raises SecretWrong and what else speaks against the secret
        itself; then nothing has changed.
        """
        credential = new.credential()
        refuse_past(new.expires_at, self._clock.now())
        connection, grant = await self._load(connection_id)
        async with grants.refreshing(self._db, self._project_id, grant.id) as turn:
            await self._put_in_use(turn, connection, credential, new, journal, actor)
        self._opener.forget_tokens(grant.id)
        async with self._db.project(self._project_id) as tx:
            if connection.state == "disconnected":
                await connections.set_state(tx, connection.id, "pending")
            return await connections.get(tx, connection.id)

    async def stage(
        self,
        connection_id: UUID,
        new: NewSecret,
        journal: Journal,
        *,
        actor: str,
        from_at: datetime | None = None,
    ) -> bool:
        """Keep it beside the one in use; True when the identity provider has accepted it already.

        One that is to begin later may not be valid yet and is kept without that. Raises SecretWrong and the like for
        one that should be valid now.
        """
        credential = new.credential()
        refuse_past(new.expires_at, self._clock.now())
        connection, grant = await self._load(connection_id)
        if connection.state == "disconnected":
            raise InvalidInput("The connection is disconnected.", remedy="Give it the new secret at once instead.")
        if same_proof(credential_of(self._keyring, grant), credential):
            raise in_use_already()
        later = from_at is not None and from_at > self._clock.now()
        accepted = await self._accepts(connection, grant, credential, journal, later=later)
        secret = new.secret
        async with self._db.project(self._project_id) as tx:
            await staging.stage(
                tx,
                grant.id,
                secret_sealed=seal_staged(self._keyring, grant.id, secret) if secret is not None else None,
                certificate_sealed=seal_staged(self._keyring, grant.id, new.certificate) if new.certificate else None,
                expires_at=new.expires_at,
                from_at=from_at,
            )
            if from_at is not None:
                await health.look_soon(tx, grant.id, health.AppointmentKind.IDLE, from_at)
            if not later:
                await health.try_new_secret(tx, [grant.id])
            await audit.note(
                tx,
                actor=actor,
                action="connection.secret_staged",
                subject=str(connection.id),
                detail={"name": connection.name, "from": from_at.isoformat() if from_at else None},
            )
        return accepted

    async def unstage(self, connection_id: UUID, *, actor: str) -> None:
        """Forget a staged secret."""
        connection, grant = await self._load(connection_id)
        async with self._db.project(self._project_id) as tx:
            await staging.unstage(tx, grant.id)
            await audit.note(tx, actor=actor, action="connection.secret_unstaged", subject=str(connection.id))

    async def set_expiry(self, connection_id: UUID, ends_at: datetime | None, *, actor: str) -> None:
        """When the secret in use ends, as Entra shows it. Raises InvalidInput for a certificate, which tells it."""
        connection, grant = await self._load(connection_id)
        if grant.certificate_sealed is not None:
            raise InvalidInput("A certificate says itself when it ends.", subject="secret_expires_at")
        if grant.secret_sealed is None and ends_at is not None:
            raise InvalidInput("This connection has no secret.", subject="secret_expires_at")
        async with self._db.project(self._project_id) as tx:
            await staging.set_expiry(tx, grant.id, ends_at)
            await audit.note(
                tx,
                actor=actor,
                action="connection.secret_expiry",
                subject=str(connection.id),
                detail={"expires_at": ends_at.isoformat() if ends_at else None},
            )

    async def _load(self, connection_id: UUID) -> tuple[Connection, Grant]:
        async with self._db.project(self._project_id) as tx:
            connection = await connections.get(tx, connection_id)
            return connection, await grants.get(tx, connection.grant_id)

    async def _put_in_use(
        self,
        turn: Refreshing,
        connection: Connection,
        credential: Credential,
        new: NewSecret,
        journal: Journal,
        actor: str,
    ) -> None:
        """Under the grant's lock: ask with it, then keep it together with what came back."""
        grant = turn.grant
        tokens: TokenSet | None
        try:
            await turn.refuse_while_paused()
            tokens = await self._ask_with(credential, connection, grant, journal)
        except _ACCEPTED_ALL_THE_SAME:
            tokens = None  # the check tells about it
        promotion = Promotion(
            secret_sealed=seal_secret(self._keyring, grant.id, new.secret) if new.secret else None,
            certificate_sealed=seal_certificate(self._keyring, grant.id, new.certificate) if new.certificate else None,
            expires_at=new.expires_at,
        )

        async def keep(tx: Transaction) -> None:
            await staging.put_in_use(
                tx,
                grant.id,
                secret_sealed=promotion.secret_sealed,
                certificate_sealed=promotion.certificate_sealed,
                expires_at=promotion.expires_at,
            )
            await staging.count_credential(tx, grant.id)
            await health.try_new_secret(tx, [grant.id])  # those that share the sign-in; this one is checked next
            if tokens is None:
                await grants.forget_access_token(tx, grant.id)
            await audit.note(
                tx,
                actor=actor,
                action="connection.secret_replaced",
                subject=str(connection.id),
                detail={"name": connection.name, "certificate": new.certificate is not None},
            )

        if tokens is None:
            await turn.within(keep)
        else:
            await turn.store(
                access_token_sealed=seal_token(self._keyring, grant.id, "access_token_sealed", tokens.access_token),
                access_expires_at=tokens.expires_at,
                refresh_token_sealed=seal_token(self._keyring, grant.id, "refresh_token_sealed", tokens.refresh_token)
                if tokens.refresh_token
                else None,
                also=keep,
            )

    async def _accepts(
        self, connection: Connection, grant: Grant, credential: Credential, journal: Journal, *, later: bool
    ) -> bool:
        """Whether the identity provider takes it. A person's refresh token is not spent on a trial."""
        if grant.kind == GrantKind.PERSON:
            return False
        try:
            await self._ask_with(credential, connection, grant, journal)
        except _ACCEPTED_ALL_THE_SAME:
            return False
        except Failure:
            if later:
                return False
            raise
        return True

    async def _ask_with(
        self, credential: Credential, connection: Connection, grant: Grant, journal: Journal
    ) -> TokenSet:
        """Tokens for the grant as it is, but with another credential; nothing is stored."""
        cloud = cloud_of(grant)
        return await obtain(
            self._keyring,
            grant,
            self._opener.token_call(cloud, journal),
            self._clock.now(),
            permissions=tuple(grant.scopes) or provider_named(connection.provider).declaration.delegated_scopes,
            resource=cloud.business_central_resource,
            credential=credential,
        )


def refuse_past(ends_at: datetime | None, now: datetime) -> None:
    """Raise InvalidInput for a secret that has ended already."""
    if ends_at is not None and ends_at <= now:
        raise InvalidInput(
            f"That ended on {ends_at:%Y-%m-%d} already.",
            remedy="Create a new one in Entra and give its own date of expiry.",
            subject="secret_expires_at",
        )
