"""ODataV4 published pages and queries: a secondary path for what no API page offers (BC-13).

From version 30 on Microsoft's own pages can no longer be published, so the failure for a missing one says so. Published
pages can deliver rows in which every value is empty: they are no records and are dropped.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import InvalidInput
from isthmus.odata.keys import key_text
from isthmus.odata.literals import encode_path
from isthmus.odata.pages import SlicedPage, corrupt

ODATA_ROUTE: Final = "ODataV4"
GONE_REMEDY: Final = (
    "Check the service name on “Web Services”. From version 30 on Microsoft's own pages cannot be published any more: "
    "use an API page or a custom API."
)

_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BLANKS: Final = (None, "", " ", "0001-01-01", "0001-01-01T00:00:00Z", "_x0020_", False, 0)
_BLANK_GUID: Final = "00000000-0000-0000-0000-000000000000"
_ROW: Final = msgspec.json.Decoder(dict[str, Any])


def published_url(environment_url: str, service: str, company: str | None) -> str:
    """The address of a published service in one company.

    A name becomes the documented key, quotes doubled and encoded (`Company('CRONUS%20USA%2C%20Inc.')`); an id is given
    as `?company=` [verify].
    """
    if not company:
        raise InvalidInput("A published page is read in one company: give its name or id.")
    root = f"{environment_url}/{ODATA_ROUTE}"
    if _GUID.fullmatch(company):
        return f"{root}/{encode_path(service)}?company={company.lower()}"
    return f"{root}/Company{key_text(company).replace(',', '%2C')}/{encode_path(service)}"


def without_empty_rows(page: SlicedPage) -> SlicedPage:
    """The page without rows in which every business value is blank."""
    kept = [place for place, raw in enumerate(page.raws) if not _is_empty(raw)]
    if len(kept) == len(page):
        return page
    return SlicedPage(
        ids=[page.ids[place] for place in kept],
        stamps=[page.stamps[place] for place in kept],
        hashes=[page.hashes[place] for place in kept] if page.hashes else [],
        raws=[page.raws[place] for place in kept],
        next_link=page.next_link,
        count=page.count,
    )


def _is_empty(raw: bytes) -> bool:
    try:
        row = _ROW.decode(raw)
    except msgspec.DecodeError as error:
        raise corrupt(raw, error) from error
    return all(value in _BLANKS or value == _BLANK_GUID for name, value in row.items() if "@odata." not in name)
