"""Routes that will go: told in the description, in every answer, in the log and in the measurements.

A route is declared with `**deprecated(Deprecation(…))` among its arguments. The promise is in
docs/explanation/api-versioning.md: at least NOTICE_DAYS_MIN days between telling and going.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from typing import Any, Final

import msgspec

NOTICE_DAYS_MIN: Final = 180
"""Half a year: hosts release a few times a year."""

_OPT: Final = "deprecation"


class Deprecation(msgspec.Struct, frozen=True, kw_only=True):
    """A route that will go: since when that is known, when it may go, and what to use instead (a path of the API)."""

    since: date
    sunset: date
    instead: str

    def __post_init__(self) -> None:
        if self.sunset - self.since < timedelta(days=NOTICE_DAYS_MIN):
            raise ValueError(f"a route goes {NOTICE_DAYS_MIN} days after this was told, not earlier")

    @property
    def headers(self) -> dict[str, str]:
        """`Deprecation` (RFC 9745), `Sunset` (RFC 8594), and links to what comes instead."""
        return {
            "deprecation": f"@{int(_midnight(self.since).timestamp())}",
            "sunset": format_datetime(_midnight(self.sunset), usegmt=True),
            "link": f'<{self.instead}>; rel="successor-version"',
        }


def deprecated(told: Deprecation) -> dict[str, Any]:
    """Arguments for a route's declaration."""
    return {"deprecated": True, "opt": {_OPT: told}}


def deprecation_of(scope: MutableMapping[str, Any]) -> Deprecation | None:
    """What was declared of the route that answers."""
    handler = scope.get("route_handler")
    return None if handler is None else deprecation_in(getattr(handler, "opt", None))


def deprecation_in(opt: Mapping[str, Any] | None) -> Deprecation | None:
    """What was declared among a route's options."""
    found = (opt or {}).get(_OPT)
    return found if isinstance(found, Deprecation) else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
