"""If-Match: required on changes, opaque, unescaped, `*` for the last writer (BC-56, BC-59, BC-60, BC-61)."""

from __future__ import annotations

import re

from isthmus_sandbox.business_central.answers import Call
from isthmus_sandbox.business_central.switches import Switches
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import etag_text
from isthmus_sandbox.business_central.writing.refusals import bad_match_header, entity_changed, no_match_header

_ETAG = re.compile(r'^W/"[A-Za-z0-9+/=]+"$')


def require_match(call: Call) -> None:
    """Refuse a change that carries no If-Match at all."""
    if not call.headers.get("if-match", "").strip():
        raise no_match_header()


def check_match(call: Call, switches: Switches, row: Row) -> None:
    """Compare If-Match, when there is one, with the row. Raises `ODataError` 400, 409 or 412."""
    wanted = call.headers.get("if-match", "").strip()
    if wanted in ("", "*"):
        return
    if not _ETAG.match(wanted):
        raise bad_match_header()
    if wanted != etag_text(row.version):
        raise entity_changed(switches.stale_etag_status)
