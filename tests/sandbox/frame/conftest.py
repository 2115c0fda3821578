"""A client that calls Business Central of the `cronus` world with a good token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from tests.running_sandbox import SandboxThread

from isthmus_sandbox.worlds.identities import CONFIDENTIAL_APP_ID, TENANT_ID

COMPANIES = "/v2.0/Production/api/v2.0/companies"


@dataclass
class ProductClient:
    """Calls Business Central and the control API, and returns what came back."""

    sandbox: SandboxThread
    http: aiohttp.ClientSession
    token: str

    async def get(self, path: str = COMPANIES, *, token: str | None = None) -> tuple[int, dict[str, str], bytes]:
        """GET on Business Central: status, headers (lower case) and body."""
        url = self.sandbox.addresses.business_central_url + path
        async with self.http.get(url, headers={"Authorization": f"Bearer {token or self.token}"}) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, headers, await answer.read()

    async def control(self, method: str, path: str, /, **settings: Any) -> tuple[int, Any]:
        """A call of the control API: status and JSON."""
        url = f"{self.sandbox.addresses.control_url}{path}"
        async with self.http.request(method, url, json=settings or None) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def product(sandbox: SandboxThread) -> AsyncIterator[ProductClient]:
    """Business Central with demo data and a token of the demo app."""
    connector = aiohttp.TCPConnector(ssl=sandbox.ssl_context(), limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        client = ProductClient(sandbox, http, "")
        _, minted = await client.control(
            "POST", "/entra/tokens", tenant=TENANT_ID, app=CONFIDENTIAL_APP_ID, roles=["API.ReadWrite.All"]
        )
        client.token = minted["access_token"]
        yield client
