"""The work of one run of a sync that the engine has claimed.

    describe ─ drift ─ plan ─┬─ slice: page ─ commit ─ page ─ commit … ┐
                             ├─ slice: …                               ├─ compare ids ─ watermark
                             └─ …                                      ┘

Every arrow may be the last thing a killed worker did: the next worker claims the run with a higher epoch and goes on
from the checkpoints. A graceful stop hands the run back the same way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from isthmus.actions.reading.arriving import fetch_arrivals
from isthmus.actions.reading.drift import check_selection, drift_of, fields_of
from isthmus.actions.reading.horizon import Horizon
from isthmus.actions.reading.journal import RunJournal
from isthmus.actions.reading.mode import Mode
from isthmus.actions.reading.pieces import Piece, pieces_of
from isthmus.actions.reading.plan import (
    ARRIVALS_PREFIX,
    READERS_PER_RUN_MAX,
    Plan,
    PlannedPart,
    make_plan,
    part_counts,
    streams_of,
    whole_again,
)
from isthmus.client.access import Access
from isthmus.client.reading import ReadPosition
from isthmus.connections.health import state_after_run
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    CompanyNotFound,
    CredentialFailure,
    DatabaseUnavailable,
    Failure,
    PermissionMissing,
    RequestFailure,
    RunSuperseded,
    TransientFailure,
    UnknownField,
)
from isthmus.providers.base import ObjectInfo, ReadSpec, Slice
from isthmus.store import connections, events, pages, runs, sweeps, syncs
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Checkpoint, Progress, Run, RunState, Sync

_log = logging.getLogger(__name__)

RETRIES_MAX = 10
_RETRY_FIRST_S = 10.0
_RETRY_MAX_S = 900.0
"""A run that meets passing trouble is tried again after 10 s, 20 s … 15 min, ten times: about an hour and a half."""


_NOTHING_YET = datetime(1900, 1, 1, tzinfo=UTC)
"""The watermark of a set without any stamp: whatever gets one later is new."""


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

    async def describe(self, name: str, route: str, *, fresh: bool = False) -> ObjectInfo:
        """The object as the vendor described it within the last hour, or just now with `fresh`."""
        ...


Open = Callable[[Sync, RunJournal], AbstractAsyncContextManager[Opened]]
"""Opens a sync's connection; requests are noted in the journal."""

OnProgress = Callable[[Run, Progress], Awaitable[None]]
Later = Callable[[Run, float], Awaitable[None]]
"""Puts a released run into the queue again after so many seconds."""


class Reader:
    """Does the work of runs that the engine has claimed. Its `perform` is the engine's run handler.

    `later` puts a run that met passing trouble back for another try after so many seconds; without it such a run fails.
    """

    def __init__(
        self,
        db: Database,
        open_connection: Open,
        clock: Clock,
        *,
        later: Later | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._db = db
        self._open = open_connection
        self._clock = clock
        self._later = later
        self._on_progress = on_progress

    async def perform(self, run: Run) -> None:
        """Read what the run asks for, from its checkpoints on. Returns when it is done, held, or put back.

        Raises the Failure that ends it, RunSuperseded, DatabaseUnavailable.
        """
        async with self._db.project(run.project_id) as tx:
            sync = await syncs.get(tx, run.sync_id)
            credential = await connections.credential_number(tx, sync.connection_id)
        journal = RunJournal()
        try:
            held = await self._read(run, sync, journal)
        except (RunSuperseded, DatabaseUnavailable):
            raise
        except Failure as failure:
            await journal.write(self._db, run.project_id, run.id)
            await self._report_trouble(sync, failure, credential, int(run.options.get("retries", 0)))
            if not await self._put_back(run, failure):
                raise
            return
        except asyncio.CancelledError:
            with suppress(DatabaseUnavailable):
                await asyncio.shield(journal.write(self._db, run.project_id, run.id))
            raise
        await journal.write(self._db, run.project_id, run.id)
        await self._close(run, sync, held, credential)

    async def _read(self, run: Run, sync: Sync, journal: RunJournal) -> int | None:
        """Everything between claiming and finishing; the number of held deletions, if any."""
        async with self._open(sync, journal) as opened:
            obj = await opened.describe(sync.object, sync.route)
            await self._note_fields(run, sync, obj)
            companies = [""] if obj.tenant_level else _companies_of(sync, opened.company_ids)
            horizon = Horizon(self._clock, run)
            access = horizon.watching(opened.access)
            plan = await make_plan(self._db, access, self._clock, run, sync, obj, companies)
            reading = _PlanReader(self._db, access, run, sync, obj, journal, self._on_progress, horizon)
            try:
                await reading.read(plan)
                if plan.ranges:
                    await reading.fill_gaps(plan)
            except UnknownField:
                # The description may be an hour old: tell a field that is gone from one that was never there.
                await self._note_fields(run, sync, await opened.describe(sync.object, sync.route, fresh=True))
                raise
            await self._refuse_unfinished(run)
            await self._start_at_present(opened.access, run, sync, obj, companies)
            if sync.backfill_days is None and any(part.reading.mode is Mode.IDS for part in plan.parts):
                # With a backfill window most unknown ids are older than the window and not wanted.
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

    async def _refuse_unfinished(self, run: Run) -> None:
        """Nothing is concluded, and no run succeeds, while a slice is open: whatever stopped its reader in silence.

        An open slice of arrivals is what an attempt that died left to fetch; that comes next.
        """
        async with self._db.project(run.project_id) as tx:
            left = await runs.unfinished(tx, run.id, besides=ARRIVALS_PREFIX)
        if left:
            raise TransientFailure(f"{left} parts of this run were not read to their end.")

    async def _note_fields(self, run: Run, sync: Sync, obj: ObjectInfo) -> None:
        drift = drift_of(sync, obj)
        async with self._db.project(run.project_id) as tx:
            if drift:
                await runs.note(tx, run.id, "drift", drift.to_dict())
                await events.append(
                    tx,
                    type="sync.schema_changed",
                    subject={"connection_id": sync.connection_id, "sync_id": sync.id, "object": sync.object},
                    data=drift.told(),
                )
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
            if stream.watermark is not None or stream.resets:
                continue
            spec = ReadSpec(filter=sync.filter)
            request = access.provider.newest_request(access.target, obj, spec, Slice(company_id=company or None))
            try:
                response = await access.call(request)
            except CompanyNotFound:
                if len(companies) == 1:
                    raise
                continue  # told by the run that reads it; the other companies begin
            newest = access.provider.watermark(access.provider.page(obj, response).stamps)
            async with self._db.project(run.project_id) as tx:
                await runs.fence(tx, run.id, run.epoch)
                await syncs.start_at(tx, stream, newest or _NOTHING_YET)

    async def _close(self, run: Run, sync: Sync, held: int | None, credential: int) -> None:
        """A held sweep waits for a person; a good end says that the connection works. The engine ends the rest."""
        async with self._db.project(run.project_id) as tx:
            if held:
                await runs.note(tx, run.id, "held", held)
                await runs.finish(tx, run.id, run.epoch, RunState.HELD)
                await events.append(
                    tx, type="sync.held", subject=await runs.subject(tx, run.id), data={"deletions": held}
                )
            await runs.forget_old(tx, sync.id)
            state = (await connections.get(tx, sync.connection_id)).state
            if state != "connected" and not (state == "degraded" and await _others_lack_permission(tx, sync)):
                await connections.set_state(tx, sync.connection_id, "connected", credential=credential)

    async def _report_trouble(self, sync: Sync, failure: Failure, credential: int, retries: int) -> None:
        """What a failure says about the connection. Trouble of one object leaves the others running (BC-21), and what
        was said about an earlier sign-in than the present one says nothing any more.
        """
        state = state_after_run(failure, retries)
        if state is not None:
            async with self._db.project(sync.project_id) as tx:
                if isinstance(failure, TransientFailure) and (
                    (await connections.get(tx, sync.connection_id)).state != "connected"
                ):
                    return
                await connections.set_state(tx, sync.connection_id, state, failure, credential=credential)

    async def _put_back(self, run: Run, failure: Failure) -> bool:
        """Passing trouble: the run keeps its checkpoints and is tried again later."""
        retries = int(run.options.get("retries", 0))
        if self._later is None or not isinstance(failure, TransientFailure) or retries >= RETRIES_MAX:
            return False
        wait_s = max(failure.retry_after_s or 0.0, min(_RETRY_MAX_S, _RETRY_FIRST_S * 2.0**retries))
        async with self._db.project(run.project_id) as tx:
            await runs.note(tx, run.id, "retries", retries + 1)
            await runs.note(tx, run.id, "last_failure", failure.to_dict())
            await runs.release(tx, run.id, run.epoch)
        await self._later(run, wait_s)
        return True


def _companies_of(sync: Sync, present: list[str]) -> list[str]:
    """Those of the sync's companies that there are. Raises CompanyNotFound when none of them is left."""
    companies = [each for each in present if sync.companies is None or each in sync.companies]
    if not companies:
        raise CompanyNotFound(
            f"The companies of “{sync.object}” are not there any more, or none is selected.",
            subject=sync.companies[0] if sync.companies else None,
        )
    return companies


async def _others_lack_permission(tx: Transaction, sync: Sync) -> bool:
    """True while another object of the connection may still not be read: its last run says so (BC-21)."""
    for other in await syncs.every(tx, sync.connection_id):
        if other.id == sync.id or other.state != "active":
            continue
        last = next((run for run in await runs.history(tx, other.id, 2) if run.finished_at is not None), None)
        if last is not None and (last.failure or {}).get("code") == PermissionMissing.code:
            return True
    return False


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
        horizon: Horizon,
    ) -> None:
        self._db = db
        self._horizon = horizon
        self._access = access
        self._run = run
        self._sync = sync
        self._obj = obj
        self._journal = journal
        self._on_progress = on_progress
        self._places = asyncio.Semaphore(READERS_PER_RUN_MAX)
        self._page_records = sync.page_records
        self._gone: dict[int, CompanyNotFound] = {}

    async def read(self, plan: Plan) -> None:
        """Read what is not done yet. The first failure stops all; what is committed stays.

        A company that is not there (any more) is left out, unless there is no other.
        """
        todo = [part for part in plan.parts if not part.checkpoint.done and not part.checkpoint.left_out]
        if len(todo) == 1:
            await self._slice(todo[0])
        else:
            try:
                async with asyncio.TaskGroup() as group:
                    for part in todo:
                        group.create_task(self._slice(part))
            except BaseExceptionGroup as group_error:
                raise _first(group_error) from group_error
        if self._gone and all(part.checkpoint.stream_id in self._gone for part in plan.parts):
            raise next(iter(self._gone.values()))
        if self._page_records != self._sync.page_records and self._page_records is not None:
            async with self._db.project(self._run.project_id) as tx:
                await syncs.remember_page_size(tx, self._sync.id, self._page_records)

    async def fill_gaps(self, plan: Plan) -> None:
        """Key ranges rest on an assumption about the vendor's order [verify]: count, and read whole where it fails."""
        seen = await part_counts(self._db, self._run.project_id, self._run.id)
        cut = {part.checkpoint.stream_id for part in plan.parts if part.part.lower or part.part.upper}
        for stream_id in cut - self._gone.keys():
            example = next(part for part in plan.parts if part.checkpoint.stream_id == stream_id)
            whole = Slice(company_id=example.part.company_id)
            count = await self._access.count(self._obj, example.reading.spec, whole)
            if count is not None and seen.get(stream_id, 0) < count:
                checkpoint = await whole_again(self._db, self._run, stream_id)
                if not checkpoint.done:
                    await self._slice(PlannedPart(checkpoint=checkpoint, part=whole, reading=example.reading))

    async def _slice(self, planned: PlannedPart) -> None:
        async with self._places:
            if planned.checkpoint.stream_id in self._gone:
                return
            try:
                await self._to_its_end(planned)
            except CompanyNotFound as failure:
                if planned.part.company_id is None:
                    raise
                await self._leave_out(planned, failure)

    async def _to_its_end(self, planned: PlannedPart) -> None:
        try:
            await self._pages(planned)
        except CompanyNotFound:
            raise
        except RequestFailure:
            link = planned.checkpoint.link or (await self._checkpoint(planned)).link
            if link is None:
                raise
            # The link to the next page has died; from the first page on, what is stored is told by its hash.
            async with self._db.project(self._run.project_id) as tx:
                await runs.restart_slice(tx, self._run.id, self._run.epoch, planned.checkpoint.slice)
            await self._pages(msgspec.structs.replace(planned, checkpoint=await self._checkpoint(planned)))

    async def _leave_out(self, planned: PlannedPart, failure: CompanyNotFound) -> None:
        """The company is not there: keep its records, go on with the others, and look which companies there are."""
        first = not self._gone
        self._gone.setdefault(planned.checkpoint.stream_id, failure)
        async with self._db.project(self._run.project_id) as tx:
            await runs.leave_out(tx, self._run.id, self._run.epoch, [planned.checkpoint.stream_id])
        if not first:
            return
        try:
            found = await self._access.companies()
        except (RequestFailure, TransientFailure, CredentialFailure) as trouble:
            _log.warning("the companies of sync %s could not be listed: %s", self._sync.id, trouble)
            return
        async with self._db.project(self._run.project_id) as tx:
            await connections.save_companies(
                tx, self._sync.connection_id, [(each.id, each.name, each.display_name) for each in found]
            )

    async def _checkpoint(self, planned: PlannedPart) -> Checkpoint:
        """The slice's progress as it is stored now."""
        async with self._db.project(self._run.project_id) as tx:
            every = await runs.checkpoints(tx, self._run.id)
        return next(each for each in every if each.slice == planned.checkpoint.slice)

    async def _pages(self, planned: PlannedPart) -> None:
        reader = self._access.reader(
            self._obj,
            planned.reading.spec,
            planned.part,
            page_records=self._page_records,
            # A sweep's pages hold ids alone: what it learns about sizes says nothing about records.
            remember=None if planned.reading.mode is Mode.IDS else self._remember,
        )
        checkpoint = planned.checkpoint
        start = ReadPosition(link=checkpoint.link, records=checkpoint.seen)
        number, link = checkpoint.pages, checkpoint.link
        async for fetched in reader.pages(start):
            for piece in pieces_of(fetched, link):
                number += 1
                await self._commit(planned, piece, number)
            link = fetched.next.link
            if self._on_progress is not None:
                await self._tell(self._on_progress)

    async def _commit(self, planned: PlannedPart, piece: Piece, number: int) -> None:
        page, run = piece.page, self._run
        await self._horizon.keep(self._db)
        if planned.reading.mode is Mode.IDS:
            await sweeps.commit_ids(
                self._db,
                run.project_id,
                run.id,
                run.epoch,
                slice=planned.checkpoint.slice,
                number=number,
                ids=page.ids,
                next_link=piece.link,
                done=piece.done,
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
                next_link=piece.link,
                done=piece.done,
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


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that counts: a superseded run before anything else, then the first."""
    flat: list[BaseException] = []
    for each in group.exceptions:
        flat += [_first(each)] if isinstance(each, BaseExceptionGroup) else [each]
    return next((each for each in flat if isinstance(each, RunSuperseded)), flat[0])
