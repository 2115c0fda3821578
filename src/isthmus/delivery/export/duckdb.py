"""DuckDB: one table in a database file; other tables of an existing file stay."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.delivery.atomic import is_full
from isthmus.delivery.export.columns import Columns
from isthmus.delivery.export.parquet import ParquetSink
from isthmus.kernel.failures import InvalidInput

_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {"threads": 1, "memory_limit": "128MB"}
_BATCH_RECORDS: Final = 10_000


class DuckdbSink:
    """Collects the pages in a temporary Parquet file and loads that at the end, in one statement: memory stays the same
    however many records come, and the table is laid out once. It goes into a copy of the database file, which takes the
    original's place; `table` is replaced as a whole.

    Raises InvalidInput when the existing file is no DuckDB database, or is open elsewhere.
    """

    def __init__(self, temporary: Path, columns: Columns, destination: Path, *, table: str) -> None:
        if "?" in str(destination):
            raise InvalidInput(
                f"DuckDB cannot open {destination}: it reads a question mark as the start of options.",
                remedy="Choose a path without one.",
                subject=str(destination),
            )
        if destination.with_name(destination.name + ".wal").exists():
            raise InvalidInput(
                f"{destination.name} is open in another program or was not closed properly.",
                remedy="Close that program, or open and close the file once with DuckDB, then export again.",
                subject=str(destination),
            )
        if destination.exists():
            shutil.copyfile(destination, temporary)
        self._temporary = temporary
        self._table = '"' + table.replace('"', '""') + '"'
        _connect(temporary, destination).close()
        self._staged = temporary.with_name(temporary.name + ".parquet")
        self._staging = ParquetSink(self._staged, columns)

    def write(self, raws: Sequence[bytes], company: str | None) -> None:
        """Append a page."""
        self._staging.write(raws, company)

    def finish(self) -> None:
        """Load the table."""
        self._staging.finish()
        pa.default_memory_pool().release_unused()
        with (
            pq.ParquetFile(self._staged, pre_buffer=False) as staged,
            duckdb.connect(str(self._temporary), config=_SETTINGS) as connection,
        ):
            batches = pa.RecordBatchReader.from_batches(
                staged.schema_arrow, staged.iter_batches(_BATCH_RECORDS, use_threads=False)
            )
            connection.register("isthmus_staged", batches)
            connection.execute(f"CREATE OR REPLACE TABLE {self._table} AS SELECT * FROM isthmus_staged")  # noqa: S608  # quoted
            connection.unregister("isthmus_staged")
            connection.execute("CHECKPOINT")

    def close(self) -> None:
        """Let go of the files, complete or not."""
        self._staging.close()
        self._staged.unlink(missing_ok=True)


def _connect(temporary: Path, destination: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(temporary), config=_SETTINGS)
    except duckdb.IOException as error:
        if is_full(error):
            raise
        raise InvalidInput(
            f"{destination.name} is no DuckDB database.",
            remedy="Choose another file name, or remove the file.",
            subject=str(destination),
        ) from error
