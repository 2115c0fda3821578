"""Grants: credentials and tokens, sealed; one refresh at a time over all processes; sign-ins under way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import DatabaseUnavailable, InvalidInput, PausedAfterRestore, TransientFailure
from isthmus.kernel.hurry import unhurried
from isthmus.kernel.ids import new_id
from isthmus.store import app_secrets, audit, health, staging
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Authorization, Grant

REFRESH_WAIT_MAX_S = 75
"""How long one process waits for another's refresh: longer than the minute that a token request may take."""

REFRESH_IDLE_MAX_S = 120
"""How long the holder's transaction may stand still: longer than anybody waits for it, so that no living one is cut."""

SIGN_INS_KEPT_HOURS: Final = 24
"""How long a sign-in that is over is known, without its secrets: whoever comes back late is told what happened."""

_FORGOTTEN_AT_ONCE: Final = 100


async def create(
    tx: Transaction,
    *,
    provider: str,
    kind: str,
    cloud: dict[str, Any],
    tenant: str,
    client_id: str,
    scopes: list[str] | None = None,
    secret_expires_at: datetime | None = None,
    settings: dict[str, Any] | None = None,
    grant_id: UUID | None = None,
) -> Grant:
    """A new grant without secrets; seal them for its id and store them with `set_secret` and `store_tokens`."""
    grant = await tx.row(
        Grant,
        """INSERT INTO grants (id, project_id, provider, kind, cloud, tenant, client_id, scopes, secret_expires_at,
                               settings)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *""",
        (
            grant_id or new_id(),
            tx.project_id,
            provider,
            kind,
            Jsonb(cloud),
            tenant,
            client_id,
            scopes or [],
            secret_expires_at,
            Jsonb(settings or {}),
        ),
    )
    assert grant is not None
    return grant


async def get(tx: Transaction, grant_id: UUID) -> Grant:
    """The grant. Raises InvalidInput when there is none."""
    grant = await tx.row(Grant, "SELECT * FROM grants WHERE id = %s", (grant_id,))
    if grant is None:
        raise InvalidInput(f"There is no grant {grant_id}.")
    return grant


async def some(tx: Transaction, grant_ids: Sequence[UUID]) -> list[Grant]:
    """Those of them that there are, in no order."""
    return await tx.rows(Grant, "SELECT * FROM grants WHERE id = ANY (%s)", (list(grant_ids),))


async def every(tx: Transaction) -> list[Grant]:
    """The project's grants, oldest first."""
    return await tx.rows(Grant, "SELECT * FROM grants ORDER BY id")


async def same_consent(tx: Transaction, grant: Grant, connection_id: UUID, consumer_id: UUID) -> Grant | None:
    """Another grant of the consumer's, locked: for the same app, permissions, tenant and cloud, and for a sign-in the
    same person (OA-43). `connection_id` is the connection that uses `grant`.
    """
    return await tx.row(
        Grant,
        """SELECT g.* FROM grants g
           WHERE g.id <> %(own)s AND g.kind = %(kind)s AND g.client_id = %(client)s AND g.scopes = %(scopes)s
             AND g.cloud = (SELECT cloud FROM grants WHERE id = %(own)s)
             AND g.settings ->> 'tenant_id' = %(tenant)s
             AND coalesce(g.settings ->> 'user_id', '') = %(user)s
             AND EXISTS (SELECT 1 FROM connections c WHERE c.grant_id = g.id AND c.consumer_id = %(consumer)s
                         AND c.id <> %(connection)s AND c.state <> 'disconnected')
           ORDER BY g.id LIMIT 1 FOR UPDATE""",
        {
            "own": grant.id,
            "kind": grant.kind,
            "client": grant.client_id,
            "scopes": grant.scopes,
            "tenant": str(grant.settings.get("tenant_id") or ""),
            "user": str(grant.settings.get("user_id") or ""),
            "consumer": consumer_id,
            "connection": connection_id,
        },
    )


async def delete_unused(tx: Transaction, grant_id: UUID) -> None:
    """Forget a grant unless a connection uses it."""
    await tx.execute(
        "DELETE FROM grants WHERE id = %s AND NOT EXISTS (SELECT 1 FROM connections WHERE grant_id = %s)",
        (grant_id, grant_id),
    )


async def set_secret(
    tx: Transaction,
    grant_id: UUID,
    *,
    secret_sealed: bytes | None = None,
    certificate_sealed: bytes | None = None,
    secret_expires_at: datetime | None = None,
) -> None:
    """Replace the app's secret or certificate, and one that was staged; what is learned about the one before counts no
    more (`credential_number`). Tokens stay; a refresh token survives an expired secret."""
    await tx.execute(
        """UPDATE grants
           SET secret_sealed = %s, certificate_sealed = %s, secret_expires_at = %s, updated_at = now(),
               staged_secret_sealed = NULL, staged_certificate_sealed = NULL, staged_expires_at = NULL,
               staged_from = NULL, staged_at = NULL
           WHERE id = %s""",
        (secret_sealed, certificate_sealed, secret_expires_at, grant_id),
    )
    await staging.count_credential(tx, grant_id)


async def set_settings(tx: Transaction, grant_id: UUID, *, tenant: str, client_id: str, cloud: dict[str, Any]) -> None:
    """Correct tenant, app or cloud."""
    await tx.execute(
        "UPDATE grants SET tenant = %s, client_id = %s, cloud = %s, updated_at = now() WHERE id = %s",
        (tenant, client_id, Jsonb(cloud), grant_id),
    )


async def set_kind(tx: Transaction, grant_id: UUID, kind: str, scopes: list[str]) -> None:
    """How the grant signs in, and which permissions it asks for; none are the provider's usual ones."""
    await tx.execute(
        "UPDATE grants SET kind = %s, scopes = %s, updated_at = now() WHERE id = %s", (kind, scopes, grant_id)
    )


async def store_tokens(
    tx: Transaction,
    grant_id: UUID,
    *,
    fence: int,
    access_token_sealed: bytes | None,
    access_expires_at: datetime | None,
    refresh_token_sealed: bytes | None = None,
) -> bool:
    """Keep a token result that was asked for when the grant's fence was `fence`; False when it is out of date (OA-29).

    A refresh token of None keeps the present one (OA-30).
    """
    touched = await tx.execute(
        """UPDATE grants
           SET access_token_sealed = %s, access_expires_at = %s,
               refresh_token_sealed = coalesce(%s, refresh_token_sealed), fence = fence + 1, updated_at = now()
           WHERE id = %s AND fence = %s""",
        (access_token_sealed, access_expires_at, refresh_token_sealed, grant_id, fence),
    )
    return touched == 1


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """A staged credential that has just worked, sealed for its new place."""

    secret_sealed: bytes | None
    certificate_sealed: bytes | None
    expires_at: datetime | None


class Refreshing:
    """The right to refresh one grant, held until the result is stored, the context ends or its connection breaks.

    `grant` was read under the lock: look whether it has a good token by now before asking for one.
    """

    def __init__(self, db: Database, lock: Transaction, grant: Grant) -> None:
        self._db = db
        self._lock = lock
        self.grant = grant
        self.rescued = False
        """The lock broke before the result could be stored under it, and it was stored without."""

    async def refuse_while_paused(self) -> None:
        """After a restore nobody's sign-in is renewed before somebody has looked: the refresh token may have been
        replaced since the backup, and showing an old one can end a sign-in for good. Raises PausedAfterRestore.
        """
        if await self._lock.value("SELECT 1 FROM pauses WHERE what = 'tokens'") is not None:
            raise PausedAfterRestore(
                "This sign-in is not renewed yet: the database was restored from a backup.", unsent=True
            )

    async def store(
        self,
        *,
        access_token_sealed: bytes | None,
        access_expires_at: datetime | None,
        refresh_token_sealed: bytes | None = None,
        also: Callable[[Transaction], Awaitable[None]] | None = None,
    ) -> bool:
        """Store the result, at once and for good, before anybody uses it. Should the lock's connection have broken
        meanwhile, a new one is used: a refresh token that was replaced must not be lost. `also` is done in the same
        transaction (twice, should the first break).

        False when a newer one is there (OA-29): read the grant again then. Raises DatabaseUnavailable.
        """

        async def keep(tx: Transaction) -> bool:
            if also is not None:
                await also(tx)
            return await store_tokens(
                tx,
                self.grant.id,
                fence=self.grant.fence,
                access_token_sealed=access_token_sealed,
                access_expires_at=access_expires_at,
                refresh_token_sealed=refresh_token_sealed,
            )

        try:
            stored = await keep(self._lock)
            await self._lock.commit()
        except psycopg.OperationalError:
            if not self._lock.connection.closed:
                raise
            with unhurried():  # whoever asks waits as long as it takes: the vendor has replaced it already
                stored = await self._db.transact(self._lock.project_id, keep)
            self.rescued = True
        return stored

    async def within(self, work: Callable[[Transaction], Awaitable[None]]) -> None:
        """Do something in the lock's own transaction, which the end of the turn commits."""
        await work(self._lock)

    async def staged_refused(self) -> None:
        """The staged credential was refused at its date: it waits behind the one in use, and the audit log says so."""
        await staging.not_from_a_date(self._lock, self.grant.id)
        await audit.note(
            self._lock, actor="isthmus", action="connection.staged_secret_refused", subject=str(self.grant.id)
        )


async def promote(tx: Transaction, grant: Grant, promotion: Promotion) -> None:
    """The staged credential takes the place of the one in use, and the audit log says so; unless somebody has changed
    what waits since `grant` was read. Connections that stood still because of the old one are looked at again.
    """
    await app_secrets.taken_up(tx, grant)  # integration before grant, like whoever replaces the secret of all
    staged_at = await tx.value("SELECT staged_at FROM grants WHERE id = %s FOR UPDATE", (grant.id,))
    if staged_at is None or staged_at != grant.staged_at:
        return
    await health.try_new_secret(tx, [grant.id])
    await staging.put_in_use(
        tx,
        grant.id,
        secret_sealed=promotion.secret_sealed,
        certificate_sealed=promotion.certificate_sealed,
        expires_at=promotion.expires_at,
    )
    await audit.note(
        tx,
        actor="isthmus",
        action="connection.staged_secret_promoted",
        subject=str(grant.id),
        detail={"client_id": grant.client_id, "staged_at": grant.staged_at.isoformat() if grant.staged_at else None},
    )


@asynccontextmanager
async def refreshing(
    db: Database, project_id: UUID, grant_id: UUID, *, wait_s: int = REFRESH_WAIT_MAX_S
) -> AsyncIterator[Refreshing]:
    """Single flight: of all processes, one at a time is inside for a grant.

    The lock is an advisory one that ends with its transaction. Should that break while the token request is slow,
    somebody else refreshes meanwhile and the fence keeps the late result from overwriting the newer one (OA-29).
    Raises TransientFailure when another one holds the lock for longer than `wait_s`.
    """
    turn: Refreshing | None = None
    try:
        async with db.project(project_id) as lock:
            await lock.execute(f"SET LOCAL lock_timeout = '{wait_s}s'")
            await lock.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{REFRESH_IDLE_MAX_S}s'")
            try:
                await lock.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended('grant:' || %s, 0))", (str(grant_id),)
                )
            except psycopg.errors.LockNotAvailable as error:
                raise renewal_takes_long() from error
            turn = Refreshing(db, lock, await get(lock, grant_id))
            yield turn
    except DatabaseUnavailable:
        if turn is None or not turn.rescued:
            raise


def renewal_takes_long() -> TransientFailure:
    """Somebody else is renewing the same sign-in, or all places for renewals are taken, for unusually long."""
    return TransientFailure("The sign-in is being renewed by another process, which takes unusually long.")


async def begin_authorization(
    tx: Transaction, *, state_hash: bytes, sealed: bytes, context: dict[str, Any], expires_at: datetime,
    authorization_id: UUID | None = None,
) -> UUID:  # fmt: skip
    """Remember a sign-in that was sent to the browser (OA-22, OA-27)."""
    identifier = authorization_id or new_id()
    await tx.execute(
        """DELETE FROM authorizations WHERE id IN (
               SELECT id FROM authorizations WHERE expires_at < now() - make_interval(hours => %s) LIMIT %s)""",
        (SIGN_INS_KEPT_HOURS, _FORGOTTEN_AT_ONCE),
    )
    await tx.execute(
        """INSERT INTO authorizations (id, project_id, state_hash, sealed, context, expires_at)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (identifier, tx.project_id, state_hash, sealed, Jsonb(context), expires_at),
    )
    return identifier


async def find_authorization(db: Database, state_hash: bytes) -> Authorization | None:
    """The sign-in that a callback's state belongs to, used or not, in whatever project."""
    async with db.system() as tx:
        return await tx.row(
            Authorization,
            "SELECT id, project_id, sealed, context, expires_at, used_at FROM authorizations WHERE state_hash = %s",
            (state_hash,),
        )


async def tie_authorization(tx: Transaction, authorization_id: UUID, browser: str) -> bool:
    """Let a sign-in belong to one browser (the hash of its cookie); False when it is another's already, or over."""
    return (
        await tx.execute(
            """UPDATE authorizations SET context = context || jsonb_build_object('browser', %(browser)s::text)
               WHERE id = %(id)s AND used_at IS NULL AND expires_at > now()
                 AND coalesce(context ->> 'browser', %(browser)s) = %(browser)s""",
            {"id": authorization_id, "browser": browser},
        )
        == 1
    )


async def use_authorization(tx: Transaction, authorization_id: UUID) -> bool:
    """Take the sign-in; False when it was taken before or has expired: a state is good once (OA-22, OA-25).

    Its secrets are the taker's from here on and are kept no longer; that it was there is known for a while.
    """
    return (
        await tx.execute(
            """UPDATE authorizations SET used_at = now(), sealed = ''
               WHERE id = %s AND used_at IS NULL AND expires_at > now()""",
            (authorization_id,),
        )
        == 1
    )


async def forget_sign_ins(db: Database) -> int:
    """Drop the secrets of sign-ins, in all projects, that never came back in time; of how many."""
    async with db.system() as tx:
        return await tx.execute("UPDATE authorizations SET sealed = '' WHERE expires_at < now() AND sealed <> ''")


async def forget_sign_ins_of(tx: Transaction, connection_id: UUID) -> int:
    """End the sign-ins to a connection that are under way; how many."""
    return await tx.execute(
        "DELETE FROM authorizations WHERE context ->> 'connection_id' = %s AND used_at IS NULL", (str(connection_id),)
    )


async def set_identity(tx: Transaction, grant_id: UUID, *, tenant: str, user_id: str) -> None:
    """Who signed in: the tenant becomes the grant's own, so that another one is refused from now on (OA-22)."""
    await tx.execute(
        """UPDATE grants
           SET tenant = %s, updated_at = now(), settings = settings || %s || jsonb_build_object(
               'credential', coalesce((settings ->> 'credential')::integer, 0) + 1)
           WHERE id = %s""",
        (tenant, Jsonb({"tenant_id": tenant, "user_id": user_id}), grant_id),
    )


async def set_tenant_id(tx: Transaction, grant_id: UUID, tenant_id: str) -> None:
    """Which tenant the grant's tenant is, whatever name of it was typed."""
    await tx.execute(
        "UPDATE grants SET settings = settings || %s WHERE id = %s", (Jsonb({"tenant_id": tenant_id}), grant_id)
    )


async def forget_access_token(tx: Transaction, grant_id: UUID) -> None:
    """The credential has changed: the next call asks for a token with the new one. The refresh token stays (OA-15)."""
    await tx.execute(
        """UPDATE grants
           SET access_token_sealed = NULL, access_expires_at = NULL, fence = fence + 1, updated_at = now(),
               settings = settings || jsonb_build_object(
                   'credential', coalesce((settings ->> 'credential')::integer, 0) + 1)
           WHERE id = %s""",
        (grant_id,),
    )


async def expire_access_token(tx: Transaction, grant_id: UUID) -> None:
    """Ask for a new token at the next call, with the credential that there is."""
    await tx.execute(
        """UPDATE grants SET access_token_sealed = NULL, access_expires_at = NULL, fence = fence + 1 WHERE id = %s""",
        (grant_id,),
    )


def credential_number(grant: Grant) -> int:
    """Grows with every new secret and every new sign-in, and with nothing else: renewals leave it alone. What somebody
    learns about a connection counts only while this is what it was (`connections.set_state`).
    """
    return int(grant.settings.get("credential", 0))
