"""URLs: environment, route, company, object."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from isthmus.kernel.failures import InvalidInput
from isthmus.providers.base import Environment, ObjectInfo, ReadSpec, Slice, Target
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.providers.business_central.addressing import (
    environment_url,
    find_environment,
    parse_route,
    record_identity,
    set_url,
)


@pytest.mark.conformance("BC-01")
def test_the_environment_is_addressed_with_its_tenant(target: Target) -> None:
    assert environment_url(target) == "https://api.example.com/v2.0/7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2a10/Production"


@pytest.mark.conformance("BC-01")
def test_the_tenant_may_be_left_to_the_token(target: Target) -> None:
    assert environment_url(msgspec.structs.replace(target, tenant="")) == "https://api.example.com/v2.0/Production"


@pytest.mark.conformance("BC-01")
def test_an_environment_is_found_whatever_its_case() -> None:
    available = [Environment(name="Production", kind="Production", country="US")]
    assert find_environment(available, "pRODUCTION") is available[0]
    assert find_environment(available, "Sandbox") is None


def test_a_name_cannot_leave_its_segment(target: Target) -> None:
    odd = msgspec.structs.replace(target, environment="a/b?c#d e")
    assert environment_url(odd).endswith("/a%2Fb%3Fc%23d%20e")


@pytest.mark.conformance("BC-02")
def test_objects_are_addressed_below_their_company(
    target: Target, objects: dict[str, ObjectInfo], part: Slice, company_id: str
) -> None:
    url = BUSINESS_CENTRAL.first_page(target, objects["customers"], ReadSpec(), part, 100).url
    assert url == f"{environment_url(target)}/api/v2.0/companies({company_id})/customers"


@pytest.mark.conformance("BC-02")
@pytest.mark.parametrize("name", ["companies", "subscriptions", "entityDefinitions"])
def test_tenant_level_sets_are_never_nested(
    name: str, target: Target, objects: dict[str, ObjectInfo], part: Slice
) -> None:
    assert objects[name].tenant_level
    url = BUSINESS_CENTRAL.first_page(target, objects[name], ReadSpec(), part, 100).url
    assert url == f"{environment_url(target)}/api/v2.0/{name}"
    assert BUSINESS_CENTRAL.parts(objects[name], [part.company_id or ""]) == [Slice(company_id=None)]


@pytest.mark.conformance("BC-02")
@pytest.mark.parametrize("company", [None, "", "CRONUS USA, Inc.", "1) or (1"])
def test_a_company_is_addressed_by_its_id_only(company: str | None, target: Target) -> None:
    with pytest.raises(InvalidInput):
        set_url(target, "v2.0", "customers", company)


@pytest.mark.conformance("BC-03")
def test_each_company_of_a_connection_is_a_part_of_its_own(objects: dict[str, ObjectInfo]) -> None:
    ids = ["be3a6b9c-f6f9-ef11-9344-6045bdc8c234", "c0b7a1d4-f6f9-ef11-9344-6045bdc8c234"]
    assert [each.company_id for each in BUSINESS_CENTRAL.parts(objects["customers"], ids)] == ids


@pytest.mark.conformance("BC-04")
def test_the_same_guid_in_two_companies_or_environments_is_two_records(target: Target) -> None:
    other = msgspec.structs.replace(target, environment="Sandbox")
    identities = {
        record_identity(target, "a", "1"),
        record_identity(target, "b", "1"),
        record_identity(other, "a", "1"),
    }
    assert len(identities) == 3
    assert record_identity(msgspec.structs.replace(target, environment="PRODUCTION"), "a", "1") in identities


@pytest.mark.conformance("BC-12")
@pytest.mark.parametrize(
    ("typed", "route"),
    [
        ("", "v2.0"),
        ("v2.0", "v2.0"),
        ("/api/v2.0/", "v2.0"),
        ("automation", "microsoft/automation/v2.0"),
        ("reportsFinance", "microsoft/reportsFinance/beta"),
        ("/api/contoso/fleet/v1.5", "contoso/fleet/v1.5"),
        ("contoso/fleet/beta", "contoso/fleet/beta"),
    ],
)
def test_routes_are_understood_as_people_write_them(typed: str, route: str) -> None:
    assert parse_route(typed) == route


@pytest.mark.conformance("BC-12")
@pytest.mark.parametrize(
    "typed", ["v2", "contoso/v1.0", "contoso/fleet/latest", "a/../v1.0", "a b/c/v1.0", "a/b/c/v1.0"]
)
def test_what_is_no_route_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput):
        parse_route(typed)


@pytest.mark.conformance("BC-12")
@pytest.mark.parametrize("route", ["contoso/fleet/v1.0", "contoso/fleet/beta", "microsoft/reportsFinance/beta"])
def test_a_custom_route_is_discovered_and_read_like_the_standard_one(
    route: str, target: Target, part: Slice, describe: Callable[..., dict[str, ObjectInfo]]
) -> None:
    obj = describe(route, vendors="vendor")["vendors"]
    requests = BUSINESS_CENTRAL.object_requests(target, route)
    assert [each.url for each in requests] == [
        f"{environment_url(target)}/api/{route}/$metadata",
        f"{environment_url(target)}/api/{route}/entityDefinitions",
    ]
    url = BUSINESS_CENTRAL.first_page(target, obj, ReadSpec(), part, 10).url
    assert url.startswith(f"{environment_url(target)}/api/{route}/companies(")
