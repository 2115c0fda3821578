"""Values on the wire: blanks, escaped names, exact decimals, stamps, ETags, streams."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_sandbox.business_central.catalogue import load_catalogue
from isthmus_sandbox.business_central.values import escape_name, etag_text, stamp_ms, stamp_text

if TYPE_CHECKING:
    from .conftest import Bench

FIRST_INVOICE = "/purchaseInvoices?$filter=number%20eq%20'108001'"
ZERO_GUID = "00000000-0000-0000-0000-000000000000"
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,2}[1-9])?Z$")


@pytest.mark.conformance("BC-51")
async def test_blanks_are_never_null(bench: Bench) -> None:
    employees = {record["number"]: record for record in (await bench.get("/employees")).value}
    assert employees["AH"]["email"] == ""
    assert employees["AH"]["terminationDate"] == "0001-01-01"
    customers = (await bench.get("/customers")).value
    assert customers[0]["currencyId"] == ZERO_GUID
    assert customers[0]["blocked"] == "_x0020_"
    assert customers[4]["lastModifiedDateTime"] == "0001-01-01T00:00:00Z"
    for entity in bench.service.entities(bench.production, "v2.0"):
        if entity.parent_required:
            continue
        for record in (await bench.get(f"/{entity.set_name}?$top=20")).value:
            assert None not in record.values(), entity.set_name


@pytest.mark.conformance("BC-52")
async def test_every_member_of_every_enumeration_filters_by_its_escaped_name(bench: Bench) -> None:
    captions = 0
    for enum in load_catalogue().enums.values():
        for member in enum.members:
            if member.json_name:
                assert member.json_name == escape_name(member.al_name)
                captions += member.json_name != member.al_name
    assert captions > 100
    items = (await bench.get("/items?$filter=type%20eq%20'Non_x002D_Inventory'")).value
    assert [item["type"] for item in items] == ["Non_x002D_Inventory"]
    assert (await bench.get("/items?$filter=type%20eq%20'Non-Inventory'")).status == 400


@pytest.mark.conformance("BC-53")
async def test_decimals_keep_all_their_digits_and_travel_as_numbers(bench: Bench) -> None:
    reply = await bench.get("/customers?$filter=number%20eq%20'50000'")
    assert b'"creditLimit":123456789012345.678' in reply.body
    invoice = (await bench.get(f"{FIRST_INVOICE}&$expand=purchaseInvoiceLines")).value[0]
    assert invoice["totalTaxAmount"] == Decimal("187.37")
    assert invoice["purchaseInvoiceLines"][0]["taxPercent"] == Decimal("6.00006")
    item = (await bench.get("/items?$top=1")).value[0]
    start = f'{{"company":"{bench.us.name}","set":"items","ids":["{item["id"]}"],"values":{{"unitPrice":'
    for text in ("99999999999999999.9", "0.000000000000000001", "-1.10"):
        async with bench.session.post(
            f"{bench.origin}/_sandbox/business-central/change", data=(start + text + "}}").encode()
        ) as response:
            assert response.status == 200
        shown = await bench.get(f"/items({item['id']})")
        assert f'"unitPrice":{text}'.encode() in shown.body or shown.json["unitPrice"] == Decimal(text)
        assert (await bench.get(f"/items?$filter=unitPrice%20eq%20{text}")).value[0]["id"] == item["id"]


@pytest.mark.conformance("BC-54")
async def test_stamps_have_at_most_three_fraction_digits_and_no_trailing_zero(bench: Bench) -> None:
    stamps = {record["lastModifiedDateTime"] for record in await bench.read_all("/accounts")}
    stamps |= {record["lastModifiedDateTime"] for record in await bench.read_all("/items")}
    assert all(STAMP.match(stamp) for stamp in stamps)
    assert {len(stamp) for stamp in stamps} == {20, 23, 24}


@pytest.mark.conformance("BC-54")
@given(st.integers(min_value=-62_135_596_800_000, max_value=250_000_000_000_000))
def test_stamps_survive_the_way_to_text_and_back(moment_ms: int) -> None:
    text = stamp_text(moment_ms)
    assert STAMP.match(text)
    assert stamp_ms(text) == moment_ms


@pytest.mark.conformance("BC-55")
async def test_local_currency_is_a_zero_id_with_the_code_of_the_company(bench: Bench) -> None:
    for company, code in ((bench.us, "USD"), (bench.w1, "GBP")):
        for set_name in ("customers", "vendors", "salesInvoices", "purchaseInvoices"):
            record = (await bench.get(f"{bench.company_url(company)}/{set_name}?$top=1")).value[0]
            assert (record["currencyId"], record["currencyCode"]) == (ZERO_GUID, code)


@pytest.mark.conformance("BC-56")
async def test_an_etag_is_weak_quoted_and_moves_with_the_record(bench: Bench) -> None:
    reply = await bench.get("/customers?$top=1")
    customer = reply.value[0]
    assert re.fullmatch(r'W/"[A-Za-z0-9+/=]+"', customer["@odata.etag"])
    assert b'"@odata.etag":"W/\\"' in reply.body
    url = f"/customers({customer['id']})"
    assert (await bench.get(url)).headers["ETag"] == customer["@odata.etag"]
    await bench.control("change", company=bench.us.name, set="customers", ids=[customer["id"]])
    assert (await bench.get(url)).json["@odata.etag"] != customer["@odata.etag"]


@pytest.mark.conformance("BC-57")
async def test_codes_come_back_in_upper_case_and_compare_in_any(bench: Bench) -> None:
    record = {"code": "north", "displayName": "north yard"}
    await bench.control("insert", company=bench.us.name, set="locations", records=[record])
    found = (await bench.get("/locations?$filter=code%20eq%20'nOrTh'")).value
    assert [(place["code"], place["displayName"]) for place in found] == [("NORTH", "north yard")]
    assert (await bench.get("/locations?$filter=displayName%20eq%20'NORTH%20YARD'")).value == []


@pytest.mark.conformance("BC-58")
async def test_streams_appear_as_links_that_can_be_followed(bench: Bench) -> None:
    invoice = (
        await bench.get("/purchaseInvoices?$filter=number%20eq%20'108001'&$expand=attachments,pdfDocument")
    ).value[0]
    attachment: dict[str, Any] = invoice["attachments"][0]
    assert "attachmentContent" not in attachment
    assert attachment["attachmentContent@odata.mediaReadLink"] == attachment["attachmentContent@odata.mediaEditLink"]
    content = await bench.get(attachment["attachmentContent@odata.mediaReadLink"])
    assert content.body == b"Scanned invoice 107001\n"
    assert content.headers["Content-Type"] == "application/octet-stream"
    pdf = await bench.get(invoice["pdfDocument"]["pdfDocumentContent@odata.mediaReadLink"])
    assert pdf.body.startswith(b"%PDF-")
    assert (await bench.get(attachment["attachmentContent@odata.mediaReadLink"], token=None)).status == 401


@pytest.mark.conformance("BC-99")
async def test_users_employees_and_person_contacts_are_served_with_blank_addresses_among_them(bench: Bench) -> None:
    users = (await bench.get(f"{bench.company_url(route='microsoft/automation/v2.0')}/users")).value
    assert {user["state"] for user in users} == {"Enabled", "Disabled"}
    assert "" in {user["contactEmail"] for user in users}
    assert set(users[0]) - {"@odata.etag"} == {
        "userSecurityId",
        "userName",
        "displayName",
        "state",
        "expiryDate",
        "contactEmail",
    }
    employees = (await bench.get("/employees")).value
    assert {employee["status"] for employee in employees} == {"Active", "Inactive", "Terminated"}
    assert any(not employee["email"] and employee["personalEmail"] for employee in employees)
    people = (await bench.get("/contacts?$filter=type%20eq%20'Person'")).value
    assert {bool(person["email"]) for person in people} == {True, False}


def test_different_versions_have_different_etags() -> None:
    assert len({etag_text(version) for version in range(1000)}) == 1000
