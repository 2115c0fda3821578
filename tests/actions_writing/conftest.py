"""A writer over the test database and the sandbox, with short patience, and what tests want to know of the vendor."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.hub_fixtures import US, House, house, master_key
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus.actions.writing import BatchWish, Verb, Writer, WriterSettings, WriteWish
from isthmus.app import ForgetfulJournal, Hub
from isthmus.connections import checking
from isthmus.connections.credentials import AppCredentials
from isthmus.store import connections
from isthmus.store.operations import Operation, OperationState
from isthmus.store.rows import Connection, ObjectSchema
from isthmus.vault.secrets import Secret
from isthmus_sandbox.worlds import identities

__all__ = ["house", "master_key", "sandbox", "sandbox_server"]

QUICK = WriterSettings(
    operation_s_max=0.6, deadline_s=30.0, batch_deadline_s=60.0, grace_s=30.0, lock_wait_s=30.0, look_first_s=0.05,
    look_max_s=0.2,
)  # fmt: skip
"""Tests do not wait ten minutes for a request that may still commit."""

LATE = msgspec.structs.replace(QUICK, operation_s_max=60.0)
"""Where the vendor does commit later: however busy the machine, nobody may believe too early that it will not."""


class Pen:
    """One connection that can be written to."""

    def __init__(self, house: House, hub: Hub, connection: Connection) -> None:
        self.house = house
        self.hub = hub
        self.connection = connection
        self.project_id = hub.project.id
        self.writer = self.another()

    def another(self, settings: WriterSettings = QUICK) -> Writer:
        """A writer as another process would have it."""
        return Writer(self.hub.db, self.hub.opener.open, self.hub.clock, settings)

    async def submit(self, verb: str, object: str, body: Any = None, **more: Any) -> Operation:
        """One write to CRONUS USA."""
        return await self.writer.submit(self.project_id, self.connection.id, self.wish(verb, object, body, **more))

    def wish(self, verb: str, object: str, body: Any = None, **more: Any) -> WriteWish:
        """A wish; bodies as Python values."""
        encoded = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        return WriteWish(verb=Verb(verb), object=object, body=encoded, **{"company": US, **more})

    async def batch(self, *rows: WriteWish, **more: Any) -> list[Operation]:
        """Many writes."""
        return await self.writer.submit_batch(self.project_id, self.connection.id, BatchWish(rows=rows, **more))

    async def settled(self, operation: Operation, writer: Writer | None = None) -> Operation:
        """Reconcile until nothing more happens by itself."""
        for _ in range(200):
            operation = await (writer or self.writer).reconcile(self.project_id, operation.id)
            if operation.state.settled:
                return operation
            await self.hub.clock.sleep(0.05)
        raise AssertionError(f"not settled: {operation.state} {operation.failure}")

    async def stored(self, operation_id: UUID) -> Operation:
        """The operation as it is now."""
        return await self.writer.get(self.project_id, operation_id)

    # -- the vendor's side ---------------------------------------------------------------------------------------

    def rows(self, set_name: str, **values: Any) -> list[dict[str, Any]]:
        """Records of the sandbox with these values."""

        def find() -> list[dict[str, Any]]:
            place = self.house.place(set_name)
            table = self.house.service.table(place.company, place.entity)
            return [
                {**row.values, "id": row.id}
                for row in table.rows()
                if all(row.values.get(name) == value for name, value in values.items())
            ]

        return self.house.sandbox.call(find)

    def sent(self, method: str) -> list[dict[str, Any]]:
        """The requests of a method that the vendor received."""
        return [each for each in self.house.requests() if each["method"] == method]

    async def draft_invoice(self, number: str, **more: Any) -> Operation:
        """A sales invoice with one line, in one request."""
        customer, item = self.rows("customers")[0], self.rows("items")[0]
        body = {
            "externalDocumentNumber": number,
            "customerNumber": customer["number"],
            "salesInvoiceLines": [
                {"lineType": "Item", "lineObjectNumber": item["number"], "quantity": 2, "unitPrice": 12.5}
            ],
        }
        return await self.submit("create", "salesInvoices", body, **more)


def record(operation: Operation) -> dict[str, Any]:
    """The record that the vendor sent back, decimals exact."""
    found: dict[str, Any] = json.loads(operation.record or b"{}", parse_float=Decimal)
    return found


def confirmed(operation: Operation) -> Operation:
    """The operation, which must be confirmed."""
    assert operation.state is OperationState.CONFIRMED, operation.failure
    return operation


def refused(operation: Operation) -> dict[str, Any]:
    """The failure of an operation, which must have failed."""
    assert operation.state is OperationState.FAILED, operation.state
    assert operation.failure is not None
    return operation.failure


@pytest.fixture(scope="session")
def described() -> dict[str, ObjectSchema]:
    """What the sandbox offers, as the first test of the session found it: discovery has tests of its own."""
    return {}


@pytest.fixture
async def pen(house: House, described: dict[str, ObjectSchema]) -> AsyncIterator[Pen]:
    """A connection to the sandbox's production environment."""
    async with house.hub() as hub:
        app = AppCredentials(
            client_id=identities.CONFIDENTIAL_APP_ID, secret=Secret(identities.CONFIDENTIAL_APP_SECRET)
        )
        connection = await hub.connecting.with_app(house.wish(), app)
        async with hub.connection(connection.id, ForgetfulJournal()) as opened:
            await checking.save_companies(hub.db, opened)
            if "v2.0" not in described:
                await opened.objects("v2.0")
        async with hub.db.project(hub.project.id) as tx:
            known = described.get("v2.0")
            if known is not None:
                await connections.save_schema(tx, connection.id, known.route, known.document, known.hash)
            else:
                found = await connections.schema(tx, connection.id, "v2.0")
                assert found is not None
                described["v2.0"] = found
        yield Pen(house, hub, connection)
