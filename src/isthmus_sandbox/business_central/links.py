"""nextLinks: how they are written, and how strictly they must come back.

The recorded form is the asked URL plus `aid=FIN&$skiptoken=<id of the last row>`; other recordings also carry
`tenant=…`. A link that lost a part or was decoded and encoded again is refused (BC-28).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from isthmus_sandbox.business_central.addressing import QueryOptions
from isthmus_sandbox.business_central.errors import ODataError

_OWN = ("aid", "$skiptoken", "tenant")


@dataclass(frozen=True, slots=True)
class Continuation:
    """A checked skip token, or none on a first page."""

    token: str | None


def check_continuation(query: QueryOptions, tenant_mark: str) -> Continuation:
    """The skip token of a request. Raises `ODataError` 400 when the link it came from was altered."""
    token, aid = query.get("$skiptoken"), query.get("aid")
    if token is None and aid is None:
        return Continuation(None)
    written = "&".join(_pair(name, value) for name, value in query.pairs)
    intact = token is not None and aid == "FIN" and written == query.raw
    if not intact or (tenant_mark and query.get("tenant") != tenant_mark):
        raise ODataError(400, "BadRequest", "next_link_broken")
    return Continuation(token)


def next_link(url: str, query: QueryOptions, token: str, tenant_mark: str, top: int | None) -> str:
    """The link behind a page; `$skip` is used up and `$top` is what remains of it (BC-27)."""
    kept = [(name, value) for name, value in query.pairs if name not in _OWN and name not in ("$skip", "$top")]
    if top is not None:
        kept.append(("$top", str(top)))
    if tenant_mark:
        kept.append(("tenant", tenant_mark))
    kept.extend((("aid", "FIN"), ("$skiptoken", token)))
    return url + "?" + "&".join(_pair(name, value) for name, value in kept)


def _pair(name: str, value: str) -> str:
    return f"{quote(name, safe='$')}={quote(value, safe='')}"
