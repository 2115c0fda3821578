"""CSV (RFC 4180, UTF-8) with a header; numbers as the vendor wrote them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from isthmus.delivery.atomic import PlainFile
from isthmus.delivery.export.columns import Column, Columns, enum_text
from isthmus.kernel.failures import CorruptResponse

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_BLANKS: Final = {
    "date": "0001-01-01",
    "instant": "0001-01-01T00:00:00Z",
    "guid": "00000000-0000-0000-0000-000000000000",
}


class CsvSink:
    """Writes one row per record; blanks and nulls are empty cells.

    `spreadsheet_safe` puts an apostrophe before text that a spreadsheet would run as a formula. It is off by default,
    because it changes data (telephone numbers start with +).
    """

    def __init__(self, temporary: Path, columns: Columns, *, spreadsheet_safe: bool = False) -> None:
        self._columns = columns
        self._safe = spreadsheet_safe
        self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._file = PlainFile(temporary)
        self._append([columns.schema.names])

    def write(self, raws: Sequence[bytes], company: str | None) -> None:
        """Append a page."""
        self._append(self._row(raw, company) for raw in raws)

    def _append(self, rows: Iterable[Sequence[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        self._file.write(text.getvalue().encode())

    def _row(self, raw: bytes, company: str | None) -> list[str]:
        try:
            members = self._decoder.decode(raw)
        except msgspec.DecodeError as error:
            raise CorruptResponse(f"A record is no readable JSON object: {error}") from error
        cells = [self._text(company or "")] if self._columns.company else []
        for column in self._columns.columns:
            value = members.get(column.name)
            cells.append("" if value is None else self._cell(bytes(value), column))
        unknown = {name: value for name, value in members.items() if self._columns.unknown(name)}
        cells.append(msgspec.json.encode(unknown).decode() if unknown else "")
        return cells

    def _cell(self, value: bytes, column: Column) -> str:
        if value == b"null":
            return ""
        if not value.startswith(b'"'):
            return value.decode()
        if column.kind == "json":
            return value.decode()
        text: str = msgspec.json.decode(value, type=str)
        if text == _BLANKS.get(column.kind):
            return ""
        if column.kind == "enum":
            text = enum_text(text) or ""
        return self._text(text)

    def _text(self, text: str) -> str:
        return f"'{text}" if self._safe and text.startswith(_FORMULA_STARTS) else text

    def finish(self) -> None:
        """Nothing is left to write."""

    def close(self) -> None:
        """Let go of the file, complete or not."""
        self._file.close()
