"""The whole server in this process, on a port of its own, as `isthmus serve` would run it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from html import unescape
from typing import Any

import httpx
import pytest
import uvicorn
from tests.hub_fixtures import House
from tests.litestar_signatures import keep_signatures
from tests.patience import WAIT_MAX_S
from tests.plain_http import plain_client

from isthmus.app import Hub
from isthmus.cli.serving import KEEP_ALIVE_S
from isthmus.kernel.key_text import digest_of, new_key, prefix_of
from isthmus.server import create_server
from isthmus.store import api_keys, projects
from isthmus.store.rows import Project
from isthmus_sandbox.worlds import identities

__all__ = ["Served", "served", "serving"]

keep_signatures()

_NUMBERS = itertools.count(1)
EVERY_SCOPE = ("admin",)


class Served:
    """A running server with its hub, and clients that carry keys."""

    def __init__(self, house: House, hub: Hub, address: str, stack: contextlib.AsyncExitStack) -> None:
        self.house = house
        self.hub = hub
        self.address = address
        self._stack = stack

    async def key(self, *scopes: str, project: str | None = None, **more: Any) -> str:
        """A new key of this (or another) project."""
        text = new_key(development=True)
        found = await self.project(project) if project else self.hub.project
        async with self.hub.db.project(found.id) as tx:
            await api_keys.create(
                tx,
                name=f"key {next(_NUMBERS)}",
                scopes=scopes or EVERY_SCOPE,
                prefix=prefix_of(text),
                digest=digest_of(text),
                **more,
            )
        return text

    async def project(self, name: str, *, development: bool = True) -> Project:
        """The project of that name, made when there is none."""
        return await projects.named(self.hub.db, name) or await projects.create(
            self.hub.db, name, development=development
        )

    async def client(self, *scopes: str, project: str | None = None) -> httpx.AsyncClient:
        """A client with a key of its own; without scopes it may do everything."""
        return await self.bearing(await self.key(*scopes, project=project))

    async def bearing(self, key: str | None) -> httpx.AsyncClient:
        """A client that sends this key."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        made = plain_client(self.address, headers=headers)
        return await self._stack.enter_async_context(made)

    def connecting(self, **changed: Any) -> dict[str, Any]:
        """The body that connects the sandbox."""
        cloud = self.house.cloud
        plain = {
            "name": "cronus",
            "tenant": identities.TENANT_ID,
            "environment": "Production",
            "client_id": identities.CONFIDENTIAL_APP_ID,
            "client_secret": identities.CONFIDENTIAL_APP_SECRET,
            "cloud": {
                "name": cloud.name,
                "title": cloud.title,
                "login_url": cloud.login_url,
                "business_central_url": cloud.business_central_url,
                "ca_file": cloud.ca_file,
            },
        }
        return plain | changed

    async def connect(self, client: httpx.AsyncClient, **changed: Any) -> dict[str, Any]:
        """A checked connection to the sandbox."""
        answer = await client.post("/v1/connections", json=self.connecting(**changed))
        assert answer.status_code in (200, 201), answer.text  # 200: under its name there was one
        shown: dict[str, Any] = answer.json()["connection"]
        return shown

    async def to_vendor(self, browser: httpx.AsyncClient, url: str) -> str:
        """Go on from the page of a sign-in that `/v1/authorize` has started; the vendor's address it leads to."""
        page = await browser.get(url)
        assert page.status_code == 200, page.text
        fields = dict(re.findall(r'name="(csrf|state)" value="([^"]+)"', page.text))
        left = await browser.post(url.split("?")[0], data=fields)
        assert left.status_code == 200, left.text
        found = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', left.text)
        assert found is not None, left.text
        return unescape(found.group(1))

    async def synced(self, client: httpx.AsyncClient, connection: str, name: str, **wish: Any) -> dict[str, Any]:
        """A sync that has run once, in this process."""
        answer = await client.post("/v1/syncs", json={"connection": connection, "object": name, **wish})
        assert answer.status_code == 201, answer.text
        sync: dict[str, Any] = answer.json()["sync"]
        await self.run(sync["id"])
        return sync

    async def run(self, sync_id: str) -> None:
        """Perform a run of a sync here and now."""
        from uuid import UUID

        run, _ = await self.hub.begin_run(UUID(sync_id))
        await self.hub.perform(run)


@asynccontextmanager
async def serving(house: House, **options: Any) -> AsyncIterator[Served]:
    """Serve until the end of the block."""
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(house.hub())
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        application = create_server(hub, **{"public_url": address, **options})
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                log_config=None,
                access_log=False,
                lifespan="on",
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with asyncio.timeout(WAIT_MAX_S):
                while not server.started and not task.done():  # noqa: ASYNC110  (uvicorn tells by a flag only)
                    await asyncio.sleep(0.01)
            yield Served(house, hub, address, stack)
        finally:
            server.should_exit = True
            await task
            listening.close()


@pytest.fixture
async def served(house: House) -> AsyncIterator[Served]:
    """A server over a project of its own."""
    async with serving(house) as running:
        yield running


def ids(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The ids of listed rows."""
    return [row["id"] for row in rows]
