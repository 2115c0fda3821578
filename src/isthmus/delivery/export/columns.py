"""From raw JSON records to typed Arrow columns, without a Python object per value.

Rules (docs/explanation/delivery-contract.md, “Exports”):

| Edm type                        | column                     | null when                                  |
| Decimal                         | decimal(38, 18), exact     | null or missing (BC-53)                    |
| Int16, Int32, Int64, Byte       | int64                      | null or missing                            |
| Double, Single                  | double                     | null or missing                            |
| Boolean                         | bool                       | null or missing                            |
| Date                            | date                       | also 0001-01-01 (BC-51)                    |
| DateTimeOffset                  | timestamp, µs, UTC         | also 0001-01-01T00:00:00Z (BC-51, BC-54)   |
| Guid                            | text                       | also "" and the zero GUID (BC-51)          |
| an enum                         | text, `_xHHHH_` decoded    | also "" and a blank (BC-51, BC-52)         |
| String and everything else      | text                       | also ""                                    |
| collections, complex, expanded  | JSON text                  | null or missing                            |

Annotations (`@odata.…`) and streams are left out. Fields that nobody announced are kept together as one JSON object in
the column `_unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from isthmus.delivery.export.shapes import COMPANY_COLUMN, UNKNOWN_COLUMN, FieldLike
from isthmus.kernel.failures import CorruptResponse, InvalidInput
from isthmus.odata.names import decode_name

_BLOCK_BYTES: Final = 1 << 20
"""Arrow reads block by block, in the one thread that the export has: reading pages keeps the other core busy, and
blocks of a page spread over threads cost a fifth more (benchmarks/parquet.py)."""

_NULL: Final = msgspec.Raw(b"null")
_ETAG: Final = "@odata.etag"
_ZERO_GUID: Final = "00000000-0000-0000-0000-000000000000"
_BLANK_DAY: Final = -719_162
"""0001-01-01 in days from 1970."""

_FRACTION: Final = re.compile(rb"(\.\d{6})\d+")
_INTEGERS: Final = ("Edm.Int16", "Edm.Int32", "Edm.Int64", "Edm.Byte", "Edm.SByte")


class Column(msgspec.Struct, frozen=True):
    """One column: `read_as` is how Arrow reads it from JSON, `kind` how it goes on from there."""

    name: str
    kind: str
    read_as: pa.DataType | None
    final: pa.DataType


def _column(field: FieldLike) -> Column:
    text = pa.string()
    edm = field.type
    if edm == "Edm.Decimal":
        money = pa.decimal128(38, 18)
        return Column(field.name, "number", money, money)
    if edm in _INTEGERS:
        return Column(field.name, "number", pa.int64(), pa.int64())
    if edm in ("Edm.Double", "Edm.Single"):
        return Column(field.name, "number", pa.float64(), pa.float64())
    if edm == "Edm.Boolean":
        return Column(field.name, "bool", pa.bool_(), pa.bool_())
    if edm == "Edm.Date":
        return Column(field.name, "date", pa.timestamp("s"), pa.date32())
    if edm == "Edm.DateTimeOffset":
        instant = pa.timestamp("us", "UTC")
        return Column(field.name, "instant", instant, instant)
    if edm.startswith(("Collection", "ComplexType")) or edm in ("Edm.ComplexType", "Edm.Untyped"):
        return Column(field.name, "json", None, text)
    if edm == "Edm.Guid":
        return Column(field.name, "guid", text, text)
    return Column(field.name, "text" if edm.startswith("Edm.") else "enum", text, text)


class Columns:
    """The plan of one export: which columns there are and how pages become them. Keeps no data.

    Columns are read by the vendor's names; `schema` has the host's `names` for them.
    """

    def __init__(
        self,
        fields: Sequence[FieldLike],
        *,
        names: Mapping[str, str] | None = None,
        expanded: Sequence[str] = (),
        company: bool = False,
    ) -> None:
        announced = {field.name for field in fields}
        self.company = company
        self.columns = [_column(field) for field in fields if field.type != "Edm.Stream"]
        self.columns += [Column(name, "json", None, pa.string()) for name in expanded if name not in announced]
        self._by_name = {column.name: column for column in self.columns}
        self._streams = announced - set(self._by_name)
        self._read = [column for column in self.columns if column.read_as is not None]
        self._explicit = pa.schema([(column.name, column.read_as) for column in self._read] + [(_ETAG, pa.string())])
        self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._children = [column.name for column in self.columns if column.read_as is None]
        self._children_decoder = _children_decoder(self._children)
        head = [(COMPANY_COLUMN, pa.string())] if company else []
        body = [(column.name, column.final) for column in self.columns]
        whole = [*head, *body, (UNKNOWN_COLUMN, pa.string())]
        self._sources = [name for name, _ in whole]
        self.schema = pa.schema([((names or {}).get(name, name), kind) for name, kind in whole])

    def table(self, raws: Sequence[bytes], company: str | None = None) -> pa.Table:
        """A page as a typed table.

        Raises CorruptResponse for a record that is no JSON object, InvalidInput for a value that no column can hold
        exactly (a number of more than 38 digits).
        """
        if not raws:
            return self.schema.empty_table()
        texts: dict[str, list[str | None]] = {name: [] for name in self._children}
        lines = self._without_children(raws, texts) if self._children else raws
        table = None if lines is None else self._quick(lines)
        if table is None:
            return self._thorough(raws, company)
        return self._finished(table, _text_arrays(texts) | {UNKNOWN_COLUMN: None}, company)

    def _without_children(self, raws: Sequence[bytes], texts: dict[str, list[str | None]]) -> list[bytes] | None:
        """Take the expanded children out of each record and leave null in their place; None when one is not found.

        `"name":value` with bare quotes cannot stand inside a string, where quotes are escaped; and the longest value is
        taken out first, so that a child of the same name inside another child is gone by then.
        """
        lines: list[bytes] = []
        try:
            for raw in raws:
                found = msgspec.structs.astuple(self._children_decoder.decode(raw))
                values = [(name, bytes(value)) for name, value in zip(self._children, found, strict=True)]
                for name, value in values:
                    texts[name].append(None if value == b"null" else value.decode())
                line = raw
                for name, value in sorted(values, key=lambda pair: len(pair[1]), reverse=True):
                    if value != b"null":
                        key = msgspec.json.encode(name) + b":"
                        before, marker, after = line.partition(key + value)
                        if not marker:
                            return None
                        line = before + key + b"null" + after
                lines.append(line)
        except msgspec.DecodeError:
            return None
        return lines

    def _quick(self, raws: Sequence[bytes]) -> pa.Table | None:
        """Straight through Arrow's JSON reader, or None when a record holds more than was announced."""
        try:
            table = self._parse(raws)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None
        extra = table.column_names[len(self._explicit) :]
        return None if any(self.unknown(name) for name in extra) else table

    def unknown(self, name: str) -> bool:
        """True for a member that nobody announced: no column, no annotation, no stream."""
        return name not in self._by_name and name not in self._streams and "@odata." not in name

    def _parse(self, lines: Sequence[bytes]) -> pa.Table:
        joined = b"\n".join(lines)
        return pj.read_json(
            pa.BufferReader(joined),
            read_options=pj.ReadOptions(use_threads=False, block_size=max(_BLOCK_BYTES, 2 * max(map(len, lines)) + 2)),
            parse_options=pj.ParseOptions(
                explicit_schema=self._explicit,
                newlines_in_values=joined.count(b"\n") >= len(lines),
                unexpected_field_behavior="infer",
            ),
        )

    def _thorough(self, raws: Sequence[bytes], company: str | None) -> pa.Table:
        """Split each record into its members first: expanded children, unknown fields, odd spellings."""
        texts: dict[str, list[str | None]] = {name: [] for name in (*self._children, UNKNOWN_COLUMN)}
        lines = [self._split(raw, texts) for raw in raws]
        try:
            table = self._parse(lines)
        except pa.ArrowInvalid as error:
            raise InvalidInput(
                f"A value does not fit its column: {str(error)[:200]}",
                remedy="Export to a .jsonl file, which keeps the vendor's bytes as they are.",
            ) from error
        return self._finished(table, _text_arrays(texts), company)

    def _split(self, raw: bytes, texts: dict[str, list[str | None]]) -> bytes:
        """Put a record's JSON texts where they belong; gives back a record of plain values only."""
        try:
            members = self._decoder.decode(raw)
        except msgspec.DecodeError as error:
            raise CorruptResponse(f"A record is no readable JSON object: {error}") from error
        plain: list[bytes] = []
        unknown: list[bytes] = []
        for name, value in members.items():
            column = self._by_name.get(name)
            if column is None:
                if self.unknown(name):
                    unknown.append(msgspec.json.encode(name) + b":" + bytes(value))
            elif column.read_as is not None:
                plain.append(msgspec.json.encode(name) + b":" + _plain(bytes(value), column))
        for name, values in texts.items():
            if name == UNKNOWN_COLUMN:
                values.append((b"{" + b",".join(unknown) + b"}").decode() if unknown else None)
            else:
                text = bytes(members.get(name, _NULL))
                values.append(None if text == b"null" else text.decode())
        return b"{" + b",".join(plain) + b"}"

    def _finished(self, table: pa.Table, texts: dict[str, pa.Array | None], company: str | None) -> pa.Table:
        arrays = []
        for name, final in zip(self._sources, self.schema.types, strict=True):
            if name == COMPANY_COLUMN and self.company:
                arrays.append(pa.repeat(pa.scalar(company, pa.string()), table.num_rows))
            elif name in texts:
                ready = texts[name]
                arrays.append(pa.nulls(table.num_rows, final) if ready is None else ready)
            else:
                arrays.append(_blanks_to_null(table.column(name), self._by_name[name]))
        return pa.Table.from_arrays(arrays, schema=self.schema)


def _text_arrays(texts: dict[str, list[str | None]]) -> dict[str, pa.Array | None]:
    return {name: pa.array(values, pa.string()) for name, values in texts.items()}


def _children_decoder(names: Sequence[str]) -> msgspec.json.Decoder[msgspec.Struct]:
    """Reads nothing of a record but the raw text of some members."""
    members = [
        (f"child_{index}", msgspec.Raw, msgspec.field(name=name, default=_NULL)) for index, name in enumerate(names)
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Children", members))


def _plain(value: bytes, column: Column) -> bytes:
    """Spellings that Arrow's reader refuses, brought into the one it reads; the value stays the same.

    Seven fraction digits are cut to microseconds, an integer may be written 1.0, text may come as a bare number.
    """
    if value == b"null":
        return value
    if column.kind in ("text", "guid", "enum") and not value.startswith(b'"'):
        return msgspec.json.encode(value.decode())
    if column.kind in ("number", "bool", "date", "instant") and value == b'""':
        return b"null"
    if column.kind == "instant":
        return _FRACTION.sub(rb"\1", value)
    if column.final == pa.int64() and re.fullmatch(rb"-?\d+\.0+", value):
        return value[: value.index(b".")]
    return value


def _blanks_to_null(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    if column.kind in ("number", "bool"):
        return values
    if column.kind == "date":
        days = values.cast(pa.date32())
        return pc.if_else(pc.equal(days, pa.scalar(_BLANK_DAY, pa.date32())), None, days)
    if column.kind == "instant":
        blank = pa.scalar(_BLANK_DAY * 86_400_000_000, column.final)
        return pc.if_else(pc.equal(values, blank), None, values)
    if column.kind == "enum":
        return _enum_names(values)
    blank = pc.equal(values, "")
    if column.kind == "guid":
        blank = pc.or_(blank, pc.equal(values, _ZERO_GUID))
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)


def _enum_names(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decode each distinct name once."""
    chunks = []
    for chunk in values.chunks:
        encoded = chunk.dictionary_encode()
        names = pa.array([enum_text(name) for name in encoded.dictionary.to_pylist()], pa.string())
        chunks.append(names.take(encoded.indices))
    return pa.chunked_array(chunks, pa.string())


def enum_text(name: str) -> str | None:
    """An enum member's name as people read it: `In_x0020_Review` → `In Review`; a blank is None (BC-51, BC-52)."""
    return decode_name(name).strip(" ") or None
