"""What a record was before: kept for people to look at, not without end."""

from __future__ import annotations

import psycopg
from tests.store.conftest import Place

from isthmus.store import retention, versions
from isthmus.store.versions import VERSIONS_MAX


async def contents(place: Place, remote_id: str) -> list[bytes]:
    async with place.db.project(place.project_id) as tx:
        return [each.raw for each in await versions.of_record(tx, place.sync_id, "company-1", remote_id)]


async def kept(place: Place) -> int:
    async with place.db.project(place.project_id) as tx:
        return int(await tx.value("SELECT count(*) FROM record_versions"))


async def test_what_a_record_was_is_kept_newest_first_and_no_more_than_the_newest(place: Place) -> None:
    last = VERSIONS_MAX + 3
    for number in range(last + 1):
        await place.load({"busy": f"value {number}", "quiet": "always the same"})
    newest = [f"value {number}".encode() for number in range(last - 1, last - 1 - VERSIONS_MAX, -1)]
    assert await contents(place, "busy") == newest
    assert await contents(place, "quiet") == []
    assert await kept(place) == VERSIONS_MAX


async def test_many_records_that_change_at_once_are_all_changed(place: Place) -> None:
    first = {f"id{number:04d}": f"first {number}" for number in range(1_500)}
    second = {name: content.replace("first", "second") for name, content in first.items()}
    await place.load(first)
    result = await place.load(second)
    assert (result.created, result.updated) == (0, 1_500)
    async with place.db.project(place.project_id) as tx:
        stored = await tx.tuples("SELECT remote_id, raw FROM records")
    assert dict(stored) == {name: content.encode() for name, content in second.items()}


async def test_retention_of_payloads_holds_for_earlier_versions_too(place: Place, database_url: str) -> None:
    await place.load({"a": "before"})
    await place.load({"a": "after"})
    async with place.db.project(place.project_id) as tx:
        await retention.change(tx, {"records": 1})
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        await owner.execute("UPDATE isthmus.record_versions SET replaced_at = replaced_at - interval '3 days'")
    await retention.forget(place.db, place.project_id)
    assert await kept(place) == 0
