"""Templates to HTML. Every value is escaped by default; what is not text is made by our own macros."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Request, Response

from isthmus.console import charts, payloads, words
from isthmus.console.icons import icon, mark
from isthmus.console.remedies import remedy_here
from isthmus.console.rooms import ROOMS
from isthmus.console.sessions import THEME_COOKIE
from isthmus.kernel.failures import Failure
from isthmus.kernel.statuses import status_of

STATIC: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
}

SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
"""On every answer of the console. No inline script or style anywhere, so the policy needs no exception."""


class Theme:
    """Light, dark, or as the machine says."""

    CHOICES: Final = ("system", "light", "dark")

    @staticmethod
    def of(request: Request[Any, Any, Any]) -> str:
        """What this browser chose."""
        chosen = request.cookies.get(THEME_COOKIE, "system")
        return chosen if chosen in Theme.CHOICES else "system"


def static_bytes(name: str) -> bytes:
    """A file that belongs to the pages."""
    return resources.files("isthmus.console").joinpath("static", name).read_bytes()


def html(text: str, *, status: int = 200) -> Response[str]:
    """An answer that is a page."""
    return Response(content=text, media_type=MediaType.HTML, status_code=status)


def status_here(failure: Failure) -> int:
    """The status of a form that was refused: the API's for that failure. What this hub is not set up for is no fault of
    the page's, as a 500 would say.
    """
    status = status_of(failure)
    return 422 if status == 500 else status


def render(template: str, **values: Any) -> str:
    """A template with its values. `visit`, `csrf` and the like are given by `Visit.page`."""
    return _TEMPLATES.get_template(template).render(**values)


def pill(kind: str, state: str) -> str:
    """A state as it stands on pages, for live updates of it."""
    return str(_TEMPLATES.get_template("say.html").make_module().pill(kind, state))  # type: ignore[attr-defined]


def _static_url(name: str) -> str:
    return f"/console/static/{name}?v={_VERSIONS[name]}"


def _query(base: str, **parameters: Any) -> str:
    given = {name: str(value) for name, value in parameters.items() if value not in (None, "", False)}
    return f"{base}?{urlencode(given)}" if given else base


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("isthmus.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        ago=words.ago,
        lasted=words.lasted,
        exact=words.exact,
        duration=words.duration,
        number=words.number,
        size=words.size,
        plural=words.plural,
        short_id=words.short_id,
        turn=words.turn,
        remedy=remedy_here,
        kind=words.kind,
        who=words.who,
        is_id=words.is_id,
        plain=words.plain,
        request_line=words.request_line,
        vendor_said=words.vendor_said,
        pretty=payloads.pretty,
        segment=lambda text: quote(str(text), safe=""),
    )
    environment.globals.update(
        icon=icon,
        mark=mark,
        tone=words.tone,
        bars=charts.bars,
        sparkline=charts.sparkline,
        draw_meter=charts.meter,
        static=_static_url,
        query=_query,
        rooms=ROOMS,
        now=lambda: datetime.now(UTC),
    )
    return environment


_VERSIONS: Final = {name: hashlib.sha256(static_bytes(name)).hexdigest()[:12] for name in STATIC}
_TEMPLATES: Final = _templates()
