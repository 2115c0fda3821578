"""`sync create --rename`: the host's names in changes and exports, the vendor's in the store."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest
from tests.hub_fixtures import US, House


def test_a_field_has_the_hosts_name_in_changes_and_a_wrong_one_is_told(house: House) -> None:
    assert house.type_connect().code == 0
    create = ("sync", "create", "currencies", "--company", US)
    wrong = house.type(*create, "--rename", "code", "--json")
    assert (wrong.code, wrong.error["remedy"]) == (2, "Write --rename displayName=name.")
    unknown = house.type(*create, "--rename", "codee=iso", "--json")
    assert (unknown.code, unknown.error["nearest"][0]) == (5, "code")
    made = house.type(*create, "--rename", "Code=iso", "--refresh", "every 7d", "--json").json
    assert (made["rename"], made["refresh_schedule"]) == ({"code": "iso"}, "every 7d")
    assert house.type("sync", "run").code == 0
    (first, *_) = house.type("changes", "--json").lines
    assert "iso" in first["record"]
    assert "code" not in first["record"]


@pytest.fixture
def renaming(house: House) -> House:
    """Currencies, whose code the host calls `iso`."""
    assert house.type_connect().code == 0
    create = ("sync", "create", "currencies", "--company", US, "--select", "code,displayName")
    assert house.type(*create, "--rename", "code=iso").code == 0
    return house


def exported(house: House, file: Path, *options: str) -> None:
    """The file, written."""
    done = house.type("export", "currencies", "--company", US, "--to", str(file), *options)
    assert done.code == 0, done.words


def test_an_export_has_the_hosts_names_in_every_format(renaming: House, tmp_path: Path) -> None:
    for suffix in ("parquet", "jsonl", "csv", "duckdb"):
        exported(renaming, tmp_path / f"currencies.{suffix}")
    lines = [msgspec.json.decode(line) for line in (tmp_path / "currencies.jsonl").read_bytes().splitlines()]
    with (tmp_path / "currencies.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    columns = pq.read_table(tmp_path / "currencies.parquet").to_pydict()
    with duckdb.connect(str(tmp_path / "currencies.duckdb"), read_only=True) as connection:
        stored = connection.execute("SELECT iso FROM currencies").fetchall()
    codes = [line["iso"] for line in lines]
    assert len(set(codes)) > 3
    assert [row["iso"] for row in cells] == columns["iso"] == [row[0] for row in stored] == codes
    for names in (lines[0].keys(), cells[0].keys(), columns.keys()):
        assert ("code" in names, "displayName" in names, "symbol" in names) == (False, True, True)


def test_the_vendors_names_can_be_kept_and_a_name_is_only_given_to_what_is_exported(
    renaming: House, tmp_path: Path
) -> None:
    exported(renaming, tmp_path / "as-they-are.parquet", "--vendor-names")
    assert {"code"} == {"code", "iso"} & set(pq.read_schema(tmp_path / "as-they-are.parquet").names)
    exported(renaming, tmp_path / "less.parquet", "--select", "displayName")
    assert not {"code", "iso"} & set(pq.read_schema(tmp_path / "less.parquet").names)


def test_an_export_whose_names_would_collide_or_contradict_each_other_is_refused(
    renaming: House, tmp_path: Path
) -> None:
    def refused(says: str) -> None:
        answer = renaming.type("export", "currencies", "--to", str(tmp_path / "a.csv"))
        assert (answer.code, says in answer.words, "vendor" in answer.words) == (2, True, True), answer.words
        assert not (tmp_path / "a.csv").exists()

    second = ("sync", "create", "currencies", "--company", US, "--select", "code", "--another", "--rename")
    made = renaming.type(*second, "code=symbol", "--json")
    refused("different names")
    (first,) = [each for each in renaming.type("sync", "list", "--json").json if each["id"] != made.json["id"]]
    assert renaming.type("sync", "delete", first["id"], "--yes").code == 0
    refused("Two columns would be called “symbol”")
