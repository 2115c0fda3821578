"""One ASGI application out of all surfaces: the HTTP API, and the console where it is installed.

`create_server(hub)` is what `isthmus serve` and the tests run. The hub is opened and closed by whoever calls; the
application opens the engine for as long as it serves, and with `worker` it also works on runs and deliveries.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Final
from uuid import UUID

from litestar import Litestar
from litestar.exceptions import HTTPException

from isthmus.api import UNKNOWN, Frame, ProxyTrust, Rate, create_api, rate_of
from isthmus.app import Hub
from isthmus.console import create_console, unknown_address
from isthmus.console.connect import create_connect_pages
from isthmus.console.portal import create_portal_pages
from isthmus.delivery.deliveries import Deliveries
from isthmus.engine import Engine, Periodic
from isthmus.engine.loops import repeat
from isthmus.store import projects
from isthmus.store.processes import BEAT_S

PROJECT_AGE_S: Final = 5.0
"""How old what a server knows of a project (its name, its kind, that it exists) may be."""

WORKER_STOP_S: Final = 10.0
"""How long a stopping server waits for its worker to hand back what is under way; others resume it anyway."""


class ServedHub:
    """All projects of one database, each through a `Hub` of its own. Fits `isthmus.api.services.Services`.

    The console's services are the same object.
    """

    def __init__(self, hub: Hub, public_url: str) -> None:
        self.settings = hub.settings
        self.db = hub.db
        self.clock = hub.clock
        self._hub = hub
        self._public_url = public_url.rstrip("/")
        hub.deliveries.payloads.reached_at(self._public_url)
        hub.notifier.public_url = self._public_url
        self._keyrings = hub.keyring.source
        self._of: dict[UUID, Hub] = {hub.project.id: hub}
        self._looked_s: dict[UUID, float] = {}
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """Where runs are queued. Open while the server serves."""
        if self._engine is None:
            raise RuntimeError("the server has not started")
        return self._engine

    @property
    def deliveries(self) -> Deliveries:
        """Deliveries of all projects."""
        return self._hub.deliveries

    @property
    def public_url(self) -> str:
        """Where people and vendors reach this server."""
        return self._public_url

    async def of(self, project_id: UUID) -> Hub:
        """The view of one project, as it was within the last `PROJECT_AGE_S`. Raises RecordNotFound when it is gone."""
        found = self._of.get(project_id)
        if found is not None and self.clock.monotonic_s() - self._looked_s.get(project_id, -math.inf) < PROJECT_AGE_S:
            return found
        project = await projects.get(self.db, project_id)
        self._looked_s[project_id] = self.clock.monotonic_s()
        if found is None:
            hub = self._hub
            keyring = await self._keyrings.of(project_id)
            made = Hub(hub.settings, hub.db, project, keyring, hub.opener, hub.deliveries, hub.clock)
            found = self._of.setdefault(project_id, made)
        found.project = project
        return found

    def forget(self, project_id: UUID) -> None:
        """The project was changed here: the next request looks at it again."""
        self._looked_s.pop(project_id, None)

    @asynccontextmanager
    async def serving(self, *, worker: bool) -> AsyncIterator[None]:
        """The engine, open; with `worker` also working until the end."""
        async with self._hub.engine() as engine:
            self._engine = engine
            self._hub.presence.kind = "server"
            await self._hub.presence.beat()  # before the first request: whoever rotates keys or migrates waits for us
            sign_of_life = None
            if not worker:  # a worker gives it beside its other work
                beats = Periodic(interval_s=BEAT_S, work=self._hub.presence.beat)
                sign_of_life = asyncio.create_task(repeat("presence", beats), name="presence")
            work = asyncio.create_task(engine.run_worker(), name="worker") if worker else None
            try:
                yield
            finally:
                if sign_of_life is not None:
                    sign_of_life.cancel()
                if work is not None:
                    await _stopped(engine, work)
                for hub in self._of.values():
                    await hub.writer.drain()
                self._engine = None


async def _stopped(engine: Engine, work: asyncio.Task[None]) -> None:
    """Let the worker hand back what it holds; a run that it cannot hand back in time is resumed by its silence."""
    engine.stop()
    done, _ = await asyncio.wait([work], timeout=WORKER_STOP_S)
    if not done:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


def create_server(
    hub: Hub,
    *,
    public_url: str = "http://localhost:8080",
    worker: bool = False,
    rate: Rate | None = None,
    strangers: Rate = UNKNOWN,
) -> Frame:
    """The whole server as one ASGI application; `public_url` is where it is reached from outside. `rate` and
    `strangers` limit what a key may send, and an address with wrong keys.
    """
    services = ServedHub(hub, public_url)
    api = create_api(services, rate or rate_of(hub.settings.requests_per_s), strangers)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with services.serving(worker=worker):
            yield

    application = Litestar(
        route_handlers=[
            *api.route_handlers,
            *create_console(services),
            *create_connect_pages(services),
            *create_portal_pages(services),
        ],
        exception_handlers={
            **api.exception_handlers,
            HTTPException: unknown_address(services, api.exception_handlers[HTTPException]),
        },
        openapi_config=api.openapi,
        plugins=api.plugins,
        lifespan=[lifespan],
        logging_config=None,
        request_max_body_size=api.body_bytes_max,
        pdb_on_exception=False,
    )
    trust = ProxyTrust([ip_network(each) for each in hub.settings.trusted_proxies])
    return Frame(application, api.metrics, trust, api.proxy, https=services.public_url.startswith("https://"))
