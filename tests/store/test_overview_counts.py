"""What pages count of large tables: a walk into an index that ends soon, whatever the tables hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.store.conftest import Place, make_place

from isthmus.store import overview, syncs
from isthmus.store.database import Database

SYNCS = 40
LARGE = 12_000
_SMALL = 600


async def filled(database: Database, database_url: str) -> Place:
    """Forty syncs, the first with many records and the others with few, in tables that the planner knows."""
    place = await make_place(database)
    streams = [place.stream_id]
    async with database.project(place.project_id) as tx:
        for number in range(1, SYNCS):
            sync = await syncs.create(tx, connection_id=place.connection_id, object=f"object{number}", route="v2.0")
            streams.append((await syncs.ensure_stream(tx, sync.id, "company-1")).id)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        await owner.execute("SET search_path = isthmus")
        for stream, count in zip(streams, itertools.chain([LARGE], itertools.repeat(_SMALL)), strict=False):
            await owner.execute(
                """INSERT INTO records (project_id, stream_id, hash, remote_id, stamp, raw, deleted)
                   SELECT %s, %s, '', gen_random_uuid()::text, '', convert_to(repeat('x', 400), 'UTF8'), n %% 10 = 0
                   FROM generate_series(1, %s) n""",
                (place.project_id, stream, count),
            )
        await owner.execute("ANALYZE records, streams, syncs, runs")
    return place


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every step of a plan."""
    yield plan
    for each in plan.get("Plans", []):
        yield from nodes(each)


async def test_records_are_counted_by_walks_into_their_index_and_never_by_reading_a_table(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "COUNTING_S_MAX", math.inf)
    place = await filled(database, database_url)
    async with database.project(place.project_id) as tx:
        statements: list[tuple[int, Any]] = []
        kept = tx.tuples

        async def told(query: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
            if query == overview.COUNTING:
                plan = (await kept(f"EXPLAIN (FORMAT JSON) {query}", parameters))[0][0][0]["Plan"]
                statements.append((parameters["most"], plan))
            return await kept(query, parameters)

        tx.tuples = told  # type: ignore[method-assign]  # the plan as it is made between the settings around it
        await overview.counted(tx, await overview.sync_lines(tx))
    assert tuple(most for most, _ in statements) == tuple(overview.COUNTED_MAX)
    for _, plan in statements:
        of_records = [each for each in nodes(plan) if str(each.get("Relation Name", "")).startswith("records")]
        assert of_records
        assert {each["Node Type"] for each in of_records} == {"Index Scan"}


async def test_deleted_records_are_not_counted_and_the_settings_of_the_count_end_with_it(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "COUNTING_S_MAX", math.inf)
    place = await filled(database, database_url)
    async with database.project(place.project_id) as tx:
        lines = await overview.counted(tx, await overview.sync_lines(tx))
        assert await tx.value("SELECT current_setting('enable_seqscan')") == "on"
    found = {line.id: line.stored for line in lines}
    assert found.pop(place.sync_id) == f"{LARGE * 9 // 10:,}"
    assert set(found.values()) == {f"{_SMALL * 9 // 10}"}


async def test_where_many_syncs_are_large_a_page_says_more_than(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await filled(database, database_url)
    monkeypatch.setattr(overview, "COUNTING_S_MAX", 0.0)
    async with database.project(place.project_id) as tx:
        lines = await overview.counted(tx, await overview.sync_lines(tx))
        (alone,) = await overview.counted(tx, await overview.sync_lines(tx, sync_id=place.sync_id))
    assert {line.stored for line in lines if line.id != place.sync_id} == {"100+"}
    assert alone.stored == "10,000+", "what is counted soon is counted anyway"
