"""Access tokens for stored grants: one renewal at a time over all processes, kept before it is used (OA-03, OA-29)."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from isthmus.auth.entra.credentials import Credential
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
    promotion_of,
    seal_token,
    staged_credential_of,
)
from isthmus.connections.keyring import Keyring
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    AccessTokenRejected,
    ConfigurationFailure,
    CredentialFailure,
    IdentityConfiguration,
    SecretExpired,
    SecretWrong,
    SignInAgain,
    TransientFailure,
)
from isthmus.store import grants
from isthmus.store.database import Database
from isthmus.store.grants import Promotion, Refreshing
from isthmus.store.rows import Grant

_log = logging.getLogger(__name__)

_AHEAD_S: Final = 300.0
_AHEAD_JITTER_S: Final = 60.0
"""Renewed five to six minutes ahead, spread so that the processes of a hub do not all come at once (OA rule 4)."""

_AHEAD_SHARE_MAX: Final = 0.25
"""Of a short-lived token at most the last quarter is given away; else every request would ask for a new one."""

REFUSAL_KEPT_S: Final = 60.0
"""A refusal that repeating cannot change is the answer for so long, unless a new secret or sign-in comes first: an
identity provider takes many equal requests for a loop and locks the app out (AADSTS50196).
"""

REFRESHES_MAX: Final = 4
"""Renewals under way in one process: each holds one of the pool's ten database connections."""

SECRET_REFUSED: Final = (SecretWrong, SecretExpired, ConfigurationFailure)
"""The secret or certificate is the trouble, or missing: another one may do."""

_LASTING: Final = (SecretWrong, SecretExpired, SignInAgain, IdentityConfiguration)
"""Refusals that only a new credential ends; a missing consent may be given at any moment, without us knowing."""


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
        places: asyncio.Semaphore | None = None,
    ) -> None:
        self._places = places or asyncio.Semaphore(REFRESHES_MAX)
        self._db = db
        self._keyring = keyring
        self._grant = grant
        self._call = call
        self._clock = clock
        self._permissions = permissions
        self._resource = resource
        self._lock = asyncio.Lock()
        self._early_s = _AHEAD_S + random.uniform(0.0, _AHEAD_JITTER_S)  # noqa: S311  (jitter, not a secret)
        self._ahead_s = self._early_s
        self._refusals = 0
        self._refused: CredentialFailure | None = None
        self._refused_fence: int | None = None
        self._refused_s = 0.0
        self._token: str | None = None
        self._expires_at: datetime | None = None

    async def access_token(self, *, rejected: str | None = None) -> str:
        """A token believed good. Raises the CredentialFailure that says what has to be done.

        A passing trouble during an early renewal is ridden out on the token that is still good.
        """
        if rejected is None and self._good():
            assert self._token is not None
            return self._token
        refusals = self._refusals
        async with self._lock:
            if self._good() and self._token != rejected:
                assert self._token is not None
                return self._token
            if self._refusals != refusals and self._refused is not None:
                raise self._refused  # the answer to whoever was first in the queue (OA-19)
            try:
                return await self._shared(rejected, None)
            except CredentialFailure as failure:
                self._refusals, self._refused = self._refusals + 1, failure
                raise
            except TransientFailure:
                if self._token is None or self._token == rejected or not self._good_for(0.0):
                    raise
                return self._token

    async def access_token_with_claims(self, claims: str) -> str:
        """A new token that carries the claims a resource has asked for (OA-33 [verify])."""
        async with self._lock:
            return await self._shared(self._token, claims)

    def forget(self) -> None:
        """The credential has changed: what was obtained with the old one is not used any more."""
        self._token = self._expires_at = None
        self.forget_refusal()

    def forget_refusal(self) -> None:
        """Somebody wants to know: ask the identity provider, whatever it said a moment ago."""
        self._refused_fence = None

    def _good(self) -> bool:
        return self._good_for(self._ahead_s)

    def _good_for(self, seconds: float) -> bool:
        return (
            self._token is not None
            and self._expires_at is not None
            and self._clock.now() + timedelta(seconds=seconds) < self._expires_at
        )

    def _keep(self, token: str, expires_at: datetime | None, life_s: float) -> str:
        self._token, self._expires_at = token, expires_at
        self._ahead_s = self._ahead_of(life_s)
        return token

    def _ahead_of(self, life_s: float) -> float:
        """How long before its end a token that lives so long is renewed."""
        return min(self._early_s, max(0.0, life_s) * _AHEAD_SHARE_MAX)

    async def _shared(self, rejected: str | None, claims: str | None) -> str:
        await self._keyring.fresh()
        async with (
            self._place(),
            grants.refreshing(self._db, self._grant.project_id, self._grant.id) as turn,
        ):
            stored = self._stored(turn.grant)
            if stored is not None and stored != rejected and claims is None:
                kept = self._keep(stored, turn.grant.access_expires_at, _life_s(turn.grant))
                if self._good():
                    return kept  # else it is what a renewal that fails in passing is ridden out on
            self._refuse_again(turn.grant)
            if turn.grant.kind == GrantKind.PERSON:  # an app's token is asked for with its own credential: no harm done
                await turn.refuse_while_paused()
            try:
                tokens, promotion = await self._obtain(turn, claims)
            except _LASTING as failure:
                self._refused = failure
                self._refused_fence, self._refused_s = turn.grant.fence, self._clock.monotonic_s()
                raise
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
                also=partial(grants.promote, grant=turn.grant, promotion=promotion) if promotion else None,
            )
            life_s = (tokens.expires_at - tokens.obtained_at).total_seconds()
            return self._keep(tokens.access_token, tokens.expires_at, life_s)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the process's few places for renewals. Raises TransientFailure."""
        try:
            async with asyncio.timeout(grants.REFRESH_WAIT_MAX_S):
                await self._places.acquire()
        except TimeoutError as error:
            raise grants.renewal_takes_long() from error
        try:
            yield
        finally:
            self._places.release()

    def _refuse_again(self, grant: Grant) -> None:
        """Raise what the identity provider said a moment ago, when nothing has changed since."""
        young = self._clock.monotonic_s() - self._refused_s < REFUSAL_KEPT_S
        if self._refused is not None and self._refused_fence == grant.fence and young:
            raise self._refused

    def _stored(self, grant: Grant) -> str | None:
        """What another process has left, if it is still good."""
        if grant.access_token_sealed is None or grant.access_expires_at is None:
            return None
        if self._clock.now() >= grant.access_expires_at:
            return None
        return open_token(self._keyring, grant, "access_token_sealed", grant.access_token_sealed)

    async def _obtain(self, turn: Refreshing, claims: str | None) -> tuple[TokenSet, Promotion | None]:
        """With the credential in use; with a staged one when that is refused, or first when its date has come.

        A staged credential that works is promoted. One that is refused at its date stays, behind the one in use.
        """
        grant = turn.grant
        staged = staged_credential_of(self._keyring, grant)
        if staged is None:
            return await self._ask(grant, claims), None
        if grant.staged_from is not None and self._clock.now() >= grant.staged_from:
            try:
                return await self._ask(grant, claims, staged), promotion_of(self._keyring, grant)
            except SECRET_REFUSED as refusal:
                _log.warning("the staged secret of grant %s is refused: %s", grant.id, refusal.message)
                await turn.staged_refused()
            return await self._ask(grant, claims), None
        try:
            return await self._ask(grant, claims), None
        except SECRET_REFUSED as refusal:
            try:
                return await self._ask(grant, claims, staged), promotion_of(self._keyring, grant)
            except SECRET_REFUSED:
                raise refusal from None

    async def _ask(self, grant: Grant, claims: str | None, credential: Credential = None) -> TokenSet:
        return await obtain(
            self._keyring,
            grant,
            self._call,
            self._clock.now(),
            permissions=self._permissions,
            resource=self._resource,
            claims=claims,
            credential=credential,
        )


def _life_s(grant: Grant) -> float:
    """How long the stored token lived when it was stored."""
    assert grant.access_expires_at is not None
    return (grant.access_expires_at - grant.updated_at).total_seconds()


async def obtain(
    keyring: Keyring,
    grant: Grant,
    call: RetryingCall,
    now: datetime,
    *,
    permissions: tuple[str, ...],
    resource: str,
    claims: str | None = None,
    credential: Credential = None,
) -> TokenSet:
    """Ask the identity provider. A person's grant is renewed by its refresh token, an app's by its own credential, or
    by `credential` in its stead.

    A refresh token outlives an expired secret: it is kept until somebody signs in again (OA-15, OA-19).
    """
    authority = cloud_of(grant).authority(grant.tenant)
    credential = credential or credential_of(keyring, grant)
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
