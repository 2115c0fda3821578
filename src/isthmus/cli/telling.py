"""What a worker tells while it works: a line per run that came to an end, and per delivery that failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich.markup import escape

from isthmus.cli.output import ago, say
from isthmus.kernel.failures import DatabaseUnavailable, Failure

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.rows import Destination, Progress, Run, Sync

LOOK_S = 1.0
ENDED_KEPT_MAX = 1_000
"""Runs that wait to be told; beyond that the oldest are told by `isthmus runs` only."""


class Telling:
    """Collects the runs that this process has worked on, and says what became of them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._ended: list[tuple[UUID, UUID]] = []
        self._failed: dict[UUID, tuple[int, str | None]] = {}

    def run_left(self, run: Run) -> None:
        """This process has put a run out of its hands; the database soon knows how it ended."""
        self._ended = [*self._ended[-ENDED_KEPT_MAX + 1 :], (run.project_id, run.id)]

    async def follow(self) -> None:
        """Look every second until cancelled; a database that is away is looked for again."""
        self._failed = {row.id: _mark(row) for row in await self._failing()}
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.tell()
            except DatabaseUnavailable:
                continue

    async def tell(self) -> None:
        """One look."""
        waiting, self._ended = self._ended, []
        for project_id, run_id in waiting:
            if not await self._told(project_id, run_id):
                self._ended.append((project_id, run_id))
        failing = await self._failing()
        for row in failing:
            if self._failed.get(row.id) != _mark(row):
                say(_delivery_line(row))
        self._failed = {row.id: _mark(row) for row in failing}

    async def _told(self, project_id: UUID, run_id: UUID) -> bool:
        """False while the end of the run is not written down yet."""
        from isthmus.store import runs, syncs

        try:
            async with self._hub.db.project(project_id) as tx:
                run = await runs.get(tx, run_id)
                if run.state == "running":
                    return False
                say(_run_line(run, await syncs.get(tx, run.sync_id), await runs.progress(tx, run_id)))
        except DatabaseUnavailable:
            return False
        except Failure:
            return True  # the sync was deleted meanwhile
        return True

    async def _failing(self) -> list[Destination]:
        from isthmus.store import overview

        return await overview.failing_destinations(self._hub.db)


def _mark(row: Destination) -> tuple[int, str | None]:
    return row.attempts, row.paused


def _run_line(run: Run, sync: Sync, done: Progress) -> str:
    what = f"{escape(sync.object)} ({run.kind.value})"
    failure: dict[str, Any] = run.failure or {}
    if run.state == "queued":
        return f"[yellow]◌[/] {what}: put back, it goes on later"
    if run.state == "held":
        return f"[yellow]‖[/] {what}: held, {run.options.get('held', 0):,} records would be deleted"
    if run.state == "succeeded":
        return (
            f"[green]✓[/] {what}: {done.seen:,} read, {done.created:,} created, {done.updated:,} updated, "
            f"{done.deleted:,} deleted"
        )
    return f"[bold red]✗[/] {what}: {escape(str(failure.get('message', run.state.value)))}"


def _delivery_line(row: Destination) -> str:
    why = escape(str(row.paused or (row.failure or {}).get("message", "the delivery failed")).rstrip("."))
    if row.paused is not None:
        return f"[yellow]‖[/] Destination {escape(row.name)}: paused: {why}"
    return f"[bold red]✗[/] Destination {escape(row.name)}: {why}, next try {ago(row.next_attempt_at)}"
