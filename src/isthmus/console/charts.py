"""Small charts, drawn on the server as SVG: each has a text alternative, and pages put the numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup, escape

POINTS_MAX: Final = 200
"""More would be narrower than a pixel; what is older is left out."""

_WIDTH: Final = 480
_HEIGHT: Final = 96
_GAP: Final = 2.0
_LABEL_HEIGHT: Final = 16


def bars(values: Sequence[tuple[str, float]], *, title: str) -> Markup:
    """A bar per (label, value); the first and last labels stand below. `title` is the text alternative."""
    shown = list(values)[-POINTS_MAX:]
    if not shown:
        return _svg(_WIDTH, _HEIGHT, title, Markup(""), "chart")
    top = max(value for _, value in shown) or 1.0
    step = _WIDTH / len(shown)
    room = _HEIGHT - _LABEL_HEIGHT - 2
    drawn = []
    for place, (label, value) in enumerate(shown):
        height = max(room * value / top, 2.0 if value else 0.0)
        here = "bar now" if place == len(shown) - 1 else "bar"
        drawn.append(
            Markup(
                '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5">'
                "<title>{}</title></rect>"
            ).format(here, place * step, room - height, max(step - _GAP, 1.0), height, f"{label}: {value:,.0f}")
        )
    ends = Markup(
        '<line class="axis" x1="0" x2="{w}" y1="{y}" y2="{y}"/>'
        '<text x="0" y="{t}">{first}</text><text x="{w}" y="{t}" text-anchor="end">{last}</text>'
    ).format(w=_WIDTH, y=room + 0.5, t=_HEIGHT - 2, first=shown[0][0], last=shown[-1][0])
    return _svg(_WIDTH, _HEIGHT, title, Markup("").join(drawn) + ends, "chart")


def sparkline(values: Sequence[float], *, title: str) -> Markup:
    """A line without axes, for the cell of a table."""
    shown = list(values)[-POINTS_MAX:]
    if len(shown) < 2:
        shown = [0.0, *shown] if shown else [0.0, 0.0]
    top = max(shown) or 1.0
    points = [(120 * place / (len(shown) - 1), 22 - 20 * value / top) for place, value in enumerate(shown)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    drawn = Markup('<polygon class="area" points="0,24 {0} 120,24"/><polyline class="line" points="{0}"/>').format(line)
    return _svg(120, 24, title, drawn, "chart spark")


def meter(value: float, most: float, *, title: str, tone: str = "good") -> Markup:
    """How much of something is used: a filled track; the words beside it carry the number."""
    share = 0.0 if most <= 0 else min(max(value / most, 0.0), 1.0)
    drawn = Markup('<rect class="track" width="100" height="8"/><rect class="fill" width="{:.1f}" height="8"/>').format(
        100 * share
    )
    return _svg(100, 8, title, drawn, f"chart meter tone-{tone}", stretch=True)


def _svg(width: int, height: int, title: str, drawn: Markup, kind: str, *, stretch: bool = False) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}"{}>{}</svg>').format(
        kind, width, height, escape(title), Markup(' preserveAspectRatio="none"') if stretch else Markup(""), drawn
    )
