"""One record at a time: answers, ETags, refusals of bodies, references, numbers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.sandbox.business_central_writing.conftest import Writer, moment

UNKNOWN_ID = "11111111-2222-3333-4444-555555555555"


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-59")
async def test_a_create_answers_201_with_the_record_and_its_location(writer: Writer) -> None:
    reply = await writer.post("customers", {"displayName": "Contoso"})
    assert reply.status == 201
    assert reply.json["displayName"] == "Contoso"
    assert reply.headers["Location"] == writer.url(f"customers({reply.json['id']})")
    assert reply.json["@odata.context"].endswith("/customers/$entity")
    read_back = await writer.record(reply.headers["Location"])
    assert {**read_back, "@odata.context": ""} == {**reply.json, "@odata.context": ""}


@pytest.mark.conformance("BC-59")
async def test_return_minimal_answers_204_without_a_body(writer: Writer) -> None:
    reply = await writer.post("customers", {"displayName": "Contoso"}, Prefer="return=minimal")
    assert (reply.status, reply.body) == (204, b"")
    assert (await writer.record(reply.headers["Location"]))["displayName"] == "Contoso"


@pytest.mark.conformance("BC-59")
async def test_select_trims_the_answer_to_a_create(writer: Writer) -> None:
    reply = await writer.post("customers?$select=number,displayName", {"displayName": "Contoso"})
    assert set(reply.json) == {"@odata.context", "@odata.etag", "number", "displayName"}


@pytest.mark.conformance("BC-59")
async def test_a_change_answers_200_with_the_record_as_it_is_now(writer: Writer) -> None:
    customer = await writer.customer()
    reply = await writer.patch(f"customers({customer['id']})", {"city": "Lyon"}, if_match=customer["@odata.etag"])
    assert (reply.status, reply.json["city"]) == (200, "Lyon")
    assert reply.etag != customer["@odata.etag"]
    assert moment(reply.json["lastModifiedDateTime"]) > moment(customer["lastModifiedDateTime"])


@pytest.mark.conformance("BC-59")
@pytest.mark.parametrize("headers", [{}, {"If_Match": "*"}])
async def test_a_delete_answers_204_with_or_without_if_match(writer: Writer, headers: dict[str, str]) -> None:
    made = await writer.create("customers", {"displayName": "Contoso"})
    reply = await writer.delete(f"customers({made['id']})", **headers)
    assert (reply.status, reply.body) == (204, b"")
    assert (await writer.get(f"customers({made['id']})")).status == 404


# -- concurrency -------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-60")
async def test_a_change_without_if_match_is_refused(writer: Writer) -> None:
    customer = await writer.customer()
    reply = await writer.patch(f"customers({customer['id']})", {"city": "Lyon"}, if_match="")
    assert (reply.status, reply.code) == (400, "BadRequest_InvalidToken")
    assert (await writer.customer())["city"] == customer["city"]


@pytest.mark.conformance("BC-61")
@pytest.mark.parametrize("status", [409, 412])
async def test_a_stale_etag_is_a_conflict_of_either_status(writer: Writer, status: int) -> None:
    writer.switches(stale_etag_status=status)
    customer = await writer.customer()
    await writer.patch(f"customers({customer['id']})", {"city": "Lyon"})
    reply = await writer.patch(f"customers({customer['id']})", {"city": "Nice"}, if_match=customer["@odata.etag"])
    assert (reply.status, reply.code) == (status, "Request_EntityChanged")
    assert (await writer.customer())["city"] == "Lyon"


@pytest.mark.conformance("BC-61")
async def test_a_stale_etag_is_refused_on_delete_too(writer: Writer) -> None:
    made = await writer.create("customers", {"displayName": "Contoso"})
    await writer.patch(f"customers({made['id']})", {"city": "Lyon"})
    reply = await writer.delete(f"customers({made['id']})", If_Match=made["@odata.etag"])
    assert (reply.status, reply.code) == (409, "Request_EntityChanged")


@pytest.mark.conformance("BC-61")
async def test_of_two_changes_with_the_same_etag_only_one_wins(writer: Writer) -> None:
    customer = await writer.customer()
    path, etag = f"customers({customer['id']})", customer["@odata.etag"]
    replies = await asyncio.gather(*(writer.patch(path, {"city": city}, if_match=etag) for city in ("Lyon", "Nice")))
    assert sorted(reply.status for reply in replies) == [200, 409]


@pytest.mark.conformance("BC-56")
async def test_an_etag_with_the_escapes_of_json_is_refused(writer: Writer) -> None:
    customer = await writer.customer()
    escaped = customer["@odata.etag"].replace('"', '\\"')
    reply = await writer.patch(f"customers({customer['id']})", {"city": "Lyon"}, if_match=escaped)
    assert reply.status == 400


# -- what may be written -----------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-62")
async def test_a_change_of_a_collection_is_not_allowed(writer: Writer) -> None:
    reply = await writer.patch("customers", {"city": "Lyon"})
    assert (reply.status, reply.code) == (405, "BadRequest_MethodNotAllowed")


@pytest.mark.conformance("BC-62")
@pytest.mark.parametrize("set_name", ["generalLedgerEntries", "accounts", "salesShipments", "customerFinancialDetails"])
async def test_a_create_in_a_read_only_set_is_not_allowed(writer: Writer, set_name: str) -> None:
    reply = await writer.post(set_name, {})
    assert (reply.status, reply.code) == (405, "BadRequest_MethodNotAllowed")


@pytest.mark.conformance("BC-62")
async def test_all_91_read_only_sets_of_the_standard_api_refuse_a_create(writer: Writer) -> None:
    catalogue = writer.sandbox.estate.business_central.catalogue
    refused = [name for name, entity in catalogue.routes["v2.0"].items() if entity.is_read_only]
    assert len(refused) == 91
    gate = asyncio.Semaphore(4)

    async def status(name: str) -> int:
        async with gate:
            return (await writer.post(name, {})).status

    assert set(await asyncio.gather(*map(status, refused))) == {405}


@pytest.mark.conformance("BC-62")
async def test_a_change_or_delete_in_a_read_only_set_is_not_allowed(writer: Writer) -> None:
    account = (await writer.rows("accounts?$top=1"))[0]
    assert (await writer.patch(f"accounts({account['id']})", {"displayName": "x"})).status == 405
    assert (await writer.delete(f"accounts({account['id']})")).status == 405


@pytest.mark.conformance("BC-63")
async def test_a_read_only_property_is_refused_and_not_ignored(writer: Writer) -> None:
    customer = await writer.customer()
    reply = await writer.patch(f"customers({customer['id']})", {"balanceDue": 1})
    assert (reply.status, reply.code) == (400, "BadRequest_InvalidOperation")
    assert "read-only" in reply.message


@pytest.mark.conformance("BC-63")
async def test_the_whole_record_sent_back_is_refused(writer: Writer) -> None:
    customer = {name: value for name, value in (await writer.customer()).items() if name != "creditLimit"}
    customer["balanceDue"] = 0
    reply = await writer.patch(f"customers({customer['id']})", customer, if_match=customer["@odata.etag"])
    assert (reply.status, reply.code) == (400, "BadRequest_InvalidOperation")


@pytest.mark.conformance("BC-63")
async def test_an_unknown_property_is_refused(writer: Writer) -> None:
    reply = await writer.post("customers", {"displayName": "Contoso", "loyalty": "gold"})
    assert (reply.status, reply.code) == (400, "BadRequest")
    assert "'loyalty'" in reply.message


@pytest.mark.conformance("BC-64")
@pytest.mark.parametrize(
    ("set_name", "body", "limit"),
    [
        ("customers", {"displayName": "x" * 101}, 100),
        ("customers", {"displayName": "x", "number": "1" * 21}, 20),
        ("purchaseInvoices", {"vendorNumber": "10000", "vendorInvoiceNumber": "x" * 36}, 35),
    ],
)
async def test_a_text_longer_than_its_field_is_refused(
    writer: Writer, set_name: str, body: dict[str, Any], limit: int
) -> None:
    reply = await writer.post(set_name, body)
    assert (reply.status, reply.code) == (400, "Application_StringExceededLength")
    assert f"{limit} characters" in reply.message


@pytest.mark.conformance("BC-64")
async def test_a_text_as_long_as_its_field_is_kept_whole(writer: Writer) -> None:
    made = await writer.create("customers", {"displayName": "x" * 100})
    assert made["displayName"] == "x" * 100


@pytest.mark.conformance("BC-68")
async def test_an_id_of_the_callers_own_is_refused_as_read_only(writer: Writer) -> None:
    reply = await writer.post("customers", {"id": UNKNOWN_ID, "displayName": "Contoso"})
    assert (reply.status, reply.code) == (400, "BadRequest_InvalidOperation")
    assert (await writer.get(f"customers({UNKNOWN_ID})")).status == 404


@pytest.mark.conformance("BC-68")
async def test_only_dimension_set_lines_among_the_insertable_sets_have_a_writable_id(writer: Writer) -> None:
    catalogue = writer.sandbox.estate.business_central.catalogue
    writable = [
        name
        for name, entity in catalogue.routes["v2.0"].items()
        if entity.insert_allowed and "id" in entity.by_name and not entity.by_name["id"].read_only
    ]
    assert writable == ["dimensionSetLines"]
    invoice = await writer.sales_invoice()
    dimension = (await writer.rows("dimensions?$filter=code%20eq%20'CUSTOMERGROUP'"))[0]
    value = (await writer.rows("dimensionValues?$filter=code%20eq%20'SMALL'"))[0]
    made = await writer.create(
        f"salesInvoices({invoice['id']})/dimensionSetLines", {"id": dimension["id"], "valueId": value["id"]}
    )
    assert (made["id"], made["code"], made["valueCode"]) == (dimension["id"], "CUSTOMERGROUP", "SMALL")


@pytest.mark.conformance("BC-71")
async def test_a_change_of_an_unknown_id_creates_nothing(writer: Writer) -> None:
    reply = await writer.patch(f"customers({UNKNOWN_ID})", {"displayName": "Contoso"})
    assert (reply.status, reply.code) == (404, "BadRequest_ResourceNotFound")
    assert (await writer.get(f"customers({UNKNOWN_ID})")).status == 404


@pytest.mark.conformance("BC-72")
@pytest.mark.parametrize(
    "body",
    [
        {"displayName": "Contoso", "address": {"street": "Market Square 1", "countryLetterCode": "US"}},
        {"displayName": "Contoso", "countryRegionCode": "US"},
    ],
)
async def test_shapes_of_v1_0_are_refused(writer: Writer, body: dict[str, Any]) -> None:
    assert (await writer.post("customers", body)).status == 400


@pytest.mark.conformance("BC-72")
async def test_a_composite_key_of_v1_0_is_refused(writer: Writer) -> None:
    invoice = await writer.sales_invoice()
    reply = await writer.patch(f"salesInvoiceLines(documentId={invoice['id']},sequence=10000)", {"quantity": 3})
    assert reply.status == 400


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-52")
async def test_an_enum_takes_the_escaped_name_and_refuses_the_caption(writer: Writer) -> None:
    made = await writer.create("items", {"displayName": "Advice", "type": "Non_x002D_Inventory"})
    assert made["type"] == "Non_x002D_Inventory"
    reply = await writer.post("items", {"displayName": "Advice", "type": "Non-Inventory"})
    assert (reply.status, reply.code) == (400, "Unknown")


@pytest.mark.conformance("BC-57")
async def test_code_values_come_back_in_capitals(writer: Writer) -> None:
    made = await writer.create("locations", {"code": "north", "displayName": "Northern stock"})
    assert (made["code"], made["displayName"]) == ("NORTH", "Northern stock")


@pytest.mark.conformance("BC-55")
@pytest.mark.parametrize("code", ["USD", "usd", ""])
async def test_the_local_currency_is_stored_as_blank_and_shown_by_its_code(writer: Writer, code: str) -> None:
    made = await writer.create("customers", {"displayName": "Contoso", "currencyCode": code})
    assert made["currencyCode"] == "USD"
    assert made["currencyId"] == "00000000-0000-0000-0000-000000000000"


@pytest.mark.conformance("BC-55")
async def test_a_foreign_currency_may_be_named_by_code_or_by_id(writer: Writer) -> None:
    euro = (await writer.rows("currencies?$filter=code%20eq%20'EUR'"))[0]
    by_code = await writer.create("customers", {"displayName": "A", "currencyCode": "EUR"})
    by_id = await writer.create("customers", {"displayName": "B", "currencyId": euro["id"]})
    assert by_code["currencyId"] == euro["id"]
    assert by_id["currencyCode"] == "EUR"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"displayName": "A", "creditLimit": "much"}, "BadRequest"),
        ({"displayName": "A", "taxAreaId": "no id"}, "Application_InvalidGUID"),
        ({"displayName": "A", "country": "XX"}, "Internal_InvalidTableRelation"),
        ({"displayName": "A", "currencyCode": "XYZ"}, "Internal_InvalidTableRelation"),
        ({"displayName": "A", "paymentTermsId": UNKNOWN_ID}, "Application_DialogException"),
        ({"city": "Lyon"}, "BadRequest_RequiredParamNotProvided"),
        ({"displayName": ""}, "BadRequest_RequiredParamNotProvided"),
        ({"displayName": "A", "number": "10000"}, "Internal_EntityWithSameKeyExists"),
    ],
)
async def test_a_bad_value_is_refused_with_the_code_of_its_kind(
    writer: Writer, body: dict[str, Any], code: str
) -> None:
    before = len(await writer.rows("customers"))
    reply = await writer.post("customers", body)
    assert (reply.status, reply.code) == (400, code)
    assert len(await writer.rows("customers")) == before


async def test_a_body_that_is_no_json_object_is_refused(writer: Writer) -> None:
    for data in (b"{", b"[]", b'"x"'):
        reply = await writer.send("POST", "customers", data=data, headers={"Content-Type": "application/json"})
        assert reply.status == 400


async def test_null_clears_a_value_to_its_blank(writer: Writer) -> None:
    customer = await writer.customer()
    reply = await writer.patch(f"customers({customer['id']})", {"city": None, "salespersonCode": None})
    assert (reply.json["city"], reply.json["salespersonCode"]) == ("", "")


# -- numbers and identifiers -------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-70")
async def test_a_manual_number_is_refused_where_the_series_forbids_it(writer: Writer) -> None:
    writer.switches(manual_numbers_refused=["customers"])
    reply = await writer.post("customers", {"displayName": "Contoso", "number": "MY-1"})
    assert (reply.status, reply.code) == (400, "Application_DialogException")
    assert (await writer.create("customers", {"displayName": "Contoso"}))["number"] == "C00010"


@pytest.mark.conformance("BC-70")
async def test_the_number_series_deals_numbers_in_sequence(writer: Writer) -> None:
    numbers = [(await writer.create("vendors", {"displayName": "Contoso"}))["number"] for _ in range(3)]
    assert numbers == ["V00010", "V00020", "V00030"]


async def test_a_number_given_by_the_caller_is_kept_where_the_series_allows_it(writer: Writer) -> None:
    assert (await writer.create("customers", {"displayName": "Contoso", "number": "my-1"}))["number"] == "MY-1"


@pytest.mark.conformance("BC-69")
@pytest.mark.parametrize("order", [("vendorId", "vendorNumber"), ("vendorNumber", "vendorId")])
async def test_contradicting_identifiers_are_refused_in_either_order(writer: Writer, order: tuple[str, str]) -> None:
    values = {"vendorId": (await writer.vendor("10000"))["id"], "vendorNumber": "20000"}
    reply = await writer.post("purchaseInvoices", {name: values[name] for name in order})
    assert (reply.status, reply.code) == (400, "Application_DialogException")


@pytest.mark.conformance("BC-69")
async def test_agreeing_identifiers_are_accepted(writer: Writer) -> None:
    vendor = await writer.vendor("20000")
    made = await writer.create("purchaseInvoices", {"vendorId": vendor["id"], "vendorNumber": "20000"})
    assert made["vendorName"] == vendor["displayName"]


@pytest.mark.conformance("BC-69")
async def test_properties_take_effect_in_the_order_sent(writer: Writer) -> None:
    item = await writer.item()
    invoice = await writer.create("salesInvoices", {"customerNumber": "10000"})
    lines = f"salesInvoices({invoice['id']})/salesInvoiceLines"
    after = await writer.create(lines, {"itemId": item["id"], "unitPrice": 5, "quantity": 1})
    before = await writer.create(lines, {"unitPrice": 5, "itemId": item["id"], "quantity": 1})
    assert after["unitPrice"] == 5
    assert before["unitPrice"] == item["unitPrice"]


async def test_a_customer_of_a_posted_invoice_cannot_be_deleted(writer: Writer) -> None:
    await writer.posted_sales_invoice()
    customer = await writer.customer()
    reply = await writer.delete(f"customers({customer['id']})")
    assert (reply.status, reply.code) == (400, "Application_DialogException")


@pytest.mark.conformance("BC-46")
async def test_a_write_with_a_read_only_intent_is_refused(writer: Writer) -> None:
    reply = await writer.post("customers", {"displayName": "Contoso"}, Data_Access_Intent="ReadOnly")
    assert reply.status == 400
