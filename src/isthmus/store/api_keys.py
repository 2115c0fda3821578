"""Keys of the API. Only a hash is kept; `find` looks across projects, because a request names its key first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from isthmus.kernel.failures import RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.kernel.key_text import digest_of, new_key, prefix_of
from isthmus.store.database import Database, Transaction

KEYS_MAX: Final = 1_000
"""Listed at once."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as people see it: never the key itself. `prefix` is its beginning, to tell keys apart; `requests_per_s` how
    many requests it may send to one server, None being the server's own limit.
    """

    id: UUID
    project_id: UUID
    name: str
    scopes: list[str]
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_s: float | None = None


class MadeKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key and its text, which is shown this once."""

    key: ApiKey
    text: str

    def __repr__(self) -> str:
        return f"MadeKey({self.key.id})"


class FoundKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a request's key allows."""

    id: UUID
    project_id: UUID
    name: str
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_s: float | None = None


_COLUMNS: Final = (
    "id, project_id, name, scopes, prefix, created_at, last_used_at, expires_at, revoked_at, requests_per_s"
)


async def create(
    tx: Transaction,
    *,
    name: str,
    scopes: Sequence[str],
    prefix: str,
    digest: bytes,
    expires_at: datetime | None = None,
    requests_per_s: float | None = None,
) -> ApiKey:
    """Keep a new key's hash."""
    key = await tx.row(
        ApiKey,
        f"""INSERT INTO api_keys (id, project_id, name, scopes, prefix, hash, expires_at, requests_per_s)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}""",  # noqa: S608  (a constant of this module)
        (new_id(), tx.project_id, name, list(scopes), prefix, digest, expires_at, requests_per_s),
    )
    assert key is not None
    return key


async def make(
    tx: Transaction,
    *,
    name: str,
    scopes: Collection[str],
    development: bool,
    expires_at: datetime | None = None,
    requests_per_s: float | None = None,
) -> MadeKey:
    """A new key of the transaction's project; only its hash is kept."""
    text = new_key(development=development)
    key = await create(
        tx,
        name=name,
        scopes=sorted(set(scopes)),
        prefix=prefix_of(text),
        digest=digest_of(text),
        expires_at=expires_at,
        requests_per_s=requests_per_s,
    )
    return MadeKey(key=key, text=text)


async def limit(tx: Transaction, key_id: UUID, requests_per_s: float | None) -> ApiKey:
    """Another limit; None is the server's own. Raises RecordNotFound."""
    await tx.execute("UPDATE api_keys SET requests_per_s = %s WHERE id = %s", (requests_per_s, key_id))
    return await get(tx, key_id)


async def every(tx: Transaction) -> list[ApiKey]:
    """The project's keys, oldest first; revoked ones stay listed."""
    return await tx.rows(ApiKey, f"SELECT {_COLUMNS} FROM api_keys ORDER BY id LIMIT %s", (KEYS_MAX,))  # noqa: S608


async def get(tx: Transaction, key_id: UUID) -> ApiKey:
    """One key. Raises RecordNotFound."""
    key = await tx.row(ApiKey, f"SELECT {_COLUMNS} FROM api_keys WHERE id = %s", (key_id,))  # noqa: S608
    if key is None:
        raise RecordNotFound(f"There is no key {key_id}.", remedy="List the keys.", subject="key")
    return key


async def revoke(tx: Transaction, key_id: UUID) -> ApiKey:
    """End a key for good; a second time changes nothing. Raises RecordNotFound."""
    await tx.execute("UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s", (key_id,))
    return await get(tx, key_id)


async def find(db: Database, digest: bytes) -> FoundKey | None:
    """The key with this hash, in whatever project, revoked or not."""
    async with db.system() as tx:
        return await tx.row(
            FoundKey,
            """SELECT id, project_id, name, scopes, expires_at, revoked_at, requests_per_s FROM api_keys
               WHERE hash = %s""",
            (digest,),
        )


async def used(db: Database, key_id: UUID) -> None:
    """Remember that a key was used just now."""
    async with db.system() as tx:
        await tx.execute("UPDATE api_keys SET last_used_at = now() WHERE id = %s", (key_id,))
