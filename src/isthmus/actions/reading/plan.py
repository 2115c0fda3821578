"""The slices of a run: planned once, written down, found again by whoever resumes it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from isthmus.actions.reading.mode import Mode, Reading, Stretch, reading_of
from isthmus.client.access import Access
from isthmus.kernel.clock import Clock
from isthmus.providers.base import ObjectInfo, Slice
from isthmus.store import runs, syncs
from isthmus.store.database import Database
from isthmus.store.rows import Checkpoint, Run, Stream, Sync

READERS_PER_RUN_MAX = 4
"""Slices read side by side: one place of the vendor's five stays free for everybody else on the connection."""

ARRIVALS_PREFIX = "8000|"
"""Slices of records that a sweep met and that are fetched by their ids; `arriving` reads them, not the plan."""

_SEPARATOR = "|"


class PlannedPart(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of a run, with its durable progress."""

    checkpoint: Checkpoint
    part: Slice
    reading: Reading


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All slices of a run. `ranges` says that companies were cut into key ranges, whose sum is worth checking."""

    parts: list[PlannedPart]
    staged: bool
    ranges: bool


async def streams_of(db: Database, sync: Sync, company_ids: Sequence[str]) -> dict[str, Stream]:
    """The stream of each company; tenant-level objects have one, named by the empty text."""
    async with db.project(sync.project_id) as tx:
        return {company: await syncs.ensure_stream(tx, sync.id, company) for company in company_ids}


async def make_plan(
    db: Database,
    access: Access,
    clock: Clock,
    run: Run,
    sync: Sync,
    obj: ObjectInfo,
    company_ids: Sequence[str],
) -> Plan:
    """Plan a run's slices, or find the plan that an earlier worker wrote down. Raises RunSuperseded and Failures."""
    streams = await streams_of(db, sync, company_ids)
    now = clock.now()
    readings = {
        company: reading_of(
            sync,
            obj,
            stream,
            run.kind,
            since=access.provider.since,
            now=now if run.started_at is None else run.started_at,
            full=bool(run.options.get("full")),
            stretch=Stretch.of_run(run.options),
        )
        for company, stream in streams.items()
    }
    checkpoints: list[Checkpoint] = []
    if run.epoch > 1:  # somebody was at it before
        async with db.project(sync.project_id) as tx:
            checkpoints = await runs.checkpoints(tx, run.id)
    if not checkpoints:
        planned, total = await _slices(access, obj, readings)
        checkpoints = await _write(db, run, streams, readings, planned, total)
    gone = {each.stream_id for each in checkpoints if each.company not in readings and not each.done}
    if gone:  # planned by an earlier attempt; deselected or vanished since
        async with db.project(sync.project_id) as tx:
            await runs.leave_out(tx, run.id, run.epoch, sorted(gone))
    parts = [
        _planned(checkpoint, readings[checkpoint.company])
        for checkpoint in checkpoints
        if checkpoint.company in readings and not checkpoint.slice.startswith(ARRIVALS_PREFIX)
    ]
    return Plan(
        parts=parts,
        staged=any(reading.staged for reading in readings.values()),
        ranges=any(part.part.lower or part.part.upper for part in parts),
    )


async def _slices(access: Access, obj: ObjectInfo, readings: dict[str, Reading]) -> tuple[list[Slice], int | None]:
    """Companies that are read in full share the readers; increments are one slice a company."""
    found: list[Slice] = []
    total: int | None = 0
    by_mode: dict[Mode, list[str]] = {}
    for company, reading in readings.items():
        by_mode.setdefault(reading.mode, []).append(company)
    for mode, companies in by_mode.items():
        if mode is Mode.PRESENT:
            continue
        reading = readings[companies[0]]
        if mode is Mode.SINCE:
            found += access.provider.parts(obj, companies)
            total = None
            continue
        slices, count = await access.slices(
            obj, reading.spec, companies, wanted=1 if mode in (Mode.IDS, Mode.RANGE) else READERS_PER_RUN_MAX
        )
        found += slices
        total = None if total is None or count is None else total + count
    return found, total


async def _write(
    db: Database,
    run: Run,
    streams: dict[str, Stream],
    readings: dict[str, Reading],
    planned: Sequence[Slice],
    total: int | None,
) -> list[Checkpoint]:
    async with db.project(run.project_id) as tx:
        if total is not None:
            await runs.set_total(tx, run.id, run.epoch, total)
        first = [
            streams[company].id
            for company, reading in readings.items()
            if reading.mode in (Mode.FULL, Mode.COMPARE) and streams[company].born_run is None
        ]
        if first:
            await syncs.mark_born(tx, first, run.id)
        for company, reading in readings.items():
            if reading.mode is Mode.FULL and reading.spec.since is not None:
                await syncs.keep_window(tx, streams[company].id, reading.spec.since)
        return await runs.plan(
            tx,
            run.id,
            run.epoch,
            [
                runs.PlannedSlice(
                    slice=f"{number:04d}{_SEPARATOR}{part.parent or ''}",
                    stream_id=streams[part.company_id or ""].id,
                    lower=part.lower,
                    upper=part.upper,
                    resets=streams[part.company_id or ""].resets,
                )
                for number, part in enumerate(planned)
            ],
            unborn=[stream.id for stream in streams.values() if stream.born_run is None],
        )


def _planned(checkpoint: Checkpoint, reading: Reading) -> PlannedPart:
    parent = checkpoint.slice.partition(_SEPARATOR)[2] or None
    part = Slice(company_id=checkpoint.company or None, parent=parent, lower=checkpoint.lower, upper=checkpoint.upper)
    return PlannedPart(checkpoint=checkpoint, part=part, reading=reading)


async def whole_again(db: Database, run: Run, stream_id: int) -> Checkpoint:
    """One more slice that reads a whole company, for when key ranges turned out not to cover it."""
    async with db.project(run.project_id) as tx:
        return await runs.add_slice(
            tx, run.id, run.epoch, runs.PlannedSlice(slice=f"9999{_SEPARATOR}", stream_id=stream_id)
        )


async def part_counts(db: Database, project_id: UUID, run_id: UUID) -> dict[int, int]:
    """Records seen per stream in a run."""
    async with db.project(project_id) as tx:
        seen: dict[int, int] = {}
        for checkpoint in await runs.checkpoints(tx, run_id):
            seen[checkpoint.stream_id] = seen.get(checkpoint.stream_id, 0) + checkpoint.seen
        return seen
