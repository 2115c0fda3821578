"""A person's sign-in in the browser: begun, sent to the vendor's page, and brought to its end when the browser is back.

What is under way is sealed beside its state; a connection goes on with what it has until the sign-in has succeeded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.auth.entra.authorization import SIGN_IN_MAX_S, SignIn, begin_sign_in, read_callback
from isthmus.auth.entra.clouds import Authority, Cloud
from isthmus.auth.entra.credentials import ClientSecret, Credential
from isthmus.auth.entra.errors import claims_of
from isthmus.auth.entra.grants import redeem_code
from isthmus.auth.entra.id_token import Identity, identify
from isthmus.auth.tokens import TokenSet
from isthmus.client.call import RetryingCall
from isthmus.client.protocols import Journal
from isthmus.client.tokens import await_consent, run_grant, run_steps
from isthmus.connections.browsers import CONTEXT, browser_hash
from isthmus.connections.credentials import (
    GrantKind,
    cloud_of,
    credential_of,
    same_proof,
    seal_secret,
    seal_token,
)
from isthmus.connections.keyring import Keyring
from isthmus.connections.making import SHARED_TENANT, Guard, Wish, ask, ensure_connection
from isthmus.connections.opening import Opener
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import ConsentMissing, Failure, SignInAgain, VendorFault
from isthmus.providers.registry import provider_named
from isthmus.store import connections, grants
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Authorization, Connection, Grant
from isthmus.vault.secrets import Secret

_STORE_ATTEMPTS_MAX: Final = 10
"""A renewal that ends in the same moment raises the grant's fence; the new sign-in outranks its result (OA-29)."""


class StartedSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that was sent to the browser: `url` to open, `state` that comes back."""

    url: str
    state: str
    connection_id: UUID


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in under way, sealed as a whole: nothing of it counts for the connection before it has succeeded.

    `secret` None with the app that the grant has already means that app's own credential.
    """

    sign_in: SignIn
    client_id: str
    cloud: Cloud
    secret: str | None = None


class SigningIn:
    """Takes people's sign-ins to connections of one project from their beginning to their end."""

    def __init__(self, db: Database, keyring: Keyring, opener: Opener, clock: Clock, project_id: UUID) -> None:
        self._db = db
        self._keyring = keyring
        self._opener = opener
        self._clock = clock
        self._project_id = project_id

    async def start(
        self, wish: Wish, *, client_id: str, secret: Secret | None, redirect_uri: str, browser: str = ""
    ) -> StartedSignIn:
        """Send a person to the vendor's sign-in page. The state is good once and for a quarter of an hour.

        `browser` is the cookie of the browser that begins it (`connections.browsers`), where that is known already.

        A connection of that name goes on with what it has until the sign-in has come to its end: who closes the
        browser, or types another app's id, has changed nothing. A step-up that an earlier refusal asked for is passed
        on (OA-32).
        """
        tenant = wish.tenant or SHARED_TENANT
        async with self._db.project(self._project_id) as tx:
            connection, grant = await ensure_connection(
                tx, msgspec.structs.replace(wish, tenant=tenant), GrantKind.PERSON, client_id
            )
            return await self._send(
                tx,
                connection,
                wish.cloud.authority(tenant),
                cloud=wish.cloud,
                scopes=grant.scopes,
                client_id=client_id,
                secret=secret,
                redirect_uri=redirect_uri,
                context={CONTEXT: browser_hash(browser)} if browser else {},
            )

    async def start_at(
        self,
        connection_id: UUID,
        *,
        client_id: str,
        secret: Secret | None,
        redirect_uri: str,
        context: dict[str, Any],
        scopes: Sequence[str] = (),
    ) -> StartedSignIn:
        """As `start`, for a connection that is there: its cloud and tenant, whatever its name. `context` is kept
        with the sign-in, readable; the state alone leads to it.

        `secret` None with the app that the grant has already means that app's own credential, a certificate included.
        """
        async with self._db.project(self._project_id) as tx:
            connection = await connections.get(tx, connection_id)
            grant = await grants.get(tx, connection.grant_id)
            cloud = cloud_of(grant)
            return await self._send(
                tx,
                connection,
                cloud.authority(str(grant.settings.get("tenant_id") or grant.tenant or SHARED_TENANT)),
                cloud=cloud,
                scopes=scopes or grant.scopes,
                client_id=client_id,
                secret=secret,
                redirect_uri=redirect_uri,
                context=context,
            )

    async def _send(
        self,
        tx: Transaction,
        connection: Connection,
        authority: Authority,
        *,
        cloud: Cloud,
        scopes: Sequence[str],
        client_id: str,
        secret: Secret | None,
        redirect_uri: str,
        context: dict[str, Any],
    ) -> StartedSignIn:
        sign_in = begin_sign_in(
            authority,
            client_id=client_id,
            redirect_uri=redirect_uri,
            resource=cloud.business_central_resource,
            scopes=scopes or provider_named(connection.provider).declaration.delegated_scopes,
            prompt="select_account",
            claims=_claims_asked_for(connection),
        )
        pending = _Pending(
            sign_in=sign_in,
            client_id=client_id,
            cloud=cloud,
            secret=secret.reveal() if secret is not None else None,
        )
        plain = msgspec.json.encode(pending).decode()
        await grants.begin_authorization(
            tx,
            state_hash=state_hash(sign_in.state),
            sealed=self._keyring.seal(Secret(plain), table="authorizations", column="sealed", row=connection.id),
            context={**context, "connection_id": str(connection.id), "redirect_uri": redirect_uri},
            expires_at=self._clock.now() + timedelta(seconds=SIGN_IN_MAX_S),
        )
        return StartedSignIn(url=sign_in.url, state=sign_in.state, connection_id=connection.id)

    def connection_of(self, found: Authorization) -> UUID:
        """Where a sign-in under way leads."""
        return UUID(str(found.context["connection_id"]))

    def address_of(self, found: Authorization) -> str:
        """The vendor's page of a sign-in under way. Raises SignInAgain for one of an earlier isthmus."""
        row = self.connection_of(found)
        sealed = self._keyring.open_sealed(found.sealed, table="authorizations", column="sealed", row=row)
        return _opened(sealed).sign_in.url

    async def finish(
        self, parameters: dict[str, str], journal: Journal, *, quiet: bool = False, guard: Guard | None = None
    ) -> Connection:
        """Take a callback's parameters to the end: code → tokens → identity → stored.

        With `quiet` the connection's state stays as it is: the check that follows says what it is. `guard` is asked
        again when the tokens are stored, which may be minutes later.

        Coming back twice is fine: the second time finds the first one's result (OA-25). Raises SignInAgain for a state
        that nobody here has issued, IdentityMismatch for another tenant than the connection's, and what was refused.
        """
        found = await grants.find_authorization(self._db, state_hash(parameters.get("state", "")))
        if found is None or found.project_id != self._project_id:
            raise SignInAgain(
                "The answer does not belong to a sign-in that was started here.", remedy="Start the sign-in again."
            )
        connection_id = self.connection_of(found)
        async with self._db.project(self._project_id) as tx:
            taken = await grants.use_authorization(tx, found.id)
            connection = await connections.get(tx, connection_id)
            grant = await grants.get(tx, connection.grant_id)
        if not taken:
            if grant.refresh_token_sealed is not None:
                return connection
            raise SignInAgain("This sign-in took too long or was used before.", remedy="Start the sign-in again.")
        sealed = self._keyring.open_sealed(found.sealed, table="authorizations", column="sealed", row=connection_id)

        async def arrived(tx: Transaction) -> None:
            now = await connections.get(tx, connection_id, lock=True)
            if now.state == "disconnected" and connection.state != "disconnected":
                raise SignInAgain(
                    "The connection was disconnected while somebody signed in.", remedy="Connect it again, if you like."
                )
            if not quiet:
                await connections.set_state(tx, connection_id, "pending")

        try:
            pending = _opened(sealed)
            await self._redeem(grant, pending, parameters, journal, guard, arrived)
        except Failure as failure:
            old_lives_on = grant.refresh_token_sealed is not None and connection.state == "connected"
            if not quiet and not old_lives_on:
                async with self._db.project(self._project_id) as tx:
                    await connections.set_state(tx, connection.id, "needs_reauth", failure)
            raise
        async with self._db.project(self._project_id) as tx:
            return await connections.get(tx, connection_id)

    async def _redeem(
        self,
        grant: Grant,
        pending: _Pending,
        parameters: dict[str, str],
        journal: Journal,
        guard: Guard | None,
        arrived: Guard,
    ) -> None:
        """Trade the code and store what it brings, between `guard` and `arrived` in one transaction."""
        code = read_callback(parameters, expected_state=pending.sign_in.state)
        call = self._opener.token_call(pending.cloud, journal)
        own = pending.client_id == grant.client_id and (
            pending.secret is None or same_proof(_secret_of(pending), self._credential_of(grant))
        )  # then its date, and what waits beside it, stay
        credential = self._credential_of(grant) if own else _secret_of(pending)
        tokens = await self._trade(pending, credential, code, call)
        if tokens.id_token is None or tokens.refresh_token is None:
            raise SignInAgain(
                "The sign-in brought no refresh token, so it would end within the hour.",
                remedy="Sign in again and allow lasting access (offline_access) on the consent page.",
            )
        if tokens.missing_scopes:
            raise ConsentMissing(f"The sign-in did not grant {', '.join(tokens.missing_scopes)}.")
        identity = await self._identity(tokens.id_token, grant, pending, call)
        secret = seal_secret(self._keyring, grant.id, Secret(pending.secret)) if pending.secret is not None else None
        cloud: dict[str, Any] = msgspec.to_builtins(pending.cloud)
        access = seal_token(self._keyring, grant.id, "access_token_sealed", tokens.access_token)
        refresh = seal_token(self._keyring, grant.id, "refresh_token_sealed", tokens.refresh_token)
        for _ in range(_STORE_ATTEMPTS_MAX):
            async with self._db.project(self._project_id) as tx:
                await ask(guard, tx)
                fence = (await grants.get(tx, grant.id)).fence
                tenant = identity.tenant_id
                await grants.set_settings(tx, grant.id, tenant=tenant, client_id=pending.client_id, cloud=cloud)
                if not own:
                    await grants.set_secret(tx, grant.id, secret_sealed=secret)
                if grant.kind != GrantKind.PERSON:
                    await grants.set_kind(tx, grant.id, GrantKind.PERSON, grant.scopes)
                await grants.set_identity(tx, grant.id, tenant=tenant, user_id=identity.object_id)
                if await grants.store_tokens(
                    tx,
                    grant.id,
                    fence=fence,
                    access_token_sealed=access,
                    access_expires_at=tokens.expires_at,
                    refresh_token_sealed=refresh,
                ):
                    await arrived(tx)
                    break
        self._opener.forget_tokens(grant.id)

    async def _trade(self, pending: _Pending, credential: Credential, code: str, call: RetryingCall) -> TokenSet:
        """The code for tokens; a consent that is still spreading is waited for (OA-36)."""
        sign_in = pending.sign_in

        async def redeem() -> TokenSet:
            steps = redeem_code(
                sign_in.authority,
                client_id=pending.client_id,
                credential=credential,
                code=code,
                redirect_uri=sign_in.redirect_uri,
                verifier=sign_in.verifier,
                scope=sign_in.scope,
                now=self._clock.now(),
            )
            return await run_grant(steps, call)

        return await await_consent(redeem, self._clock, consented_at=self._clock.now())

    def _credential_of(self, grant: Grant) -> Credential:
        """What the grant has so far; a sign-in may be the first thing that it gets."""
        has = grant.secret_sealed is not None or grant.certificate_sealed is not None
        return credential_of(self._keyring, grant) if has else None

    async def _identity(self, id_token: str, grant: Grant, pending: _Pending, call: RetryingCall) -> Identity:
        steps = identify(
            id_token,
            authority=pending.sign_in.authority,
            client_id=pending.client_id,
            nonce=pending.sign_in.nonce,
            now=self._clock.now(),
            expected_tenant=grant.settings.get("tenant_id"),
        )
        identity, _ = await run_steps(steps, call)
        return identity


def _opened(sealed: Secret) -> _Pending:
    """What a sign-in was started with. Raises SignInAgain for one that an earlier isthmus has started."""
    try:
        return msgspec.json.decode(sealed.reveal(), type=_Pending)
    except msgspec.ValidationError as error:
        raise SignInAgain(
            "This sign-in was started before isthmus was updated.", remedy="Start the sign-in again."
        ) from error


def _secret_of(pending: _Pending) -> Credential:
    return ClientSecret(pending.secret) if pending.secret is not None else None


def _claims_asked_for(connection: Connection) -> str | None:
    """The step-up that the last refusal of a connection named, as JSON text."""
    vendor = (connection.failure or {}).get("vendor")
    return claims_of(Failure(vendor=msgspec.convert(vendor, VendorFault))) if vendor else None


def state_hash(state: str) -> bytes:
    """What the database keeps of a state."""
    return hashlib.sha256(state.encode()).digest()
