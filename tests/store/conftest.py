"""A project with a connection and a sync, and a way to store pages of records in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from uuid import UUID

import msgspec
import pytest

from isthmus.kernel.ids import new_id
from isthmus.store import connections, grants, projects, runs, syncs
from isthmus.store.database import Database
from isthmus.store.pages import PageCommit, PageResult, commit_page
from isthmus.store.rows import Run, RunKind, RunState


class Place(msgspec.Struct, kw_only=True):
    """One sync of one project with one company, ready to be loaded."""

    db: Database
    project_id: UUID
    connection_id: UUID
    sync_id: UUID
    stream_id: int

    async def begin(self, kind: RunKind = RunKind.BACKFILL, slices: int = 1) -> Run:
        """A claimed run with its slices planned: `s0`, `s1`, …"""
        async with self.db.project(self.project_id) as tx:
            run, _ = await runs.request(tx, self.sync_id, kind)
            claimed = await runs.claim(tx, run.id, "worker-1")
            assert claimed is not None
            parts = [runs.PlannedSlice(slice=f"s{i}", stream_id=self.stream_id) for i in range(slices)]
            await runs.plan(tx, run.id, claimed.epoch, parts)
            return claimed

    async def end(self, run: Run) -> None:
        """Finish a run well."""
        async with self.db.project(self.project_id) as tx:
            await runs.finish(tx, run.id, run.epoch, RunState.SUCCEEDED)

    async def store(
        self, run: Run, records: Mapping[str, str], *, number: int = 1, slice: str = "s0", done: bool = False,
        stage: bool = False,
    ) -> PageResult:  # fmt: skip
        """Store a page of records, given as id → content."""
        return await commit_page(
            self.db, self.project_id, page_of(run, records, number=number, slice=slice, done=done, stage=stage)
        )

    async def load(self, records: Mapping[str, str], kind: RunKind = RunKind.BACKFILL) -> PageResult:
        """A whole run of one page."""
        run = await self.begin(kind)
        result = await self.store(run, records, done=True)
        await self.end(run)
        return result


def page_of(
    run: Run, records: Mapping[str, str], *, number: int = 1, slice: str = "s0", done: bool = False, stage: bool = False
) -> PageCommit:
    """A page with the records given as id → content."""
    return PageCommit(
        run_id=run.id,
        epoch=run.epoch,
        slice=slice,
        number=number,
        ids=list(records),
        stamps=["2026-01-01T00:00:00Z"] * len(records),
        hashes=[hashlib.md5(content.encode(), usedforsecurity=False).digest() for content in records.values()],
        raws=[content.encode() for content in records.values()],
        next_link=None if done else f"https://vendor.example/page/{number + 1}",
        done=done,
        stage=stage,
    )


async def older_project(db: Database) -> UUID:
    """A project as code of the first schema made it."""
    made = new_id()
    async with db.system() as tx:
        await tx.execute("INSERT INTO projects (id, name) VALUES (%s, %s)", (made, f"test-{made}"))
        await tx.execute("INSERT INTO feed_counters (project_id) VALUES (%s)", (made,))
    return made


async def make_place(
    db: Database, name: str = "customers", *, older_stream: bool = False, development: bool = False
) -> Place:
    """A fresh project around a fresh sync; on request by statements that fit the first schema too."""
    project_id = (
        await older_project(db)
        if older_stream
        else (await projects.create(db, f"test-{new_id()}", development=development)).id
    )
    async with db.project(project_id) as tx:
        grant = await grants.create(
            tx,
            provider="business_central",
            kind="client_credentials",
            cloud={"name": "sandbox"},
            tenant="contoso",
            client_id="app",
        )
        connection = await connections.create(
            tx, grant_id=grant.id, provider="business_central", environment="production", name="Contoso"
        )
        sync = await syncs.create(tx, connection_id=connection.id, object=name, route="v2.0")
        if older_stream:
            stream_id = await tx.value(
                "INSERT INTO streams (project_id, sync_id, company) VALUES (%s, %s, 'company-1') RETURNING id",
                (project_id, sync.id),
            )
        else:
            stream_id = (await syncs.ensure_stream(tx, sync.id, "company-1")).id
    return Place(db=db, project_id=project_id, connection_id=connection.id, sync_id=sync.id, stream_id=stream_id)


@pytest.fixture
async def place(database: Database) -> Place:
    """A fresh sync of a fresh project."""
    return await make_place(database)


@pytest.fixture
async def other_place(database: Database) -> Place:
    """Another one, in another project."""
    return await make_place(database)
