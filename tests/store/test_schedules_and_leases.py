"""Schedules as text and as due times; the shared request budget."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.store.conftest import Place

from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.store import schedules, syncs
from isthmus.store.database import Database
from isthmus.store.leases import DatabaseLeaseStore
from isthmus.store.rows import RunKind
from isthmus.transport.leases import LeaseRequest

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [("every 10s", 10), ("every 10m", 600), ("Every 2 hours", 7_200), ("every 1d", 86_400), (" every 90 min ", 5_400)],
)
def test_an_interval_is_read_as_people_write_it(spec: str, seconds: int) -> None:
    assert schedules.interval_s(spec) == seconds
    assert schedules.next_due(spec, NOON) == NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize("spec", ["every 9s", "every 32d", "every", "hourly", "99 * * * *", "* * *", ""])
def test_what_is_no_schedule_is_refused_with_an_example(spec: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        schedules.next_due(spec, NOON)
    assert "every" in caught.value.remedy


def test_cron_is_in_utc() -> None:
    assert schedules.next_due("15 3 * * *", NOON) == datetime(2026, 3, 2, 3, 15, tzinfo=UTC)
    assert schedules.next_due("15 3 * * *", NOON.astimezone(None)) == datetime(2026, 3, 2, 3, 15, tzinfo=UTC)


def test_missed_times_collapse_into_one_and_the_rhythm_stays() -> None:
    assert schedules.next_due("every 1h", NOON + timedelta(hours=5, minutes=20), NOON) == NOON + timedelta(hours=6)


async def test_a_due_schedule_is_taken_once_however_many_look(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        await schedules.set_schedule(tx, place.sync_id, RunKind.INCREMENTAL, "every 10m")
        await schedules.set_schedule(tx, place.sync_id, RunKind.SWEEP, "0 3 * * *")
        await tx.execute("UPDATE schedules SET next_due = now() - interval '2 hours' WHERE kind = 'incremental'")
    taken = await asyncio.gather(*(schedules.take_due(place.db) for _ in range(5)))
    mine = [due for some in taken for due in some if due.sync_id == place.sync_id]
    assert [due.kind for due in mine] == [RunKind.INCREMENTAL]
    async with place.db.project(place.project_id) as tx:
        after = {schedule.kind: schedule for schedule in await schedules.every(tx, place.sync_id)}
        now: datetime = await tx.value("SELECT now()")
    assert now < after[RunKind.INCREMENTAL].next_due <= now + timedelta(minutes=10)


async def test_removing_a_schedule_and_deleting_a_sync_leave_nothing_due(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        await schedules.set_schedule(tx, place.sync_id, RunKind.INCREMENTAL, "every 10m")
        assert await schedules.set_schedule(tx, place.sync_id, RunKind.INCREMENTAL, None) is None
        assert await schedules.every(tx) == []
        await schedules.set_schedule(tx, place.sync_id, RunKind.SWEEP, "every 1d")
        await syncs.delete(tx, place.sync_id)
        assert await schedules.every(tx) == []


def asking(sequence: int, wanted: int) -> LeaseRequest:
    return LeaseRequest(
        sequence=sequence,
        total_requests=100,
        total_concurrent=5,
        window_s=300,
        lease_s=30,
        allowed_requests=0,
        allowed_concurrent=0,
        used_requests=0,
        used_concurrent=0,
        wanted_requests=wanted,
        wanted_concurrent=1,
    )


async def test_all_processes_together_are_never_granted_more_than_the_budget(
    database: Database, database_url: str
) -> None:
    scope = f"tenant/production/{new_id()}"
    async with await Database.open(database_url) as second:
        stores = [DatabaseLeaseStore(db) for db in (database, second)]
        granted = await asyncio.gather(
            *(stores[number % 2].lease(scope, f"holder-{number}", asking(1, 60)) for number in range(10))
        )
    assert sum(grant.requests for grant in granted) <= 100
    assert sum(grant.concurrent for grant in granted) <= 5
    assert max(grant.requests for grant in granted) > 0


async def test_what_a_process_asks_at_the_same_time_is_answered_together(database: Database) -> None:
    transactions = 0

    class Counting(Database):
        async def transact(self, *arguments: Any) -> Any:
            nonlocal transactions
            transactions += 1
            return await database.transact(*arguments)

    store = DatabaseLeaseStore(Counting.__new__(Counting))
    scopes = [f"tenant {number}/{new_id()}" for number in range(50)]
    granted = await asyncio.gather(*(store.lease(scope, "me", asking(1, 60)) for scope in scopes))
    assert {grant.requests for grant in granted} == {60}, "each scope has its own ledger"
    assert transactions == 1
    again = await asyncio.gather(
        store.lease(scopes[0], "me", asking(2, 30)), store.lease(scopes[0], "you", asking(1, 80))
    )
    assert [grant.requests for grant in again] == [30, 70], "two reports on one ledger are booked one after the other"
    assert transactions == 2


async def test_a_pause_of_one_process_reaches_the_others(database: Database) -> None:
    scope = f"tenant/production/{new_id()}"
    store = DatabaseLeaseStore(database)
    await store.lease(scope, "refused", msgspec.structs.replace(asking(1, 10), pause_s=20.0))
    assert (await store.lease(scope, "other", asking(1, 10))).pause_s > 10
