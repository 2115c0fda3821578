"""Access tokens for stored grants: one renewal at a time over all processes, kept before it is used (OA-03, OA-29)."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Final

from isthmus.auth.entra.grants import client_credentials, refresh
from isthmus.auth.entra.scopes import delegated_scope
from isthmus.auth.tokens import TokenSet
from isthmus.client.call import RetryingCall
from isthmus.client.tokens import run_grant
from isthmus.connections.credentials import (
    GrantKind,
    cloud_of,
    credential_of,
    open_token,
    seal_token,
)
from isthmus.connections.keyring import Keyring
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import AccessTokenRejected, SignInAgain
from isthmus.store import grants
from isthmus.store.database import Database
from isthmus.store.rows import Grant

_AHEAD_S: Final = 300.0
_AHEAD_JITTER_S: Final = 60.0
"""Renewed five to six minutes ahead, spread so that the processes of a hub do not all come at once (OA rule 4)."""


class StoredTokens:
    """Fits `client.protocols.TokenSource` for one grant of the database.

    The token endpoint sees one request per expiry, however many processes share the grant: whoever holds the lock looks
    first whether another one has stored a good token meanwhile.
    """

    def __init__(
        self,
        db: Database,
        keyring: Keyring,
        grant: Grant,
        call: RetryingCall,
        clock: Clock,
        *,
        permissions: tuple[str, ...],
        resource: str,
    ) -> None:
        self._db = db
        self._keyring = keyring
        self._grant = grant
        self._call = call
        self._clock = clock
        self._permissions = permissions
        self._resource = resource
        self._lock = asyncio.Lock()
        self._ahead_s = _AHEAD_S + random.uniform(0.0, _AHEAD_JITTER_S)  # noqa: S311  (jitter, not a secret)
        self._token: str | None = None
        self._expires_at: datetime | None = None

    async def access_token(self, *, rejected: str | None = None) -> str:
        """A token believed good. Raises the CredentialFailure that says what has to be done."""
        if rejected is None and self._good():
            assert self._token is not None
            return self._token
        async with self._lock:
            if self._good() and self._token != rejected:
                assert self._token is not None
                return self._token
            return await self._shared(rejected, None)

    async def access_token_with_claims(self, claims: str) -> str:
        """A new token that carries the claims a resource has asked for (OA-33 [verify])."""
        async with self._lock:
            return await self._shared(self._token, claims)

    def _good(self) -> bool:
        return (
            self._token is not None
            and self._expires_at is not None
            and self._clock.now() + timedelta(seconds=self._ahead_s) < self._expires_at
        )

    async def _shared(self, rejected: str | None, claims: str | None) -> str:
        async with grants.refreshing(self._db, self._grant.project_id, self._grant.id) as turn:
            stored = self._stored(turn.grant)
            if stored is not None and stored != rejected and claims is None:
                self._token, self._expires_at = stored, turn.grant.access_expires_at
                return stored
            tokens = await self._obtain(turn.grant, claims)
            if tokens.access_token == rejected:
                raise AccessTokenRejected
            await turn.store(
                access_token_sealed=seal_token(
                    self._keyring, turn.grant.id, "access_token_sealed", tokens.access_token
                ),
                access_expires_at=tokens.expires_at,
                refresh_token_sealed=seal_token(
                    self._keyring, turn.grant.id, "refresh_token_sealed", tokens.refresh_token
                )
                if tokens.refresh_token
                else None,
            )
            self._token, self._expires_at = tokens.access_token, tokens.expires_at
            return tokens.access_token

    def _stored(self, grant: Grant) -> str | None:
        """What another process has left, if it is still good for a while."""
        if grant.access_token_sealed is None or grant.access_expires_at is None:
            return None
        if self._clock.now() + timedelta(seconds=self._ahead_s) >= grant.access_expires_at:
            return None
        return open_token(self._keyring, grant, "access_token_sealed", grant.access_token_sealed)

    async def _obtain(self, grant: Grant, claims: str | None) -> TokenSet:
        return await obtain(
            self._keyring,
            grant,
            self._call,
            self._clock.now(),
            permissions=self._permissions,
            resource=self._resource,
            claims=claims,
        )


async def obtain(
    keyring: Keyring,
    grant: Grant,
    call: RetryingCall,
    now: datetime,
    *,
    permissions: tuple[str, ...],
    resource: str,
    claims: str | None = None,
) -> TokenSet:
    """Ask the identity provider. A person's grant is renewed by its refresh token, an app's by its own credential.

    A refresh token outlives an expired secret: it is kept until somebody signs in again (OA-15, OA-19).
    """
    authority = cloud_of(grant).authority(grant.tenant)
    credential = credential_of(keyring, grant)
    if grant.kind == GrantKind.PERSON:
        if grant.refresh_token_sealed is None:
            raise SignInAgain("This connection has no refresh token.")
        return await run_grant(
            refresh(
                authority,
                client_id=grant.client_id,
                credential=credential,
                refresh_token=open_token(keyring, grant, "refresh_token_sealed", grant.refresh_token_sealed),
                scope=delegated_scope(resource, permissions),
                now=now,
                claims=claims,
            ),
            call,
        )
    assert credential is not None
    return await run_grant(
        client_credentials(
            authority, client_id=grant.client_id, credential=credential, resource=resource, now=now, claims=claims
        ),
        call,
    )
