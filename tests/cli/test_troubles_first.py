"""`isthmus` alone and `isthmus doctor`: every trouble first, each with a command that works as it is printed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path

import msgspec
import pytest
from tests.actions_writing.test_ledger import new
from tests.hub_fixtures import US, House
from tests.patience import eventually

from isthmus.cli.examination import Examined, examine
from isthmus.store import connections, destinations, operations_moving
from isthmus.store.postmaster import died


@pytest.fixture
def synced(house: House) -> House:
    """A house with vendors read once."""
    assert house.type_connect().code == 0
    house.seed("vendors", 60)
    assert house.type("sync", "create", "vendors", "--company", US).code == 0
    assert house.type("sync", "run").code == 0
    return house


def tells(house: House, reason: str, command: str) -> None:
    """Both commands tell it, before anything else that is said."""
    alone = house.type()
    assert reason in alone.words
    assert f"→ {command}" in alone.words
    assert alone.words.index(command) < alone.words.index("Next:")
    doctor = house.type("doctor")
    assert doctor.code == 3
    assert doctor.out.startswith("✗")
    assert f"→ {command}" in doctor.words


def test_a_last_run_that_failed_is_told_until_one_succeeds(synced: House) -> None:
    synced.sandbox.fault("status", status=400, path="/vendors", count=None)
    assert synced.type("sync", "run").code != 0
    tells(synced, "Sync of vendors", "isthmus sync run vendors")
    synced.sandbox.call(synced.sandbox.estate.faults.clear)
    assert synced.type("sync", "run", "vendors").code == 0
    assert "✗" not in synced.type().words


def test_a_held_sweep_is_told_also_after_later_reads_that_went_well(synced: House) -> None:
    synced.delete("vendors", 50)
    assert synced.type("sync", "run", "vendors", "--sweep").code == 7
    assert synced.type("sync", "run").code == 0
    tells(synced, "50 records would be deleted", "isthmus sync run vendors --sweep --force")
    assert synced.type("sync", "run", "vendors", "--sweep", "--force").code == 0
    assert "✗" not in synced.type().words


def test_destinations_that_fail_or_are_paused_are_told(synced: House) -> None:
    synced.type("destination", "webhook", "my hook", "http://127.0.0.1:9/")
    synced.type("destination", "deliver")
    tells(synced, "Destination my hook", "isthmus destination resume 'my hook'")

    async def pause() -> None:
        async with synced.hub() as hub, hub.db.project(hub.project.id) as tx:
            (row,) = await destinations.every(tx)
            await destinations.pause(tx, row.id, "It answered 410.")

    asyncio.run(pause())
    tells(synced, "It answered 410. (paused)", "isthmus destination resume 'my hook'")


def test_schedules_that_nobody_follows_ask_for_a_worker(synced: House) -> None:
    assert synced.type("sync", "schedule", "vendors", "every 10m").code == 0
    assert "isthmus worker →" not in synced.type().words

    async def long_ago() -> None:
        async with synced.hub() as hub, hub.db.project(hub.project.id) as tx:
            await tx.execute("UPDATE schedules SET next_due = now() - interval '2 hours'")

    asyncio.run(long_ago())
    tells(synced, "overdue, the first since 2 h ago: no worker runs", "isthmus worker")


def test_planned_writes_that_nobody_carries_out_are_counted(synced: House) -> None:
    async def left() -> None:
        async with synced.hub() as hub, hub.db.project(hub.project.id) as tx:
            (connection,) = await connections.every(tx)
            await operations_moving.plan(tx, [new(connection.id, "a"), new(connection.id, "b")])
            await tx.execute("UPDATE operations SET leased_until = now() + interval '1 minute'")

    async def long_ago() -> None:
        async with synced.hub() as hub, hub.db.project(hub.project.id) as tx:
            await tx.execute(
                "UPDATE operations SET leased_until = now() - interval '2 hours', created_at = now() - interval '1 day'"
            )

    asyncio.run(left())
    assert "✗" not in synced.type().words  # somebody is at it
    asyncio.run(long_ago())
    tells(synced, "2 planned writes are carried out by nobody, the first since 2 h ago", "isthmus operations reconcile")
    assert synced.type("operations", "reconcile").words == "2 settled."  # nobody can: their wish is no wish
    assert "✗" not in synced.type().words


def test_a_worker_that_was_cut_off_from_the_database_is_not_taken_for_none(synced: House) -> None:
    assert synced.type("sync", "schedule", "vendors", "every 10m").code == 0

    async def cut_off() -> None:
        async with synced.hub() as hub:
            hub.presence.kind = "server"
            await hub.presence.beat()
            async with hub.db.project(hub.project.id) as tx:
                await tx.execute("UPDATE schedules SET next_due = now() - interval '2 hours'")
            async with hub.db.system() as tx:
                await tx.execute(
                    "UPDATE processes SET beat_at = now() - interval '1 minute' WHERE pid = %s", (os.getpid(),)
                )
            async with hub.db.unscoped() as tx:
                await tx.execute(
                    "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 minute')"
                )
            tells_of_it = await asyncio.to_thread(synced.type, "doctor")
            assert "no worker runs" not in tells_of_it.words
            assert f"server {os.getpid()} on" in tells_of_it.words
            assert "takes its work up again within seconds" in tells_of_it.words

            async with hub.db.unscoped() as tx:
                await tx.execute("UPDATE procrastinate_workers SET last_heartbeat = now()")
            assert "the worker is busy with other work" in (await asyncio.to_thread(synced.type, "doctor")).words
            async with hub.db.unscoped() as tx:
                await tx.execute("DELETE FROM procrastinate_workers")

    asyncio.run(cut_off())


def test_an_embedded_database_that_died_is_started_by_the_doctor_who_says_so(house: House) -> None:
    home = Path(tempfile.mkdtemp(prefix="isthmus-doctor-"))
    here = House(msgspec.structs.replace(house.settings, database_url=None, home=home / "data"), house.sandbox, {})

    async def kill_and_look() -> tuple[list[Examined], list[Examined]]:
        async with here.hub():
            pid = int((here.settings.postgres_dir / "postmaster.pid").read_text().splitlines()[0])
            before = await examine(here.settings)
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: gone(here), "the server outlived its killing")
            return before, await examine(here.settings)

    try:
        before, after = asyncio.run(kill_and_look())
    finally:
        shutil.rmtree(home, ignore_errors=True)
    assert not any("It had stopped" in each.detail for each in before)
    (answers,) = [each for each in after if each.title == "The database answers"]
    assert answers.passed
    assert answers.detail.endswith("It had stopped; I started it")


async def gone(house: House) -> bool:
    """The embedded server is dead and has not said goodbye."""
    return died(house.settings.postgres_dir)


def test_one_of_a_thing_is_not_plural(synced: House) -> None:
    assert "1 connection, 1 sync." in synced.type().words
