"""Bytes of records, in and out: attachments, pictures, documents as PDF. Never in memory as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import UUID

from isthmus.actions.writing.after_restore import AfterRestore
from isthmus.actions.writing.crew import Crew
from isthmus.actions.writing.defects import end_safely
from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.desks import REOPENED_MAX, Desks, changed_again_and_again
from isthmus.actions.writing.keys import fresh, stored
from isthmus.actions.writing.ledger import Ledger
from isthmus.actions.writing.uploading import (
    DownloadWish,
    Spooled,
    Uploader,
    UploadWish,
    downloading,
    place_of,
    spooled,
)
from isthmus.actions.writing.wishes import check_key
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, NotApproved, RateLimited, RunSuperseded
from isthmus.store import operations
from isthmus.store.database import Database
from isthmus.store.operations import Operation, Planner
from isthmus.transport.streaming import StreamedAnswer

UPLOADS_AT_ONCE: Final = 8
"""In one process: each may take as much of the disk as the largest upload."""

TURN_S: Final = 60.0
"""How long an upload waits for its place."""


class Streams:
    """The way in for bytes; `Writer.streams`."""

    def __init__(
        self,
        db: Database,
        desks: Desks,
        ledger: Ledger,
        crew: Crew,
        uploader: Uploader,
        after: AfterRestore,
        clock: Clock,
    ) -> None:
        self._db = db
        self._desks = desks
        self._ledger = ledger
        self._crew = crew
        self._uploader = uploader
        self._after = after
        self._clock = clock
        self._places = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def upload(
        self,
        project_id: UUID,
        connection_id: UUID,
        wish: UploadWish,
        parts: AsyncIterable[bytes],
        *,
        planner: Planner | None = None,
    ) -> Operation:
        """Put bytes into a record (BC-77); how it stands then. They are taken as they come.

        Raises as `Writer.submit`, TooLarge, and NotApproved where writes have to be approved: bytes are not kept that
        long.
        """
        check_key(wish.idempotency_key)
        await self._after.refuse()
        if planner is not None:  # before hundreds of megabytes are taken for nothing
            await self._pass_rules(await self._desks.current(project_id, connection_id), wish)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._turn())
            content = await stack.enter_async_context(spooled(parts))
            # From here on file and place belong to whoever sends: a caller that goes away does not take them along.
            work = self._uploaded(project_id, connection_id, wish, content, planner)
            begun = self._crew.carry(_closing(stack.pop_all(), work))
        return await asyncio.shield(begun)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the few places for uploads; the bytes are not read before there is one. Raises RateLimited."""
        try:
            async with asyncio.timeout(TURN_S):
                await self._places.acquire()
        except TimeoutError as error:
            raise RateLimited(
                f"{UPLOADS_AT_ONCE} uploads are under way here.", remedy="Send it again in a while.", unsent=True
            ) from error
        try:
            yield
        finally:
            self._places.release()

    @asynccontextmanager
    async def download(
        self, project_id: UUID, connection_id: UUID, wish: DownloadWish
    ) -> AsyncIterator[StreamedAnswer]:
        """The bytes of a record's stream on their way (BC-58).

        Raises UnknownObject, UnknownField, RecordNotFound, and what the vendor says.
        """
        desk = await self._desks.current(project_id, connection_id)
        async with downloading(desk, await place_of(desk, wish), wish) as answer:
            yield answer

    async def _uploaded(
        self, project_id: UUID, connection_id: UUID, wish: UploadWish, content: Spooled, planner: Planner | None
    ) -> Operation:
        for _ in range(REOPENED_MAX):
            desk = await self._desks.desk(project_id, connection_id)
            new = await self._uploader.drafted(desk, wish, content, planner)
            if planner is not None:
                await self._pass_rules(desk, wish)
            noted_s = self._clock.monotonic_s()
            planned = await self._ledger.plan(project_id, new)
            if planned.operation is None:
                self._desks.forget(project_id, connection_id, desk.seal)
                continue
            operation = fresh(planned)
            if operation is None:
                return stored(planned.operation)
            try:
                return await self._uploader.carry_out(desk, operation, content, noted_s)
            except RunSuperseded:
                async with self._db.project(project_id) as tx:
                    return await operations.get(tx, operation.id)
            except Failure:
                raise
            except Exception as error:  # noqa: BLE001 - a defect: the upload comes to an end all the same
                return (await end_safely(self._db, self._ledger, project_id, [operation], error))[0]
        raise changed_again_and_again()

    async def _pass_rules(self, desk: Desk, wish: UploadWish) -> None:
        """Raises NotApproved where writes to the object wait for a person: the bytes are not kept that long."""
        obj = await desk.describe(wish.object, desk.provider.parse_route(wish.route))
        rule = await self._desks.rule(desk.project_id, desk.connection_id, obj.name)
        if rule is not None and rule.required:
            raise NotApproved(
                f"Writes to {obj.name} have to be approved, and an upload cannot wait: its bytes are not kept.",
                remedy="An administrator can put the file in at a terminal of the server, or let this object pass "
                "by a rule of its own: "
                f'PUT /v1/approvals/rules with {{"object": "{obj.name}", "required": false}}. '
                "Creating the record that holds the bytes can wait for an approval.",
                subject=obj.name,
            )


async def _closing(stack: AsyncExitStack, work: Awaitable[Operation]) -> Operation:
    async with stack:
        return await work
