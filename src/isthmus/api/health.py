"""Whether the server lives, whether it can work, and what it measures."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import msgspec
from litestar import Request, Response, get
from prometheus_client import CONTENT_TYPE_LATEST

from isthmus.api.access import Access, Scope
from isthmus.api.metrics import Metrics
from isthmus.api.services import Services
from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.store.examining import applied_version, load
from isthmus.store.migrate import HEAD
from isthmus.store.paused import paused

READY_TIMEOUT_S: Final = 2.0
"""A load balancer asks every few seconds; a database that needs longer is not ready."""


CONTENT_TYPE: Final = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")
"""The framework says the character set of every text."""

DATABASE_AWAY: Final = b"# TYPE isthmus_database_up gauge\nisthmus_database_up 0.0\n"

PAUSES_SINCE: Final = "0009"
"""The schema that knows of pauses."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests can be served. `schema` is the database's version, `expected` this server's.

    `paused`: what waits for a person because the database was restored from a backup (writes, tokens, deliveries).
    """

    status: str
    database: bool
    schema: str | None
    expected: str
    paused: list[str] = []


def health_routes(services: Services, metrics: Metrics, access: Access) -> list[Any]:
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
                known = schema is not None and schema >= PAUSES_SINCE
                stopped = sorted(await paused(tx)) if known else []
                oldest = await tx.value("SELECT oldest_schema FROM compatibility") if known else None
        except (TimeoutError, DatabaseUnavailable):
            content = Readiness(status="waiting for the database", database=False, schema=None, expected=HEAD)
            return Response(content, status_code=503)
        good = schema is not None and schema >= HEAD  # an older server works while a newer one has migrated
        status = "ready" if good else "waiting for the migration"
        if oldest is not None and oldest > HEAD:
            good, status = False, "too old for the database"
        content = Readiness(status=status, database=True, schema=schema, expected=HEAD, paused=list(stopped))
        return Response(content, status_code=200 if good else 503)

    @get("/metrics", tags=["health"], include_in_schema=False, media_type=CONTENT_TYPE)
    async def measurements(request: Request[Any, Any, Any]) -> bytes:
        """For Prometheus, from this machine or with an admin key. While the database is away no key can be looked up:
        whoever sends one is told that, as `/readyz` tells everybody, and nothing else.
        """
        if not _from_here(request):
            try:
                async with asyncio.timeout(READY_TIMEOUT_S):
                    await access.needs(Scope.ADMIN)(request, request.route_handler)
            except (TimeoutError, DatabaseUnavailable):
                return DATABASE_AWAY
        await metrics.vitals.look(services.db)
        if metrics.vitals.database_up:
            with contextlib.suppress(TimeoutError, DatabaseUnavailable):
                async with asyncio.timeout(READY_TIMEOUT_S):
                    waiting = await load(services.db)
                    metrics.active_runs.set(waiting.active_runs)
                    metrics.destinations_behind.set(waiting.pending_destinations)
        return metrics.text()

    return [healthz, readyz, measurements]


def _from_here(request: Request[Any, Any, Any]) -> bool:
    """True for this machine itself; not for what a reverse proxy on it passes on."""
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via"))
    host = request.client.host if request.client else ""
    return not forwarded and host in ("127.0.0.1", "::1")
