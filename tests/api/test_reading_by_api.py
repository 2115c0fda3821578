"""Reading as a host sets it up by API: own names, stretches of time, full refreshes, what objects can do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.api_server import Served
from tests.hub_fixtures import US

from isthmus.store import schedules
from isthmus_sandbox.business_central import changes


@pytest.fixture
async def client(served: Served) -> httpx.AsyncClient:
    """May do everything."""
    return await served.client()


@pytest.fixture
async def connection(served: Served, client: httpx.AsyncClient) -> str:
    """A checked connection's id."""
    return str((await served.connect(client))["id"])


async def records_of(client: httpx.AsyncClient, sync: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/syncs/{sync}/records")
    return [row["record"] for row in answer.json()["result"]]


async def performed(served: Served, client: httpx.AsyncClient, sync: str, **wish: Any) -> dict[str, Any]:
    """A run asked for by API and performed here."""
    asked = await client.post(f"/v1/syncs/{sync}/runs", json=wish)
    assert asked.status_code == 202, asked.text
    run = await served.hub.active_run(UUID(sync))
    assert run is not None
    await served.hub.perform(run)
    shown: dict[str, Any] = (await client.get(f"/v1/runs/{asked.json()['run']['id']}")).json()
    return shown


async def test_the_hosts_names_stand_in_sample_records_and_changes_and_the_store_keeps_the_vendors(
    served: Served, client: httpx.AsyncClient, connection: str
) -> None:
    wish = {"connection": connection, "object": "currencies", "rename": {"DisplayName": "title", "code": "iso"}}
    made = (await client.post("/v1/syncs", json=wish)).json()
    assert made["sample"]["iso"]
    assert made["sync"]["rename"] == {"displayName": "title", "code": "iso"}
    sync = made["sync"]["id"]
    await served.run(sync)
    (first, *_) = await records_of(client, sync)
    assert {"title", "iso"} <= first.keys()
    assert not {"displayName", "code"} & first.keys()
    (change, *_) = (await client.get("/v1/changes", params={"object": "currencies"})).json()["result"]
    assert "title" in change["record"]
    changed = await client.patch(f"/v1/syncs/{sync}", json={"rename": {"code": "currency"}})
    assert changed.json()["rename"] == {"code": "currency"}
    (first, *_) = await records_of(client, sync)
    assert {"displayName", "currency"} <= first.keys()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"rename": {"codee": "iso"}}, "has no field “codee”"),
        ({"rename": {"code": "displayName"}}, "Two fields would be called “displayName”"),
        ({"rename": {"code": "a", "displayName": "a"}}, "Two fields would be called “a”"),
        ({"fields": ["code"], "rename": {"symbol": "sign"}}, "renamed but not read"),
        ({"rename": {"code": "one", "Code": "two"}}, "renamed twice"),
    ],
    ids=["unknown", "taken", "both", "not read", "twice"],
)
async def test_names_that_cannot_be_used_are_refused_when_a_sync_is_saved(
    client: httpx.AsyncClient, connection: str, more: dict[str, Any], says: str
) -> None:
    answer = await client.post("/v1/syncs", json={"connection": connection, "object": "currencies", **more})
    assert answer.status_code in (400, 404, 422), answer.text
    assert says in answer.json()["message"]


async def test_an_object_that_is_kept_in_step_already_is_no_second_sync_unless_it_is_asked_for(
    client: httpx.AsyncClient, connection: str
) -> None:
    wish = {"connection": connection, "object": "currencies"}
    pair = await asyncio.gather(*(client.post("/v1/syncs", json=wish) for _ in range(2)))
    assert sorted(each.status_code for each in pair) == [201, 409], "of two at once one is made"
    (sync,) = (await client.get("/v1/syncs")).json()["result"]
    refused = await client.post("/v1/syncs", json=wish | {"object": "Currencies", "fields": ["code"]})
    told = refused.json()
    assert (refused.status_code, told["code"], told["subject"]) == (409, "conflict", sync["id"])
    assert f"currencies is kept in step already on this connection: sync {sync['id']}" in told["message"]
    assert "“another”: true" in told["remedy"]
    second = await client.post("/v1/syncs", json=wish | {"another": True, "fields": ["code"]})
    assert second.status_code == 201, second.text
    assert len((await client.get("/v1/syncs")).json()["result"]) == 2


async def test_a_stretch_of_time_is_read_again_and_the_sync_goes_on_from_where_it_was(
    served: Served, client: httpx.AsyncClient, connection: str
) -> None:
    wish = {"companies": [US], "fields": ["displayName"], "filter": "displayName ne 'nobody'"}
    sync = await served.synced(client, connection, "vendors", **wish)
    began = datetime.now(UTC)
    served.house.change("vendors", count=2)
    answer = await performed(
        served, client, sync["id"], since=(began - timedelta(seconds=5)).isoformat(), until="2100-01-01T00:00:00Z"
    )
    assert (answer["state"], answer["read"], answer["total"]) == ("succeeded", 2, 2)
    assert answer["notes"]["since"].startswith(str(began.year))
    later = await performed(served, client, sync["id"])
    assert later["read"] >= 2, "its watermark did not move"
    nothing = await performed(served, client, sync["id"], until="2001-01-01T00:00:00Z", since="2000-01-01T00:00:00Z")
    assert (nothing["state"], nothing["read"]) == ("succeeded", 0)


async def test_a_stretch_that_cannot_be_read_is_refused_at_once(
    served: Served, client: httpx.AsyncClient, connection: str
) -> None:
    vendors = (await client.post("/v1/syncs", json={"connection": connection, "object": "vendors"})).json()["sync"]
    path = f"/v1/syncs/{vendors['id']}/runs"
    backwards = await client.post(path, json={"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"})
    assert (backwards.status_code, backwards.json()["message"]) == (422, "`since` is later than `until`.")
    assert (await client.post(path, json={"since": "2026-02-01T00:00:00Z", "full": True})).status_code == 422
    assert (await client.post(path, json={"since": "2026-02-01T00:00:00"})).status_code in (400, 422), "no zone"
    bare = (await client.post("/v1/syncs", json={"connection": connection, "object": "disputeStatus"})).json()["sync"]
    refused = await client.post(f"/v1/syncs/{bare['id']}/runs", json={"since": "2026-02-01T00:00:00Z"})
    assert (refused.status_code, "no modification stamp" in refused.json()["message"]) == (422, True)


async def described(client: httpx.AsyncClient, connection: str, name: str, **more: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v1/connections/{connection}/objects/{name}", params=more)).json()
    return found


async def test_an_object_tells_what_can_be_done_with_it_and_its_fields_what_they_need(
    client: httpx.AsyncClient, connection: str
) -> None:
    customers = await described(client, connection, "customers")
    assert customers["capabilities"] == {
        "read": True, "incremental": True, "delete_detection": True, "create": True, "update": True, "delete": True,
        "batch": True, "actions": customers["actions"],
    }  # fmt: skip
    fields = {field["name"]: field for field in customers["fields"]}
    assert fields["displayName"]["required"]
    assert not fields["phoneNumber"]["required"]
    assert not fields["displayName"]["custom"]
    ledger = await described(client, connection, "generalLedgerEntries")
    assert ledger["capabilities"]["create"] is False
    assert ledger["capabilities"]["batch"] is False
    listed = (await client.get(f"/v1/connections/{connection}/objects", params={"matching": "invoices"})).json()
    assert all("capabilities" in each for each in listed["result"])


async def test_what_travels_in_no_batch_says_so(client: httpx.AsyncClient, connection: str) -> None:
    subscriptions = await described(client, connection, "subscriptions")
    assert subscriptions["tenant_level"]
    assert subscriptions["capabilities"]["create"] is not False
    assert subscriptions["capabilities"]["batch"] is False
    body = {"notificationUrl": "https://host.example/", "resource": "companies", "clientState": "x"}
    row = {"verb": "create", "object": "subscriptions", "body": body}
    good = {"verb": "create", "object": "customers", "company": US, "body": {"displayName": "Beside it"}}
    answer = await client.post(f"/v1/connections/{connection}/operations/batch", json={"rows": [row, good]})
    refused, made = answer.json()["result"]
    assert (refused["state"], refused["attempts"]) == ("failed", 0)
    assert "below a company" in refused["failure"]["message"]
    assert made["state"] == "confirmed", "a row that cannot travel keeps no other back"
    pages = (await client.get(f"/v1/connections/{connection}/objects", params={"route": "odatav4"})).json()["result"]
    assert [each["capabilities"]["batch"] for each in pages] == [False] * len(pages) != []
    assert {each["capabilities"]["create"] for each in pages} == {False}


async def test_what_a_sync_reads_is_changed_after_a_look_at_one_record(
    served: Served, client: httpx.AsyncClient, connection: str
) -> None:
    sync = await served.synced(client, connection, "currencies", fields=["code"])
    wrong = await client.patch(f"/v1/syncs/{sync['id']}", json={"fields": ["codee"]})
    assert wrong.status_code == 422
    assert "code" in wrong.json()["nearest"]
    changed = await client.patch(f"/v1/syncs/{sync['id']}", json={"fields": ["Code", "displayName"]})
    assert changed.json()["fields"] == ["code", "displayName"]
    await served.run(sync["id"])
    assert all("displayName" in record for record in await records_of(client, sync["id"]))


async def test_a_full_refresh_has_a_schedule_of_its_own_and_makes_way_for_what_is_under_way(
    served: Served, client: httpx.AsyncClient, connection: str
) -> None:
    wish = {"connection": connection, "object": "vendors", "schedule": "every 1h", "refresh_schedule": "every 1d"}
    sync = (await client.post("/v1/syncs", json=wish)).json()["sync"]
    assert sync["refresh_schedule"] == "every 1d"
    due = datetime.fromisoformat(sync["next_due"])
    assert due < datetime.now(UTC) + timedelta(hours=2), "the next read, not the next refresh"
    db, project = served.hub.db, served.hub.project.id
    async with db.system() as tx:
        await tx.execute("UPDATE refresh_schedules SET next_due = now() WHERE sync_id = %s", (sync["id"],))
    async with served.hub.engine() as engine:
        assert await engine.tick() >= 1
    run = await served.hub.active_run(UUID(sync["id"]))
    assert run is not None
    assert run.options == {"full": True}
    await served.hub.perform(run)
    await client.post(f"/v1/syncs/{sync['id']}/runs", json={})
    async with db.system() as tx:
        await tx.execute("UPDATE refresh_schedules SET next_due = now() WHERE sync_id = %s", (sync["id"],))
    async with served.hub.engine() as engine:
        await engine.tick()
    async with db.project(project) as tx:
        (refresh,) = [each for each in await schedules.every(tx, UUID(sync["id"])) if each.full]
    assert refresh.next_due < datetime.now(UTC) + timedelta(seconds=schedules.COME_BACK_S + 5)
    off = await client.patch(f"/v1/syncs/{sync['id']}", json={"refresh_schedule": None})
    assert off.json()["refresh_schedule"] is None
    assert (await client.patch(f"/v1/syncs/{sync['id']}", json={"refresh_schedule": "every 5s"})).status_code == 422


async def test_fields_that_come_go_and_change_their_type_are_told(
    served: Served, client: httpx.AsyncClient, connection: str
) -> None:
    house = served.house
    house.sandbox.call(lambda: changes.gain_field(house.service, house.place("currencies"), "rating", "Edm.String"))
    house.sandbox.call(lambda: changes.gain_field(house.service, house.place("currencies"), "ownCode", "Edm.String"))
    sync = await served.synced(client, connection, "currencies")

    async def told() -> list[dict[str, Any]]:
        answer = await client.get("/v1/events", params={"type": "sync.schema_changed", "connection": connection})
        found: list[dict[str, Any]] = answer.json()["result"]
        return found

    assert await told() == []
    house.sandbox.call(lambda: changes.lose_field(house.service, house.place("currencies"), "rating"))
    house.sandbox.call(lambda: changes.gain_field(house.service, house.place("currencies"), "rating", "Edm.Int32"))
    house.sandbox.call(lambda: changes.lose_field(house.service, house.place("currencies"), "ownCode"))
    house.sandbox.call(lambda: changes.gain_field(house.service, house.place("currencies"), "newCode", "Edm.String"))
    path = f"/v1/connections/{connection}/objects/currencies"
    assert (await client.get(path, params={"fresh": True})).status_code == 200
    await served.run(sync["id"])
    (event,) = await told()
    assert event["subject"] == {"connection_id": connection, "sync_id": sync["id"], "object": "currencies"}
    assert event["data"] == {"created": ["newCode"], "removed": ["ownCode"], "changed": ["rating"]}
    await served.run(sync["id"])
    assert len(await told()) == 1, "it is told once"
