"""Every component once, with example values: `/console/_components`, in development only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from isthmus.console import payloads
from isthmus.console.visit import Visit, Visiting
from isthmus.console.words import TONES
from isthmus.kernel.failures import SecretExpired, VendorFault

_BEFORE: Final = b'{"number":"10000","displayName":"Adatum Corporation","balanceDue":1499.90,"blocked":" "}'
_AFTER: Final = (
    b'{"number":"10000","displayName":"Adatum Corporation","balanceDue":1650.00,"blocked":"All",'
    b'"apiToken":"only an example","address":{"city":"Atlanta","lines":["192 Market Square",null]}}'
)


@get("/_components")
async def components_page(visit: Visiting) -> Response[str]:
    """The example page."""
    return await visit.page("components.html", **_examples(visit))


def _examples(visit: Visit) -> dict[str, Any]:
    now = visit.services.clock.now()
    failure = SecretExpired(
        vendor=VendorFault(status=401, code="AADSTS7000222", message="The provided client secret keys are expired.")
    ).to_dict()
    values = [3, 8, 5, 9, 14, 22, 30, 41, 33, 28, 12, 6]
    return {
        "tones": TONES,
        "failure": failure,
        "since": now - timedelta(hours=5),
        "before": _BEFORE,
        "after": _AFTER,
        "differences": payloads.difference(_BEFORE, _AFTER),
        "curl": payloads.as_curl("GET", "https://erp.example/api/v2.0/companies?$top=1&sig=hidden"),
        "values": values,
        "hours": [(f"{hour:02}:00", value) for hour, value in enumerate(values, start=6)],
        "moments": [now - timedelta(minutes=minutes) for minutes in (9, 8, 6, 1)],
    }


HANDLERS: Final[list[ControllerRouterHandler]] = [components_page]
