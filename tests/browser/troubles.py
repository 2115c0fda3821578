"""A project on a bad day, as a support person meets it: long names, and one trouble of every kind."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from tests.api_server import Served
from tests.hub_fixtures import US

from isthmus.actions.writing import Verb, WriteWish
from isthmus.connections.integrations import IntegrationWish, SharedObject
from isthmus.kernel.failures import CompanyNotFound, DestinationFailure, OutcomeUnknown
from isthmus.kernel.ids import new_id
from isthmus.store import default_syncs, destinations, integrations
from isthmus.store.audit import Author
from isthmus.store.default_syncs import RefusedSync
from isthmus.store.destinations import bury
from isthmus.store.integrations import Integration
from isthmus.store.operations import Operation, Planner
from isthmus.store.rows import Connection, RunKind
from isthmus_sandbox.worlds import identities

LONG_NAME = "Überland Maschinenbau und Fördertechnik Beteiligungsgesellschaft mbH & Co. KG, Niederlassung Süd"
PLANNER = Planner(name="key:billing backend", key_id=new_id())
CONTOSO = {"external_id": "customer-4711", "name": "Contoso Ltd."}


class BadDay:
    """What is there, and the addresses of the pages about it."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.house, self.hub = served.house, served.hub
        self.paths: list[str] = []

    async def come(self, folder: Path) -> None:
        """Everything happens."""
        api = await self.served.client()
        await self._look(api)
        integration = await self._integration(api)
        well = await self._connections(api)
        await self._lacking(well, integration)
        await self._syncs(well)
        await self._writes(well)
        await self._destinations(folder)

    async def _look(self, api: httpx.AsyncClient) -> None:
        page = {"host_name": "Acme Billing", "accent": "#7a3cc0", "support": "help@acme.example"}
        await api.put("/v1/connect-page", json=page)
        await api.post("/v1/notices/addresses", json={"address": "operations-on-call@acme.example"})
        await api.put("/v1/approvals/rules", json={"required": True, "object": "vendors"})

    async def _integration(self, api: httpx.AsyncClient) -> Integration:
        """An app of one organization only, through which customers shall sign in, and links for two of them."""
        shared = (
            SharedObject(object="customers", reason="So that invoices carry the right name and address."),
            SharedObject(object="salesInvoices", reason="To post the invoices that you approve.", access="write"),
        )
        wish = IntegrationWish(
            name="Business Central", cloud=self.house.cloud, client_id=identities.WEB_APP_ID, objects=shared,
            tenant=identities.TENANT_ID,
        )  # fmt: skip
        made = await self.hub.connect.integrations.create(wish, by=Author(actor="test"))
        for consumer in (CONTOSO, {"external_id": "customer-4712", "name": LONG_NAME}):
            asked = await api.post("/v1/connect-sessions", json={"consumer": consumer, "integration": made.name})
            assert asked.status_code == 201, asked.text
        self.paths += [f"/console/apps/integrations/{made.id}", f"/console/apps/integrations/{made.id}/change"]
        return made

    async def _lacking(self, well: Connection, integration: Integration) -> None:
        """A default sync names a company that this connection does not have."""
        failure = CompanyNotFound("There is no company “CRONUS DE” in this connection.", nearest=["CRONUS USA, Inc."])
        refused = RefusedSync(object="generalLedgerEntries", failure=failure.to_dict())
        async with self.hub.db.project(self.hub.project.id) as tx:
            await integrations.assign(tx, well.id, integration.id)
            await default_syncs.note_refused(tx, well.id, [refused])

    async def _connections(self, api: httpx.AsyncClient) -> Connection:
        """One that works with a secret that ends soon, one with a wrong secret, one whose environment is gone."""
        owner = (await api.get("/v1/consumers", params={"external_id": CONTOSO["external_id"]})).json()["result"][0]
        well = await self.house.connect(self.hub, name="Contoso / Production")
        await api.patch(f"/v1/connections/{well.id}", json={"consumer": owner["id"]})
        soon = (datetime.now(UTC) + timedelta(days=5)).isoformat()
        await api.patch(f"/v1/connections/{well.id}/secret", json={"secret_expires_at": soon})
        locked_out = await self.house.connect(self.hub, name=LONG_NAME, secret="not-the-secret")
        lost = await self.house.connect(self.hub, name="Fabrikam / Test", environment="Nowhere")
        for each in (well, locked_out, lost):
            base = f"/console/connections/{each.id}"
            self.paths += [base, f"{base}/companies", f"{base}/settings", f"{base}/history", f"{base}/objects"]
        self.paths.append(f"/console/connections/{well.id}/objects/items")
        return well

    async def _syncs(self, well: Connection) -> None:
        """One in step, one that fails, one whose deletions are held back, one never read."""
        fine = await self.house.sync(self.hub, well, "customers", schedule="every 10m", names={"displayName": "name"})
        broken = await self.house.sync(self.hub, well, "items", schedule="every 1h")
        held = await self.house.sync(self.hub, well, "currencies", schedule="every 1h")
        await self.house.sync(self.hub, well, "salesInvoices", schedule="every 1d")
        for sync in (fine, held):
            await self.house.run(self.hub, sync)
        await self._execute("UPDATE syncs SET filter = 'colour eq ''red''' WHERE id = %s", broken.id)
        failed, _ = await self.house.run(self.hub, broken)
        swept, _ = await self.house.run(self.hub, held, RunKind.SWEEP)
        await self._execute(
            """UPDATE runs SET state = 'held', options = options || '{"held": 1204}'::jsonb WHERE id = %s""", swept.id
        )
        for sync in (fine, broken, held):
            base = f"/console/syncs/{sync.id}"
            self.paths += [base, f"{base}/run", f"{base}/change", f"/console/data/{sync.id}"]
        for run in (failed, swept):
            self.paths += [f"/console/runs/{run.id}", f"/console/runs/{run.id}/requests/1"]

    async def _writes(self, well: Connection) -> None:
        """One done, one refused, one that waits for approval, one that nobody but a person can settle."""
        body = b'{"displayName": "Contoso", "creditLimit": 1500.10, "email": "billing@contoso.example"}'
        done = await self._written(well, "customers", body)
        refused = await self._written(well, "customers", b'{"displayName": "Twice", "number": "10000"}')
        waiting = await self._written(well, "vendors", b'{"displayName": "Woodgrove Bank"}')
        stuck = await self._written(well, "items", b'{"displayName": "Lamp"}')
        failure = OutcomeUnknown("It cannot be told whether this write took place.").to_dict()
        await self._execute(
            """UPDATE operations SET state = 'needs_person', record = NULL, remote_id = NULL, claim = NULL,
                      failure = %s::jsonb WHERE id = %s""",
            json.dumps(failure),
            stuck.id,
        )
        for operation in (done, refused, waiting, stuck):
            self.paths.append(f"/console/writes/{operation.id}")
        base = f"/console/writes/new?connection={well.id}"
        self.paths += [
            f"/console/writes/{done.id}/requests/1",
            f"{base}&verb=update&object=customers&record={done.remote_id}",
            f"{base}&verb=action&object=salesInvoices",
        ]

    async def _written(self, well: Connection, object: str, body: bytes) -> Operation:
        wish = WriteWish(verb=Verb.CREATE, object=object, company=US, body=body)
        return await self.hub.writer.submit(self.hub.project.id, well.id, wish, planner=PLANNER)

    async def _destinations(self, folder: Path) -> None:
        """A folder that takes everything; a webhook that nobody answers, with what it was given up for."""
        good = await self.hub.create_folder("files for the warehouse", folder)
        bad, _ = await self.hub.create_webhook("erp", "http://127.0.0.1:9/hooks/isthmus?source=business-central")
        await self.hub.deliver()
        failure = DestinationFailure("The receiver answered 410: it wants no more deliveries.").to_dict()
        async with self.hub.db.project(self.hub.project.id) as tx:
            await destinations.pause(tx, bad.id, "The receiver answered 410: it wants no more deliveries.")
            await bury(
                tx, bad.id, letter_id=new_id(), first_number=1, last_number=40, changes=40, attempts=31, failure=failure
            )
        for each in (good, bad):
            self.paths += [f"/console/deliveries/{each.id}", f"/console/deliveries/{each.id}/change"]

    async def _execute(self, statement: str, *values: Any) -> None:
        async with self.hub.db.project(self.hub.project.id) as tx:
            await tx.execute(statement, values)


async def customer_links(served: Served) -> tuple[str, str]:
    """A fresh link to connect, and one to the customer's own page."""
    api = await served.client()
    asked = await api.post("/v1/connect-sessions", json={"consumer": CONTOSO, "integration": "Business Central"})
    owner = (await api.get("/v1/consumers", params={"external_id": CONTOSO["external_id"]})).json()["result"][0]
    portal = await api.post(f"/v1/consumers/{owner['id']}/portal-links", json={})
    return asked.json()["url"], portal.json()["url"]
