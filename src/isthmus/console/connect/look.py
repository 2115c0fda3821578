"""The host's colour made readable: darkened or lightened until text in it stands out (WCAG 2.2 AA), in both schemes."""

from __future__ import annotations

import re
from typing import Final

ACCENT_USUAL: Final = "#0a6552"
RATIO_MIN: Final = 4.5
"""WCAG 2.2 AA for text."""

_LIGHT_GROUND: Final = "#f6f8f7"
_DARK_GROUND: Final = "#1f2723"
_INK_ON_LIGHT: Final = "#ffffff"
_INK_ON_DARK: Final = "#0b0f0d"
_STEPS_MAX: Final = 60
_HEX: Final = re.compile(r"[0-9a-f]{6}")


def is_colour(text: str) -> bool:
    """True for six hexadecimal digits."""
    return _HEX.fullmatch(text) is not None


def accent_style(colour: str) -> str:
    """A style sheet that puts the accent into the console's custom properties. `colour` is `#rrggbb`."""
    light = readable(colour, _LIGHT_GROUND, "#000000")
    dark = readable(colour, _DARK_GROUND, "#ffffff")
    pairs = {
        "--accent": (light, dark),
        "--accent-strong": (mixed(light, "#000000", 0.25), mixed(dark, "#ffffff", 0.25)),
        "--on-accent": (_INK_ON_LIGHT, _INK_ON_DARK),
        "--accent-soft": (mixed(light, "#ffffff", 0.88), mixed(dark, _DARK_GROUND, 0.8)),
    }
    lines = [f"{name}: light-dark({pair[0]}, {pair[1]});" for name, pair in pairs.items()]
    return ":root { " + " ".join(lines) + " }\n"


def readable(colour: str, ground: str, towards: str) -> str:
    """The colour, moved towards black or white until it stands out from the ground, and ink on it from itself."""
    ink = _INK_ON_LIGHT if towards == "#000000" else _INK_ON_DARK
    for step in range(_STEPS_MAX + 1):
        tried = mixed(colour, towards, step / _STEPS_MAX)
        if contrast(tried, ground) >= RATIO_MIN and contrast(tried, ink) >= RATIO_MIN:
            return tried
    return towards


def mixed(colour: str, other: str, share: float) -> str:
    """`share` of the other colour in this one."""
    parts = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(mine + (theirs - mine) * share):02x}" for mine, theirs in parts)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    linear = [_linear(channel / 255) for channel in _channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)
