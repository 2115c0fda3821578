"""What a tenant says about itself: `$metadata`, `entityDefinitions`, versions, extensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from defusedxml import ElementTree

if TYPE_CHECKING:
    from .conftest import Bench

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"


async def entity_types(bench: Bench, route: str = "v2.0") -> dict[str, dict[str, str]]:
    """Property types by entity type, from `$metadata`."""
    document = ElementTree.fromstring((await bench.get(f"{bench.root(route=route)}/$metadata")).body)
    return {
        kind.attrib["Name"]: {p.attrib["Name"]: p.attrib["Type"] for p in kind.iter(f"{EDM}Property")}
        for kind in document.iter(f"{EDM}EntityType")
    }


@pytest.mark.conformance("BC-07")
async def test_a_tenant_on_28_hides_the_56_sets_of_version_29(bench: Bench) -> None:
    async def names() -> set[str]:
        return {entry["name"] for entry in (await bench.get(bench.root())).value}

    before = await names()
    await bench.control("switches", version="28.3")
    hidden = before - await names()
    assert len(hidden) == 56
    assert "purchaseQuotes" in hidden
    refused = await bench.get("/purchaseQuotes")
    assert (refused.status, refused.error["code"]) == (404, "BadRequest_ResourceNotFound")
    assert "purchaseQuote" not in await entity_types(bench)
    defined = {entry["entitySetName"] for entry in (await bench.get(f"{bench.root()}/entityDefinitions")).value}
    assert not defined & hidden


@pytest.mark.conformance("BC-08")
async def test_definitions_are_filtered_by_entity_name_and_never_by_set_name(bench: Bench) -> None:
    base = f"{bench.root()}/entityDefinitions?$filter="
    found = (await bench.get(base + "entityName%20eq%20'unitOfMeasure'")).value
    assert [entry["entitySetName"] for entry in found] == ["unitsOfMeasure"]
    assert (await bench.get(base + "entitySetName%20eq%20'unitsOfMeasure'")).status == 400


@pytest.mark.conformance("BC-09")
@pytest.mark.parametrize(
    ("set_name", "name"),
    [
        ("unitsOfMeasure", "unitOfMeasure"),
        ("countriesRegions", "countryRegion"),
        ("salespeoplePurchasers", "salespersonPurchaser"),
        ("projects", "project"),
        ("pdfDocument", "pdfDocument"),
        ("disputeStatus", "disputeStatus"),
    ],
)
async def test_sets_with_unexpected_names_are_served_as_recorded(bench: Bench, set_name: str, name: str) -> None:
    definitions = (await bench.get(f"{bench.root()}/entityDefinitions")).value
    assert {"entityName": name, "entitySetName": set_name}.items() <= next(
        entry.items() for entry in definitions if entry["entitySetName"] == set_name
    )
    reply = await bench.get(f"/{set_name}")
    assert reply.status == (400 if set_name == "pdfDocument" else 200)


@pytest.mark.conformance("BC-10")
async def test_definitions_mix_enumerations_with_entities_and_speak_several_languages(bench: Bench) -> None:
    entries = {entry["entityName"]: entry for entry in (await bench.get(f"{bench.root()}/entityDefinitions")).value}
    status = entries["invoiceEntityAggregateStatus"]
    assert status["entitySetName"] == ""
    assert [m["name"] for m in status["enumMembers"]][:3] == ["_x0020_", "Draft", "In_x0020_Review"]
    languages = {caption["languageCode"] for caption in entries["customer"]["entityCaptions"]}
    assert languages == {1033, 1036, 2058}
    assert 1033 not in {caption["languageCode"] for caption in entries["shipmentMethod"]["entityCaptions"]}
    assert "post" in {action["name"] for action in entries["salesInvoice"]["actions"]}
    assert "salesInvoiceLines" in {member["name"] for member in entries["salesInvoice"]["properties"]}


@pytest.mark.conformance("BC-11")
async def test_an_environment_can_gain_and_lose_fields(bench: Bench) -> None:
    place = {"company": bench.us.name, "set": "customers"}
    await bench.control("schema", **place, gain="contosoRegion")
    await bench.control("schema", **place, lose="website")
    types = (await entity_types(bench))["customer"]
    assert types["contosoRegion"] == "Edm.String"
    assert "website" not in types
    customer = (await bench.get("/customers?$top=1")).value[0]
    assert customer["contosoRegion"] == ""
    assert "website" not in customer
    sandbox = await bench.get(f"{bench.root('Sandbox')}/companies({bench.us.id})/customers?$top=1")
    assert "contosoRegion" not in sandbox.value[0]


@pytest.mark.conformance("BC-09", "BC-50")
async def test_metadata_declares_every_set_with_keys_types_and_navigation(bench: Bench) -> None:
    document = ElementTree.fromstring((await bench.get(f"{bench.root()}/$metadata")).body)
    kinds = {kind.attrib["Name"]: kind for kind in document.iter(f"{EDM}EntityType")}
    sets = {found.attrib["Name"]: found.attrib["EntityType"] for found in document.iter(f"{EDM}EntitySet")}
    assert sets["countriesRegions"] == "Microsoft.NAV.countryRegion"
    for name in sets.values():
        assert name.removeprefix("Microsoft.NAV.") in kinds
    invoice = kinds["salesInvoice"]
    navigation = {n.attrib["Name"]: n.attrib["Type"] for n in invoice.iter(f"{EDM}NavigationProperty")}
    assert navigation["salesInvoiceLines"] == "Collection(Microsoft.NAV.salesInvoiceLine)"
    assert navigation["customer"] == "Microsoft.NAV.customer"
    assert [ref.attrib["Name"] for ref in invoice.iter(f"{EDM}PropertyRef")] == ["id"]
    read_only = {
        p.attrib["Name"]
        for p in invoice.iter(f"{EDM}Property")
        if p.find(f"{EDM}Annotation[@Term='NAV.AllowEdit']") is not None
    }
    assert {"id", "status", "lastModifiedDateTime"} <= read_only
    assert "customerId" not in read_only
    actions = {
        action.attrib["Name"]
        for action in document.iter(f"{EDM}Action")
        if action[0].attrib["Type"] == "Microsoft.NAV.purchaseInvoice"
    }
    assert actions == {"post"}


async def test_the_automation_route_has_its_own_metadata(bench: Bench) -> None:
    types = await entity_types(bench, "microsoft/automation/v2.0")
    assert types["user"]["contactEmail"] == "Edm.String"
    assert "customer" not in types
