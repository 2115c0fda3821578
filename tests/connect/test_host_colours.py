"""Whatever colour a host gives, text in it and on it can be read, in light and in dark (WCAG 2.2 AA)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.console.connect.look import RATIO_MIN, accent_style, contrast, is_colour

GROUNDS = (("#f6f8f7", "#ffffff"), ("#0f1412", "#171d1a", "#1f2723"))
"""The console's grounds and surfaces, light and dark (console.css)."""


def pair(style: str, name: str) -> tuple[str, str]:
    """The light and the dark value of a custom property."""
    found = re.search(rf"{name}: light-dark\((#[0-9a-f]{{6}}), (#[0-9a-f]{{6}})\);", style)
    assert found is not None, style
    return found[1], found[2]


@given(st.integers(0, 0xFFFFFF))
def test_the_accent_can_be_read_on_every_ground_and_words_on_it_too(number: int) -> None:
    style = accent_style(f"#{number:06x}")
    for side, grounds in enumerate(GROUNDS):
        accent = pair(style, "--accent")[side]
        assert min(contrast(accent, ground) for ground in grounds) >= RATIO_MIN
        assert contrast(accent, pair(style, "--on-accent")[side]) >= RATIO_MIN
        assert contrast(pair(style, "--accent-strong")[side], pair(style, "--on-accent")[side]) >= RATIO_MIN


@pytest.mark.parametrize("text", ["", "red", "#7a3cc0", "7a3cc", "7a3cc0;}", "7A3CC0", "7a3cc0\n"])
def test_only_six_digits_are_a_colour(text: str) -> None:
    assert not is_colour(text)
