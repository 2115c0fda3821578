"""Bytes that become part of a record: an operation like any other, made once and never twice (BC-77).

The bytes are kept in a file without a name while they are on their way: they can be sent again after a refusal that
certainly did nothing, they are never in memory as a whole, and they are gone with the process. So an upload whose
answer was lost is looked for by what is there afterwards; what is not there has failed, and has to be sent anew.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import tempfile
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import IO, Final
from uuid import UUID

import msgspec

from isthmus.actions.writing import judging
from isthmus.actions.writing.carrying import Carrier, operation_s_max
from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.judging import Meaning, meaning_of
from isthmus.actions.writing.ledger import Ledger
from isthmus.actions.writing.settings import WriterSettings
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    CorruptResponse,
    Failure,
    InvalidInput,
    RecordNotFound,
    RunSuperseded,
    StorageFull,
    TooLarge,
    Undone,
    UnknownObject,
)
from isthmus.kernel.ids import new_id
from isthmus.kernel.messages import Request
from isthmus.providers.writing import Outcome, StreamPlace
from isthmus.store.operations import NewOperation, Operation, OperationState, Planner, Sending, Step
from isthmus.transport.streaming import PART_BYTES_MAX, StreamedAnswer

STREAM_BYTES_MAX: Final = 350 * 1024 * 1024
"""The vendor's own limit for uploads (BC-77, BC-88), and ours for downloads."""

DEADLINE_S: Final = 600.0
"""How long an upload is tried, its wait for the vendor's budget included; its lease is longer."""

TAKEN_S: Final = 900.0
"""How long somebody may take to hand over the bytes of one upload."""

UPLOAD_TAIL_S: Final = 120.0
"""Beyond the deadline: the last attempt may have begun right before it."""

UPLOAD: Final = "upload"


class UploadWish(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes for a stream of a record: `attachmentContent`, `picture/pictureContent`."""

    object: str
    record_id: str
    stream: str
    route: str = ""
    company: str | None = None
    idempotency_key: str | None = None


class Spooled:
    """Bytes that have arrived, in a file without a name. Fits `transport.streaming.Content`."""

    def __init__(self, file: IO[bytes], size: int, digest: bytes) -> None:
        self._file = file
        self.size = size
        self.digest = digest

    async def parts(self) -> AsyncIterator[bytes]:
        """All of them, from the beginning."""
        place = 0
        while place < self.size:
            part = await asyncio.to_thread(self._read, place)
            place += len(part)
            yield part

    def _read(self, place: int) -> bytes:
        self._file.seek(place)
        return self._file.read(PART_BYTES_MAX)


@asynccontextmanager
async def spooled(parts: AsyncIterable[bytes], bytes_max: int = STREAM_BYTES_MAX) -> AsyncIterator[Spooled]:
    """Take bytes as they come, without holding them in memory. Raises TooLarge, InvalidInput when they do not come, and
    StorageFull."""
    with tempfile.TemporaryFile(prefix="isthmus-upload-") as file:
        try:
            async with asyncio.timeout(TAKEN_S):
                content = await _taken(parts, file, bytes_max)
        except TimeoutError as error:
            raise InvalidInput(f"The bytes did not arrive within {TAKEN_S / 60:.0f} minutes.") from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise StorageFull("There is no space left for the upload.") from error
        yield content


async def _taken(parts: AsyncIterable[bytes], file: IO[bytes], bytes_max: int) -> Spooled:
    size, digest = 0, hashlib.blake2b(digest_size=32)
    async for part in parts:
        size += len(part)
        if size > bytes_max:
            raise TooLarge(f"The stream is larger than {bytes_max // (1024 * 1024)} MiB.")
        digest.update(part)
        await asyncio.to_thread(file.write, part)
    await asyncio.to_thread(file.flush)
    return Spooled(file, size, digest.digest())


class Uploader:
    """Carries uploads out, and finds out what became of those whose answer was lost. One per writer."""

    def __init__(self, ledger: Ledger, carrier: Carrier, clock: Clock, settings: WriterSettings, worker: str) -> None:
        self._ledger = ledger
        self._carrier = carrier
        self._clock = clock
        self._settings = settings
        self._worker = worker

    async def drafted(self, desk: Desk, wish: UploadWish, content: Spooled, planner: Planner | None) -> NewOperation:
        """The row to be written down. Raises UnknownObject, UnknownField, CompanyNotFound, InvalidInput."""
        if not content.size:
            raise InvalidInput("There are no bytes to be uploaded.")
        obj = await desk.describe(wish.object, desk.provider.parse_route(wish.route))
        place = desk.provider.stream_place(obj, await desk.objects(obj.route), wish.stream)
        company = desk.company(obj, wish.company)
        request = desk.provider.upload_request(desk.target, obj, company, wish.record_id, place)
        plain = {
            "verb": UPLOAD,
            "object": obj.name,
            "record_id": wish.record_id,
            "stream": wish.stream,
            "size": content.size,
            "digest": content.digest.hex(),
            "url": request.url,
        }
        named = msgspec.json.encode([str(desk.connection_id), company, plain])
        identifier = new_id()
        return NewOperation(
            id=identifier,
            connection_id=desk.connection_id,
            idempotency_key=wish.idempotency_key,
            fingerprint=hashlib.blake2b(named, digest_size=16).digest(),
            verb=UPLOAD,
            object=obj.name,
            route=obj.route,
            company=company,
            remote_id=wish.record_id,
            wish=plain,
            body=None,
            lock_key=f"{company or ''}/{wish.record_id.casefold()}/{wish.stream}",
            worker=self._worker,
            lease_s=self._settings.lease_s(batch=False),
            planner=planner,
            sending=self._sending(desk, identifier, 1),
            seal=desk.seal,
        )

    async def carry_out(self, desk: Desk, operation: Operation, content: Spooled, noted_s: float) -> Operation:
        """Send the bytes of an operation that this process holds. Raises RunSuperseded."""
        if operation.state is OperationState.PLANNED:
            if not await self._carrier.take_turn(desk, [operation]):
                busy = Undone("Other writes to the same record took too long.", remedy="Send it again.")
                return await self._settle(desk, operation, judging.failed(operation, busy, []))
            noted_s = self._clock.monotonic_s()
            await self._ledger.send(desk.project_id, self._sending(desk, operation.id, operation.fence))
        if self._clock.monotonic_s() - noted_s > self._settings.grace_s:
            raise RunSuperseded("This process was halted between noting an upload and sending it; it was not sent.")
        try:
            request = await self._request(desk, operation)
            async with desk.opened.streams.open(request, content, bytes_max=STREAM_BYTES_MAX) as answer:
                await answer.refusal()  # whatever a 2xx says beyond its status does not matter
        except Failure as failure:
            return await self._settle(desk, operation, self._after(desk, operation, failure))
        done = Outcome(remote_id=operation.remote_id)
        return await self._settle(
            desk, operation, judging.confirmed(operation, done, desk.journal.taken(), created=False)
        )

    async def resolve(self, desk: Desk, operation: Operation) -> Operation:
        """What became of an upload that lost its sender, or its answer: what is there now tells."""
        if operation.state is OperationState.PLANNED:
            never = Undone("The upload was never sent: isthmus was stopped before.", remedy="Send it again.")
            return await self._settle(desk, operation, judging.failed(operation, never, []))
        try:
            there = await self._is_there(desk, operation)
        except Failure as failure:
            if self._carrier.too_old(operation):
                step = judging.asked(operation, f"Looking for it failed: {failure.message}", desk.journal.taken())
            else:
                step = self._later(desk, operation, failure)
            return await self._settle(desk, operation, step)
        if there:
            done = Outcome(remote_id=operation.remote_id)
            step = judging.confirmed(operation, done, desk.journal.taken(), created=False, found=True)
        elif operation.late:
            lost = Undone("The upload did not arrive, and its bytes are no longer here.", remedy="Send it again.")
            step = judging.failed(operation, lost, desk.journal.taken())
        else:
            step = self._later(desk, operation, None)
        return await self._settle(desk, operation, step)

    async def _is_there(self, desk: Desk, operation: Operation) -> bool:
        digest = hashlib.blake2b(digest_size=32)
        wish = operation.wish
        try:
            async with downloading(desk, await self._place(desk, operation), operation) as answer:
                if answer.size not in (None, wish["size"]):
                    return False
                async for part in answer.parts():
                    digest.update(part)
        except RecordNotFound:
            return False
        return digest.hexdigest() == str(wish["digest"])

    async def _request(self, desk: Desk, operation: Operation) -> Request:
        obj = await desk.describe(operation.object, operation.route)
        place = await self._place(desk, operation)
        request = desk.provider.upload_request(desk.target, obj, operation.company, operation.remote_id or "", place)
        return msgspec.structs.replace(request, deadline_s=DEADLINE_S)

    async def _place(self, desk: Desk, operation: Operation) -> StreamPlace:
        obj = await desk.describe(operation.object, operation.route)
        return desk.provider.stream_place(obj, await desk.objects(obj.route), str(operation.wish["stream"]))

    def _sending(self, desk: Desk, operation_id: UUID, fence: int) -> Sending:
        lease_s = DEADLINE_S + self._settings.grace_s + UPLOAD_TAIL_S
        certain_s = lease_s + operation_s_max(desk, self._settings)
        return Sending(
            id=operation_id, fence=fence, resolved={}, body=None, baseline={}, lease_s=lease_s, certain_s=certain_s
        )

    def _after(self, desk: Desk, operation: Operation, failure: Failure) -> Step:
        meaning = Meaning.UNKNOWN if isinstance(failure, CorruptResponse) else meaning_of(failure)
        if meaning is not Meaning.UNKNOWN:
            return judging.failed(operation, failure, desk.journal.taken())
        certain_s = operation_s_max(desk, self._settings)
        return judging.doubtful(operation, failure, desk.journal.taken(), certain_s=certain_s, next_s=0.0)

    def _later(self, desk: Desk, operation: Operation, failure: Failure | None) -> Step:
        pause_s = self._settings.pause_s(operation.looks)
        journal = desk.journal.taken()
        return judging.doubtful(operation, failure, journal, certain_s=None, next_s=pause_s, looked=True)

    async def _settle(self, desk: Desk, operation: Operation, step: Step) -> Operation:
        return await self._ledger.settle(desk.project_id, operation, step)


@asynccontextmanager
async def downloading(desk: Desk, place: StreamPlace, of: Operation | DownloadWish) -> AsyncIterator[StreamedAnswer]:
    """The bytes of a stream, on their way. Raises RecordNotFound where there are none."""
    obj = await desk.describe(of.object, desk.provider.parse_route(of.route))
    company = of.company if isinstance(of, Operation) else desk.company(obj, of.company)
    record_id = (of.remote_id if isinstance(of, Operation) else of.record_id) or ""
    holder = await desk.opened.access.call(desk.provider.stream_holder(desk.target, obj, company, record_id, place))
    request = desk.provider.stream_request(desk.target, holder, place)
    async with AsyncExitStack() as stack:
        opening = desk.opened.streams.open(request, bytes_max=STREAM_BYTES_MAX)
        try:
            answer = await stack.enter_async_context(opening)
        except UnknownObject as missing:  # the vendor speaks of the last part of the address
            raise RecordNotFound(
                f"The record has no bytes in “{place.field}”.", vendor=missing.vendor, subject=place.field
            ) from missing
        yield answer


class DownloadWish(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes somebody wants: a stream of a record, as in `UploadWish`."""

    object: str
    record_id: str
    stream: str
    route: str = ""
    company: str | None = None


async def place_of(desk: Desk, wish: DownloadWish) -> StreamPlace:
    """The stream that is meant. Raises UnknownObject, UnknownField."""
    obj = await desk.describe(wish.object, desk.provider.parse_route(wish.route))
    return desk.provider.stream_place(obj, await desk.objects(obj.route), wish.stream)
