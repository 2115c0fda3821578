"""Discovery: environments, companies, objects."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from isthmus.kernel.failures import CorruptResponse, UnknownObject
from isthmus.kernel.messages import Response
from isthmus.providers.base import EnumMember, Navigation, ObjectInfo, ParentLink, Reading, Target
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.providers.business_central.discovery import METADATA_AGE_MAX_S


def answer(body: object, status: int = 200) -> Response:
    return Response(status=status, body=json.dumps(body).encode())


@pytest.mark.conformance("BC-15")
def test_environments_are_listed_with_type_and_country(target: Target) -> None:
    request = BUSINESS_CENTRAL.environments_request(target)
    assert request.url == "https://api.example.com/environments/v1.2"
    rows = [
        {"aadTenantId": "t", "applicationFamily": "BusinessCentral", "type": "Production", "name": "Production"},
        {"type": "Sandbox", "name": "Test", "countryCode": "NO", "webServiceUrl": "https://x", "ringName": "PROD"},
    ]
    found = BUSINESS_CENTRAL.environments(answer({"value": rows}))
    assert [(each.name, each.kind, each.country) for each in found] == [
        ("Production", "Production", ""),
        ("Test", "Sandbox", "NO"),
    ]


@pytest.mark.conformance("BC-03")
def test_companies_are_listed_with_id_and_names() -> None:
    rows = [
        {"id": "1", "name": "CRONUS", "displayName": "", "timestamp": 5},
        {"id": "2", "name": "B", "displayName": "Bee"},
    ]
    found = BUSINESS_CENTRAL.companies(answer({"value": rows}))
    assert [(each.id, each.name, each.display_name) for each in found] == [("1", "CRONUS", "CRONUS"), ("2", "B", "Bee")]


def test_a_list_that_cannot_be_read_is_a_corrupt_response() -> None:
    for read in (BUSINESS_CENTRAL.environments, BUSINESS_CENTRAL.companies):
        with pytest.raises(CorruptResponse):
            read(Response(status=200, body=b'{"value":[{"id"'))


@pytest.mark.conformance("BC-08")
def test_definitions_are_asked_for_without_any_filter(target: Target) -> None:
    assert all("?" not in request.url for request in BUSINESS_CENTRAL.object_requests(target, "v2.0"))


@pytest.mark.conformance("BC-09")
@pytest.mark.parametrize(
    ("name", "entity"),
    [
        ("unitsOfMeasure", "unitOfMeasure"),
        ("countriesRegions", "countryRegion"),
        ("salespeoplePurchasers", "salespersonPurchaser"),
        ("projects", "project"),
        ("pdfDocument", "pdfDocument"),
        ("disputeStatus", "disputeStatus"),
    ],
)
def test_set_and_entity_names_are_paired_as_metadata_says(name: str, entity: str, discovered: list[ObjectInfo]) -> None:
    assert BUSINESS_CENTRAL.find_object(discovered, name).entity == entity
    assert BUSINESS_CENTRAL.find_object(discovered, entity).name == name


@pytest.mark.conformance("BC-10")
def test_enum_types_among_the_definitions_are_no_objects(objects: dict[str, ObjectInfo]) -> None:
    assert "customerBlocked" not in objects
    assert "" not in objects


@pytest.mark.conformance("BC-10")
def test_captions_are_english_or_else_what_there_is(objects: dict[str, ObjectInfo]) -> None:
    labels = {field.name: field.label for field in objects["customers"].fields}
    assert objects["customers"].label == "Customers"
    assert (labels["displayName"], labels["number"], labels["balanceDue"]) == ("Display Name", "N°", "")


def test_objects_are_described_even_when_captions_are_refused(
    describe: Callable[..., dict[str, ObjectInfo]],
) -> None:
    assert describe("v2.0", customers="customer")["customers"].label == ""


def test_a_missing_metadata_document_is_a_failure() -> None:
    with pytest.raises(CorruptResponse):
        BUSINESS_CENTRAL.objects("v2.0", [Response(status=500)])


@pytest.mark.conformance("BC-11")
def test_a_field_that_only_this_tenant_has_is_described(objects: dict[str, ObjectInfo]) -> None:
    field = next(each for each in objects["customers"].fields if each.name == "contosoScore")
    assert field.type == "Edm.Int32"


def test_fields_tell_type_length_members_and_whether_they_can_be_written(objects: dict[str, ObjectInfo]) -> None:
    fields = {each.name: each for each in objects["customers"].fields}
    assert (fields["number"].max_length, fields["number"].read_only) == (20, False)
    assert (fields["id"].nullable, fields["id"].read_only) == (False, True)
    assert fields["blocked"].members[0] == EnumMember(name="_x0020_", label=" ")
    assert fields["blocked"].members[3] == EnumMember(name="All", label="All transactions")


@pytest.mark.conformance("BC-62")
def test_read_only_sets_are_known(objects: dict[str, ObjectInfo]) -> None:
    customers, sheets = objects["customers"], objects["balanceSheets"]
    assert (customers.insertable, customers.updatable, customers.deletable) == (True, True, True)
    assert (sheets.insertable, sheets.updatable, sheets.deletable) == (False, False, False)
    assert all(field.read_only for field in sheets.fields)


def test_what_nobody_tells_about_a_custom_object_stays_unknown(
    describe: Callable[..., dict[str, ObjectInfo]],
) -> None:
    obj = describe("contoso/fleet/v1.0", customers="customer")["customers"]
    assert (obj.insertable, obj.fields[1].read_only) == (None, None)


@pytest.mark.conformance("BC-50")
def test_navigation_names_the_target_set_and_its_multiplicity(objects: dict[str, ObjectInfo]) -> None:
    assert Navigation(name="picture", target="pictures", many=False) in objects["customers"].navigation
    assert (
        Navigation(name="defaultDimensions", target="defaultDimensions", many=True) in objects["customers"].navigation
    )


@pytest.mark.conformance("BC-73")
def test_bound_actions_belong_to_their_object(objects: dict[str, ObjectInfo]) -> None:
    assert objects["salesInvoices"].actions == ("post",)
    assert objects["customers"].actions == ()


@pytest.mark.conformance("BC-95")
@pytest.mark.parametrize(
    ("name", "stamp"),
    [
        ("customers", "lastModifiedDateTime"),
        ("approvalEntries", "lastDateTimeModified"),
        ("attachments", None),
        ("salesShipmentLines", None),
        ("balanceSheets", None),
        ("customerSales", None),
    ],
)
def test_the_stamp_is_what_metadata_says(name: str, stamp: str | None, objects: dict[str, ObjectInfo]) -> None:
    assert objects[name].stamp == stamp
    assert objects[name].incremental is (stamp is not None)


@pytest.mark.conformance("BC-40")
def test_lines_are_read_through_their_document_and_share_its_stamp(objects: dict[str, ObjectInfo]) -> None:
    lines = objects["salesInvoiceLines"]
    assert lines.reading is Reading.THROUGH_PARENT
    assert lines.parents == (
        ParentLink(object="salesInvoices", navigation="salesInvoiceLines", stamp="lastModifiedDateTime"),
    )
    assert (lines.stamp, lines.stamp_of_parent, lines.incremental) == ("lastModifiedDateTime", True, True)


@pytest.mark.conformance("BC-40")
def test_a_parent_only_set_with_several_parents_names_them_all(objects: dict[str, ObjectInfo]) -> None:
    assert [link.object for link in objects["defaultDimensions"].parents] == ["customers", "vendors"]
    assert [link.navigation for link in objects["pictures"].parents] == ["picture"]


@pytest.mark.conformance("BC-40", "BC-50")
def test_a_mere_look_up_is_no_way_in_where_a_list_leads_there(objects: dict[str, ObjectInfo]) -> None:
    assert "journalLine" in {each.name for each in objects["projects"].navigation}
    assert [link.object for link in objects["journalLines"].parents] == ["journals"]


@pytest.mark.conformance("BC-98")
def test_fields_that_change_without_a_stamp_are_named(objects: dict[str, ObjectInfo]) -> None:
    assert "balanceDue" in objects["customers"].calculated


@pytest.mark.conformance("BC-07")
def test_a_set_of_a_later_version_is_named_with_that_version(discovered: list[ObjectInfo]) -> None:
    with pytest.raises(UnknownObject, match="version 29"):
        BUSINESS_CENTRAL.find_object(discovered, "purchasequotes")


@pytest.mark.conformance("BC-07")
def test_only_what_the_tenant_serves_is_offered(discovered: list[ObjectInfo]) -> None:
    assert "purchaseQuotes" not in {each.name for each in discovered}


@pytest.mark.parametrize(("typed", "nearest"), [("custmers", "customers"), ("Costumers", "customers")])
def test_an_unknown_object_comes_with_the_nearest_names(typed: str, nearest: str, discovered: list[ObjectInfo]) -> None:
    with pytest.raises(UnknownObject) as caught:
        BUSINESS_CENTRAL.find_object(discovered, typed)
    assert caught.value.nearest[0] == nearest
    assert caught.value.subject == typed


def test_an_object_is_found_whatever_its_case(discovered: list[ObjectInfo]) -> None:
    assert BUSINESS_CENTRAL.find_object(discovered, " CUSTOMERS ").name == "customers"


@pytest.mark.conformance("BC-16")
def test_descriptions_belong_to_an_environment_and_expire_by_age(target: Target) -> None:
    assert "companies(" not in BUSINESS_CENTRAL.object_requests(target, "v2.0")[0].url
    assert 0 < METADATA_AGE_MAX_S <= 24 * 3600


@pytest.mark.conformance("BC-48", "BC-12")
def test_rows_of_a_ledger_query_are_told_apart_by_their_entry_number(
    describe: Callable[..., dict[str, ObjectInfo]],
) -> None:
    ledger = describe("microsoft/reportsFinance/beta", vendorLedgerEntries="customerSale")["vendorLedgerEntries"]
    assert (ledger.reading, ledger.key) == (Reading.QUERY, ("entryNumber",))
    assert not ledger.deletions
    body = b'{"value":[{"entryNumber":1,"open":true},{"entryNumber":2,"open":true}]}'
    assert BUSINESS_CENTRAL.page(ledger, Response(status=200, body=body)).ids == ["1", "2"]
