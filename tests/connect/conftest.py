"""A host that connects its customers: an integration, a customer's browser with and without JavaScript, the sandbox."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime
from html import unescape
from typing import Any

import httpx
import pytest
from tests.api_server import Served, serving
from tests.hub_fixtures import House, house, master_key
from tests.own_database import database_url
from tests.patience import WAIT_MAX_S
from tests.plain_http import plain_client
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus.connections.credentials import NewSecret
from isthmus.connections.integrations import IntegrationWish, SharedObject, usable_page
from isthmus.store import integrations
from isthmus.store.audit import Author
from isthmus.store.integrations import ConnectPage, Integration
from isthmus.vault.secrets import Secret
from isthmus_sandbox.worlds import identities

__all__ = ["database_url", "house", "master_key", "sandbox", "sandbox_server"]

HOST_ORIGIN = "http://app.acme.localhost:9999"
SHARED = (
    SharedObject(object="customers", reason="So that invoices carry the right name and address."),
    SharedObject(object="salesInvoices", reason="To post the invoices that you approve.", access="write"),
)
_PROOF = re.compile(r'name="csrf" value="([0-9a-f]+)"')
_FORM = re.compile(r'<form method="post" action="([^"]+)"')


class Acme:
    """A host with its server."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.house = served.house

    async def integration(
        self, *modes: str, name: str = "Business Central", own_app: bool = True, ends_at: datetime | None = None
    ) -> Integration:
        """A provider, set up once."""
        wish = IntegrationWish(
            name=name,
            cloud=self.house.cloud,
            client_id=identities.WEB_APP_ID if own_app else "",
            objects=SHARED,
            modes=modes,
        )
        app = NewSecret(secret=Secret(identities.WEB_APP_SECRET), ends_at=ends_at) if own_app else None
        return await self.served.hub.connect.integrations.create(wish, app, by=Author(actor="test"))

    async def look(self, *origins: str) -> None:
        """Name, colour and origins of the host."""
        page = ConnectPage(host_name="Acme Billing", accent="#7a3cc0", allowed_origins=[*origins, HOST_ORIGIN])
        async with self.served.hub.db.project(self.served.hub.project.id) as tx:
            await integrations.save_connect_page(tx, usable_page(page, development=True))

    async def link(self, client: httpx.AsyncClient, **wish: Any) -> tuple[dict[str, Any], str]:
        """A session and its link, as the host's backend asks for it."""
        plain = {"consumer": {"external_id": "c-1", "name": "Contoso Ltd."}, "integration": "Business Central"}
        answer = await client.post("/v1/connect-sessions", json=plain | wish)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made["session"], made["url"]

    async def status(self, client: httpx.AsyncClient, session: dict[str, Any]) -> dict[str, Any]:
        """What the host's backend is told."""
        answer = await client.get(f"/v1/connect-sessions/{session['id']}")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


class Person:
    """One browser without JavaScript, with cookies of its own."""

    def __init__(self, acme: Acme, client: httpx.AsyncClient) -> None:
        self.acme = acme
        self.client = client
        self.page = ""
        self.status = 0
        self.at = ""

    async def open(self, url: str) -> str:
        """Open an address and follow where it leads."""
        return self._seen(await self.client.get(url))

    async def press(self, action: str, **fields: Any) -> str:
        """Send the form of the present page whose action ends so."""
        proof = _PROOF.search(self.page)
        found = next((each for each in _FORM.findall(self.page) if each.split("?")[0].endswith(action)), None)
        assert proof is not None, f"no form on this page: {self.words}"
        assert found is not None, f"no form {action} on this page: {self.words}"
        return self._seen(await self.client.post(unescape(found), data={"csrf": proof.group(1), **fields}))

    async def until(self, words: str) -> str:
        """Load the page again until it says so."""
        deadline_s = time.monotonic() + WAIT_MAX_S
        while time.monotonic() < deadline_s:
            if words in self.words:
                return self.page
            await asyncio.sleep(0.1)  # as the page's own refresh would, only quicker
            await self.open(self.at)
        raise AssertionError(f"it never said “{words}”: {self.words}")

    async def at_vendor(self, *, answer: str = "accept", user: str = "") -> str:
        """The page leads to Microsoft by itself: do there what a person does, and come back."""
        found = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', self.page)
        assert found is not None, f"the page leads nowhere: {self.words}"
        back = await self.acme.house.browse(self.acme.served.hub, unescape(found.group(1)), answer=answer, user=user)
        assert back, "the vendor did not lead back"
        return self._seen(await self.client.get("/oauth/callback", params=back))

    @property
    def words(self) -> str:
        """What a person reads."""
        text = re.sub(r"<(script|style|title).*?</\1>", " ", self.page, flags=re.S)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())

    def _seen(self, answer: httpx.Response) -> str:
        self.page, self.status, self.at = answer.text, answer.status_code, str(answer.url)
        return self.page


@pytest.fixture
async def acme(house: House) -> AsyncIterator[Acme]:
    """A host over a project of its own."""
    async with serving(house) as served:
        host = Acme(served)
        await host.look()
        yield host


@pytest.fixture
async def backend(acme: Acme) -> httpx.AsyncClient:
    """The host's backend: a key that may connect."""
    return await acme.served.client("connect")


@pytest.fixture
async def person(acme: Acme) -> AsyncIterator[Person]:
    """A customer's browser."""
    async with new_browser(acme) as client:
        yield Person(acme, client)


@pytest.fixture
async def colleague(acme: Acme) -> AsyncIterator[Person]:
    """Another person's browser."""
    async with new_browser(acme) as client:
        yield Person(acme, client)


def new_browser(acme: Acme) -> httpx.AsyncClient:
    """A browser with an empty cookie jar."""
    return plain_client(acme.served.address, follow_redirects=True)


OWN_APP_ID = "0f6f2a58-13c4-4e0b-8c57-6c8f3a5b7d99"
OWN_APP_SECRET = "a+secret/with=signs~contoso"


def register_own_app(acme: Acme, *, redirects: bool) -> None:
    """What a customer's administrator does in Entra."""
    uris = (f"{acme.served.address}/oauth/callback",) if redirects else ()
    acme.house.sandbox.call(
        lambda: acme.house.sandbox.directory.add_app(
            display_name="Contoso's own app",
            home_tenant_id=identities.TENANT_ID,
            client_id=OWN_APP_ID,
            secrets=[OWN_APP_SECRET],
            web_redirect_uris=uris,
        )
    )


def let_in(acme: Acme, app_id: str) -> None:
    """What a customer's administrator does inside Business Central."""
    service = acme.house.service
    acme.house.sandbox.call(lambda: service.environment_named("Production", None).register_app(app_id))


def agree(acme: Acme, app_id: str) -> None:
    """What a customer's administrator does in Entra: consent to what an app asks for."""
    directory = acme.house.sandbox.directory
    acme.house.sandbox.call(
        lambda: directory.grant_consent(tenant_id=identities.TENANT_ID, client_id=app_id, roles=("API.ReadWrite.All",))
    )
