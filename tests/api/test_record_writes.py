"""Writes by the address of a record, patience, and approvals over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.api_server import Served
from tests.hub_fixtures import US


@pytest.fixture
async def writing(served: Served) -> tuple[Served, httpx.AsyncClient, str]:
    """A server, a client that may write, and the connection's address."""
    connection = await served.connect(await served.client())
    return served, await served.client("write", "read", "proxy"), f"/v1/connections/{connection['id']}"


async def test_a_record_is_created_changed_and_deleted_by_its_address(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    served, client, base = writing
    address, us = f"{base}/objects/Customers/records", {"company": US}
    key = {"idempotency-key": "k1"}
    made = await client.post(address, params=us, content=b'{"displayName": "A", "creditLimit": 10.50}', headers=key)
    assert made.status_code == 200, made.text
    record = made.json()
    assert record["verb"] == "create"
    again = await client.post(address, params=us, content=b'{"displayName": "A", "creditLimit": 10.50}', headers=key)
    assert again.json()["id"] == record["id"]
    one = f"{address}/{record['remote_id']}"
    dry = await client.patch(one, params=us | {"dry_run": "true"}, json={"displayName": "B"})
    assert dry.json()["requests"][0]["method"] == "PATCH"
    changed = await client.patch(one, params=us, json={"displayName": "B"}, headers={"if-match": record["etag"]})
    assert changed.status_code == 200, changed.text
    stale = await client.patch(one, params=us, json={"displayName": "C"}, headers={"if-match": record["etag"]})
    assert stale.status_code == 409
    assert stale.json()["operation"]["record"]["displayName"] == "B"
    forced = await client.put(one, params=us, json={"displayName": "D"}, headers={"if-match": "*"})
    assert forced.json()["record"]["displayName"] == "D"
    number = forced.json()["record"]["number"]
    matched = await client.put(address, params=us | {"match": "number"}, json={"number": number, "displayName": "E"})
    assert matched.json()["remote_id"] == record["remote_id"]
    assert (await client.delete(one, params=us)).status_code == 200
    assert (await client.delete(one, params=us)).status_code == 404
    assert (await client.post(address, params=us, content=b"{")).status_code == 422
    reader = await served.client("read")
    assert (await reader.post(address, params=us, json={"displayName": "X"})).status_code == 403


async def test_a_number_where_an_id_belongs_is_refused_in_words_at_every_address_and_nothing_is_kept(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    _, client, base = writing
    wrong = {"object": "customers", "company": US, "record_id": "C00010"}
    for verb, more in (("update", {"body": {"city": "X"}}), ("delete", {}), ("action", {"action": "post"})):
        about = wrong | {"object": "salesInvoices" if verb == "action" else "customers"}
        for dry in ("false", "true"):
            answer = await client.post(
                f"{base}/operations", params={"dry_run": dry}, json={"verb": verb, **about, **more}
            )
            told = answer.json()
            assert (answer.status_code, told["code"], told["subject"]) == (422, "invalid_input", "record_id")
            assert "“C00010” is not the id of a record" in told["message"]
            assert "652545c1-" in told["message"]
    one = f"{base}/objects/customers/records/not-a-guid"
    for answer in (
        await client.patch(one, params={"company": US}, json={"city": "X"}),
        await client.delete(one, params={"company": US}),
    ):
        assert (answer.status_code, answer.json()["subject"]) == (422, "record_id")
    picture = f"{base}/objects/items/records/1000/streams/picture/pictureContent"
    for answer in (
        await client.get(picture, params={"company": US}),
        await client.put(picture, params={"company": US}, content=b"x"),
    ):
        assert (answer.status_code, answer.json()["subject"]) == (422, "record_id"), answer.text
    assert (await client.get("/v1/operations")).json()["result"] == []


@pytest.mark.conformance("BC-65")
async def test_an_invoice_is_changed_with_its_lines_and_posted(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    _, client, base = writing
    address, us = f"{base}/objects/salesInvoices/records", {"company": US}
    customers = await client.put(
        f"{base}/objects/customers/records", params=us | {"match": "displayName"}, json={"displayName": "Payer"}
    )
    items = await client.post(f"{base}/objects/items/records", params=us, json={"displayName": "Thing"})
    item = items.json()["record"]["number"]
    line = {"lineType": "Item", "lineObjectNumber": item, "quantity": 1, "unitPrice": 5}
    body = {"customerNumber": customers.json()["record"]["number"], "salesInvoiceLines": [line]}
    made = (await client.post(address, params=us, json=body)).json()
    one = f"{address}/{made['remote_id']}"
    first = (await client.get("/v1/operations", params={"limit": 1})).json()["result"][0]
    assert first["id"] == made["id"]
    lines = await _lines(client, base, made["remote_id"])
    change = {
        "externalDocumentNumber": "PO-1",
        "salesInvoiceLines": [{"id": lines[0]["id"], "quantity": 3}, line | {"quantity": 7}],
    }
    done = await client.patch(one, params=us, json=change)
    assert done.status_code == 200, done.text
    parts = done.json()["parts"]
    assert [(part["verb"], part["object"], part["state"]) for part in parts] == [
        ("update", "salesInvoices", "confirmed"),
        ("update", "salesInvoiceLines", "confirmed"),
        ("create", "salesInvoiceLines", "confirmed"),
    ]
    assert sorted(row["quantity"] for row in await _lines(client, base, made["remote_id"])) == [3, 7]
    wrong = {"externalDocumentNumber": "PO-2", "salesInvoiceLines": [{"id": lines[0]["id"], "quantity": "many"}]}
    assert (await client.patch(one, params=us, json=wrong)).status_code == 422
    posted = await client.post(f"{one}/actions/post", params=us)
    assert posted.status_code == 200, posted.text


async def _lines(client: httpx.AsyncClient, base: str, invoice: str) -> list[dict[str, Any]]:
    dry = await client.post(
        f"{base}/objects/salesInvoices/records/{invoice}/actions/post", params={"company": US, "dry_run": "true"}
    )
    assert dry.status_code == 200, dry.text
    path = dry.json()["requests"][0]["url"].partition("/Production/")[2].rpartition("/")[0]
    proxy = await _proxy(client, base, f"{path}/salesInvoiceLines")
    found: list[dict[str, Any]] = proxy["value"]
    return found


async def _proxy(client: httpx.AsyncClient, base: str, path: str) -> dict[str, list[dict[str, Any]]]:
    """What the vendor has, by a raw call."""
    answer = await client.get(f"/v1/proxy/{path}", headers={"isthmus-connection": base.rpartition("/")[2]})
    assert answer.status_code == 200, answer.text
    found: dict[str, list[dict[str, Any]]] = answer.json()
    return found


async def test_who_waits_a_little_gets_the_end_or_an_operation(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    served, client, base = writing
    address = f"{base}/objects/customers/records"
    quick = await client.post(
        address, params={"company": US}, json={"displayName": "Quick"}, headers={"prefer": "wait=60"}
    )
    assert (quick.status_code, quick.json()["state"]) == (200, "confirmed")
    served.house.sandbox.fault("delay", method="POST", path="customers$", delay_s=1.0)
    slow = await client.post(
        address,
        params={"company": US},
        json={"displayName": "Slow", "number": "SLOW"},
        headers={"prefer": "respond-async"},
    )
    assert (slow.status_code, slow.headers["preference-applied"]) == (202, "respond-async")
    assert slow.json()["state"] == "sent"
    assert slow.headers["location"] == f"/v1/operations/{slow.json()['id']}"
    await served.hub.writer.drain()
    assert (await client.get(slow.headers["location"])).json()["state"] == "confirmed"


async def test_a_write_waits_for_an_administrator_with_another_key(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    served, client, base = writing
    admin, owner = await served.client("admin"), await served.client("admin", "write")
    rule = await admin.put("/v1/approvals/rules", json={"required": True, "object": "customers"})
    assert rule.status_code == 200, rule.text
    assert (await client.put("/v1/approvals/rules", json={"required": False})).status_code == 403
    address = f"{base}/objects/customers/records"
    asked = await owner.post(address, params={"company": US}, json={"displayName": "Asked"})
    assert (asked.status_code, asked.json()["state"]) == (202, "waiting_for_approval")
    assert asked.json()["proposal"]["request"]["method"] == "POST"
    operation = asked.json()["id"]
    assert [row["id"] for row in (await admin.get("/v1/approvals")).json()["result"]] == [operation]
    assert (await client.get("/v1/approvals")).status_code == 403
    assert (await owner.post(f"/v1/approvals/{operation}/approve", json={})).status_code == 403
    shown = (await admin.get(f"/v1/approvals/{operation}")).json()
    assert shown["proposal"]["changes"][0] == {"field": "displayName", "before": None, "after": '"Asked"'}
    allowed = await admin.post(f"/v1/approvals/{operation}/approve", json={"digest": shown["proposal"]["digest"]})
    assert (allowed.status_code, allowed.json()["state"]) == (200, "confirmed")
    other = await client.post(address, params={"company": US}, json={"displayName": "Refused"})
    refused = await admin.post(f"/v1/approvals/{other.json()['id']}/refuse", json={"reason": "No."})
    assert refused.json()["failure"]["code"] == "not_approved"
    removed = await admin.delete(f"/v1/approvals/rules/{rule.json()['id']}")
    assert removed.status_code == 204
    free = await client.post(address, params={"company": US}, json={"displayName": "Free"})
    assert free.json()["state"] == "confirmed"
    log = (await admin.get("/v1/audit")).json()["result"]
    assert {"operation.approve", "operation.refuse", "approvals.rule_set"} <= {row["action"] for row in log}
