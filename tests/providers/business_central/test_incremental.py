"""Watermarks: from the data only, with an overlap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.odata.literals import stamp_literal
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.providers.business_central.incremental import OVERLAP, instant_of, since, watermark

MARK = datetime(2026, 3, 1, 10, tzinfo=UTC)


@pytest.mark.conformance("BC-96", "BC-54")
def test_the_watermark_is_the_largest_instant_and_not_the_largest_text() -> None:
    stamps = ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00.5Z", "2026-03-01T10:00:00.45Z"]
    assert watermark(stamps) == datetime(2026, 3, 1, 10, 0, 0, 500_000, UTC)


@pytest.mark.conformance("BC-97")
def test_unstamped_rows_do_not_move_the_watermark() -> None:
    assert watermark(["0001-01-01T00:00:00Z", "", "soon"], MARK) == MARK
    assert watermark(["0001-01-01T00:00:00Z"]) is None
    assert instant_of("0001-01-01T00:00:00.00Z") is None


@pytest.mark.conformance("BC-97")
def test_while_nothing_was_seen_the_next_read_is_unfiltered() -> None:
    assert since(None) is None


@pytest.mark.conformance("BC-96")
def test_the_next_read_goes_back_by_the_overlap_for_late_commits() -> None:
    assert timedelta(minutes=12) == OVERLAP
    assert BUSINESS_CENTRAL.since(MARK) == datetime(2026, 3, 1, 9, 48, tzinfo=UTC)


@pytest.mark.conformance("BC-96")
def test_the_overlap_is_longer_than_anything_may_work_at_the_vendor() -> None:
    assert timedelta(seconds=BUSINESS_CENTRAL.declaration.limits.operation_s_max) < OVERLAP


def test_an_overlap_below_zero_never_skips_ahead() -> None:
    assert since(MARK, timedelta(minutes=-5)) == MARK


_SPELLINGS = st.sampled_from(
    ["Z", "z", ".5Z", ".25Z", ".1234567Z", "+00:00", "+02:00", "-11:30", ".75-05:00", "", ".Z", "Z?"]
)
_SECONDS = st.datetimes(datetime(2026, 3, 1), datetime(2026, 3, 1, 0, 3)).map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}")
_TEXTS = st.one_of(
    st.builds(lambda at, rest: at + rest, _SECONDS, _SPELLINGS),
    st.builds(lambda at, rest: at[:16] + rest, _SECONDS, st.sampled_from(["Z", "z", "+01:00"])),
    st.builds(lambda at: at.replace("T", "t") + "Z", _SECONDS),
    st.sampled_from(["", "soon", "zzzzZ", "9999-99-99T99:99:99Z", "0001-01-01T00:00:00Z", "٢٠٢٦-03-01T00:00:00Z"]),
)


@pytest.mark.conformance("BC-96", "BC-54")
@given(st.lists(_TEXTS, max_size=12))
def test_no_spelling_of_a_stamp_hides_a_newer_one(texts: list[str]) -> None:
    instants = [instant for instant in map(instant_of, texts) if instant is not None]
    assert watermark(texts) == max(instants, default=None)


@pytest.mark.conformance("BC-96")
@given(
    st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_no_order_of_rows_and_no_cut_into_pages_changes_the_watermark(stamps: list[datetime], random: object) -> None:
    texts = [stamp_literal(each) for each in stamps]
    whole = watermark(texts)
    paged: datetime | None = None
    for text in reversed(texts):
        paged = watermark([text], paged)
    assert whole == paged
    assert whole is not None
    assert all(instant_of(text) <= whole for text in texts)  # type: ignore[operator]  # every text is a stamp
    assert whole > (since(whole) or whole)
