"""Lists, records and changes by cursor: forwards and backwards, nothing skipped, nothing twice, bytes untouched."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
from hypothesis import given
from hypothesis import strategies as st
from tests.api_server import Served
from tests.hub_fixtures import US_ID

from isthmus.api.paging import decode, encode
from isthmus.store import records
from isthmus.store.listing import Direction
from isthmus.store.rows import RunKind


async def walk(client: httpx.AsyncClient, path: str, which: str = "next_cursor", **wanted: Any) -> list[Any]:
    """All pages in one direction, from `cursor` or the beginning."""
    pages = []
    while True:
        answer = await client.get(path, params=wanted)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        pages.append(page)
        if page[which] is None or len(pages) > 50:
            return pages
        wanted["cursor"] = page[which]


async def consumers(client: httpx.AsyncClient, count: int) -> list[str]:
    """New ones; their ids in order."""
    made = []
    for number in range(count):
        answer = await client.post("/v1/consumers", json={"external_id": f"c-{number}", "name": f"C {number}"})
        made.append(answer.json()["id"])
    return made


async def test_a_list_is_walked_forwards_and_back_without_gaps(served: Served) -> None:
    client = await served.client()
    made = await consumers(client, 7)
    forwards = await walk(client, "/v1/consumers", limit=3)
    assert [row["id"] for page in forwards for row in page["result"]] == made
    assert [page["more"] for page in forwards] == [True, True, False]
    assert forwards[0]["prev_cursor"] is None
    back = await walk(client, "/v1/consumers", "prev_cursor", limit=3, cursor=forwards[-1]["prev_cursor"])
    assert [[row["id"] for row in page["result"]] for page in back] == [made[3:6], made[:3]]
    assert back[-1]["next_cursor"] is not None


async def test_rows_that_arrive_meanwhile_are_not_shown_twice(served: Served) -> None:
    client = await served.client()
    made = await consumers(client, 4)
    first = (await client.get("/v1/consumers", params={"limit": 2})).json()
    await client.delete(f"/v1/consumers/{made[0]}")
    await client.post("/v1/consumers", json={"external_id": "later", "name": "L"})
    rest = await walk(client, "/v1/consumers", limit=2, cursor=first["next_cursor"])
    assert [row["id"] for page in rest for row in page["result"]][:2] == made[2:]


async def test_runs_come_newest_first(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    sync = await served.synced(client, connection["id"], "currencies")
    await served.run(sync["id"])
    pages = await walk(client, "/v1/runs", limit=1, sync=sync["id"])
    kinds = [page["result"][0]["kind"] for page in pages]
    assert kinds == ["incremental", "backfill"]
    assert pages[-1]["result"][0]["read"] > 0


async def test_records_are_the_vendors_bytes_in_a_fixed_order(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    sync = await served.synced(client, connection["id"], "currencies")
    path = f"/v1/syncs/{sync['id']}/records"
    forwards = await walk(client, path, limit=7)
    rows = [row for page in forwards for row in page["result"]]
    assert len(rows) == (await client.get(f"/v1/syncs/{sync['id']}")).json()["records"] > 7
    keys = [(row["company"], row["remote_id"]) for row in rows]
    assert keys == sorted(set(keys))
    back = await walk(client, path, "prev_cursor", limit=7, cursor=forwards[-1]["prev_cursor"])
    assert [row["remote_id"] for page in reversed(back) for row in page["result"]] == [
        row["remote_id"] for page in forwards[:-1] for row in page["result"]
    ]
    company = await walk(client, path, company=US_ID)
    assert {row["company"] for page in company for row in page["result"]} == {US_ID}
    one = await client.get(f"{path}/one", params={"remote_id": rows[0]["remote_id"], "company": rows[0]["company"]})
    assert one.json() == rows[0]
    async with served.hub.db.project(served.hub.project.id) as tx:
        kept = await records.get(tx, UUID(sync["id"]), rows[0]["company"], rows[0]["remote_id"])
    assert kept is not None
    assert kept.raw in one.content


async def test_a_deleted_record_is_shown_when_asked_for(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    sync = await served.synced(client, connection["id"], "currencies")
    served.house.delete("currencies", count=1)
    run, _ = await served.hub.begin_run(UUID(sync["id"]), RunKind.SWEEP, {"force": True})
    await served.hub.perform(run)
    present = (await client.get(f"/v1/syncs/{sync['id']}/records", params={"limit": 1000})).json()["result"]
    every = (await client.get(f"/v1/syncs/{sync['id']}/records", params={"limit": 1000, "deleted": "true"})).json()
    gone = [row for row in every["result"] if row["deleted"]]
    assert (len(every["result"]) - len(present), len(gone)) == (1, 1)
    assert gone[0]["record"] is None


async def test_the_feed_goes_on_where_it_was_left(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    sync = await served.synced(client, connection["id"], "currencies")
    first = (await client.get("/v1/changes", params={"limit": 3})).json()
    numbers = [change["number"] for change in first["result"]]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2], "events (a connection was made) have numbers too"
    assert (first["more"], first["prev_cursor"]) == (True, None)
    cursor = first["next_cursor"]
    while (page := (await client.get("/v1/changes", params={"limit": 500, "cursor": cursor})).json())["more"]:
        cursor = page["next_cursor"]
    empty = (await client.get("/v1/changes", params={"cursor": page["next_cursor"]})).json()
    assert (empty["result"], empty["next_cursor"]) == ([], page["next_cursor"])
    served.house.change("currencies", count=1)
    await served.run(sync["id"])
    fresh = (await client.get("/v1/changes", params={"cursor": page["next_cursor"]})).json()["result"]
    assert [change["kind"] for change in fresh] == ["updated"]
    assert fresh[0]["record"]["id"] == fresh[0]["remote_id"]
    before = (await client.get("/v1/changes", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    back = (await client.get("/v1/changes", params={"limit": 2, "cursor": before["prev_cursor"]})).json()
    assert [change["number"] for change in back["result"]] == numbers[1:]


async def test_a_worker_performs_what_the_api_asks_for(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    made = await client.post("/v1/syncs", json={"connection": connection["id"], "object": "currencies"})
    assert made.json()["sample"]["code"]
    sync = made.json()["sync"]["id"]
    asked = await client.post(f"/v1/syncs/{sync}/runs", json={})
    assert (asked.status_code, asked.json()["fresh"], asked.json()["run"]["state"]) == (202, True, "queued")
    again = await client.post(f"/v1/syncs/{sync}/runs", json={})
    assert (again.json()["fresh"], again.json()["run"]["id"]) == (False, asked.json()["run"]["id"])
    cancelled = await client.post(f"/v1/runs/{asked.json()['run']['id']}/cancel")
    assert cancelled.json()["state"] == "cancelled"
    changed = await client.patch(f"/v1/syncs/{sync}", json={"state": "paused", "schedule": "every 15m"})
    assert (changed.json()["state"], changed.json()["schedule"]) == ("paused", "every 15m")
    assert changed.json()["sweep_schedule"] == "every 1d"
    by_hand = await client.patch(f"/v1/syncs/{sync}", json={"schedule": None})
    assert (by_hand.json()["schedule"], by_hand.json()["next_due"]) == (None, None)
    assert (await client.patch(f"/v1/syncs/{sync}", json={"schedule": "now and then"})).status_code == 422


async def test_a_runs_requests_are_told_without_secrets(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    sync = await served.synced(client, connection["id"], "currencies")
    run = (await client.get("/v1/runs", params={"sync": sync["id"]})).json()["result"][0]
    told = (await client.get(f"/v1/runs/{run['id']}/requests")).json()["result"]
    assert any("currencies" in entry["url"] and entry["status"] == 200 for entry in told)
    assert "Bearer" not in str(told)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_a_cursor_brings_back_what_was_put_in(key: list[str]) -> None:
    assert decode(encode(Direction.BEFORE, *key), len(key)) == (Direction.BEFORE, key)
