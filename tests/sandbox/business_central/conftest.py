"""The Business Central simulator alone, over real HTTP: one server per session, a fresh `cronus` world per test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
import uvicorn
from multidict import CIMultiDict
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.patience import WAIT_MAX_S
from yarl import URL

from isthmus_sandbox.business_central import (
    BusinessCentralService,
    create_business_central_app,
    create_business_central_control,
)
from isthmus_sandbox.business_central.service import Company, Environment
from isthmus_sandbox.clock import SandboxClock
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.principal import Principal
from isthmus_sandbox.worlds import build_world, identities

AUDIENCE = "https://api.businesscentral.dynamics.com"
ALL_ROLES = frozenset({"API.ReadWrite.All", "Automation.ReadWrite.All"})


class Front:
    """The ASGI application of the session's server: whatever the current test put there."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await self.app(scope, receive, send)


@dataclass(frozen=True)
class Served:
    """The session's server: its address and its exchangeable application."""

    origin: str
    front: Front


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """A uvicorn server in a thread, on a free port."""
    front = Front()
    config = uvicorn.Config(front, port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(f"http://127.0.0.1:{port}", front)
    finally:
        server.should_exit = True
        thread.join(timeout=WAIT_MAX_S)


@dataclass(frozen=True)
class Reply:
    """A received answer."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, decimals exact."""
        return json.loads(self.body, parse_float=Decimal)

    @property
    def value(self) -> list[dict[str, Any]]:
        """The records of a page."""
        found: list[dict[str, Any]] = self.json["value"]
        return found

    @property
    def next_link(self) -> str | None:
        """The link to the next page."""
        link: str | None = self.json.get("@odata.nextLink")
        return link

    @property
    def error(self) -> dict[str, str]:
        """The error of a refusal."""
        found: dict[str, str] = self.json["error"]
        return found


@dataclass
class Bench:
    """A fresh world behind the server, and a client that knows its way around."""

    origin: str
    clock: SandboxClock
    service: BusinessCentralService
    session: aiohttp.ClientSession
    tokens: dict[str, Principal] = field(default_factory=dict)

    @property
    def production(self) -> Environment:
        """The production environment."""
        return self.service.environment_named(identities.PRODUCTION)

    @property
    def us(self) -> Company:
        """CRONUS USA, Inc."""
        company = self.production.company(identities.US_COMPANY)
        assert company is not None
        return company

    @property
    def w1(self) -> Company:
        """CRONUS International Ltd."""
        company = self.production.company(identities.W1_COMPANY)
        assert company is not None
        return company

    def root(self, environment: str = identities.PRODUCTION, route: str = "v2.0") -> str:
        """The absolute URL of an API route."""
        return f"{self.origin}/v2.0/{identities.TENANT_ID}/{environment}/api/{route}"

    def company_url(self, company: Company | None = None, route: str = "v2.0") -> str:
        """The absolute URL of a company below an API route."""
        return f"{self.root(route=route)}/companies({(company or self.us).id})"

    def issue(self, name: str, **changes: Any) -> str:
        """Make a token known; `changes` are fields of its principal."""
        facts: dict[str, Any] = {
            "tenant_id": identities.TENANT_ID,
            "app_id": identities.CONFIDENTIAL_APP_ID,
            "user_id": None,
            "audience": AUDIENCE,
            "scopes": frozenset(),
            "roles": ALL_ROLES,
            "expires_at_s": self.clock.time_s() + 3600,
        }
        self.tokens[name] = Principal(**{**facts, **changes})
        return name

    def authenticate(self, token: str) -> Principal | None:
        """Judge a token by the moved clock."""
        principal = self.tokens.get(token)
        return principal if principal is not None and principal.expires_at_s > self.clock.time_s() else None

    async def send(
        self, method: str, url: str, *, token: str | None = "good", body: Any = None, **headers: str
    ) -> Reply:
        """Send a request; a URL without a host is one of the standard API below CRONUS USA."""
        absolute = url if url.startswith("http") else self.company_url() + url
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None and "Authorization" not in named:
            named["Authorization"] = f"Bearer {token}"
        data = json.dumps(body).encode() if body is not None else None
        async with self.session.request(method, URL(absolute, encoded=True), headers=named, data=data) as response:
            return Reply(response.status, CIMultiDict(response.headers), await response.read())

    async def get(self, url: str, *, token: str | None = "good", **headers: str) -> Reply:
        """GET."""
        return await self.send("GET", url, token=token, **headers)

    async def control(self, command: str, **body: Any) -> Any:
        """Call the control API and expect success."""
        reply = await self.send("POST", f"{self.origin}/_sandbox/business-central/{command}", token=None, body=body)
        assert reply.status == 200, reply.body
        return reply.json

    async def pages(self, url: str, **headers: str) -> list[Reply]:
        """A page and every page behind it."""
        found = [await self.get(url, **headers)]
        while (link := found[-1].next_link) is not None:
            assert len(found) < 500, "the pages do not end"
            found.append(await self.get(link, **headers))
        return found

    async def read_all(self, url: str, **headers: str) -> list[dict[str, Any]]:
        """The records of all pages."""
        return [record for page in await self.pages(url, **headers) for record in page.value]


@dataclass
class World:
    """A built world and what it looked like then; a test that only read leaves it to the next one."""

    clock: SandboxClock
    service: BusinessCentralService
    fresh: object = None

    def looks(self) -> object:
        """Everything that a test can change, as one comparable value."""
        environments = [e for tenant in self.service.tenants.values() for e in tenant.environments.values()]
        rows = [
            (c.id, address, table.version, len(table))
            for e in environments
            for c in e.companies
            for address, table in c.tables.items()
            if len(table) or table.version
        ]
        return (
            self.clock.offset_s,
            rows,
            [(asdict(e.switches), sorted(e.apps), dict(e.changed_entities), e.report_runs) for e in environments],
            [(dict(e.pages_served), len(e.media)) for e in environments],
        )


@pytest.fixture(scope="session")
def worlds() -> list[World]:
    """The world that the last test left untouched, if it did."""
    return []


def _world(worlds: list[World]) -> World:
    if worlds and worlds[0].looks() == worlds[0].fresh:
        return worlds[0]
    clock = SandboxClock()
    service = BusinessCentralService(clock)
    build_world("cronus", Directory(clock), service)
    world = World(clock, service)
    world.fresh = world.looks()
    worlds[:] = [world]
    return world


@pytest.fixture
async def bench(served: Served, worlds: list[World]) -> AsyncIterator[Bench]:
    """The `cronus` world, as new."""
    world = _world(worlds)
    async with aiohttp.ClientSession() as session:
        made = Bench(served.origin, world.clock, world.service, session)
        made.issue("good")
        routes = [
            *create_business_central_control(world.service),
            *create_business_central_app(world.service, made.authenticate).routes,
        ]
        served.front.app = Starlette(routes=routes)
        yield made
