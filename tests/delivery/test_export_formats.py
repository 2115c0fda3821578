"""One object into one file: Parquet, JSONL, CSV, DuckDB."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.delivery.export import CompanyPage, ExportOptions, ExportReport, export_pages
from isthmus.delivery.export.columns import Columns
from isthmus.kernel.failures import CorruptResponse, InvalidInput
from isthmus.providers.base import Field

FIELDS = [
    Field(name=name, type=edm)
    for name, edm in {
        "id": "Edm.Guid", "name": "Edm.String", "amount": "Edm.Decimal", "count": "Edm.Int32", "rate": "Edm.Double",
        "open": "Edm.Boolean", "due": "Edm.Date", "changed": "Edm.DateTimeOffset", "status": "Microsoft.NAV.status",
        "picture": "Edm.Stream",
    }.items()
]  # fmt: skip
FULL = (
    b'{"@odata.etag":"W/\\"x\\"","id":"5d115c9c-44e3-ea11-bb43-000d3a2feca1","name":"M\xc3\xb8ller, \\"S\xc3\xb8n\\"",'
    b'"amount":123456789012345678.10,"count":7,"rate":0.5,"open":true,"due":"2026-02-28",'
    b'"changed":"2026-01-02T03:04:05.37Z","status":"In_x0020_Review","picture@odata.mediaReadLink":"https://x/y"}'
)
BLANK = (
    b'{"id":"00000000-0000-0000-0000-000000000000","name":"","amount":0,"count":0,"rate":0,"open":false,'
    b'"due":"0001-01-01","changed":"0001-01-01T00:00:00Z","status":"_x0020_"}'
)
MISSING = b'{"id":null,"amount":6.00006}'


async def pages_of(*pages: Sequence[bytes], company: str | None = None) -> AsyncIterator[CompanyPage]:
    for raws in pages:
        yield CompanyPage(raws, company)


async def export(path: Path, *pages: Sequence[bytes], **options: Any) -> ExportReport:
    company = options.get("company_name")
    chosen = {name: value for name, value in options.items() if name != "company_name"}
    return await export_pages(pages_of(*pages, company=company), FIELDS, path, ExportOptions(**chosen))


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def cells_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(statement).fetchall()


async def test_parquet_columns_are_typed(tmp_path: Path) -> None:
    report = await export(tmp_path / "a.parquet", [FULL])
    assert rows_of(report.path) == [
        {
            "id": "5d115c9c-44e3-ea11-bb43-000d3a2feca1",
            "name": 'Møller, "Søn"',
            "amount": Decimal("123456789012345678.10"),
            "count": 7,
            "rate": 0.5,
            "open": True,
            "due": dt.date(2026, 2, 28),
            "changed": dt.datetime(2026, 1, 2, 3, 4, 5, 370_000, tzinfo=dt.UTC),
            "status": "In Review",
            "_unknown": None,
        }
    ]


@pytest.mark.conformance("BC-51", "BC-52")
async def test_blanks_are_null_but_zero_and_false_are_values(tmp_path: Path) -> None:
    report = await export(tmp_path / "a.parquet", [BLANK])
    (row,) = rows_of(report.path)
    assert {name for name, value in row.items() if value is None} == {
        "id", "name", "due", "changed", "status", "_unknown",
    }  # fmt: skip
    assert (row["amount"], row["count"], row["open"]) == (Decimal(0), 0, False)


async def test_missing_members_and_nulls_are_null(tmp_path: Path) -> None:
    report = await export(tmp_path / "a.parquet", [MISSING])
    (row,) = rows_of(report.path)
    assert {name for name, value in row.items() if value is not None} == {"amount"}


@pytest.mark.conformance("BC-53")
@pytest.mark.parametrize(
    "literal",
    ["123456789012345678.10", "999999999999999999", "0.000000000000000001", "-99999999999999999.9", "6.00006", "1E+2"],
)
async def test_decimals_are_exact_in_every_format(literal: str, tmp_path: Path) -> None:
    raw = b'{"amount":%b}' % literal.encode()
    for suffix in ("parquet", "jsonl", "csv", "duckdb"):
        await export(tmp_path / f"t.{suffix}", [raw])
    exact = Decimal(literal)
    assert rows_of(tmp_path / "t.parquet")[0]["amount"] == exact
    assert query(tmp_path / "t.duckdb", "SELECT amount FROM t") == [(exact,)]
    assert cells_of(tmp_path / "t.csv")[0]["amount"] == literal
    assert (tmp_path / "t.jsonl").read_bytes() == raw + b"\n"


@pytest.mark.conformance("BC-53")
@given(unscaled=st.integers(-(10**18) + 1, 10**18 - 1), scale=st.integers(0, 18))
def test_any_decimal_of_18_digits_survives(unscaled: int, scale: int) -> None:
    value = Decimal(unscaled).scaleb(-scale)
    table = Columns([Field(name="amount", type="Edm.Decimal")]).table([b'{"amount":%b}' % f"{value:f}".encode()])
    assert table.column("amount").to_pylist() == [value]


@pytest.mark.conformance("BC-54")
@pytest.mark.parametrize(
    ("text", "microsecond"),
    [("05Z", 0), ("05.3Z", 300_000), ("05.37Z", 370_000), ("05.123Z", 123_000), ("05.1234567Z", 123_456)],
)
def test_fractions_of_seconds_of_any_length_are_read(text: str, microsecond: int) -> None:
    columns = Columns([Field(name="changed", type="Edm.DateTimeOffset")])
    table = columns.table([b'{"changed":"2026-01-02T03:04:%b"}' % text.encode()])
    assert table.column("changed").to_pylist()[0].microsecond == microsecond


def test_a_number_that_no_column_can_hold_is_refused_instead_of_rounded() -> None:
    columns = Columns([Field(name="amount", type="Edm.Decimal")])
    with pytest.raises(InvalidInput, match="does not fit") as refusal:
        columns.table([b'{"amount":1.0000000000000000001}'])
    assert "jsonl" in refusal.value.remedy


def test_a_record_that_is_no_object_is_corrupt() -> None:
    with pytest.raises(CorruptResponse):
        Columns(FIELDS).table([b'{"id":"a"'])


@pytest.mark.parametrize(
    "raw",
    [
        b'{"name":"x","lines":[{"lines":[1.10]},{"name":"\\"lines\\":[1]"}],"currency":{"code":"USD"}}',
        b'{"currency" : {"code":"USD"} , "lines" : [{"lines":[1.10]},{"name":"\\"lines\\":[1]"}], "name":"x"}',
        b'{\n  "name": "x",\n  "lines": [{"lines":[1.10]},{"name":"\\"lines\\":[1]"}],\n "currency": {"code":"USD"}\n}',
    ],
)
def test_expanded_children_become_json_text_as_the_vendor_wrote_it(raw: bytes) -> None:
    columns = Columns([Field(name="name", type="Edm.String")], expanded=("lines", "currency"))
    (row,) = columns.table([raw]).to_pylist()
    assert row == {
        "name": "x",
        "lines": '[{"lines":[1.10]},{"name":"\\"lines\\":[1]"}]',
        "currency": '{"code":"USD"}',
        "_unknown": None,
    }


def test_children_of_the_same_name_inside_other_children_are_left_where_they_are() -> None:
    columns = Columns([], expanded=("dimensions", "lines"))
    (row,) = columns.table([b'{"lines":[{"dimensions":[]}],"dimensions":[]}']).to_pylist()
    assert (row["lines"], row["dimensions"]) == ('[{"dimensions":[]}]', "[]")


def test_fields_that_nobody_announced_are_kept_as_json_text() -> None:
    columns = Columns([Field(name="name", type="Edm.String")])
    table = columns.table([b'{"name":"a","new":1.50,"more":{"x":[1]}}', b'{"name":"b"}'])
    assert table.column("_unknown").to_pylist() == ['{"new":1.50,"more":{"x":[1]}}', None]


def test_a_field_that_changes_its_shape_is_still_text() -> None:
    columns = Columns([Field(name="name", type="Edm.String")])
    rows = columns.table([b'{"name":5.10}', b'{"name":{"a":1}}', b'{"name":"b"}']).to_pylist()
    assert [row["name"] for row in rows] == ["5.10", '{"a":1}', "b"]


plain = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.text(max_size=8))
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
)


@given(
    rows=st.lists(
        st.fixed_dictionaries({}, optional={"name": st.text(max_size=9), "a": values, "b": values}), max_size=5
    )
)
def test_whatever_is_expanded_comes_back_as_it_was(rows: list[dict[str, Any]]) -> None:
    columns = Columns([Field(name="name", type="Edm.String")], expanded=("a", "b"))
    table = columns.table([msgspec.json.encode(row) for row in rows])
    for row, read in zip(rows, table.to_pylist(), strict=True):
        assert read["name"] == (row.get("name") or None)
        for name in ("a", "b"):
            assert (None if read[name] is None else msgspec.json.decode(read[name])) == row.get(name)


async def test_records_of_several_companies_are_told_apart(tmp_path: Path) -> None:
    for suffix in ("parquet", "csv", "duckdb", "jsonl"):
        await export(tmp_path / f"t.{suffix}", [FULL, BLANK], company=True, company_name="CRONUS")
    assert [row["_company"] for row in rows_of(tmp_path / "t.parquet")] == ["CRONUS", "CRONUS"]
    assert [row["_company"] for row in cells_of(tmp_path / "t.csv")] == ["CRONUS", "CRONUS"]
    assert query(tmp_path / "t.duckdb", "SELECT DISTINCT _company FROM t") == [("CRONUS",)]
    lines = (tmp_path / "t.jsonl").read_bytes().splitlines()
    assert lines[0] == b'{"_company":"CRONUS",' + FULL[1:]


async def test_jsonl_is_the_vendors_bytes_one_record_a_line(tmp_path: Path) -> None:
    report = await export(tmp_path / "a.jsonl", [FULL, BLANK], [], [MISSING])
    assert report.path.read_bytes() == FULL + b"\n" + BLANK + b"\n" + MISSING + b"\n"
    assert (report.records, report.bytes) == (3, len(FULL + BLANK + MISSING) + 3)


async def test_a_record_printed_over_several_lines_stays_one_line(tmp_path: Path) -> None:
    report = await export(tmp_path / "a.jsonl", [b'{\r\n "a": "x\\ny"\n}', b'{"a":1}'])
    lines = report.path.read_bytes().splitlines()
    assert [msgspec.json.decode(line) for line in lines] == [{"a": "x\ny"}, {"a": 1}]


async def test_csv_has_a_header_and_empty_cells_for_blanks(tmp_path: Path) -> None:
    report = await export(tmp_path / "a.csv", [FULL, BLANK, MISSING])
    full, blank, missing = cells_of(report.path)
    assert list(full) == [field.name for field in FIELDS if field.name != "picture"] + ["_unknown"]
    assert (full["name"], full["amount"], full["status"]) == ('Møller, "Søn"', "123456789012345678.10", "In Review")
    assert {value for name, value in blank.items() if name in ("id", "name", "due", "changed", "status")} == {""}
    assert missing == dict.fromkeys(full, "") | {"amount": "6.00006"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\\t=1", "\\r=1"])
async def test_csv_can_be_made_safe_for_spreadsheets(text: str, tmp_path: Path) -> None:
    raw = b'{"name":"%b","amount":-5}' % text.encode()
    safe = cells_of((await export(tmp_path / "a.csv", [raw], spreadsheet_safe=True)).path)[0]
    assert safe["name"].startswith("'")
    assert safe["amount"] == "-5"
    plain_cells = cells_of((await export(tmp_path / "b.csv", [raw])).path)[0]
    assert not plain_cells["name"].startswith("'")


async def test_duckdb_keeps_the_other_tables_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "erp.duckdb"
    await export(path, [FULL], table="customers")
    await export(path, [BLANK, FULL], table="vendors")
    await export(path, [MISSING, MISSING, MISSING], table="customers")
    assert query(path, "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM vendors)") == [(3, 2)]
    assert [entry.name for entry in sorted(path.parent.iterdir())] == ["erp.duckdb"]


async def test_a_table_may_have_any_name_and_the_folder_too(tmp_path: Path) -> None:
    folder = tmp_path / "Bob's % * [files]"
    folder.mkdir()
    await export(folder / "x.duckdb", [FULL], table='sales "2026"; --')
    assert query(folder / "x.duckdb", 'SELECT count(*) FROM "sales ""2026""; --"') == [(1,)]


async def test_a_path_that_duckdb_cannot_open_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="question mark"):
        await export(tmp_path / "why?.duckdb", [FULL])


async def test_a_file_that_is_no_duckdb_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.duckdb"
    path.write_text("dear diary " * 1_000)
    with pytest.raises(InvalidInput, match="no DuckDB database"):
        await export(path, [FULL])
    assert path.read_text().startswith("dear diary")


async def test_an_object_without_records_makes_a_file_with_its_columns(tmp_path: Path) -> None:
    for suffix in ("parquet", "csv", "duckdb", "jsonl"):
        assert (await export(tmp_path / f"t.{suffix}")).records == 0
    assert pq.read_schema(tmp_path / "t.parquet").field("amount").type == pa.decimal128(38, 18)
    assert query(tmp_path / "t.duckdb", "SELECT count(*) FROM t") == [(0,)]
    assert (tmp_path / "t.csv").read_text().startswith("id,name,")


async def test_parquet_comes_in_row_groups(tmp_path: Path) -> None:
    pages = [[BLANK] * 5_000] * 25
    report = await export(tmp_path / "a.parquet", *pages)
    groups = pq.ParquetFile(report.path).metadata
    assert (groups.num_rows, groups.num_row_groups) == (125_000, 3)
