"""What pages ask of runs: short walks along an index, however long the history is."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from tests.store.conftest import Place, make_place
from tests.store.test_overview_counts import nodes

from isthmus.store import overview, syncs
from isthmus.store.database import Database
from isthmus.store.rows import RunState

SYNCS = 40
RUNS = 2_000
LOOKED_AT_MAX = 160
"""Rows of runs that one question about one sync may touch: the streak of one that fails, and little more."""


@pytest.fixture
async def place(database: Database, database_url: str) -> Place:
    """Forty syncs with two thousand runs each, every ten minutes up to now; the last sync has failed for a day."""
    place = await make_place(database)
    async with database.project(place.project_id) as tx:
        for number in range(1, SYNCS):
            await syncs.create(tx, connection_id=place.connection_id, object=f"object{number}", route="v2.0")
        last = max(each.id for each in await syncs.every(tx))
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        await owner.execute("SET search_path = isthmus")
        await owner.execute(
            """INSERT INTO runs (id, project_id, sync_id, kind, state, requested_at, finished_at)
               SELECT gen_random_uuid(), s.project_id, s.id, 'incremental',
                      CASE WHEN s.id = %s AND n <= 144 THEN 'failed' ELSE 'succeeded' END,
                      now() - n * interval '10 minutes', now() - n * interval '10 minutes' + interval '1 second'
               FROM syncs s, generate_series(1, %s) n WHERE s.project_id = %s""",
            (last, RUNS, place.project_id),
        )
        await owner.execute("ANALYZE runs, syncs, connections")
    return place


async def test_the_state_of_every_sync_is_a_few_short_walks_along_an_index(database: Database, place: Place) -> None:
    async with database.project(place.project_id) as tx:
        plans = await _plans(tx)
        lines = await overview.sync_lines(tx)
        latest = await overview.latest_ended(tx)
        ended = await overview.runs_ended(tx, 24)
    assert len(lines) == len(latest) == SYNCS
    assert [line.last_state for line in lines].count(RunState.FAILED) == 1
    (failing,) = [line for line in lines if line.failing_since]
    assert failing.fresh_at is not None
    assert failing.failing_since is not None
    assert (failing.failing_since - failing.fresh_at).total_seconds() == pytest.approx(600, abs=5)
    assert ended[1] in (143, 144)
    assert len(plans) == 3
    for plan in plans[:2]:
        touched = [each for each in nodes(plan) if each.get("Relation Name") == "runs"]
        assert touched
        for each in touched:
            assert each["Node Type"] != "Seq Scan", each
            assert each["Actual Rows"] + each.get("Rows Removed by Filter", 0) <= LOOKED_AT_MAX, each
    (day,) = [each for each in nodes(plans[2]) if each.get("Relation Name") == "runs"]
    assert day.get("Rows Removed by Filter", 0) == 0, "what ended before the last day is not looked at"


async def _plans(tx: Any) -> list[dict[str, Any]]:
    """How the statements of Home and of the list of troubles are carried out, with what each step touched."""
    plans: list[dict[str, Any]] = []
    rows, tuples = tx.rows, tx.tuples

    async def told(query: str, parameters: Any = ()) -> list[Any]:
        found = await tuples(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", parameters)
        plans.append(found[0][0][0]["Plan"])
        return [(0, 0)]

    tx.rows = lambda _, query, parameters=(): told(query, parameters)
    tx.tuples = told
    await overview.sync_lines(tx)
    await overview.latest_ended(tx)
    await overview.runs_ended(tx, 24)
    tx.rows, tx.tuples = rows, tuples
    return plans
