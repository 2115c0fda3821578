"""How things are addressed: tenants, environments, companies, routes, published pages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from isthmus_sandbox.worlds import identities

if TYPE_CHECKING:
    from .conftest import Bench


@pytest.mark.conformance("BC-01")
async def test_an_environment_answers_with_and_without_the_tenant_and_in_any_case(bench: Bench) -> None:
    for path in (
        f"{identities.TENANT_ID}/Production",
        f"{identities.TENANT_DOMAIN}/production",
        "PRODUCTION",
        "Production",
    ):
        reply = await bench.get(f"{bench.origin}/v2.0/{path}/api/v2.0/companies({bench.us.id})/customers")
        assert reply.status == 200
        assert [customer["number"] for customer in reply.value][:2] == ["10000", "20000"]


@pytest.mark.conformance("BC-02")
async def test_a_company_is_addressed_as_a_segment_or_as_an_option(bench: Bench) -> None:
    nested = await bench.get("/customers")
    by_option = await bench.get(f"{bench.root()}/customers?company={bench.us.id}")
    by_name = await bench.get(f"{bench.root()}/customers?company={quote(bench.us.name)}")
    assert nested.value == by_option.value == by_name.value != []


@pytest.mark.conformance("BC-02")
@pytest.mark.parametrize("name", ["companies", "subscriptions", "entityDefinitions"])
async def test_tenant_level_sets_exist_at_the_root_of_every_route_and_never_below_a_company(
    bench: Bench, name: str
) -> None:
    for route in ("v2.0", "microsoft/automation/v2.0", "contoso/app1/v1.0", "microsoft/reportsFinance/beta"):
        assert (await bench.get(f"{bench.root(route=route)}/{name}")).status == 200
        assert (await bench.get(f"{bench.company_url(route=route)}/{name}")).status == 404


@pytest.mark.conformance("BC-03")
async def test_an_environment_holds_two_cronus_companies_and_an_empty_one(bench: Bench) -> None:
    companies = (await bench.get(f"{bench.root()}/companies")).value
    names = [company["name"] for company in companies]
    assert names[:3] == [identities.US_COMPANY, identities.W1_COMPANY, identities.EMPTY_COMPANY]
    assert set(companies[0]) >= {"id", "systemVersion", "timestamp", "displayName", "businessProfileId"}
    empty = await bench.get(f"{bench.root()}/companies({companies[2]['id']})/customers")
    assert empty.value == []
    assert empty.next_link is None


@pytest.mark.conformance("BC-04")
async def test_the_same_record_id_lives_in_two_companies_and_in_two_environments(bench: Bench) -> None:
    us = (await bench.get("/customers?$filter=number%20eq%20'10000'")).value[0]
    w1 = (await bench.get(f"{bench.company_url(bench.w1)}/customers({us['id']})")).json
    copy = (await bench.get(f"{bench.root('Sandbox')}/companies({bench.us.id})/customers({us['id']})")).json
    assert us["id"] == w1["id"] == copy["id"]
    assert us["country"] != w1["country"]


@pytest.mark.conformance("BC-05")
async def test_a_wrong_environment_is_answered_in_xml_even_to_a_json_client(bench: Bench) -> None:
    reply = await bench.get(f"{bench.root('Nowhere')}/companies", Accept="application/json")
    assert reply.status == 404
    assert "xml" in reply.headers["Content-Type"]
    assert b"<code>NoEnvironment</code>" in reply.body
    assert b"Nowhere" in reply.body


@pytest.mark.conformance("BC-06")
@pytest.mark.parametrize("path", ["Company('{0}')/$metadata", "Company('{0}')/No_Such_Page", "No_Such_Page"])
async def test_an_unknown_published_service_is_a_404_without_a_body(bench: Bench, path: str) -> None:
    service = f"{bench.origin}/v2.0/{identities.TENANT_ID}/Production/ODataV4"
    reply = await bench.get(f"{service}/{path.format(quote(bench.us.name))}")
    assert (reply.status, reply.body) == (404, b"")


@pytest.mark.conformance("BC-12")
async def test_a_custom_api_and_the_ledger_entry_api_answer_on_their_own_routes(bench: Bench) -> None:
    contracts = (await bench.get(f"{bench.company_url(route='contoso/app1/v1.0')}/rentalContracts")).value
    assert contracts[2]["status"] == "Active_x0020__x0028_Auto_x002D_Renew_x0029_"
    assert contracts[0]["contosoRegion"] == "NORTH"
    entries = (await bench.get(f"{bench.company_url(route='microsoft/reportsFinance/beta')}/vendorLedgerEntries")).value
    assert {entry["open"] for entry in entries} == {True, False}
    assert (await bench.get(f"{bench.company_url(route='nobody/app/v1.0')}/things")).status == 404


@pytest.mark.conformance("BC-13")
async def test_a_published_page_has_a_row_in_which_every_value_is_empty(bench: Bench) -> None:
    page = (
        f"{bench.origin}/v2.0/{identities.TENANT_ID}/Production/ODataV4/Company('{quote(bench.us.name)}')/Customer_Card"
    )
    rows = (await bench.get(page)).value
    empty = [row for row in rows if not any(value for name, value in row.items() if name != "@odata.etag")]
    assert len(empty) == 1
    assert len(rows) == 6
    await bench.control("switches", version="30.0")
    assert (await bench.get(page)).status == 404


@pytest.mark.conformance("BC-14")
async def test_a_long_url_is_refused_with_400_and_a_longer_one_with_500(bench: Bench) -> None:
    base = f"{bench.company_url()}/customers?$select="
    names = ",".join(["displayName"] * 2000)
    statuses = []
    for length in (15_000, 16_500, 18_500):
        statuses.append((await bench.get(base + names[: (length - len(base)) // 12 * 12 - 1])).status)
    assert statuses == [200, 400, 500]


@pytest.mark.conformance("BC-15")
async def test_the_environments_of_a_tenant_are_listed_with_type_and_country(bench: Bench) -> None:
    listed = (await bench.get(f"{bench.origin}/environments/v1.2")).value
    assert [(e["name"], e["type"], e["countryCode"]) for e in listed] == [
        ("Production", "Production", "US"),
        ("Sandbox", "Sandbox", "US"),
    ]
    assert {"aadTenantId", "applicationFamily", "webServiceUrl", "webClientLoginUrl", "ringName"} <= listed[0].keys()
    assert (await bench.get(f"{bench.origin}/environments/v1.2", token=None)).status == 401


@pytest.mark.conformance("BC-16")
async def test_metadata_carries_no_etag_and_is_the_same_in_every_environment_copy(bench: Bench) -> None:
    first = await bench.get(f"{bench.root()}/$metadata")
    second = await bench.get(f"{bench.root('Sandbox')}/$metadata")
    assert first.status == 200
    assert "ETag" not in first.headers
    assert first.body == second.body


async def test_an_unknown_company_is_named_as_such(bench: Bench) -> None:
    reply = await bench.get(f"{bench.root()}/companies(00000000-0000-0000-0000-000000000001)/customers")
    assert (reply.status, reply.error["code"]) == (404, "Internal_CompanyNotFound")


async def test_the_service_document_names_every_set(bench: Bench) -> None:
    names = {entry["name"] for entry in (await bench.get(bench.root())).value}
    assert {"customers", "companies", "entityDefinitions", "unitsOfMeasure", "disputeStatus"} <= names
    assert len(names) == 144 + 3
