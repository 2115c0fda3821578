"""Cutting changes into batches."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from isthmus.delivery.batches import ENVELOPE_BYTES, cut
from isthmus.delivery.contract import Encoded

sizes = st.lists(st.integers(min_value=1, max_value=400), max_size=60)


def changes_of(lengths: list[int]) -> list[Encoded]:
    return [Encoded(number, b"x" * length) for number, length in enumerate(lengths, start=1)]


@given(lengths=sizes, records_max=st.integers(1, 10), room=st.integers(1, 900))
def test_batches_hold_every_change_once_and_in_order(lengths: list[int], records_max: int, room: int) -> None:
    changes = changes_of(lengths)
    batches = list(cut(changes, records_max=records_max, bytes_max=ENVELOPE_BYTES + room))
    assert [change for batch in batches for change in batch] == changes


@given(lengths=sizes, records_max=st.integers(1, 10), room=st.integers(1, 900))
def test_a_batch_stays_inside_both_limits_unless_it_is_one_oversized_record(
    lengths: list[int], records_max: int, room: int
) -> None:
    for batch in cut(changes_of(lengths), records_max=records_max, bytes_max=ENVELOPE_BYTES + room):
        assert 1 <= len(batch) <= records_max
        assert len(batch) == 1 or sum(len(change.json) + 1 for change in batch) <= room


@given(lengths=sizes, records_max=st.integers(1, 10), room=st.integers(1, 900))
def test_no_two_neighbouring_batches_would_fit_into_one_place(lengths: list[int], records_max: int, room: int) -> None:
    batches = list(cut(changes_of(lengths), records_max=records_max, bytes_max=ENVELOPE_BYTES + room))
    for batch, following in pairwise(batches):
        size = sum(len(change.json) + 1 for change in batch)
        assert len(batch) == records_max or size + len(following[0].json) + 1 > room


def test_an_oversized_record_travels_alone_between_its_neighbours() -> None:
    batches = list(cut(changes_of([10, 5_000, 10]), records_max=100, bytes_max=ENVELOPE_BYTES + 100))
    assert [[change.number for change in batch] for batch in batches] == [[1], [2], [3]]
