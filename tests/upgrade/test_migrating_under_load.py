"""An upgrade: a worker of the earlier version goes on working while a later one migrates, until it is asked to leave.

The worker is a real process of this version. The later version is this one with one migration and one contract
migration more (`migrate.Source`), which is all that an upgrade is to a database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from tests.crash.worker_process import WorkerProcess
from tests.hub_fixtures import House
from tests.patience import WAIT_MAX_S

from isthmus.app import Hub
from isthmus.kernel.failures import ConfigurationFailure
from isthmus.store import migrate as migrating
from isthmus.store import processes, runs
from isthmus.store.database import Database
from isthmus.store.migrate import HEAD, Source, finish, migrate, standing
from isthmus.store.processes import Presence
from isthmus.store.rows import Run, RunState, Sync

LATER = "9001"
EXPAND = f'''"""A column and a table that the later version uses. Only adds."""

from isthmus.store.migrations.scripts import run_script

revision = "{LATER}"
down_revision = "{HEAD}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script(
        "ALTER TABLE runs ADD COLUMN later_notes jsonb NOT NULL DEFAULT '{{}}'; "
        "ALTER TABLE connections ADD COLUMN later_word text; CREATE TABLE later_things (id uuid PRIMARY KEY)"
    )


def downgrade() -> None:
    raise RuntimeError("never")
'''
CONTRACT = f"-- needs code of schema {LATER}\nALTER TABLE runs DROP COLUMN total;\n"


@pytest.fixture
def later(tmp_path: Path) -> Source:
    """The later version."""
    versions, contract = tmp_path / "versions", tmp_path / "contract"
    versions.mkdir()
    contract.mkdir()
    (versions / f"v{LATER}_later.py").write_text(EXPAND)
    (contract / f"{LATER}_total.sql").write_text(CONTRACT)
    ours = Source()
    return Source(head=LATER, versions=(*ours.versions, versions), contracts=(*ours.contracts, contract))


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition; give up late."""
    async with asyncio.timeout(WAIT_MAX_S):
        while True:
            if await true():
                return
            await asyncio.sleep(0.05)


async def worked(house: House, hub: Hub, sync: Sync) -> Run:
    """A run that the worker takes from the queue and brings to its end."""
    async with hub.engine() as engine:
        run, _ = await hub.request_run(engine, sync.id)

    async def ended() -> bool:
        async with hub.db.project(hub.project.id) as tx:
            return (await runs.get(tx, run.id)).state not in (RunState.QUEUED, RunState.RUNNING)

    await until(ended)
    async with hub.db.project(hub.project.id) as tx:
        return await runs.get(tx, run.id)


async def test_an_earlier_worker_works_through_an_upgrade_and_is_waited_for_before_anything_is_taken_away(
    house: House, database_url: str, later: Source, tmp_path: Path
) -> None:
    async with house.hub() as hub:
        connection = await house.connect(hub)
        sync = await house.sync(hub, connection, "customers")
        worker = WorkerProcess(house.environ(), tmp_path / "worker.log")
        try:
            await asyncio.to_thread(worker.wait_until_ready)

            async def there() -> bool:
                return any(each.kind == "worker" for each in await processes.at_work(hub.db))

            await until(there)
            assert (await worked(house, hub, sync)).state is RunState.SUCCEEDED

            plan = await standing(database_url, later)
            assert plan.to_apply == (f"{LATER} A column and a table that the later version uses. Only adds.",)
            running = asyncio.create_task(worked(house, hub, sync))
            assert await migrate(database_url, later) is True
            assert (await running).state is RunState.SUCCEEDED
            house.change("customers", 3)
            assert (await worked(house, hub, sync)).state is RunState.SUCCEEDED, "the earlier worker goes on"
            assert await migrate(database_url) is False, "another earlier process may begin, too"
            assert (await standing(database_url, later)).to_finish == (f"{LATER}_total",)

            with pytest.raises(ConfigurationFailure, match=r"worker \d+ on .* is at work with older code"):
                await finish(database_url, later)
            assert (await worked(house, hub, sync)).state is RunState.SUCCEEDED, "nothing was taken away"
        finally:
            worker.kill() if not worker.alive else worker.stop()
        assert await finish(database_url, later) == [f"{LATER}_total"]
        assert await finish(database_url, later) == []
    with pytest.raises(ConfigurationFailure, match=f"needs code of schema {LATER}"):
        await migrate(database_url)
    refused = await asyncio.to_thread(house.type, "runs")
    assert refused.code == 3
    assert "Run the newer version" in refused.words


async def test_an_earlier_process_that_wakes_up_too_late_is_told_and_does_not_come_back(
    empty_url: str, later: Source
) -> None:
    await migrate(empty_url)
    async with await Database.open(empty_url) as db:

        async def no_keys() -> list[str]:
            return []

        asleep = Presence(db, no_keys, kind="worker")
        await asleep.beat()
        await migrate(empty_url, later)
        with psycopg.connect(empty_url, autocommit=True) as connection:
            connection.execute("UPDATE isthmus.processes SET beat_at = beat_at - interval '1 minute'")
        assert await finish(empty_url, later) == [f"{LATER}_total"]
        with pytest.raises(ConfigurationFailure, match=f"code of schema {LATER} or newer is needed"):
            await asleep.beat()
        assert asleep.left_behind
        newer = Presence(db, no_keys, kind="worker", schema=LATER)
        await newer.beat()
        assert [each.schema for each in await processes.at_work(db)] == [LATER]


async def test_a_new_database_has_nothing_to_finish(empty_url: str, later: Source) -> None:
    await migrate(empty_url, later)
    found = await standing(empty_url, later)
    assert (found.version, found.oldest, found.to_apply, found.to_finish) == (LATER, LATER, (), ())


async def test_a_contract_migration_that_finds_a_table_in_use_gives_way(empty_url: str, later: Source) -> None:
    await migrate(empty_url)
    await migrate(empty_url, later)
    async with await Database.open(empty_url) as db:
        async with db.unscoped() as tx:
            await tx.execute("LOCK TABLE runs IN ACCESS SHARE MODE")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(migrating, "_LOCK_WAIT_S", 1)
                with pytest.raises(ConfigurationFailure, match="in use"):
                    await finish(empty_url, later)
        assert await finish(empty_url, later) == [f"{LATER}_total"]
