"""Notices as a mail: one subject, a plain text and a simple HTML page out of everything that waits of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import msgspec

from isthmus.store.notices import Notice

LINES_MAX: Final = 50
"""Of one mail; the console has the rest."""

TURNS: Final = {
    "you": "Your turn",
    "your customer's administrator": "Your customer's administrator's turn",
    "the vendor": "The vendor's turn",
    "isthmus": "Isthmus's turn",
}
_ONE: Final = {
    "connection_trouble": "{name} needs somebody: {title}",
    "connection_recovered": "{name} works again",
    "secret_expiring": "{name}: {title}",
    "connection_disconnected": "{name} was disconnected",
    "destination_paused": "{name} is paused",
    "writes_waiting": "{title}",
    "sync_held": "{name} is held: suspiciously many deletions",
}
_MANY: Final = {
    "connection_trouble": "{count} connections need somebody",
    "connection_recovered": "{count} connections work again",
    "secret_expiring": "{count} secrets end soon",
    "connection_disconnected": "{count} connections were disconnected",
    "destination_paused": "{count} destinations are paused",
    "writes_waiting": "{count} writes wait for a person",
    "sync_held": "{count} syncs are held",
}
_PLACES: Final = {
    "destination_paused": "/console/deliveries",
    "writes_waiting": "/console/writes",
    "sync_held": "/console/activity?state=held",
}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One notice in a mail."""

    name: str
    title: str
    turn: str
    remedy: str
    link: str


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A mail's content."""

    subject: str
    plain: str
    html: str


def worded(kind: str, notices: Sequence[Notice], project: str, public_url: str | None) -> Text:
    """The mail about notices of one kind. Links lead to the console when its address is known (`public_url`)."""
    lines = [_line(notice, public_url) for notice in notices]
    shown, more = lines[:LINES_MAX], len(lines) - LINES_MAX
    template = _ONE[kind] if len(lines) == 1 else _MANY[kind]
    headline = template.format(
        count=len(lines), name=lines[0].name or "Something", title=lines[0].title or "it needs you"
    )
    rest = f"and {more} more: see the console." if more > 0 else ""
    where = f"You get this because your address is set for the project {project} (console: Settings, Notices)."
    return Text(
        subject=f"[{project}] {headline}",
        plain=_plain(headline, shown, rest, where),
        html=_html(headline, shown, rest, where),
    )


def trial(project: str) -> Text:
    """A test mail."""
    words = "This is a test. Notices of this project will look like it and come from the same address."
    where = f"Somebody asked for it in the project {project}."
    return Text(
        subject=f"[{project}] Test of the notices",
        plain=f"{words}\n\n{where}\n",
        html=_page("Test of the notices", f"<p>{escape(words)}</p>", where),
    )


def _line(notice: Notice, public_url: str | None) -> Line:
    detail = notice.detail
    place = _PLACES.get(notice.kind) or str(
        detail.get("place")
        or (f"/console/connections/{notice.connection_id}" if notice.connection_id else "/console/connections")
    )
    return Line(
        name=str(detail.get("connection") or detail.get("what") or ""),
        title=str(detail.get("title") or ""),
        turn=TURNS.get(str(detail.get("turn") or ""), ""),
        remedy=str(detail.get("remedy") or "").replace("enter it here", "enter it in the console"),
        link=f"{public_url}{place}" if public_url else "",
    )


def _plain(headline: str, lines: Sequence[Line], rest: str, where: str) -> str:
    parts = [headline, ""]
    for line in lines:
        parts.append(f"* {line.name}: {line.title}" if line.name else f"* {line.title}")
        parts += [f"  {words}" for words in (f"{line.turn}." if line.turn else "", line.remedy, line.link) if words]
        parts.append("")
    return "\n".join([*parts, *([rest, ""] if rest else []), "-- ", where, ""])


def _html(headline: str, lines: Sequence[Line], rest: str, where: str) -> str:
    items = "".join(
        "<li style='margin:0 0 1em'><strong>"
        + (f"{escape(line.name)}</strong>: {escape(line.title)}" if line.name else f"{escape(line.title)}</strong>")
        + (f"<br>{escape(line.turn)}." if line.turn else "")
        + (f"<br>{escape(line.remedy)}" if line.remedy else "")
        + (f"<br><a href='{escape(line.link, quote=True)}'>Open in the console</a>" if line.link else "")
        + "</li>"
        for line in lines
    )
    return _page(
        headline, f"<ul style='padding-left:1.2em'>{items}</ul>{f'<p>{escape(rest)}</p>' if rest else ''}", where
    )


def _page(headline: str, body: str, where: str) -> str:
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<body style='font:16px/1.5 system-ui,sans-serif;max-width:40em'>"
        f"<h1 style='font-size:1.2em'>{escape(headline)}</h1>{body}"
        f"<p style='color:#595959;font-size:.85em'>{escape(where)}</p></body></html>"
    )
