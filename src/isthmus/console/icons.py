"""Icons: sixteen-pixel strokes drawn here, always beside a word and hidden from screen readers."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

_STROKES: Final = {
    "check": "M3.5 8.5l3 3 6-7",
    "cross": "M4 4l8 8M12 4l-8 8",
    "alert": "M8 2.5l6 11H2zM8 6.5v3.2M8 11.6v.2",
    "info": "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM8 7.2v3.6M8 5v.2",
    "clock": "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM8 4.8V8l2.2 1.6",
    "pause": "M5.5 3.5v9M10.5 3.5v9",
    "minus": "M3.5 8h9",
    "plus": "M8 3.5v9M3.5 8h9",
    "edit": "M10.5 3l2.5 2.5L6 12.5l-3 .5.5-3z",
    "turn": "M13.5 8a5.5 5.5 0 1 1-1.8-4.1M13.5 2.5v2.6h-2.6",
    "play": "M5 3.5l7.5 4.5L5 12.5z",
    "search": "M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.5 10.5l3 3",
    "copy": "M5.5 5.5h7v8h-7zM3.5 10.5v-8h7",
    "arrow": "M3 8h10M9 4l4 4-4 4",
    "back": "M13 8H3M7 4L3 8l4 4",
    "home": "M2.5 7.5L8 3l5.5 4.5M4 6.5v6.5h8V6.5",
    "apps": "M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3zM9 9h4v4H9z",
    "connections": "M5 2.5v3M9 2.5v3M3.5 5.5h7v2a3.5 3.5 0 0 1-7 0zM7 11v1.5a1.5 1.5 0 0 0 1.5 1.5H13",
    "data": "M3 4.5c0-2.7 10-2.7 10 0s-10 2.7-10 0zM3 4.5v7c0 2.7 10 2.7 10 0v-7M3 8c0 2.7 10 2.7 10 0",
    "activity": "M1.5 8.5h3l2-5 3 9 2-4h3",
    "deliveries": "M2 8l12-5.5-4 11-2.5-4.5zM7.5 9L14 2.5",
    "settings": "M2.5 4.5h6M11.5 4.5h2M10 3v3M2.5 11.5h2M7.5 11.5h6M6 10v3",
    "key": "M5 6.5a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM7.2 7.4L13 2.5M10.5 4.7l2 2",
    "person": "M8 2.5a2.7 2.7 0 1 1 0 5.4 2.7 2.7 0 0 1 0-5.4zM2.8 13.5c.6-2.6 2.6-4 5.2-4s4.6 1.4 5.2 4",
    "book": "M3 3h4.200c.5 0 .8.4.8.900v9.100c0-.6-.5-1-1-1H3zM13 3H8.800c-.5 0-.8.4-.8.900v9.100c0-.6.5-1 1-1h4z",
    "link": "M6.5 9.500l3-3M7 4.500l1.5-1.500a3 3 0 0 1 4.5 4.500L11.5 9M9 11.500L7.5 13A3 3 0 0 1 3 8.500L4.5 7",
    "menu": "M2.5 4h11M2.5 8h11M2.5 12h11",
}  # fmt: skip


def icon(name: str, px: int = 16) -> Markup:
    """An icon as inline SVG, in the colour of the text around it. An unknown name is a mistake, so it raises."""
    spin = ' class="spin"' if name == "turn" else ""
    return Markup(  # noqa: S704 - both parts are ours: a stroke from the table above and a number
        f'<svg{spin} width="{int(px)}" height="{int(px)}" viewBox="0 0 16 16" fill="none" stroke="currentColor" '
        f'stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">'
        f'<path d="{_STROKES[name]}"/></svg>'
    )


def mark(px: int = 24) -> Markup:
    """The sign of the house: two shores and the strip of land between them."""
    return Markup(  # noqa: S704 - a constant and a number
        f'<svg width="{int(px)}" height="{int(px)}" viewBox="0 0 24 24" fill="none" stroke="currentColor" '
        'stroke-width="2.4" stroke-linecap="round" aria-hidden="true" focusable="false">'
        '<path d="M3 4c4.5 0 5.5 4 5.5 8S7.5 20 3 20M21 4c-4.5 0-5.5 4-5.5 8s1 8 5.5 8M8.5 12h7"/></svg>'
    )
