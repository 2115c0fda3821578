"""Reading the slices of a plan side by side, page by page, each committed with its checkpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from isthmus.actions.reading.horizon import Horizon
from isthmus.actions.reading.journal import RunJournal
from isthmus.actions.reading.mode import Mode
from isthmus.actions.reading.pieces import Piece, pieces_of
from isthmus.actions.reading.plan import READERS_PER_RUN_MAX, Plan, PlannedPart, part_counts, whole_again
from isthmus.client.access import Access
from isthmus.client.reading import ReadPosition
from isthmus.kernel.failures import (
    CompanyNotFound,
    CredentialFailure,
    RequestFailure,
    RunSuperseded,
    TransientFailure,
)
from isthmus.kernel.tracing import span
from isthmus.providers.base import ObjectInfo, Slice
from isthmus.store import connections, pages, runs, sweeps, syncs
from isthmus.store.database import Database
from isthmus.store.rows import Checkpoint, Progress, Run, Sync

_log = logging.getLogger(__name__)

OnProgress = Callable[[Run, Progress], Awaitable[None]]


class PlanReader:
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
        with span("page", {"isthmus.records": len(piece.page), "isthmus.run_id": str(self._run.id)}):
            await self._commit_now(planned, piece, number)

    async def _commit_now(self, planned: PlannedPart, piece: Piece, number: int) -> None:
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
                # A stretch of time says nothing about what lies before and after it.
                watermark=None if planned.reading.mode is Mode.RANGE else self._access.provider.watermark(page.stamps),
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
