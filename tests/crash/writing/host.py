"""A host's product that writes through the API of a hub which dies all the time.

Every write has an idempotency key, and whatever was not answered is sent again with the same key and body.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any, Final

import httpx
import msgspec
from tests.hub_fixtures import US

LANES: Final = 4
ROWS: Final = 5
ENDED: Final = ("confirmed", "failed", "needs_person")


class Intent(msgspec.Struct):
    """One write that the host wants; `ids` and `states` are of its operations, as the hub has told them last."""

    key: str
    path: str
    body: dict[str, Any]
    ids: list[str] = []
    states: list[str] = []
    remote_id: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the host knows how it ended."""
        return bool(self.states) and all(state in ENDED for state in self.states)


class Host:
    """Writes invoices, customers and batches in several lanes until the hub dies."""

    def __init__(self, client: httpx.AsyncClient, connection: str, customer: str, item: str) -> None:
        self._client = client
        self._address = f"/v1/connections/{connection}/operations"
        self._customer = customer
        self._item = item
        self.intents: dict[str, Intent] = {}
        self.lost: list[Intent] = []
        self.answers: Counter[str] = Counter()
        self.answered = asyncio.Event()

    async def write(self, round_number: int) -> None:
        """One thing after another in every lane, until the connection breaks."""
        self.answered.clear()
        async with asyncio.TaskGroup() as group:
            for lane in range(LANES):
                group.create_task(self._lane(round_number, lane))

    async def repeat(self) -> None:
        """What the last kill has left without an answer, again."""
        lost, self.lost = self.lost, []
        for intent in lost:
            self.answers[f"repeated: {await self.send(intent)}"] += 1

    async def settle(self) -> None:
        """Every key once more: its answer has come, and it is about the same operations as before."""
        for intent in self.intents.values():
            known = list(intent.ids)
            await self.send(intent)
            assert intent.ended, (intent.key, intent.states)
            assert not known or intent.ids == known, "the key stands for another write now"

    async def send(self, intent: Intent) -> int:
        """Send an intent, patiently where the hub asks for it; the status. Raises httpx.TransportError."""
        self.intents[intent.key] = intent
        while True:
            headers = {"idempotency-key": intent.key}
            answer = await self._client.post(self._address + intent.path, json=intent.body, headers=headers)
            if answer.status_code != 429:
                break
            await asyncio.sleep(0.2)
        self.answered.set()
        self._learn(intent, answer)
        return answer.status_code

    def _learn(self, intent: Intent, answer: httpx.Response) -> None:
        told = answer.json()
        if answer.status_code == 409 and "operation" not in told:
            return  # under way: the host asks again later
        rows = told.get("result") or [told.get("operation") or told]
        assert all("id" in row for row in rows), (answer.status_code, answer.text)
        intent.ids, intent.states = [row["id"] for row in rows], [row["state"] for row in rows]
        intent.remote_id = rows[0]["remote_id"]
        self.answers[str(answer.status_code)] += 1

    async def _lane(self, round_number: int, lane: int) -> None:
        chooser = random.Random(round_number * 100 + lane)
        number = 0
        while True:
            number += 1
            name = f"Crash {round_number}-{lane}-{number}"
            match chooser.choice(("invoice", "invoice", "customer", "batch", "whole")):
                case "invoice":
                    going = await self._invoice(name)
                case "customer":
                    going = await self._customer_moves(name)
                case kind:
                    going = await self._batch(name, whole=kind == "whole")
            if not going:
                return

    async def _invoice(self, name: str) -> bool:
        line = {"lineType": "Item", "lineObjectNumber": self._item, "quantity": 1}
        body = {"externalDocumentNumber": name, "customerNumber": self._customer, "salesInvoiceLines": [line]}
        made = await self._one(f"{name} invoice", verb="create", object="salesInvoices", body=body)
        if made is None or not made.ended:
            return made is not None
        post = {"verb": "action", "object": "salesInvoices", "record_id": made.remote_id, "action": "post"}
        return await self._one(f"{name} post", **post) is not None

    async def _customer_moves(self, name: str) -> bool:
        made = await self._one(f"{name} customer", verb="create", object="customers", body={"displayName": name})
        if made is None or not made.ended:
            return made is not None
        changed = {"verb": "update", "object": "customers", "record_id": made.remote_id, "body": {"city": name}}
        return await self._one(f"{name} move", **changed) is not None

    async def _batch(self, name: str, *, whole: bool) -> bool:
        rows = [
            {"verb": "create", "object": "vendors", "company": US, "body": {"displayName": f"{name} {n}"}}
            for n in range(ROWS)
        ]
        intent = Intent(key=f"{name} batch", path="/batch", body={"rows": rows, "all_or_nothing": whole})
        return await self._sent(intent)

    async def _one(self, key: str, **write: Any) -> Intent | None:
        """A write as it stands then; None when the hub is gone."""
        intent = Intent(key=key, path="", body={"company": US, **write})
        return intent if await self._sent(intent) else None

    async def _sent(self, intent: Intent) -> bool:
        try:
            await self.send(intent)
        except httpx.TransportError:
            self.lost.append(intent)
            return False
        return True
