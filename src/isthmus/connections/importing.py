"""Connections that exist elsewhere: a refresh token and the app that got it, tried at once and kept sealed."""

from __future__ import annotations

from isthmus.auth.entra.grants import refresh
from isthmus.auth.entra.id_token import identify
from isthmus.auth.entra.scopes import delegated_scope
from isthmus.client.protocols import Journal
from isthmus.client.tokens import run_grant, run_steps
from isthmus.connections.connecting import Connecting
from isthmus.connections.credentials import AppCredentials, GrantKind, seal_token
from isthmus.connections.keyring import Keyring
from isthmus.connections.making import SHARED_TENANT, Wish
from isthmus.connections.opening import Opener
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import ConsentMissing, InvalidInput, SignInAgain
from isthmus.providers.registry import provider_named
from isthmus.store import connections, grants
from isthmus.store.database import Database
from isthmus.store.rows import Connection
from isthmus.vault.secrets import Secret


async def import_tokens(
    db: Database,
    keyring: Keyring,
    opener: Opener,
    clock: Clock,
    connecting: Connecting,
    wish: Wish,
    app: AppCredentials,
    refresh_token: Secret,
    journal: Journal,
) -> Connection:
    """Take a sign-in over from another program: nothing is stored unless the token can be renewed right now.

    Both programs may go on using it: Entra leaves the earlier token valid (OA-30). Raises what the identity provider
    says, and InvalidInput for a name that is taken.
    """
    project_id = connecting.project_id
    async with db.project(project_id) as tx:
        if any(each.name == wish.name for each in await connections.every(tx)):
            raise InvalidInput(f"There is a connection named “{wish.name}” already.", subject=wish.name)
    authority = wish.cloud.authority(wish.tenant or SHARED_TENANT)
    scopes = provider_named(wish.provider).declaration.delegated_scopes
    steps = refresh(
        authority,
        client_id=app.client_id,
        credential=app.credential(),
        refresh_token=refresh_token.reveal(),
        scope=delegated_scope(wish.cloud.business_central_resource, scopes),
        now=clock.now(),
    )
    call = opener.token_call(wish.cloud, journal)
    tokens = await run_grant(steps, call)
    if tokens.missing_scopes:
        raise ConsentMissing(f"The imported sign-in does not cover {', '.join(tokens.missing_scopes)}.")
    if tokens.refresh_token is None or tokens.id_token is None:
        raise SignInAgain("The imported token brought no lasting sign-in.", remedy="Connect by a link instead.")
    identity, _ = await run_steps(
        identify(tokens.id_token, authority=authority, client_id=app.client_id, nonce=None, now=clock.now()), call
    )
    made = await connecting.prepare(wish, GrantKind.PERSON, app.client_id)
    await connecting.keep_for_sign_in(made.id, app, tenant=identity.tenant_id, cloud=wish.cloud, scopes=())
    async with db.project(project_id) as tx:
        grant = await grants.get(tx, made.grant_id)
        await grants.set_identity(tx, grant.id, tenant=identity.tenant_id, user_id=identity.object_id)
        await grants.store_tokens(
            tx,
            grant.id,
            fence=grant.fence,
            access_token_sealed=seal_token(keyring, grant.id, "access_token_sealed", tokens.access_token),
            access_expires_at=tokens.expires_at,
            refresh_token_sealed=seal_token(keyring, grant.id, "refresh_token_sealed", tokens.refresh_token),
        )
        return await connections.get(tx, made.id)
