"""Fetching what a sweep saw and the store does not have: records without a stamp to find them by (BC-97)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from isthmus.actions.reading.plan import ARRIVALS_PREFIX
from isthmus.client.access import Access
from isthmus.providers.base import ObjectInfo, Page, ReadSpec, Slice
from isthmus.store import arrivals, pages, runs, syncs
from isthmus.store.arrivals import ARRIVALS_MAX, Arrival
from isthmus.store.database import Database
from isthmus.store.rows import Run, Sync

IDS_PER_REQUEST = 50
"""About 3 KB of filter: well inside the vendor's longest address."""


async def fetch_arrivals(db: Database, access: Access, run: Run, sync: Sync, obj: ObjectInfo) -> int:
    """See `_fetch`. What an attempt that died has left open is closed: everything unknown was asked for by then."""
    fetched = await _fetch(db, access, run, sync, obj)
    async with db.project(run.project_id) as tx:
        await runs.close_slices(tx, run.id, run.epoch, ARRIVALS_PREFIX)
    return fetched


async def _fetch(db: Database, access: Access, run: Run, sync: Sync, obj: ObjectInfo) -> int:
    """Read the records by their ids and commit them to the run; how many were asked for.

    Too many, or an object whose records cannot be asked for by id: the watermark is forgotten instead, so that the next
    run reads everything and loses nothing.
    """
    async with db.project(run.project_id) as tx:
        found = await arrivals.unknown(tx, run.id)
        if not found:
            return 0
        if len(found) > ARRIVALS_MAX or access.provider.ids_filter(obj, [found[0].remote_id]) is None:
            await syncs.reset(tx, sync.id)
            await runs.note(tx, run.id, "arrivals", {"unknown": len(found), "answer": "full read at the next run"})
            return 0
        await runs.note(tx, run.id, "arrivals", {"unknown": len(found), "answer": "fetched by id"})
    for stream_id, group in groupby(found, key=lambda arrival: arrival.stream_id):
        await _fetch_stream(db, access, run, sync, obj, stream_id, list(group))
    return len(found)


async def _fetch_stream(
    db: Database, access: Access, run: Run, sync: Sync, obj: ObjectInfo, stream_id: int, wanted: Sequence[Arrival]
) -> None:
    async with db.project(run.project_id) as tx:
        checkpoint = await runs.add_slice(
            tx, run.id, run.epoch, runs.PlannedSlice(slice=f"{ARRIVALS_PREFIX}{stream_id}", stream_id=stream_id)
        )
    part = Slice(company_id=wanted[0].company or None)
    chunks = list(_chunks([arrival.remote_id for arrival in wanted]))
    for number, ids in enumerate(chunks, start=checkpoint.pages + 1):
        page = await _read(access, sync, obj, part, ids)
        await pages.commit_page(
            db,
            run.project_id,
            pages.PageCommit(
                run_id=run.id,
                epoch=run.epoch,
                slice=checkpoint.slice,
                number=number,
                ids=page.ids,
                stamps=page.stamps,
                hashes=page.hashes,
                raws=page.raws,
                next_link=None,
                done=number == checkpoint.pages + len(chunks),
            ),
        )


async def _read(access: Access, sync: Sync, obj: ObjectInfo, part: Slice, ids: Sequence[str]) -> Page:
    """Through a page, not one by one: the same columns as any other road, so the same content hash."""
    spec = ReadSpec(select=tuple(sync.fields), expand=tuple(sync.expand), filter=access.provider.ids_filter(obj, ids))
    whole = Page(ids=[], stamps=[], hashes=[], raws=[])
    async for fetched in access.reader(obj, spec, part).pages():
        whole.ids += fetched.page.ids
        whole.stamps += fetched.page.stamps
        whole.hashes += fetched.page.hashes
        whole.raws += fetched.page.raws
    return whole


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), IDS_PER_REQUEST):
        yield ids[start : start + IDS_PER_REQUEST]
