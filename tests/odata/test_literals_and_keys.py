"""Literals per type, percent-encoding, keys."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.odata.keys import key_text, split_composite, typed_key
from isthmus.odata.literals import literal, parse_stamp, percent_encode

GUID = UUID("55e5d8e1-0000-4000-8000-000000000001")


@pytest.mark.conformance("BC-37")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("O'Neil", "'O''Neil'"),
        ("", "''"),
        (GUID, "55e5d8e1-0000-4000-8000-000000000001"),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 8, 0, 0, 123999, tzinfo=UTC), "2026-01-31T08:00:00.123Z"),
        (datetime(2026, 1, 31, 1, tzinfo=timezone(timedelta(hours=2))), "2026-01-30T23:00:00.000Z"),
        (True, "true"),
        (None, "null"),
        (7, "7"),
        (Decimal("72893.840"), "72893.840"),
        (Decimal("1E+3"), "1000"),
        (0.1, "0.1"),
        (time(8, 30), "08:30:00"),
        (timedelta(days=1, seconds=2, microseconds=500_000), "duration'P1DT2.5S'"),
        (-timedelta(seconds=30), "duration'-P0DT30S'"),
    ],
)
def test_each_type_has_its_literal(value: object, text: str) -> None:
    assert literal(value) == text  # type: ignore[arg-type]  # the parameters are of many types


@pytest.mark.conformance("BC-53")
def test_a_decimal_keeps_eighteen_digits() -> None:
    assert literal(Decimal("123456789012345.678")) == "123456789012345.678"


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), datetime(2026, 1, 1)])
def test_what_has_no_literal_is_refused(value: Decimal | datetime) -> None:
    with pytest.raises(ValueError, match=r"number|time zone"):
        literal(value)


@pytest.mark.conformance("BC-37")
@pytest.mark.parametrize(
    ("character", "encoded"), [("+", "%2B"), ("&", "%26"), ("%", "%25"), ("#", "%23"), (" ", "%20"), ("é", "%C3%A9")]
)
def test_characters_with_a_meaning_are_encoded(character: str, encoded: str) -> None:
    assert percent_encode(character) == encoded


@given(st.text())
def test_an_encoded_value_decodes_to_itself_and_cannot_end_early(text: str) -> None:
    encoded = percent_encode(text)
    assert unquote(encoded) == text
    assert not set(encoded) & set('&#+ "<>\n')


@pytest.mark.conformance("BC-54")
@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-05-05T10:11:12Z", 0),
        ("2026-05-05T10:11:12.3Z", 300_000),
        ("2026-05-05T10:11:12.37Z", 370_000),
        ("2026-05-05T10:11:12.375Z", 375_000),
        ("2026-05-05T10:11:12.3754321Z", 375_432),
        ("2026-05-05T12:11:12.375+02:00", 375_000),
    ],
)
def test_time_stamps_with_any_number_of_digits_are_instants(text: str, micros: int) -> None:
    assert parse_stamp(text) == datetime(2026, 5, 5, 10, 11, 12, micros, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-05-05", "2026-13-05T00:00:00Z", "2026-05-05T10:11:12"])
def test_anything_else_is_no_time_stamp(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_stamp(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_stamp_literal_reads_back_to_the_millisecond(instant: datetime) -> None:
    assert parse_stamp(literal(instant)) == instant.replace(microsecond=instant.microsecond // 1000 * 1000)


@pytest.mark.conformance("BC-37")
def test_keys_are_bare_for_guids_and_quoted_for_text() -> None:
    assert key_text(GUID) == f"({GUID})"
    assert key_text("O'Neil & Co/1") == "('O''Neil%20%26%20Co%2F1')"
    assert key_text(17) == "(17)"
    assert key_text({"code": "A", "userId": GUID}) == f"(code='A',userId={GUID})"


def test_a_composite_key_needs_a_part() -> None:
    with pytest.raises(ValueError, match="at least one"):
        key_text({})


def test_a_key_given_as_text_takes_its_fields_type() -> None:
    assert typed_key(str(GUID), "Edm.Guid") == GUID
    assert typed_key("17", "Edm.Int32") == 17
    assert typed_key("17", "Edm.String") == "17"


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_composite_ids_split_into_what_was_joined(parts: list[str]) -> None:
    joined = ",".join(part.replace("%", "%25").replace(",", "%2C") for part in parts)
    assert split_composite(joined) == parts
