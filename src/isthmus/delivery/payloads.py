"""Records that are too large for a delivery: a link that is good for an hour and opens one record.

The link carries all it needs, sealed with the project's key: nothing is stored for it, nobody can make one or change
one, and it dies with its time, its destination or the project's key. Who has it can read that one record as it is when
it is fetched, without an API key; so it is short-lived and goes only into signed deliveries over https.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from isthmus.delivery.contract import RecordLink
from isthmus.delivery.ports import Destination
from isthmus.delivery.stored import Sealer
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import ConfigurationFailure, RecordNotFound, SealBroken
from isthmus.store import destinations, feed
from isthmus.store.database import Database
from isthmus.store.rows import Change
from isthmus.vault.secrets import Secret

LINK_S: Final = 3_600
"""How long a link opens. A delivery that is repeated later carries a fresh one."""

TOKEN_CHARACTERS_MAX: Final = 400

_TABLE, _COLUMN = "payloads", "token"

Linker = Callable[[Destination, Change], Awaitable[RecordLink]]
"""Makes the link for a change's record."""

SealerOf = Callable[[UUID], Awaitable[Sealer]]


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    number: int
    expires_at: int


class PayloadLinks:
    """Makes links and opens them. `public_url` is where people reach this server; who does not know it makes none."""

    def __init__(self, db: Database, clock: Clock, sealer_of: SealerOf, public_url: str | None) -> None:
        self._db = db
        self._clock = clock
        self._sealer_of = sealer_of
        self._public_url = public_url or ""

    def reached_at(self, public_url: str) -> None:
        """This process serves at that address: where nobody has set one, links begin with it."""
        self._public_url = self._public_url or public_url

    async def link(self, destination: Destination, change: Change) -> RecordLink:
        """A link to the record of this change, for this destination.

        Raises ConfigurationFailure where nobody has said where the server is reached: the batch waits with its
        destination, and a process that knows takes it.
        """
        if not self._public_url:
            raise ConfigurationFailure(
                "A record is too large for a delivery, and this process does not know where its link would lead.",
                remedy="Set ISTHMUS_PUBLIC_URL for every worker too; then the delivery goes out.",
            )
        expires = self._clock.now().replace(microsecond=0) + timedelta(seconds=LINK_S)
        inside = msgspec.json.encode(_Sealed(change.number, int(expires.timestamp()))).decode()
        sealer = await self._sealer_of(destination.project)
        sealed = sealer.seal(Secret(inside), table=_TABLE, column=_COLUMN, row=destination.id)
        token = base64.urlsafe_b64encode(destination.project.bytes + destination.id.bytes + sealed).decode().rstrip("=")
        return RecordLink(url=f"{self._public_url.rstrip('/')}/v1/payloads/{token}", expires_at=expires)

    async def open(self, token: str) -> bytes:
        """The record as it is now. Raises RecordNotFound for whatever is wrong with the link."""
        project_id, destination_id, sealed = _parts(token)
        async with self._db.project(project_id) as tx:
            if not await destinations.exists(tx, destination_id):
                raise _no_link()
        try:
            sealer = await self._sealer_of(project_id)
            text = sealer.open_sealed(sealed, table=_TABLE, column=_COLUMN, row=destination_id).reveal()
            inside = msgspec.json.decode(text, type=_Sealed)
        except (SealBroken, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _no_link() from error
        if datetime.fromtimestamp(inside.expires_at, UTC) < self._clock.now():
            raise RecordNotFound(
                "This link is no longer good.", remedy="Read the change by its number: `GET /v1/changes`."
            )
        async with self._db.project(project_id) as tx:
            found = (await feed.read(tx, inside.number - 1, 1, until=inside.number)).changes
        if not found or found[0].raw is None:
            raise RecordNotFound("The record was deleted since.", remedy="Its deletion follows in the feed.")
        return found[0].raw


def _parts(token: str) -> tuple[UUID, UUID, bytes]:
    try:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise ValueError("too long")
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        return UUID(bytes=raw[:16]), UUID(bytes=raw[16:32]), raw[32:]
    except ValueError as error:
        raise _no_link() from error


def _no_link() -> RecordNotFound:
    return RecordNotFound("There is no such link.", remedy="Read the change by its number: `GET /v1/changes`.")
