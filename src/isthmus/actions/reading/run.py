"""Executing one run of a sync, from claiming it to its end.

    claim ─ describe ─ drift ─ plan ─┬─ slice: page ─ commit ─ page ─ commit … ┐
                                     ├─ slice: …                               ├─ watermark ─ compare ids ─ finish
                                     └─ …                                      ┘

Every arrow may be the last thing a killed worker did: the next worker claims the run with a higher epoch and goes on
from the checkpoints. A graceful stop hands the run back the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol
from uuid import UUID

import msgspec

from isthmus.actions.reading.arriving import fetch_arrivals
from isthmus.actions.reading.drift import check_selection, drift_of, fields_of
from isthmus.actions.reading.journal import RunJournal
from isthmus.actions.reading.mode import Mode
from isthmus.actions.reading.plan import (
    READERS_PER_RUN_MAX,
    Plan,
    PlannedPart,
    make_plan,
    part_counts,
    streams_of,
    whole_again,
)
from isthmus.client.access import Access
from isthmus.client.reading import FetchedPage, ReadPosition
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    BadRequest,
    CredentialFailure,
    DatabaseUnavailable,
    Failure,
    RecordNotFound,
    RunSuperseded,
    TransientFailure,
)
from isthmus.providers.base import ObjectInfo, ReadSpec, Slice
from isthmus.store import connections, pages, runs, sweeps, syncs
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Progress, Run, RunState, Sync

HEARTBEAT_S = 5.0
"""Well below the silence after which another worker takes a run over."""


class Opened(Protocol):
    """A connection that is ready to be read."""

    @property
    def access(self) -> Access:
        """The authorised way in."""
        ...

    @property
    def company_ids(self) -> list[str]:
        """The selected companies."""
        ...

    async def describe(self, name: str, route: str) -> ObjectInfo:
        """The object, as the vendor describes it today."""
        ...


Open = Callable[[UUID, RunJournal], AbstractAsyncContextManager[Opened]]
"""Opens a connection by id; requests are noted in the journal."""

OnProgress = Callable[[Run, Progress], Awaitable[None]]


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. `retry_in_s` is set when the trouble will pass and the run should be tried again."""

    run: Run
    progress: Progress
    failure: Failure | None = None
    retry_in_s: float | None = None
    held: int | None = None


class RunExecutor:
    """Executes runs of one project."""

    def __init__(self, db: Database, open_connection: Open, clock: Clock, *, worker: str) -> None:
        self._db = db
        self._open = open_connection
        self._clock = clock
        self._worker = worker

    async def execute(self, project_id: UUID, run_id: UUID, on_progress: OnProgress | None = None) -> RunResult | None:
        """Run it to its end. None when there is nothing to do (it has ended, or somebody else took it over).

        Raises asyncio.CancelledError after handing the run back.
        """
        async with self._db.project(project_id) as tx:
            run = await runs.claim(tx, run_id, self._worker)
            sync = await syncs.get(tx, run.sync_id) if run else None
        if run is None or sync is None:
            return None
        journal = RunJournal()
        failure: Failure | None = None
        held: int | None = None
        try:
            async with self._beating(run):
                held = await self._read(run, sync, journal, on_progress)
        except RunSuperseded:
            return None
        except DatabaseUnavailable:
            raise  # nothing can be written down; whoever recovers silent runs goes on from the checkpoints
        except asyncio.CancelledError:
            await asyncio.shield(self._hand_back(run, journal))
            raise
        except Failure as raised:
            failure = raised
        await journal.write(self._db, project_id, run.id)
        return await self._finish(run, sync, failure, held)

    async def _read(self, run: Run, sync: Sync, journal: RunJournal, on_progress: OnProgress | None) -> int | None:
        """Everything between claiming and finishing; the number of held deletions, if any."""
        async with self._open(sync.connection_id, journal) as opened:
            obj = await opened.describe(sync.object, sync.route)
            await self._note_fields(run, sync, obj)
            companies = [each for each in opened.company_ids if sync.companies is None or each in sync.companies]
            plan = await make_plan(self._db, opened.access, self._clock, run, sync, obj, companies)
            reading = _PlanReader(self._db, opened.access, run, sync, obj, journal, on_progress)
            await reading.read(plan)
            if plan.ranges:
                await reading.fill_gaps(plan)
            await self._start_at_present(opened.access, run, sync, obj, companies)
            if any(part.reading.mode is Mode.IDS for part in plan.parts):
                await fetch_arrivals(self._db, opened.access, run, sync, obj)
            held = None
            if plan.staged:
                verdict = await sweeps.conclude(
                    self._db, run.project_id, run.id, run.epoch, force=bool(run.options.get("force"))
                )
                held = verdict.missing if verdict.held else None
            async with self._db.project(run.project_id) as tx:
                await runs.advance_watermarks(tx, run.id, run.epoch)
            return held

    async def _note_fields(self, run: Run, sync: Sync, obj: ObjectInfo) -> None:
        drift = drift_of(sync, obj)
        async with self._db.project(run.project_id) as tx:
            if drift:
                await runs.note(tx, run.id, "drift", drift.to_dict())
            if drift or sync.known_fields is None:
                await syncs.remember_fields(tx, sync.id, fields_of(obj))
        check_selection(sync, obj)

    async def _start_at_present(
        self, access: Access, run: Run, sync: Sync, obj: ObjectInfo, companies: list[str]
    ) -> None:
        """Without a backfill the watermark is the newest stamp that the vendor has, read once (BC-96)."""
        if sync.backfill_days != 0 or not obj.incremental:
            return
        for company, stream in (await streams_of(self._db, sync, companies)).items():
            if stream.watermark is not None:
                continue
            spec = ReadSpec(filter=sync.filter)
            request = access.provider.newest_request(access.target, obj, spec, Slice(company_id=company or None))
            newest = access.provider.watermark(access.provider.page(obj, await access.call(request)).stamps)
            if newest is not None:
                async with self._db.project(run.project_id) as tx:
                    await syncs.set_watermark(tx, stream.id, newest)

    async def _finish(self, run: Run, sync: Sync, failure: Failure | None, held: int | None) -> RunResult | None:
        """Write the end down, and what it says about the connection. A passing trouble puts the run back instead."""
        retry_in_s = _retry_in_s(run, failure)
        state = RunState.FAILED if failure else RunState.HELD if held else RunState.SUCCEEDED
        try:
            async with self._db.project(run.project_id) as tx:
                if retry_in_s is not None and failure is not None:
                    await runs.note(tx, run.id, "retries", int(run.options.get("retries", 0)) + 1)
                    await runs.note(tx, run.id, "last_failure", failure.to_dict())
                    await runs.release(tx, run.id, run.epoch)
                else:
                    await runs.finish(tx, run.id, run.epoch, state, failure)
                    await runs.forget_old(tx, sync.id)
                await _report_health(tx, sync, failure)
                progress = await runs.progress(tx, run.id)
                ended = await runs.get(tx, run.id)
        except RunSuperseded:
            return None
        return RunResult(run=ended, progress=progress, failure=failure, retry_in_s=retry_in_s, held=held)

    async def _hand_back(self, run: Run, journal: RunJournal) -> None:
        await journal.write(self._db, run.project_id, run.id)
        async with self._db.project(run.project_id) as tx:
            await runs.release(tx, run.id, run.epoch)

    @asynccontextmanager
    async def _beating(self, run: Run) -> AsyncIterator[None]:
        """Give signs of life while the block runs; ends the block with RunSuperseded when the run is gone."""
        try:
            async with asyncio.TaskGroup() as group:
                beat = group.create_task(self._beat(run))
                try:
                    yield
                finally:
                    beat.cancel()
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from group_error

    async def _beat(self, run: Run) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            with suppress(DatabaseUnavailable):  # the pages wait for it; silence only means that another may take over
                async with self._db.project(run.project_id) as tx:
                    await runs.beat(tx, run.id, run.epoch)


class _PlanReader:
    """Reads the slices of a plan side by side and commits their pages."""

    def __init__(
        self,
        db: Database,
        access: Access,
        run: Run,
        sync: Sync,
        obj: ObjectInfo,
        journal: RunJournal,
        on_progress: OnProgress | None,
    ) -> None:
        self._db = db
        self._access = access
        self._run = run
        self._sync = sync
        self._obj = obj
        self._journal = journal
        self._on_progress = on_progress
        self._places = asyncio.Semaphore(READERS_PER_RUN_MAX)
        self._page_records = sync.page_records

    async def read(self, plan: Plan) -> None:
        """Read what is not done yet. The first failure stops all; what is committed stays."""
        todo = [part for part in plan.parts if not part.checkpoint.done]
        if len(todo) == 1:
            await self._slice(todo[0])
        else:
            try:
                async with asyncio.TaskGroup() as group:
                    for part in todo:
                        group.create_task(self._slice(part))
            except BaseExceptionGroup as group_error:
                raise _first(group_error) from group_error
        if self._page_records != self._sync.page_records and self._page_records is not None:
            async with self._db.project(self._run.project_id) as tx:
                await syncs.remember_page_size(tx, self._sync.id, self._page_records)

    async def fill_gaps(self, plan: Plan) -> None:
        """Key ranges rest on an assumption about the vendor's order [verify]: count, and read whole where it fails."""
        seen = await part_counts(self._db, self._run.project_id, self._run.id)
        for stream_id in {part.checkpoint.stream_id for part in plan.parts if part.part.lower or part.part.upper}:
            example = next(part for part in plan.parts if part.checkpoint.stream_id == stream_id)
            whole = Slice(company_id=example.part.company_id)
            count = await self._access.count(self._obj, example.reading.spec, whole)
            if count is not None and seen.get(stream_id, 0) < count:
                checkpoint = await whole_again(self._db, self._run, stream_id)
                if not checkpoint.done:
                    await self._slice(PlannedPart(checkpoint=checkpoint, part=whole, reading=example.reading))

    async def _slice(self, planned: PlannedPart) -> None:
        async with self._places:
            try:
                await self._pages(planned)
            except (BadRequest, RecordNotFound):
                if planned.checkpoint.link is None:
                    raise
                # A link kept from an earlier attempt may have died; what is stored is recognised by its hash.
                async with self._db.project(self._run.project_id) as tx:
                    await runs.restart_slice(tx, self._run.id, self._run.epoch, planned.checkpoint.slice)
                fresh = msgspec.structs.replace(planned.checkpoint, link=None)
                await self._pages(msgspec.structs.replace(planned, checkpoint=fresh))

    async def _pages(self, planned: PlannedPart) -> None:
        reader = self._access.reader(
            self._obj,
            planned.reading.spec,
            planned.part,
            page_records=self._page_records,
            remember=self._remember,
        )
        checkpoint = planned.checkpoint
        start = ReadPosition(link=checkpoint.link, records=checkpoint.seen)
        number = checkpoint.pages
        async for fetched in reader.pages(start):
            number += 1
            await self._commit(planned, fetched, number)
            if self._on_progress is not None:
                await self._tell(self._on_progress)

    async def _commit(self, planned: PlannedPart, fetched: FetchedPage, number: int) -> None:
        page, run = fetched.page, self._run
        if planned.reading.mode is Mode.IDS:
            await sweeps.commit_ids(
                self._db,
                run.project_id,
                run.id,
                run.epoch,
                slice=planned.checkpoint.slice,
                number=number,
                ids=page.ids,
                next_link=fetched.next.link,
                done=fetched.last,
            )
            return
        await pages.commit_page(
            self._db,
            run.project_id,
            pages.PageCommit(
                run_id=run.id,
                epoch=run.epoch,
                slice=planned.checkpoint.slice,
                number=number,
                ids=page.ids,
                stamps=page.stamps,
                hashes=page.hashes,
                raws=page.raws,
                next_link=fetched.next.link,
                done=fetched.last,
                watermark=self._access.provider.watermark(page.stamps),
                stage=planned.reading.staged,
            ),
        )

    async def _tell(self, on_progress: OnProgress) -> None:
        async with self._db.project(self._run.project_id) as tx:
            progress = await runs.progress(tx, self._run.id)
            run = await runs.get(tx, self._run.id)
        await self._journal.write(self._db, self._run.project_id, self._run.id)
        await on_progress(run, progress)

    def _remember(self, page_records: int) -> None:
        self._page_records = page_records


RETRIES_MAX = 10
_RETRY_FIRST_S = 10.0
_RETRY_MAX_S = 900.0
"""A run that meets passing trouble is tried again after 10 s, 20 s … 15 min, ten times: about an hour and a half."""


def _retry_in_s(run: Run, failure: Failure | None) -> float | None:
    if not isinstance(failure, TransientFailure):
        return None
    retries = int(run.options.get("retries", 0))
    if retries >= RETRIES_MAX:
        return None
    return max(failure.retry_after_s or 0.0, min(_RETRY_MAX_S, _RETRY_FIRST_S * 2.0**retries))


async def _report_health(tx: Transaction, sync: Sync, failure: Failure | None) -> None:
    """What the end of a run says about the connection. Trouble of one object leaves the others running (BC-21)."""
    if failure is None:
        connection = await connections.get(tx, sync.connection_id)
        if connection.state != "connected":
            await connections.set_state(tx, sync.connection_id, "connected")
    elif isinstance(failure, CredentialFailure):
        state = "degraded" if failure.code == "permission_missing" else "needs_reauth"
        await connections.set_state(tx, sync.connection_id, state, failure)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that counts: a superseded run before anything else, then the first."""
    flat: list[BaseException] = []
    for each in group.exceptions:
        flat += [_first(each)] if isinstance(each, BaseExceptionGroup) else [each]
    return next((each for each in flat if isinstance(each, RunSuperseded)), flat[0])
