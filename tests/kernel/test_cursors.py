"""What a caller keeps between two reads of the change feed."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel.cursors import decode_cursor, encode_cursor
from isthmus.kernel.failures import InvalidInput

_POSITIONS = st.integers(min_value=0, max_value=2**63 - 1)


@given(_POSITIONS)
def test_every_position_comes_back_from_its_cursor(number: int) -> None:
    assert decode_cursor(encode_cursor(number)) == number


@given(_POSITIONS)
def test_a_cursor_needs_no_quoting_in_urls_or_shells(number: int) -> None:
    text = encode_cursor(number)
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


@given(_POSITIONS, _POSITIONS)
def test_different_positions_have_different_cursors(one: int, other: int) -> None:
    assert (encode_cursor(one) == encode_cursor(other)) == (one == other)


@pytest.mark.parametrize("text", ["", "0"])
def test_the_beginning_can_be_written_by_hand(text: str) -> None:
    assert decode_cursor(text) == 0


@given(st.text(min_size=1, max_size=80))
def test_any_other_text_is_a_position_or_invalid_input(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert decode_cursor(text) >= 0


@pytest.mark.parametrize(
    "text",
    ["42", "next", "c1:42", "ä", "A", "=", "YzI6NDI"],
    ids=["bare number", "word", "not encoded", "not ascii", "one character", "padding only", "another version"],
)
def test_what_this_hub_did_not_hand_out_is_invalid_input(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a cursor of this hub"):
        decode_cursor(text)


def test_a_negative_position_is_invalid_input() -> None:
    forged = base64.urlsafe_b64encode(b"c1:-1").decode().rstrip("=")
    with pytest.raises(InvalidInput):
        decode_cursor(forged)


def test_a_long_wrong_text_is_quoted_only_in_part() -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_cursor("x" * 10_000)
    assert len(caught.value.message) < 120
