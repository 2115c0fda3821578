"""The one entry to all formats."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from isthmus.delivery.atomic import forget_abandoned, publish, storage_failures, temporary_name
from isthmus.delivery.export.shapes import (
    COMPANY_COLUMN,
    UNKNOWN_COLUMN,
    CompanyPage,
    ExportOptions,
    ExportReport,
    FieldLike,
    PageLike,
    Sink,
)
from isthmus.kernel.failures import InvalidInput

SUFFIXES: Final = (".parquet", ".jsonl", ".csv", ".duckdb")
_T = TypeVar("_T")


def check_destination(destination: Path) -> str:
    """The suffix of a usable destination, before anything is read. Raises InvalidInput."""
    suffix = destination.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInput(
            f"“{destination.name}” has no format that can be exported to.",
            remedy=f"Name the file with one of {', '.join(SUFFIXES)}.",
            nearest=SUFFIXES,
            subject=str(destination),
        )
    with storage_failures(destination):
        folder_there, is_folder = destination.parent.is_dir(), destination.is_dir()
    if not folder_there:
        raise InvalidInput(
            f"There is no folder {destination.parent}.",
            remedy="Create the folder, or choose a file in an existing one.",
            subject=str(destination),
        )
    if is_folder:
        raise InvalidInput(f"{destination} is a folder.", remedy="Name a file inside it.", subject=str(destination))
    return suffix


def check_names(fields: Sequence[FieldLike], options: ExportOptions) -> None:
    """Refuse names that would stand twice in a record. Raises InvalidInput."""
    sources = dict.fromkeys([*(field.name for field in fields), *options.expanded])
    shown = Counter([options.names.get(name, name) for name in sources] + [UNKNOWN_COLUMN, COMPANY_COLUMN])
    twice = next((name for name, count in shown.items() if count > 1), None)
    if twice is not None:
        raise InvalidInput(
            f"Two columns would be called “{twice}”.",
            remedy="Select fewer fields, or keep the vendor's names.",
            subject=twice,
        )


def open_sink(temporary: Path, destination: Path, fields: Sequence[FieldLike], options: ExportOptions) -> Sink:
    """The format by the destination's suffix; its library is imported only now: everything else starts quickly."""
    suffix = check_destination(destination)
    if suffix == ".jsonl":
        from isthmus.delivery.export.jsonl import JsonlSink

        return JsonlSink(temporary, names=options.names, company=options.company)
    from isthmus.delivery.export.columns import Columns

    columns = Columns(fields, names=options.names, expanded=options.expanded, company=options.company)
    if suffix == ".csv":
        from isthmus.delivery.export.csv import CsvSink

        return CsvSink(temporary, columns, spreadsheet_safe=options.spreadsheet_safe)
    if suffix == ".parquet":
        from isthmus.delivery.export.parquet import ParquetSink

        return ParquetSink(temporary, columns)
    from isthmus.delivery.export.duckdb import DuckdbSink

    return DuckdbSink(temporary, columns, destination, table=options.table or destination.stem)


async def export_pages(
    pages: AsyncIterator[PageLike],
    fields: Sequence[FieldLike],
    destination: Path,
    options: ExportOptions | None = None,
) -> ExportReport:
    """Write every page into one file, which appears under its name only when it is complete.

    While one page is converted in a thread, the next one is on the wire. Raises InvalidInput (suffix, folder, names),
    StorageFull, and whatever the pages raise; then nothing is left behind and an older file of that name is untouched.
    """
    options = options or ExportOptions()
    check_destination(destination)
    check_names(fields, options)
    with storage_failures(destination):
        forget_abandoned(destination)
    temporary = temporary_name(destination)
    with ThreadPoolExecutor(1, thread_name_prefix="export") as thread:
        try:
            return await _write(_Writing(thread, destination), pages, fields, temporary, options)
        finally:
            thread.shutdown(wait=True)
            for leftover in (temporary, temporary.with_name(temporary.name + ".wal")):
                leftover.unlink(missing_ok=True)


class _Writing:
    """The one thread that touches the file; what it cannot write comes back as a failure."""

    def __init__(self, thread: ThreadPoolExecutor, destination: Path) -> None:
        self._thread = thread
        self.destination = destination

    def start(self, function: Callable[..., _T], *arguments: object) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, function, *arguments)

    def _guarded(self, function: Callable[..., _T], *arguments: object) -> _T:
        with storage_failures(self.destination):
            return function(*arguments)


async def _write(
    writing: _Writing,
    pages: AsyncIterator[PageLike],
    fields: Sequence[FieldLike],
    temporary: Path,
    options: ExportOptions,
) -> ExportReport:
    destination = writing.destination
    sink = await writing.start(open_sink, temporary, destination, fields, options)
    page_written: asyncio.Future[None] | None = None
    try:
        records = 0
        async for page in pages:
            if page_written is not None:
                await page_written
            company = page.company if isinstance(page, CompanyPage) else None
            page_written = writing.start(sink.write, page.raws, company)
            records += len(page.raws)
        if page_written is not None:
            await page_written
        await writing.start(sink.finish)
    finally:
        await writing.start(sink.close)
        if page_written is not None and page_written.done() and not page_written.cancelled():
            page_written.exception()  # seen: when the pages failed as well, theirs is the failure that is told
    size = await writing.start(_publish, temporary, destination)
    return ExportReport(records=records, bytes=size, path=destination)


def _publish(temporary: Path, destination: Path) -> int:
    publish(temporary, destination)
    return destination.stat().st_size
