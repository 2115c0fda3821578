"""Deletions by comparing ids: only after everything was seen, in bounded steps, and not by mistake."""

from __future__ import annotations

import msgspec
import pytest
from tests.store.conftest import Place

from isthmus.kernel.failures import InvalidInput, RunSuperseded
from isthmus.store import feed, records, runs, sweeps, syncs
from isthmus.store.rows import Change, Run, RunKind


async def changes(place: Place, after: int = 0) -> list[Change]:
    async with place.db.project(place.project_id) as tx:
        return (await feed.read(tx, after)).changes


async def see(place: Place, run: Run, ids: list[str], number: int = 1, *, done: bool = True, slice: str = "s0") -> bool:
    return await sweeps.commit_ids(
        place.db, place.project_id, run.id, run.epoch, slice=slice, number=number, ids=ids, next_link=None, done=done
    )


async def conclude(place: Place, run: Run, *, force: bool = False) -> sweeps.SweepResult:
    return await sweeps.conclude(place.db, place.project_id, run.id, run.epoch, force=force)


@pytest.mark.conformance("BC-98")
async def test_what_a_complete_sweep_did_not_see_is_deleted_and_told(place: Place) -> None:
    await place.load({"a": "1", "b": "2", "c": "3"})
    run = await place.begin(RunKind.SWEEP)
    await see(place, run, ["a"], 1, done=False)
    await see(place, run, ["c"], 2)
    result = await conclude(place, run)

    assert (result.present, result.missing, result.deleted, result.held) == (3, 1, 1, False)
    (gone,) = await changes(place, 3)
    assert (gone.kind.value, gone.remote_id, gone.raw) == ("deleted", "b", None)
    async with place.db.project(place.project_id) as tx:
        assert await records.count(tx, place.sync_id) == 2
        assert (await runs.progress(tx, run.id)).deleted == 1


@pytest.mark.conformance("BC-98")
async def test_an_unfinished_sweep_deletes_nothing(place: Place) -> None:
    await place.load({"a": "1", "b": "2"})
    run = await place.begin(RunKind.SWEEP, slices=2)
    await see(place, run, ["a"])
    with pytest.raises(InvalidInput, match="unfinished"):
        await conclude(place, run)
    assert len(await changes(place)) == 2


async def test_a_record_that_changed_since_the_sweep_began_is_left_alone(place: Place) -> None:
    await place.load({"a": "1", "b": "2"})
    run = await place.begin(RunKind.SWEEP)
    async with place.db.project(place.project_id) as tx:  # a webhook brought it meanwhile
        await tx.execute("UPDATE records SET changed_at = now() WHERE remote_id = 'b'")
    await see(place, run, ["a"])
    assert (await conclude(place, run)).deleted == 0


async def test_a_deleted_record_that_comes_back_is_created_again(place: Place) -> None:
    await place.load({"a": "1", "b": "2"})
    run = await place.begin(RunKind.SWEEP)
    await see(place, run, ["a"])
    await conclude(place, run)
    await place.end(run)
    result = await place.load({"b": "2"}, RunKind.INCREMENTAL)

    assert (result.created, result.updated, result.unchanged) == (1, 0, 0)
    assert [(change.kind.value, change.raw) for change in await changes(place) if change.remote_id == "b"] == [
        ("created", b"2"),
        ("deleted", None),
        ("created", b"2"),
    ]


async def test_a_sweep_that_would_delete_too_much_is_held_until_it_is_forced(place: Place) -> None:
    await place.load({f"r{number:03}": "x" for number in range(100)})
    run = await place.begin(RunKind.SWEEP)
    await see(place, run, [f"r{number:03}" for number in range(40)])
    held = await conclude(place, run)
    assert (held.held, held.missing, held.deleted) == (True, 60, 0)
    assert len(await changes(place)) == 100

    forced = await conclude(place, run, force=True)
    assert (forced.held, forced.deleted) == (False, 60)


async def test_a_sweep_that_saw_nothing_at_all_is_held(place: Place) -> None:
    await place.load({f"r{number}": "x" for number in range(8)})
    run = await place.begin(RunKind.SWEEP)
    await see(place, run, [])
    assert (await conclude(place, run)).held


async def test_a_sweep_that_was_interrupted_while_deleting_goes_on_and_tells_each_deletion_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.load({f"r{number}": "x" for number in range(10)})
    run = await place.begin(RunKind.SWEEP)
    await see(place, run, ["r0"])
    monkeypatch.setattr(sweeps, "CHUNK_RECORDS", 4)
    async with place.db.project(place.project_id) as tx:
        await sweeps._judge(tx, run.id, run.epoch, True, 1.0)
    async with place.db.project(place.project_id) as tx:
        assert await sweeps._delete_chunk(tx, run.id, run.epoch) == 4

    async with place.db.project(place.project_id) as tx:  # the worker died; another one takes over
        taken = await runs.claim(tx, run.id, "worker-2")
    assert taken is not None
    with pytest.raises(RunSuperseded):
        await conclude(place, run)
    assert (await conclude(place, taken)).deleted == 5
    told = [change.remote_id for change in await changes(place, 10)]
    assert sorted(told) == [f"r{number}" for number in range(1, 10)]


async def test_a_page_of_ids_that_was_staged_already_is_not_staged_twice(place: Place) -> None:
    run = await place.begin(RunKind.SWEEP)
    assert await see(place, run, ["a"], 1, done=False)
    assert not await see(place, run, ["a"], 1, done=False)
    with pytest.raises(InvalidInput, match="cannot follow"):
        await see(place, run, ["a"], 3)


async def test_a_set_without_stamps_is_compared_while_it_is_read_whole(place: Place) -> None:
    await place.load({"a": "1", "b": "2", "c": "3"})
    run = await place.begin(RunKind.BACKFILL)
    await place.store(run, {"a": "1", "b": "2!"}, stage=True)
    await place.store(run, {"d": "4"}, number=2, done=True, stage=True)
    result = await conclude(place, run)

    assert result.deleted == 1
    assert [(change.kind.value, change.remote_id) for change in await changes(place, 3)] == [
        ("updated", "b"),
        ("created", "d"),
        ("deleted", "c"),
    ]


async def test_deletions_that_the_vendor_reports_are_told_once(place: Place) -> None:
    await place.load({"a": "1", "b": "2"})
    run = await place.begin(RunKind.INCREMENTAL)
    for expected in (1, 0):
        assert expected == await sweeps.delete_known(
            place.db, place.project_id, run.id, run.epoch, place.stream_id, ["b", "never-there"]
        )
    assert [change.kind.value for change in await changes(place, 2)] == ["deleted"]


async def second_company(place: Place, names: list[str]) -> int:
    """Another company's stream of the same sync, with records."""
    async with place.db.project(place.project_id) as tx:
        stream = await syncs.ensure_stream(tx, place.sync_id, "company-2")
    other = msgspec.structs.replace(place, stream_id=stream.id)
    await other.load(dict.fromkeys(names, "x"), RunKind.INCREMENTAL)
    return stream.id


async def begin_both(place: Place, second: int) -> Run:
    async with place.db.project(place.project_id) as tx:
        asked, _ = await runs.request(tx, place.sync_id, RunKind.SWEEP)
        run = await runs.claim(tx, asked.id, "worker-1")
        assert run is not None
        parts = [runs.PlannedSlice(slice=f"s{n}", stream_id=at) for n, at in enumerate((place.stream_id, second))]
        await runs.plan(tx, run.id, run.epoch, parts)
        return run


async def test_a_small_company_that_is_lost_behind_a_large_one_holds_the_sweep(place: Place) -> None:
    large = [f"l{number:03}" for number in range(400)]
    await place.load(dict.fromkeys(large, "x"))
    run = await begin_both(place, await second_company(place, [f"s{number:02}" for number in range(40)]))
    await see(place, run, large)
    await see(place, run, ["s00"], slice="s1")
    held = await conclude(place, run)
    assert (held.held, held.present, held.missing, held.deleted) == (True, 440, 39, 0)
    assert (await conclude(place, run, force=True)).deleted == 39


async def test_a_small_company_of_which_nothing_was_seen_holds_the_sweep(place: Place) -> None:
    await place.load({"a": "1"})
    run = await begin_both(place, await second_company(place, [f"s{number}" for number in range(8)]))
    await see(place, run, ["a"])
    await see(place, run, [], slice="s1")
    assert (await conclude(place, run)).held


async def test_nothing_is_deleted_of_a_company_that_was_left_out(place: Place) -> None:
    await place.load({"a": "1", "b": "2"})
    second = await second_company(place, ["x", "y"])
    run = await begin_both(place, second)
    await see(place, run, ["a"])
    async with place.db.project(place.project_id) as tx:
        await runs.leave_out(tx, run.id, run.epoch, [second])
    result = await conclude(place, run)
    assert (result.missing, result.deleted) == (1, 1)
    async with place.db.project(place.project_id) as tx:
        assert await syncs.stream_counts(tx, place.sync_id) == {"company-1": 1, "company-2": 2}
        assert (await runs.get(tx, run.id)).options["companies_left_out"] == ["company-2"]
