"""What a project lets through its proxy: sizes and times, kept with the project."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from psycopg.types.json import Jsonb

from isthmus.store.database import Transaction

REQUEST_BYTES_MAX: Final = 1024 * 1024 * 1024
RESPONSE_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
TIMEOUT_S_MAX: Final = 3_600.0
PAGES_MAX: Final = 10_000
RECORDS_MAX: Final = 1_000_000
"""What a project may allow at most."""


class ProxyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The largest body towards the vendor and back, the longest call with its repeats and its whole answer, and how far
    `isthmus-paginate` follows the vendor's links. Bodies are never held whole, so these bound time and traffic only.
    """

    request_bytes: Annotated[int, msgspec.Meta(ge=1_024, le=REQUEST_BYTES_MAX)] = 32 * 1024 * 1024
    response_bytes: Annotated[int, msgspec.Meta(ge=1_024, le=RESPONSE_BYTES_MAX)] = 256 * 1024 * 1024
    timeout_s: Annotated[float, msgspec.Meta(ge=1.0, le=TIMEOUT_S_MAX)] = 300.0
    pages: Annotated[int, msgspec.Meta(ge=1, le=PAGES_MAX)] = 200
    records: Annotated[int, msgspec.Meta(ge=1, le=RECORDS_MAX)] = 200_000


async def get(tx: Transaction) -> ProxyLimits:
    """The project's limits; what it has not set is as it comes."""
    stored = await tx.value("SELECT proxy_limits FROM projects WHERE id = %s", (tx.project_id,))
    return msgspec.convert(stored or {}, ProxyLimits)


async def save(tx: Transaction, limits: ProxyLimits) -> None:
    """Replace the project's limits."""
    await tx.execute(
        "UPDATE projects SET proxy_limits = %s WHERE id = %s", (Jsonb(msgspec.to_builtins(limits)), tx.project_id)
    )
