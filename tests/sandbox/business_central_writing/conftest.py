"""A client that writes to CRONUS USA over real HTTPS, through the whole sandbox: Entra, limits, faults."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict
from tests.running_sandbox import SandboxThread
from yarl import URL

from isthmus_sandbox.worlds import identities

FINANCE = "microsoft/reportsFinance/beta"


def moment(text: str) -> datetime:
    """A stamp as an instant: texts of different precision do not sort."""
    return datetime.fromisoformat(text)


@dataclass(frozen=True)
class Reply:
    """A received answer."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON, decimals exact."""
        found: dict[str, Any] = json.loads(self.body, parse_float=Decimal)
        return found

    @property
    def etag(self) -> str:
        """The ETag of the record in the body."""
        found: str = self.json["@odata.etag"]
        return found

    @property
    def code(self) -> str:
        """The code of a refusal."""
        found: str = self.json["error"]["code"]
        return found

    @property
    def message(self) -> str:
        """The text of a refusal."""
        found: str = self.json["error"]["message"]
        return found


@dataclass
class Writer:
    """Speaks to one company; a path without a host lies below it."""

    sandbox: SandboxThread
    http: aiohttp.ClientSession
    token: str = ""

    async def sign_in(self) -> None:
        """A fresh token of the confidential demo app."""
        form = {
            "grant_type": "client_credentials",
            "client_id": identities.CONFIDENTIAL_APP_ID,
            "client_secret": identities.CONFIDENTIAL_APP_SECRET,
            "scope": "https://api.businesscentral.dynamics.com/.default",
        }
        url = f"{self.sandbox.addresses.login_url}/{identities.TENANT_ID}/oauth2/v2.0/token"
        async with self.http.post(url, data=form) as answer:
            self.token = (await answer.json())["access_token"]

    @property
    def root(self) -> str:
        """The absolute URL of API v2.0."""
        host = self.sandbox.addresses.business_central_url
        return f"{host}/v2.0/{identities.TENANT_ID}/{identities.PRODUCTION}/api/v2.0"

    @property
    def company(self) -> str:
        """The company's path below an API root."""
        return f"companies({identities.US_COMPANY_ID})"

    def url(self, path: str, route: str = "v2.0") -> str:
        """An absolute URL."""
        if path.startswith("https://"):
            return path
        return f"{self.root.removesuffix('v2.0')}{route}/{self.company}/{path}"

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        data: bytes | None = None,
        route: str = "v2.0",
    ) -> Reply:
        """Send a request; `body` goes as JSON, `data` as it is; `_` in header names stands for `-`."""
        named = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            data, named["Content-Type"] = json.dumps(body).encode(), "application/json"
        named |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        url = URL(self.url(path, route), encoded=True)
        skip = ("Content-Type",) if data is None else ()
        async with self.http.request(method, url, data=data, headers=named, skip_auto_headers=skip) as answer:
            return Reply(answer.status, CIMultiDict(answer.headers), await answer.read())

    async def get(self, path: str, *, route: str = "v2.0", **headers: str) -> Reply:
        """GET."""
        return await self.send("GET", path, headers=headers, route=route)

    async def rows(self, path: str, *, route: str = "v2.0") -> list[dict[str, Any]]:
        """The records of a page."""
        reply = await self.get(path, route=route)
        assert reply.status == 200, reply.body
        found: list[dict[str, Any]] = reply.json["value"]
        return found

    async def record(self, path: str) -> dict[str, Any]:
        """One record."""
        reply = await self.get(path)
        assert reply.status == 200, reply.body
        return reply.json

    async def post(self, path: str, body: Any, **headers: str) -> Reply:
        """POST."""
        return await self.send("POST", path, body, headers)

    async def create(self, path: str, body: Any) -> dict[str, Any]:
        """POST that must succeed; the record."""
        reply = await self.send("POST", path, body)
        assert reply.status == 201, reply.body
        return reply.json

    async def patch(self, path: str, body: Any, *, if_match: str = "*", **headers: str) -> Reply:
        """PATCH; an empty `if_match` leaves the header out."""
        if if_match:
            headers["If_Match"] = if_match
        return await self.send("PATCH", path, body, headers)

    async def delete(self, path: str, **headers: str) -> Reply:
        """DELETE."""
        return await self.send("DELETE", path, headers=headers)

    async def act(self, path: str, name: str) -> Reply:
        """A bound action."""
        return await self.send("POST", f"{path}/Microsoft.NAV.{name}")

    async def done(self, path: str, name: str) -> None:
        """A bound action that must succeed."""
        reply = await self.act(path, name)
        assert (reply.status, reply.body) == (204, b"")

    async def batch(self, requests: list[dict[str, Any]], **headers: str) -> Reply:
        """A JSON batch."""
        return await self.send("POST", f"{self.root}/$batch", {"requests": requests}, headers)

    async def customer(self, number: str = "10000") -> dict[str, Any]:
        """A customer of the demo data."""
        return (await self.rows(f"customers?$filter=number%20eq%20'{number}'"))[0]

    async def vendor(self, number: str = "10000") -> dict[str, Any]:
        """A vendor of the demo data."""
        return (await self.rows(f"vendors?$filter=number%20eq%20'{number}'"))[0]

    async def item(self, number: str = "1896-S") -> dict[str, Any]:
        """An item of the demo data."""
        return (await self.rows(f"items?$filter=number%20eq%20'{number}'"))[0]

    async def sales_invoice(self, quantity: int = 2, **more: Any) -> dict[str, Any]:
        """A draft sales invoice of one item for customer 10000."""
        line = {"itemId": (await self.item())["id"], "quantity": quantity}
        return await self.create("salesInvoices", {"customerNumber": "10000", "salesInvoiceLines": [line], **more})

    async def purchase_invoice(self, quantity: int = 2, **more: Any) -> dict[str, Any]:
        """A draft purchase invoice of one item from vendor 10000."""
        line = {"itemId": (await self.item())["id"], "quantity": quantity}
        body = {"vendorNumber": "10000", "vendorInvoiceNumber": "V-1", "purchaseInvoiceLines": [line], **more}
        return await self.create("purchaseInvoices", body)

    async def posted_sales_invoice(self, **more: Any) -> dict[str, Any]:
        """A posted one."""
        invoice = await self.sales_invoice(**more)
        await self.done(f"salesInvoices({invoice['id']})", "post")
        return await self.record(f"salesInvoices({invoice['id']})")

    async def posted_purchase_invoice(self, **more: Any) -> dict[str, Any]:
        """A posted one."""
        invoice = await self.purchase_invoice(**more)
        await self.done(f"purchaseInvoices({invoice['id']})", "post")
        return await self.record(f"purchaseInvoices({invoice['id']})")

    async def pay(self, side: str, invoice: dict[str, Any], amount: Decimal) -> None:
        """Pay (part of) a posted invoice through a payment journal; `side` is `customer` or `vendor`."""
        account = (await self.rows("accounts?$filter=number%20eq%20'10100'"))[0]
        code = f"P{len(await self.rows(f'{side}PaymentJournals'))}"
        journal = await self.create(f"{side}PaymentJournals", {"code": code, "balancingAccountId": account["id"]})
        signed = float(-amount if side == "customer" else amount)
        line = {"appliesToInvoiceId": invoice["id"], "amount": signed}
        await self.create(f"{side}PaymentJournals({journal['id']})/{side}Payments", line)
        await self.done(f"journals({journal['id']})", "post")

    def switches(self, **values: Any) -> None:
        """Set switches of the environment."""

        def change() -> None:
            environment = self.sandbox.estate.business_central.environment_named(identities.PRODUCTION)
            environment.switches.change(**values)

        self.sandbox.call(change)

    async def control(self, command: str, **body: Any) -> Any:
        """Call the control API and expect success."""
        url = f"{self.sandbox.addresses.control_url}/business-central/{command}"
        async with self.http.post(url, json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@pytest.fixture
async def writer(sandbox: SandboxThread) -> AsyncIterator[Writer]:
    """A client with a token of the confidential demo app, in front of a fresh `cronus` world."""
    connector = aiohttp.TCPConnector(ssl=sandbox.ssl_context())
    async with aiohttp.ClientSession(connector=connector) as http:
        made = Writer(sandbox, http)
        await made.sign_in()
        yield made
