"""`Idempotency-Key` as callers of the API rely on it: the stored answer, 422, 409, how long, and all at once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.api_server import Served, serving
from tests.hub_fixtures import US

from isthmus.store import operations
from isthmus.store.operations import OperationState

KEY = {"idempotency-key": "order-4711"}


@pytest.fixture
async def client(served: Served) -> httpx.AsyncClient:
    """A caller that may write."""
    return await served.client("write", "read")


@pytest.fixture
async def address(served: Served) -> str:
    """Where it writes to."""
    connection = await served.connect(await served.client())
    return f"/v1/connections/{connection['id']}/operations"


def customer(name: str, **more: Any) -> dict[str, Any]:
    """A create."""
    return {"verb": "create", "object": "customers", "company": US, "body": {"displayName": name}, **more}


async def test_the_same_key_and_body_give_the_stored_answer_word_for_word(
    served: Served, client: httpx.AsyncClient, address: str
) -> None:
    before = served.house.count("customers")
    first = await client.post(address, json=customer("Once"), headers=KEY)
    again = await client.post(address, json=customer("Once"), headers=KEY)
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = await client.post(address, json=customer("Other"), headers=KEY)
    told = other.json()
    assert (other.status_code, told["code"], told["subject"]) == (422, "idempotency_mismatch", first.json()["id"])
    assert f"operation {first.json()['id']}" in told["message"]
    assert served.house.count("customers") == before + 1


async def test_a_batch_that_is_answered_again_says_so(client: httpx.AsyncClient, address: str) -> None:
    rows = {"rows": [customer("One"), customer("Two")]}
    first = await client.post(f"{address}/batch", json=rows, headers=KEY)
    again = await client.post(f"{address}/batch", json=rows, headers=KEY)
    assert again.json() == first.json()
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")


async def test_a_refusal_is_a_stored_answer_too(served: Served, client: httpx.AsyncClient, address: str) -> None:
    served.house.switch(manual_numbers_refused=["customers"])
    wish = customer("Once") | {"body": {"displayName": "Once", "number": "MINE"}}
    first = await client.post(address, json=wish, headers=KEY)
    assert first.status_code == 422, first.text
    served.house.switch(manual_numbers_refused=[])
    again = await client.post(address, json=wish, headers=KEY)
    changing = {"request_id"}
    assert again.status_code == first.status_code
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert {name: value for name, value in again.json().items() if name not in changing} == {
        name: value for name, value in first.json().items() if name not in changing
    }


async def test_anything_else_under_the_same_key_is_refused_and_not_written(
    served: Served, client: httpx.AsyncClient, address: str
) -> None:
    other = await served.connect(await served.client(), name="second")
    assert (await client.post(address, json=customer("Once"), headers=KEY)).status_code == 200
    before = served.house.count("customers")
    for path, body in (
        (address, customer("Twice")),
        (address, customer("Once", object="vendors")),
        (address, customer("Once", verb="upsert", match=["displayName"])),
        (f"/v1/connections/{other['id']}/operations", customer("Once")),
        (f"{address}/batch", {"rows": [customer("Once")]}),
    ):
        refused = await client.post(path, json=body, headers=KEY)
        assert refused.status_code == 422, f"{path} {body}: {refused.text}"
        assert refused.json()["code"] == "idempotency_mismatch"
        assert not refused.json()["retryable"]
    assert served.house.count("customers") == before


async def test_the_key_of_a_batch_is_taken_for_a_write_by_itself(client: httpx.AsyncClient, address: str) -> None:
    batch = {"rows": [customer("One"), customer("Two")]}
    made = await client.post(f"{address}/batch", json=batch, headers=KEY)
    assert [row["state"] for row in made.json()["result"]] == ["confirmed", "confirmed"], made.text
    refused = await client.post(address, json=customer("One"), headers=KEY)
    assert (refused.status_code, refused.json().get("code")) == (422, "idempotency_mismatch"), refused.text
    again = await client.post(f"{address}/batch", json=batch, headers=KEY)
    assert again.json()["result"] == made.json()["result"]
    fewer = await client.post(f"{address}/batch", json={"rows": batch["rows"][:1]}, headers=KEY)
    assert fewer.status_code == 422


async def test_a_key_whose_write_is_in_flight_is_a_conflict_until_it_is_settled(
    served: Served, client: httpx.AsyncClient, address: str
) -> None:
    served.house.sandbox.fault("drop", method="POST", path="customers$")
    lost = await client.post(address, json=customer("Once"), headers=KEY)
    assert (lost.status_code, lost.json()["state"]) == (202, "uncertain"), lost.text
    waits = await client.post(address, json=customer("Once"), headers=KEY)
    assert (waits.status_code, waits.json()["code"]) == (409, "conflict")
    assert waits.json()["subject"] == lost.json()["id"], "it names the operation to ask for"
    other = await client.post(address, json=customer("Twice"), headers=KEY)
    assert other.status_code == 422, "another body is another body, in flight or not"
    took_place = {"took_place": False}
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute("UPDATE operations SET state = 'needs_person' WHERE id = %s", (lost.json()["id"],))
    decided = await client.post(f"/v1/operations/{lost.json()['id']}/decide", json=took_place)
    assert decided.status_code == 200, decided.text
    settled = await client.post(address, json=customer("Once"), headers=KEY)
    assert settled.json().get("operation", settled.json())["id"] == lost.json()["id"]


async def test_a_key_is_kept_for_a_day_and_then_free(served: Served, client: httpx.AsyncClient, address: str) -> None:
    first = (await client.post(address, json=customer("Once"), headers=KEY)).json()
    async with served.hub.db.project(served.hub.project.id) as tx:
        row = await operations.get(tx, UUID(first["id"]))
        assert row.key_expires_at is not None
        assert abs((row.key_expires_at - row.created_at).total_seconds() - 24 * 3_600) < 1
        await tx.execute("UPDATE operations SET key_expires_at = now() + interval '1 minute'")
    assert (await client.post(address, json=customer("Twice"), headers=KEY)).status_code == 422
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute("UPDATE operations SET key_expires_at = now() - interval '1 second'")
    second = await client.post(address, json=customer("Twice"), headers=KEY)
    assert (second.status_code, second.json()["state"]) == (200, OperationState.CONFIRMED)
    assert second.json()["id"] != first["id"]


async def test_callers_at_once_at_two_servers_write_once(
    served: Served, client: httpx.AsyncClient, address: str
) -> None:
    before = served.house.count("customers")
    async with serving(served.house) as beside:
        second = await beside.client("write")
        callers = [client, second] * 8
        answers = await asyncio.gather(*(each.post(address, json=customer("Once"), headers=KEY) for each in callers))
        assert {each.status_code for each in answers} <= {200, 409}
        done = [each.json() for each in answers if each.status_code == 200]
        assert done, "somebody is answered"
        later = [(await each.post(address, json=customer("Once"), headers=KEY)).json() for each in (client, second)]
    assert all(each == done[0] for each in (*done, *later))
    assert served.house.count("customers") == before + 1


async def test_of_different_writes_at_once_under_one_key_one_is_made(
    served: Served, client: httpx.AsyncClient, address: str
) -> None:
    before = served.house.count("customers")
    answers = await asyncio.gather(
        *(client.post(address, json=customer(f"No {number}"), headers=KEY) for number in range(8))
    )
    assert sorted(each.status_code for each in answers) == [200, *[422] * 7]
    assert served.house.count("customers") == before + 1


async def test_a_key_belongs_to_its_project(served: Served, client: httpx.AsyncClient, address: str) -> None:
    assert (await client.post(address, json=customer("Once"), headers=KEY)).status_code == 200
    stranger = await served.client(project=f"{served.hub.project.name}-another")
    theirs = await served.connect(stranger)
    other = await stranger.post(f"/v1/connections/{theirs['id']}/operations", json=customer("Twice"), headers=KEY)
    assert other.status_code == 200, other.text
