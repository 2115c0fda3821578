"""Records on stdout: a table for people, JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import Any

from isthmus.cli.output import out, print_table, say
from isthmus.odata.values import decode_record
from isthmus.providers.base import ObjectInfo

_FAVOURITES = ("number", "displayName", "name", "code", "status", "postingDate", "description", "balanceDue", "email")
"""What a person looks for first in a table of few columns."""


class RecordPrinter:
    """Prints pages as they come; the table waits for the end, because its columns must fit."""

    def __init__(self, obj: ObjectInfo, select: Sequence[str], form: str, *, columns_max: int) -> None:
        self._types = {field.name: field.type for field in obj.fields}
        self._form = form
        names = list(select) or [field.name for field in obj.fields]
        self._columns = names if select or form == "csv" else _columns(names, columns_max)
        self._rows: list[list[Any]] = []
        self._count = 0
        self._csv = csv.writer(sys.stdout)
        if form == "csv":
            self._csv.writerow(["company", *self._columns])

    def add(self, company: str, raws: Sequence[bytes]) -> None:
        """Print or keep one page."""
        self._count += len(raws)
        if self._form == "jsonl":
            sys.stdout.buffer.write(b"".join(raw.replace(b"\n", b" ") + b"\n" for raw in raws))
            sys.stdout.buffer.flush()
            return
        for raw in raws:
            record = decode_record(raw, self._types)
            values = [record[name].value if name in record else None for name in self._columns]
            if self._form == "csv":
                self._csv.writerow([company, *("" if value is None else value for value in values)])
            else:
                self._rows.append([company, *values])

    def finish(self) -> None:
        """Print what was kept."""
        if self._form != "table":
            return
        if not self._rows:
            say("No records.")
            return
        right = [name for name in self._columns if self._types.get(name) in ("Edm.Decimal", "Edm.Int32", "Edm.Int64")]
        print_table(["company", *self._columns], self._rows, right=right)
        if sys.stdout.isatty():
            out().print(f"[dim]{self._count} records shown; --limit shows more, --format jsonl gives all fields.[/]")


def _columns(names: list[str], columns_max: int) -> list[str]:
    chosen = [name for name in _FAVOURITES if name in names][:columns_max]
    chosen += [name for name in names if name not in chosen and name != "id"][: columns_max - len(chosen)]
    return [name for name in names if name in chosen]
