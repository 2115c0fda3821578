"""URLs of Business Central: environment, API route, company, object (behaviour.md 3; BC-01, BC-02, BC-12)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from uuid import UUID

from isthmus.kernel.failures import InvalidInput
from isthmus.odata.literals import encode_path
from isthmus.providers.base import Environment, ObjectInfo, Target
from isthmus.providers.business_central.published import ODATA_ROUTE, published_url

STANDARD_ROUTE: Final = "v2.0"
AUTOMATION_ROUTE: Final = "microsoft/automation/v2.0"
REPORTS_FINANCE_ROUTE: Final = "microsoft/reportsFinance/beta"
ROUTE_ALIASES: Final = {
    "": STANDARD_ROUTE,
    "standard": STANDARD_ROUTE,
    "automation": AUTOMATION_ROUTE,
    "reportsfinance": REPORTS_FINANCE_ROUTE,
    "odatav4": ODATA_ROUTE,
}
TENANT_LEVEL_SETS: Final = frozenset({"companies", "subscriptions", "entityDefinitions"})
"""They exist under every route and are never nested below a company (BC-02)."""

_VERSION: Final = re.compile(r"v[0-9]{1,3}\.[0-9]{1,3}|beta")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")


def parse_route(text: str) -> str:
    """What a person types for an API route → its canonical form below `/api/`.

    `v2.0`, `automation`, `contoso/sales/v1.0`, `/api/contoso/sales/beta`. Raises InvalidInput otherwise.
    """
    route = text.strip().strip("/").removeprefix("api/")
    if route.lower() in ROUTE_ALIASES:
        return ROUTE_ALIASES[route.lower()]
    parts = route.split("/")
    good = (
        len(parts) in (1, 3) and _VERSION.fullmatch(parts[-1]) and all(_SEGMENT.fullmatch(part) for part in parts[:-1])
    )
    if not good:
        raise InvalidInput(
            f"“{text}” is not an API route.",
            remedy="Use v2.0, automation, or PUBLISHER/GROUP/VERSION with a version such as v1.0 or beta.",
        )
    return route


def is_custom(route: str) -> bool:
    """Whether a route is a customer's or a partner's own: neither a version of the standard API nor Microsoft's."""
    return route.count("/") == 2 and not route.casefold().startswith("microsoft/")


@lru_cache(maxsize=1_000)
def environment_url(target: Target) -> str:
    """`{api}/v2.0/{tenant}/{environment}`; an empty tenant is left out, the token then names it (BC-01)."""
    tenant = f"/{encode_path(target.tenant)}" if target.tenant else ""
    return f"{target.api_url}/v2.0{tenant}/{encode_path(target.environment)}"


def route_url(target: Target, route: str) -> str:
    """The root of one API route, or of the published pages (BC-13)."""
    if route == ODATA_ROUTE:
        return f"{environment_url(target)}/{ODATA_ROUTE}"
    return f"{environment_url(target)}/api/{route}"


def object_url(target: Target, obj: ObjectInfo, company_id: str | None) -> str:
    """The address of an object: below its company, or at the route's root for tenant-level sets (BC-02)."""
    return set_url(target, obj.route, obj.name, company_id, tenant_level=obj.tenant_level)


def set_url(target: Target, route: str, name: str, company_id: str | None, *, tenant_level: bool = False) -> str:
    """The address of an entity set. Raises InvalidInput without a company where one is needed."""
    if route == ODATA_ROUTE:
        return published_url(environment_url(target), name, company_id)
    root = route_url(target, route)
    if tenant_level or name in TENANT_LEVEL_SETS:
        return f"{root}/{encode_path(name)}"
    return f"{root}/companies({company_key(company_id)})/{encode_path(name)}"


def company_key(company_id: str | None) -> str:
    """A company's GUID as a bare key; a name is no key here."""
    try:
        return str(UUID(company_id or ""))
    except ValueError as error:
        raise InvalidInput(
            f"“{company_id or ''}” is not a company id.",
            remedy="Give the id or the name of a company that the connection lists.",
        ) from error


def find_environment(environments: list[Environment], name: str) -> Environment | None:
    """The environment of that name; case does not matter (BC-01 [verify])."""
    return next((each for each in environments if each.name.casefold() == name.casefold()), None)


def record_identity(target: Target, company_id: str | None, remote_id: str) -> tuple[str, str, str, str]:
    """What makes a record one of its kind: copies of companies and environments keep the GUIDs (BC-04)."""
    return target.tenant.casefold(), target.environment.casefold(), company_id or "", remote_id


def below(base: str, tail: str) -> str:
    """`tail` (a key, `/$count`) after the path of an address that may already carry a query."""
    path, mark, query = base.partition("?")
    return f"{path}{tail}{mark}{query}"
