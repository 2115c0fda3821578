"""Escaped member names, etags, typed values."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel.failures import CorruptResponse
from isthmus.odata.etags import etag_of, if_match
from isthmus.odata.names import decode_name, encode_name
from isthmus.odata.values import decode_record, decode_value, formatted_amount, same_code

ENUMS = Path(__file__).parents[2] / "src/isthmus_sandbox/data/enums.json"


@pytest.mark.conformance("BC-52")
@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("In Review", "In_x0020_Review"),
        (" ", "_x0020_"),
        ("Non-Inventory", "Non_x002D_Inventory"),
        ("G/L Account", "G_x002F_L_x0020_Account"),
        ("Charge (Item)", "Charge_x0020__x0028_Item_x0029_"),
        ("Positive Adjmt.", "Positive_x0020_Adjmt_x002E_"),
        ("Open", "Open"),
    ],
)
def test_member_names_are_escaped_and_unescaped(label: str, name: str) -> None:
    assert encode_name(label) == name
    assert decode_name(name) == label


@pytest.mark.conformance("BC-52")
def test_every_recorded_member_round_trips() -> None:
    names: list[str] = []

    def collect(value: object) -> None:
        if isinstance(value, dict):
            names.extend(str(text) for key, text in value.items() if key in ("jsonName", "json", "name_json"))
            for each in value.values():
                collect(each)
        elif isinstance(value, list):
            for each in value:
                collect(each)

    collect(json.loads(ENUMS.read_text("utf-8")))
    assert len(names) > 300
    assert [encode_name(decode_name(name)) for name in names] == names


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00")))
def test_any_label_round_trips(label: str) -> None:
    assert decode_name(encode_name(label)) == label


@pytest.mark.conformance("BC-56")
def test_an_etag_is_taken_out_of_json_unescaped() -> None:
    raw = b'{"@odata.etag":"W/\\"JzE5OzgzMTM5MjY4MTQ1NzY2MDMzNDIxOzAwOyc=\\"","id":"1"}'
    etag = etag_of(raw)
    assert etag == 'W/"JzE5OzgzMTM5MjY4MTQ1NzY2MDMzNDIxOzAwOyc="'
    assert if_match(etag) == {"If-Match": etag}


def test_a_record_without_an_etag_has_none_and_a_broken_one_fails() -> None:
    assert etag_of(b'{"id":"1"}') is None
    with pytest.raises(CorruptResponse):
        etag_of(b'{"id":')


@pytest.mark.conformance("BC-51")
@pytest.mark.parametrize(
    ("raw", "edm_type"),
    [
        ("", "Edm.String"),
        ("0001-01-01", "Edm.Date"),
        ("0001-01-01T00:00:00Z", "Edm.DateTimeOffset"),
        ("00000000-0000-0000-0000-000000000000", "Edm.Guid"),
        ("_x0020_", "Microsoft.NAV.invoiceStatus"),
    ],
)
def test_blanks_become_null_and_keep_what_was_sent(raw: str, edm_type: str) -> None:
    value = decode_record(json.dumps({"field": raw}).encode(), {"field": edm_type})["field"]
    assert (value.value, value.raw) == (None, raw)


def test_values_take_the_type_of_their_field() -> None:
    assert decode_value("2026-01-31", "Edm.Date") == date(2026, 1, 31)
    assert decode_value("2026-01-31T08:00:00.5Z", "Edm.DateTimeOffset") == datetime(2026, 1, 31, 8, 0, 0, 500_000, UTC)
    assert decode_value("In_x0020_Review", "Microsoft.NAV.invoiceStatus") == "In Review"
    assert decode_value("55e5d8e1-0000-4000-8000-000000000001", "Edm.Guid") == UUID(
        "55e5d8e1-0000-4000-8000-000000000001"
    )
    assert decode_value(False, "Edm.Boolean") is False
    assert decode_value(0, "Edm.Int32") == 0


@pytest.mark.conformance("BC-53")
@pytest.mark.parametrize("digits", ["123456789012345.678", "6.00006", "0.1", "-0.00000000000000001", "1e2"])
def test_money_never_passes_through_a_float(digits: str) -> None:
    value = decode_record(b'{"amount":' + digits.encode() + b"}", {"amount": "Edm.Decimal"})["amount"]
    assert isinstance(value.value, Decimal)
    assert value.value == Decimal(digits)


@pytest.mark.conformance("BC-11")
def test_a_field_nobody_knows_is_handed_on_as_it_came() -> None:
    assert decode_record(b'{"contosoScore":{"a":[1]}}', {})["contosoScore"].value == {"a": [1]}


@pytest.mark.parametrize(("value", "edm_type"), [("soon", "Edm.Date"), ("x", "Edm.Guid"), ("many", "Edm.Decimal")])
def test_a_value_that_does_not_fit_its_type_is_not_lost(value: str, edm_type: str) -> None:
    assert decode_value(value, edm_type) == value


def test_annotations_are_no_members() -> None:
    assert set(decode_record(b'{"@odata.etag":"e","p@odata.mediaReadLink":"l","id":"1"}', {})) == {"id"}


@pytest.mark.conformance("BC-44")
@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("72,893.84", "72893.84"),
        ("-1,234,567.8", "-1234567.8"),
        ("(12.50)", "-12.50"),
        ("0", "0"),
        ("1234.5", "1234.5"),
    ],
)
def test_formatted_report_amounts_become_decimals(text: str, amount: str) -> None:
    assert formatted_amount(text) == Decimal(amount)
    assert decode_value(text, "Edm.Decimal") == Decimal(amount)


@pytest.mark.conformance("BC-44")
@pytest.mark.parametrize("text", ["72.893,84", "7,28,93.84", "12 345", "1,23"])
def test_amounts_of_another_language_are_refused_rather_than_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="pinned"):
        formatted_amount(text)


def test_a_blank_amount_is_null() -> None:
    assert formatted_amount("") is None


@pytest.mark.conformance("BC-57")
def test_codes_compare_without_case() -> None:
    assert same_code("main", "MAIN")
    assert not same_code("main", "EAST")
