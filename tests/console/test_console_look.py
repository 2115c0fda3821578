"""The tokens: every pair of ink and ground has WCAG AA contrast, in light and in dark; sizes lie on the grid."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from isthmus.console.pages import STATIC, static_bytes
from isthmus.console.words import TONES

CSS = static_bytes("console.css").decode()
TOKENS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", CSS)
}
INKS = ("ink", "ink-soft", "accent", "accent-strong")
GROUNDS = ("ground", "surface", "sunken")
TEXT_MIN, SHAPE_MIN = 4.5, 3.0
PAIRS = [
    *((ink, ground, TEXT_MIN) for ink in INKS for ground in GROUNDS),
    *((tone, f"{tone}-soft", TEXT_MIN) for tone in ("neutral", "good", "working", "attention", "bad")),
    *((tone, "surface", TEXT_MIN) for tone in ("good", "working", "attention", "bad")),
    *((ink, f"{tone}-soft", TEXT_MIN) for ink in ("ink",) for tone in ("good", "working", "attention", "bad")),
    ("on-accent", "accent", TEXT_MIN),
    ("on-accent", "accent-strong", TEXT_MIN),
    ("accent-strong", "accent-soft", TEXT_MIN),
    ("line-strong", "surface", SHAPE_MIN),
    ("focus", "ground", SHAPE_MIN),
    ("focus", "surface", SHAPE_MIN),
]


def _light(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """WCAG's contrast ratio of two colours."""
    one, two = sorted((_light(first), _light(second)), reverse=True)
    return (one + 0.05) / (two + 0.05)


@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_ink_and_ground_are_far_enough_apart(ink: str, ground: str, least: float, scheme: int) -> None:
    assert contrast(TOKENS[ink][scheme], TOKENS[ground][scheme]) >= least


def test_colours_are_named_once_and_used_by_name() -> None:
    rules = CSS.partition("/* Ground")[2]
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", rules) == []


def test_spaces_lie_on_the_grid_of_four_pixels() -> None:
    steps = [Decimal(size) * 16 for size in re.findall(r"--s\d+: ([\d.]+)rem", CSS)]
    assert steps
    assert [step for step in steps if step % 4] == []


def test_there_are_five_tones_and_every_state_has_one_with_a_word_and_an_icon() -> None:
    looks = [look for states in TONES.values() for look in states.values()]
    assert {look.tone for look in looks} <= {"neutral", "good", "working", "attention", "bad"}
    assert all(look.word and look.icon for look in looks)


def test_motion_is_only_for_those_who_want_it() -> None:
    before, _, after = CSS.partition("@media (prefers-reduced-motion: no-preference)")
    assert "animation:" not in before
    assert "animation:" in after


def test_the_files_need_nothing_from_elsewhere() -> None:
    for name in STATIC:
        text = static_bytes(name).decode().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, name
        assert "@import" not in text, name
