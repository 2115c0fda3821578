"""DuckDB: one table in a database file; other tables of an existing file stay."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from isthmus.delivery.atomic import is_full
from isthmus.delivery.export.columns import Columns
from isthmus.kernel.failures import InvalidInput


class DuckdbSink:
    """Fills a copy of the database file, which takes the original's place at the end; `table` is replaced as a whole.

    Raises InvalidInput when the existing file is no DuckDB database, or is open elsewhere.
    """

    def __init__(self, temporary: Path, columns: Columns, destination: Path, *, table: str) -> None:
        if destination.with_name(destination.name + ".wal").exists():
            raise InvalidInput(
                f"{destination.name} is open in another program or was not closed properly.",
                remedy="Close that program, or open and close the file once with DuckDB, then export again.",
                subject=str(destination),
            )
        if destination.exists():
            shutil.copyfile(destination, temporary)
        self._columns = columns
        self._table = '"' + table.replace('"', '""') + '"'
        try:
            self._connection = duckdb.connect(str(temporary), config={"threads": 2, "memory_limit": "256MB"})
        except duckdb.IOException as error:
            if is_full(error):
                raise
            raise InvalidInput(
                f"{destination.name} is no DuckDB database.",
                remedy="Choose another file name, or remove the file.",
                subject=str(destination),
            ) from error
        self._connection.begin()
        self._run("CREATE OR REPLACE TABLE {table} AS SELECT * FROM page", ())

    def write(self, raws: Sequence[bytes], company: str | None) -> None:
        """Append a page."""
        self._run("INSERT INTO {table} SELECT * FROM page", raws, company)

    def _run(self, statement: str, raws: Sequence[bytes], company: str | None = None) -> None:
        self._connection.register("page", self._columns.table(raws, company))
        self._connection.execute(statement.format(table=self._table))
        self._connection.unregister("page")

    def finish(self) -> None:
        """Commit and fold the write-ahead log into the file."""
        self._connection.commit()
        self._connection.execute("CHECKPOINT")
        self._connection.close()

    def close(self) -> None:
        """Let go of the file, complete or not."""
        self._connection.close()
