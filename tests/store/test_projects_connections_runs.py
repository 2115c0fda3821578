"""Projects, connections, syncs and runs: what is kept, what is refused, what goes with what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from tests.database_copies import copied
from tests.store.conftest import Place

from isthmus.kernel.failures import ConfigurationFailure, InvalidInput, MasterKeyMissing, RunSuperseded, SecretExpired
from isthmus.kernel.ids import new_id
from isthmus.store import connections, destinations, feed, own_project, projects, runs, syncs
from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.rows import RunKind, RunState


@pytest.fixture
async def empty(postgres: EmbeddedPostgres, migrated: str) -> AsyncIterator[Database]:
    """A migrated database without any project."""
    with copied(postgres, migrated) as url:
        async with await Database.open(url) as opened:
            yield opened


async def test_a_project_name_is_given_once(database: Database) -> None:
    name = f"shop-{new_id()}"
    made = await projects.create(database, name)
    assert (await own_project.begin(database, name)).id == made.id
    with pytest.raises(InvalidInput, match=name):
        await projects.create(database, name)
    with pytest.raises(InvalidInput, match="cannot be a project's name"):
        await projects.create(database, " \t")


async def test_only_the_very_first_project_is_made_by_naming_it(empty: Database) -> None:
    one, two = await asyncio.gather(own_project.begin(empty, "shop"), own_project.begin(empty, "shop"))
    assert one.id == two.id, "processes that start at once agree"
    with pytest.raises(ConfigurationFailure, match="no project “shpo”") as refused:
        await own_project.begin(empty, "shpo")
    assert refused.value.nearest == ("shop",)
    assert "isthmus projects create shpo" in refused.value.remedy
    assert [each.name for each in await projects.every(empty)] == ["shop"]


async def test_of_two_first_names_at_once_one_is_refused(empty: Database) -> None:
    outcomes = await asyncio.gather(
        own_project.begin(empty, "one"), own_project.begin(empty, "two"), return_exceptions=True
    )
    assert [isinstance(each, ConfigurationFailure) for each in outcomes].count(True) == 1
    assert len(await projects.every(empty)) == 1


async def test_a_project_changes_its_kind_and_older_code_reads_it_from_the_webhooks(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        hook = await destinations.create(
            tx, kind="webhook", name="hook", url="http://127.0.0.1/", settings={"development": True}
        )
    assert (await projects.change(place.db, place.project_id, development=True)).development
    changed = await projects.change(place.db, place.project_id, development=False)
    async with place.db.project(place.project_id) as tx:
        assert (await destinations.get(tx, hook.id)).settings == {"development": False}
        assert await projects.in_development(tx) is False
    assert changed.name == (await projects.get(place.db, place.project_id)).name


async def test_two_processes_agree_on_the_first_key_of_a_project(place: Place) -> None:
    async def offer(wrapped: bytes) -> bytes:
        return (await projects.first_key(place.db, place.project_id, new_id(), wrapped, "master-1")).wrapped

    await forget_all_keys(place.db)
    one, two = await asyncio.gather(offer(b"one"), offer(b"two"))
    assert one == two


async def test_of_two_first_starts_with_two_master_keys_one_is_refused(place: Place, other_place: Place) -> None:
    await forget_all_keys(place.db)
    outcomes = await asyncio.gather(
        projects.first_key(place.db, place.project_id, new_id(), b"one", "master-1"),
        projects.first_key(place.db, other_place.project_id, new_id(), b"two", "master-2"),
        return_exceptions=True,
    )
    assert [isinstance(each, MasterKeyMissing) for each in outcomes].count(True) == 1
    async with place.db.system() as tx:
        assert len(await projects.master_keys(tx)) == 1


async def forget_all_keys(database: Database) -> None:
    """The database is shared by all tests; this one has to be the first to come."""
    async with database.system() as tx:
        await tx.execute("DELETE FROM project_keys")


async def test_a_rotated_key_comes_first_and_the_old_one_stays(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        old, new = new_id(), new_id()
        await projects.add_key(tx, old, b"old", "m1")
        await asyncio.sleep(0.002)
        await projects.add_key(tx, new_id(), b"new", "m1")
        await projects.rewrap_key(tx, old, b"old, rewrapped", "m2")
        found = await projects.keys(tx)
    assert new not in [key.id for key in found]
    assert [key.wrapped for key in found] == [b"new", b"old, rewrapped"]


async def test_deleting_a_project_takes_everything_along(place: Place, other_place: Place) -> None:
    await place.load({"a": "1"})
    await other_place.load({"a": "1"})
    await projects.delete(place.db, place.project_id)
    async with place.db.project(place.project_id) as tx:
        assert await tx.value("SELECT count(*) FROM records") == 0
        assert (await feed.read(tx, 0)).changes == []
    async with other_place.db.project(other_place.project_id) as tx:
        assert await tx.value("SELECT count(*) FROM records") == 1
    assert place.project_id not in [project.id for project in await projects.every(place.db)]


async def test_deleting_a_connection_takes_its_records_and_its_lonely_grant(place: Place) -> None:
    await place.load({"a": "1"})
    async with place.db.project(place.project_id) as tx:
        await connections.delete(tx, place.connection_id)
        for table in ("records", "syncs", "streams", "runs", "feed_segments", "grants"):
            assert await tx.value(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - from the list above


async def test_a_connection_tells_why_it_is_down_whose_turn_it_is_and_since_when(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        await connections.set_state(tx, place.connection_id, "needs_attention", SecretExpired())
        first = await connections.get(tx, place.connection_id)
    async with place.db.project(place.project_id) as tx:
        await connections.set_state(tx, place.connection_id, "needs_attention", SecretExpired())
        again = await connections.get(tx, place.connection_id)
        await connections.set_state(tx, place.connection_id, "connected")
        healed = await connections.get(tx, place.connection_id)
    assert (first.state, first.turn) == ("needs_attention", "you")
    assert first.reason == SecretExpired().message
    assert again.since == first.since
    assert (healed.state, healed.reason, healed.turn, healed.failure) == ("connected", None, None, None)


async def test_companies_are_selected_when_new_and_marked_when_they_vanish(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        await connections.save_companies(tx, place.connection_id, [("c1", "CRONUS", ""), ("c2", "My Company", "")])
        await connections.select_companies(tx, place.connection_id, ["c1"])
        found = await connections.save_companies(tx, place.connection_id, [("c1", "CRONUS USA", "CRONUS")])
    assert [(one.name, one.selected, one.missing_since is None) for one in found] == [
        ("CRONUS USA", True, True),
        ("My Company", False, False),
    ]


async def test_a_cached_description_is_replaced(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        assert await connections.schema(tx, place.connection_id, "v2.0") is None
        await connections.save_schema(tx, place.connection_id, "v2.0", b"{}", b"h1")
        await connections.save_schema(tx, place.connection_id, "v2.0", b'{"a":1}', b"h2")
        found = await connections.schema(tx, place.connection_id, "v2.0")
    assert found is not None
    assert (found.document, found.hash) == (b'{"a":1}', b"h2")


@pytest.mark.conformance("BC-96")
async def test_the_watermark_moves_when_every_slice_is_done_and_never_backwards(place: Place) -> None:
    async def watermark_after(stamp: datetime, *, done: bool) -> datetime | None:
        run = await place.begin(RunKind.INCREMENTAL)
        async with place.db.project(place.project_id) as tx:
            await tx.execute("UPDATE checkpoints SET watermark = %s, done = %s", (stamp, done))
            await runs.advance_watermarks(tx, run.id, run.epoch)
            found = (await syncs.streams(tx, place.sync_id))[0].watermark
        await place.end(run)
        return found

    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert await watermark_after(late, done=False) is None
    assert await watermark_after(late, done=True) == late
    assert await watermark_after(early, done=True) == late
    async with place.db.project(place.project_id) as tx:
        await syncs.reset(tx, place.sync_id)
        assert (await syncs.streams(tx, place.sync_id))[0].watermark is None


async def test_a_resumed_run_keeps_its_plan(place: Place) -> None:
    run = await place.begin(slices=3)
    async with place.db.project(place.project_id) as tx:
        again = await runs.claim(tx, run.id, "worker-2")
        assert again is not None
        kept = await runs.plan(tx, run.id, again.epoch, [runs.PlannedSlice(slice="other", stream_id=place.stream_id)])
    assert [checkpoint.slice for checkpoint in kept] == ["s0", "s1", "s2"]


async def test_an_overtaken_worker_can_neither_beat_nor_plan_nor_finish(place: Place) -> None:
    old = await place.begin()
    async with place.db.project(place.project_id) as tx:
        await runs.claim(tx, old.id, "worker-2")
        for attempt in (
            runs.beat(tx, old.id, old.epoch),
            runs.plan(tx, old.id, old.epoch, []),
            runs.set_total(tx, old.id, old.epoch, 5),
            runs.finish(tx, old.id, old.epoch, RunState.SUCCEEDED),
            runs.advance_watermarks(tx, old.id, old.epoch),
        ):
            with pytest.raises(RunSuperseded):
                await attempt


async def test_an_ended_run_cannot_be_claimed_and_makes_room_for_the_next(place: Place) -> None:
    run = await place.begin()
    await place.end(run)
    async with place.db.project(place.project_id) as tx:
        assert await runs.claim(tx, run.id, "late") is None
        _, fresh = await runs.request(tx, place.sync_id, RunKind.INCREMENTAL)
        assert fresh


async def test_the_journal_of_a_run_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "JOURNAL_ENTRIES_PER_RUN_MAX", 5)
    run = await place.begin()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    async with place.db.project(place.project_id) as tx:
        for start in (0, 4):
            await runs.append_journal(tx, run.id, [(at, {"n": number}) for number in range(start, start + 4)])
        assert [row.entry["n"] for row in await runs.journal(tx, run.id)] == [3, 4, 5, 6, 7]


async def test_old_runs_are_forgotten_with_their_checkpoints(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RUNS_KEPT_PER_SYNC", 1)
    for _ in range(3):
        await place.load({"a": "1"})
    async with place.db.project(place.project_id) as tx:
        assert await runs.forget_old(tx, place.sync_id) == 2
        assert len(await runs.history(tx, place.sync_id)) == 1
        assert await tx.value("SELECT count(*) FROM checkpoints") == 1


async def test_a_sync_remembers_its_page_size_fields_and_state(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        await syncs.remember_page_size(tx, place.sync_id, 2_500)
        await syncs.remember_fields(tx, place.sync_id, {"id": "Edm.Guid"})
        await syncs.set_state(tx, place.sync_id, "paused")
        found = await syncs.get(tx, place.sync_id)
    assert (found.page_records, found.known_fields, found.state) == (2_500, {"id": "Edm.Guid"}, "paused")
