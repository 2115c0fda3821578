"""One consent serves several connections: the same consumer, app, tenant and person need one grant, not two (OA-43)."""

from __future__ import annotations

from uuid import UUID

from isthmus.auth.entra.credentials import Credential
from isthmus.connections.credentials import (
    GrantKind,
    credential_of,
    open_token,
    same_proof,
    seal_certificate,
    seal_secret,
    seal_token,
    unpacked,
)
from isthmus.connections.keyring import Keyring
from isthmus.store import connections, consumers, grants
from isthmus.store.database import Transaction
from isthmus.store.rows import Grant


async def share_grant(tx: Transaction, keyring: Keyring, connection_id: UUID) -> UUID | None:
    """Let a connection that was just made use the grant that its consumer has given already, with the newest tokens.

    In the transaction that says that the connection works: there is no moment in which it works and has not shared.
    The grant that it used so far goes. The id of the shared grant, whose tokens are to be forgotten afterwards
    (`Opener.forget_tokens`), or None when there is nothing to share. Whoever signs in anew or enters a new secret does
    so for all connections of the grant.
    """
    connection = await connections.get(tx, connection_id)
    own = await grants.get(tx, connection.grant_id)
    if connection.consumer_id is None or not own.settings.get("tenant_id"):
        return None
    await consumers.hold(tx, connection.consumer_id)
    other = await grants.same_consent(tx, own, connection_id, connection.consumer_id)
    if other is None:
        return None
    await _take_over(tx, keyring, own, other)
    await connections.update(tx, connection_id, grant_id=other.id)
    await grants.delete_unused(tx, own.id)
    return other.id


async def _take_over(tx: Transaction, keyring: Keyring, own: Grant, other: Grant) -> None:
    """Move credential and tokens, sealed for their new place; they are newer than what is there."""
    if not same_proof(_proof(keyring, own), _proof(keyring, other)):
        await _take_credential(tx, keyring, own, other)
    if own.kind != GrantKind.PERSON:
        await grants.forget_access_token(tx, other.id)
        return

    def moved(column: str, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        return seal_token(keyring, other.id, column, open_token(keyring, own, column, sealed))

    await grants.store_tokens(
        tx,
        other.id,
        fence=other.fence,  # the row is locked, so nobody has moved it
        access_token_sealed=moved("access_token_sealed", own.access_token_sealed),
        access_expires_at=own.access_expires_at,
        refresh_token_sealed=moved("refresh_token_sealed", own.refresh_token_sealed),
    )


async def _take_credential(tx: Transaction, keyring: Keyring, own: Grant, other: Grant) -> None:
    certificate = secret = None
    if own.certificate_sealed is not None:
        packed = keyring.open_sealed(own.certificate_sealed, table="grants", column="certificate_sealed", row=own.id)
        certificate = seal_certificate(keyring, other.id, unpacked(packed))
    if own.secret_sealed is not None:
        plain = keyring.open_sealed(own.secret_sealed, table="grants", column="secret_sealed", row=own.id)
        secret = seal_secret(keyring, other.id, plain)
    await grants.set_secret(
        tx,
        other.id,
        secret_sealed=secret,
        certificate_sealed=certificate,
        secret_expires_at=own.secret_expires_at or other.secret_expires_at,
    )


def _proof(keyring: Keyring, grant: Grant) -> Credential:
    """What the grant's app proves itself with; None for one that has nothing."""
    has = grant.secret_sealed is not None or grant.certificate_sealed is not None
    return credential_of(keyring, grant) if has else None
