"""Whether the server lives, whether it can work, and what it measures."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from litestar import Response, get

from isthmus.api.metrics import Metrics
from isthmus.api.services import Services
from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.store.examining import applied_version
from isthmus.store.migrate import HEAD

READY_TIMEOUT_S: Final = 2.0
"""A load balancer asks every few seconds; a database that needs longer is not ready."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests can be served. `schema` is the database's version, `expected` this server's."""

    status: str
    database: bool
    schema: str | None
    expected: str


def health_routes(services: Services, metrics: Metrics) -> list[Any]:
    """`/healthz` and `/readyz`: open to everybody, and silent about everything else."""

    @get("/healthz", tags=["health"], security=[], summary="Is the process alive?")
    async def healthz() -> Health:
        """Answers as long as the process lives. Restart the process when it does not."""
        return Health(status="ok")

    @get("/readyz", tags=["health"], security=[], summary="Can requests be served?")
    async def readyz() -> Response[Readiness]:
        """Asks the database. Send no requests here while it is not ready (503)."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S), services.db.unscoped() as tx:
                schema = await applied_version(tx)
        except (TimeoutError, DatabaseUnavailable):
            content = Readiness(status="waiting for the database", database=False, schema=None, expected=HEAD)
            return Response(content, status_code=503)
        good = schema is not None and schema >= HEAD  # an older server works while a newer one has migrated
        status = "ready" if good else "waiting for the migration"
        content = Readiness(status=status, database=True, schema=schema, expected=HEAD)
        return Response(content, status_code=200 if good else 503)

    return [healthz, readyz]
