"""What an app signs in with, and what waits beside it: a new secret goes in without a new consent, and may go in early.

Sealed values come from `connections`; nothing here opens them.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from isthmus.store.database import Transaction


async def stage(
    tx: Transaction,
    grant_id: UUID,
    *,
    secret_sealed: bytes | None = None,
    certificate_sealed: bytes | None = None,
    expires_at: datetime | None = None,
    from_at: datetime | None = None,
) -> None:
    """Keep a second credential. It is tried when the one in use is refused, and from `from_at` on before that one."""
    await tx.execute(
        """UPDATE grants SET staged_secret_sealed = %s, staged_certificate_sealed = %s, staged_expires_at = %s,
                             staged_from = %s, staged_at = now() WHERE id = %s""",
        (secret_sealed, certificate_sealed, expires_at, from_at, grant_id),
    )


async def unstage(tx: Transaction, grant_id: UUID) -> None:
    """Forget the second credential."""
    await stage(tx, grant_id)
    await tx.execute("UPDATE grants SET staged_at = NULL WHERE id = %s", (grant_id,))


async def not_from_a_date(tx: Transaction, grant_id: UUID) -> None:
    """The second credential was refused at its date: it stays behind the one in use."""
    await tx.execute("UPDATE grants SET staged_from = NULL WHERE id = %s", (grant_id,))


async def put_in_use(
    tx: Transaction,
    grant_id: UUID,
    *,
    secret_sealed: bytes | None,
    certificate_sealed: bytes | None,
    expires_at: datetime | None,
) -> None:
    """This is what the app signs in with from now on; nothing waits beside it any more. Tokens stay (OA-15)."""
    await tx.execute(
        """UPDATE grants
           SET secret_sealed = %(secret)s, certificate_sealed = %(certificate)s, secret_expires_at = %(expires)s,
               kind = CASE WHEN kind = 'authorization_code' THEN kind
                           WHEN %(certificate)s::bytea IS NULL THEN 'client_credentials' ELSE 'certificate' END,
               staged_secret_sealed = NULL, staged_certificate_sealed = NULL, staged_expires_at = NULL,
               staged_from = NULL, staged_at = NULL, updated_at = now()
           WHERE id = %(id)s""",
        {"id": grant_id, "secret": secret_sealed, "certificate": certificate_sealed, "expires": expires_at},
    )


async def set_expiry(tx: Transaction, grant_id: UUID, expires_at: datetime | None) -> None:
    """When the credential in use ends, as somebody read it at the vendor's. Warnings begin anew."""
    await tx.execute("UPDATE grants SET secret_expires_at = %s WHERE id = %s", (expires_at, grant_id))


async def forget_everything(tx: Transaction, grant_id: UUID) -> None:
    """Drop secrets and tokens; what was asked for with them counts no more."""
    await unstage(tx, grant_id)
    await tx.execute(
        """UPDATE grants
           SET secret_sealed = NULL, certificate_sealed = NULL, secret_expires_at = NULL, refresh_token_sealed = NULL,
               access_token_sealed = NULL, access_expires_at = NULL, fence = fence + 1, updated_at = now(),
               settings = settings || jsonb_build_object(
                   'credential', coalesce((settings ->> 'credential')::integer, 0) + 1)
           WHERE id = %s""",
        (grant_id,),
    )


async def count_credential(tx: Transaction, grant_id: UUID) -> None:
    """A new secret: what is learned about an earlier one counts no more (`grants.credential_number`)."""
    await tx.execute(
        """UPDATE grants SET settings = settings || jsonb_build_object(
               'credential', coalesce((settings ->> 'credential')::integer, 0) + 1) WHERE id = %s""",
        (grant_id,),
    )
