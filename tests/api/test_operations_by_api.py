"""Writes over HTTP: done once, refused in words, checked without sending, kept for later."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.api_server import Served
from tests.hub_fixtures import US


@pytest.fixture
async def writing(served: Served) -> tuple[Served, httpx.AsyncClient, str]:
    """A server, a client that may write, and where it writes to."""
    connection = await served.connect(await served.client())
    return served, await served.client("write", "read"), f"/v1/connections/{connection['id']}/operations"


def customer(name: str, **more: object) -> dict[str, object]:
    """A create."""
    return {"verb": "create", "object": "customers", "company": US, "body": {"displayName": name}, **more}


async def test_a_create_is_done_and_can_be_looked_at(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    _, client, address = writing
    made = await client.post(address, json=customer("By operation"))
    assert made.status_code == 200, made.text
    operation = made.json()
    assert (operation["state"], operation["record"]["displayName"]) == ("confirmed", "By operation")
    shown = (await client.get(f"/v1/operations/{operation['id']}")).json()
    assert shown["remote_id"] == operation["remote_id"]
    assert any(entry["method"] == "POST" for entry in shown["requests"])
    listed = (await client.get("/v1/operations", params={"state": "confirmed"})).json()
    assert [row["id"] for row in listed["result"]] == [operation["id"]]


async def test_the_same_key_and_body_give_the_stored_answer(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    served, client, address = writing
    before = served.house.count("customers")
    headers = {"idempotency-key": "order-4711"}
    first = await client.post(address, json=customer("Once"), headers=headers)
    again = await client.post(address, json=customer("Once"), headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert served.house.count("customers") == before + 1
    other = await client.post(address, json=customer("Twice"), headers=headers)
    assert other.status_code == 422


async def test_amounts_reach_the_vendor_as_they_were_written(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    _, client, address = writing
    body = b"""{"verb": "create", "object": "customers", "company": "%s",
                "body": {"displayName": "Exact", "creditLimit": 1234567890123.45}}""" % US.encode()
    made = await client.post(address, content=body, headers={"content-type": "application/json"})
    assert made.status_code == 200, made.text
    assert b"1234567890123.45" in made.content


async def test_a_refused_write_is_a_problem_with_the_names_that_were_meant(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    _, client, address = writing
    wrong = {
        "verb": "delete",
        "object": "customers",
        "company": US,
        "record_id": "00000000-0000-0000-0000-000000000001",
    }
    answer = await client.post(address, json=wrong)
    assert answer.status_code == 404, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    unknown = await client.post(address, json=customer("x") | {"body": {"displayNmae": "x"}})
    assert (unknown.status_code, unknown.json()["nearest"][0]) == (422, "displayName")


async def test_a_stale_version_is_a_conflict_that_carries_its_operation(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    _, client, address = writing
    made = (await client.post(address, json=customer("Versioned"))).json()
    change = {"verb": "update", "object": "customers", "company": US, "record_id": made["remote_id"]}
    first = await client.post(address, json=change | {"body": {"displayName": "A"}, "if_match": made["etag"]})
    assert first.status_code == 200, first.text
    stale = await client.post(address, json=change | {"body": {"displayName": "B"}, "if_match": made["etag"]})
    assert (stale.status_code, stale.json()["code"]) == (409, "conflict")
    assert stale.json()["operation"]["state"] == "failed"


async def test_a_dry_run_shows_the_request_and_sends_none(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    served, client, address = writing
    before = served.house.count("customers")
    answer = await client.post(address, json=customer("Dry"), params={"dry_run": "true"})
    assert answer.status_code == 200, answer.text
    planned = answer.json()["requests"][0]
    assert (planned["method"], "Dry" in planned["body"]) == ("POST", True)
    assert "authorization" not in {name.lower() for name in planned["headers"]}
    wrong = await client.post(address, json=customer("x") | {"body": {"nope": 1}}, params={"dry_run": "true"})
    assert wrong.json()["problems"][0]["code"] == "unknown_field"
    assert served.house.count("customers") == before


async def test_an_asynchronous_write_is_settled_later(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    served, client, address = writing
    later = await client.post(address, json=customer("Later"), headers={"prefer": "respond-async"})
    assert later.status_code == 202, later.text
    operation = later.json()["id"]
    await served.hub.writer.drain()
    assert (await client.get(f"/v1/operations/{operation}")).json()["state"] == "confirmed"
    settled = await client.post(f"/v1/operations/{operation}/reconcile")
    assert settled.json()["state"] == "confirmed"


async def test_a_batch_answers_row_by_row(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    _, client, address = writing
    rows = [customer("Row 1"), customer("Row 2") | {"body": {"nope": 1}}, customer("Row 3")]
    answer = await client.post(f"{address}/batch", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    assert [row["state"] for row in answer.json()["result"]] == ["confirmed", "failed", "confirmed"]


async def test_a_batch_of_a_thousand_rows_is_written_once(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    served, client, address = writing
    before = served.house.count("vendors", US)
    rows = [
        {"verb": "create", "object": "vendors", "company": US, "body": {"number": f"T{n:04}", "displayName": f"T {n}"}}
        for n in range(1_000)
    ]
    sent: dict[str, Any] = {"json": {"rows": rows}, "headers": {"idempotency-key": "thousand"}}
    made = await client.post(f"{address}/batch", **sent)
    assert made.status_code == 200, made.text
    told = made.json()["result"]
    assert [row["position"] for row in told] == list(range(1_000))
    assert {row["state"] for row in told} == {"confirmed"}
    assert [row["record"]["displayName"] for row in told] == [f"T {n}" for n in range(1_000)]
    assert len({row["remote_id"] for row in told}) == 1_000
    again = (await client.post(f"{address}/batch", **sent)).json()["result"]
    assert [row["id"] for row in again] == [row["id"] for row in told]
    assert served.house.count("vendors", US) == before + 1_000
    batches = [each for each in served.house.requests("$batch") if each["method"] == "POST"]
    assert len(batches) == 10


async def test_a_batch_of_one_row_too_many_is_refused_whole(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    served, client, address = writing
    for count, told in ((1_001, "1,001"), (0, "0")):
        refused = await client.post(f"{address}/batch", json={"rows": [customer(f"M{n}") for n in range(count)]})
        assert refused.status_code == 422
        assert refused.json()["message"] == f"A batch has 1 to 1,000 rows, not {told}."
    assert served.house.requests("$batch") == []


async def test_the_key_of_a_batch_under_way_is_409(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    served, client, address = writing
    served.house.sandbox.fault("drop", method="POST", path="batch$")
    rows = [customer(f"K{n}", body={"displayName": f"K{n}", "number": f"K{n}"}) for n in range(2)]
    sent: dict[str, Any] = {"json": {"rows": rows}, "headers": {"idempotency-key": "b1"}}
    lost = await client.post(f"{address}/batch", **sent)
    assert lost.status_code == 202, lost.text
    (first, _) = lost.json()["result"]
    refused = await client.post(f"{address}/batch", **sent)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert first["id"] in refused.json()["remedy"]
    other = await client.post(f"{address}/batch", json={"rows": rows[:1]}, headers=sent["headers"])
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_input_that_cannot_be_read_is_told_in_words(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    _, client, address = writing
    assert (await client.post(address, content=b"{")).status_code == 400
    missing = await client.post(address, json={"verb": "create"})
    assert (missing.status_code, "object" in missing.json()["message"]) == (422, True)
    assert (await client.post(address, json=customer("x", nmae=1))).status_code == 422


async def test_a_record_is_created_below_another(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    _, client, address = writing
    payer = (await client.post(address, json=customer("Payer"))).json()["remote_id"]
    draft = {"verb": "create", "object": "salesInvoices", "company": US, "body": {"customerId": payer}}
    invoice = (await client.post(address, json=draft)).json()["remote_id"]
    line = {"lineType": "Comment", "description": "Below"}
    under = {"object": "salesInvoices", "record_id": invoice}
    made = await client.post(
        address, json={"verb": "create", "object": "salesInvoiceLines", "company": US, "under": under, "body": line}
    )
    assert made.status_code == 200, made.text
    assert made.json()["record"]["documentId"] == invoice
