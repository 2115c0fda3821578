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

from isthmus.actions.reading.arriving import fetch_arrivals
from isthmus.actions.reading.drift import Drift, check_selection, drift_of, fields_of
from isthmus.actions.reading.horizon import Horizon
from isthmus.actions.reading.journal import RunJournal
from isthmus.actions.reading.mode import Mode
from isthmus.actions.reading.plan import (
    ARRIVALS_PREFIX,
    make_plan,
    streams_of,
)
from isthmus.actions.reading.slices import OnProgress, PlanReader
from isthmus.client.access import Access
from isthmus.connections.health import state_after_run
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    CompanyNotFound,
    DatabaseUnavailable,
    Failure,
    PermissionMissing,
    RunSuperseded,
    TransientFailure,
    UnknownField,
)
from isthmus.kernel.tracing import ASKED_BY, on_behalf_of, span
from isthmus.providers.base import ObjectInfo, ReadSpec, Slice
from isthmus.store import connections, events, runs, sweeps, syncs
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Run, RunState, Sync

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
        about = {
            "isthmus.run_id": str(run.id),
            "isthmus.run_kind": run.kind.value,
            "isthmus.sync_id": str(sync.id),
            "isthmus.object": sync.object,
        }
        asked_by = str(run.options.get(ASKED_BY) or f"run_{run.id.hex}")
        with on_behalf_of(asked_by), span("run", about):
            await self._perform(run, sync, credential)

    async def _perform(self, run: Run, sync: Sync, credential: int) -> None:
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
            reading = PlanReader(self._db, access, run, sync, obj, journal, self._on_progress, horizon)
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
        if drift or sync.known_fields is None:
            await self._keep_fields(run, sync, obj, drift)
        check_selection(sync, obj)

    async def _keep_fields(self, run: Run, sync: Sync, obj: ObjectInfo, drift: Drift) -> None:
        async with self._db.project(run.project_id) as tx:
            if drift:
                await runs.note(tx, run.id, "drift", drift.to_dict())
                await events.append(
                    tx,
                    type="sync.schema_changed",
                    subject={"connection_id": sync.connection_id, "sync_id": sync.id, "object": sync.object},
                    data=drift.told(),
                )
            await syncs.remember_fields(tx, sync.id, fields_of(obj))

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
