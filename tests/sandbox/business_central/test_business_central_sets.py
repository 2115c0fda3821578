"""Sets with rules of their own: lines, reports, queries, expanded parts, counts, the read replica."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from isthmus_sandbox.business_central.catalogue import load_catalogue

if TYPE_CHECKING:
    from .conftest import Bench

PARENT_REQUIRED = [
    (route, entity.set_name)
    for route, sets in load_catalogue().routes.items()
    for entity in sets.values()
    if entity.parent_required
]


def test_eighteen_sets_require_a_parent() -> None:
    assert len(PARENT_REQUIRED) == 18
    assert len([route for route, _ in PARENT_REQUIRED if route == "v2.0"]) == 16


@pytest.mark.conformance("BC-40")
@pytest.mark.parametrize(("route", "set_name"), PARENT_REQUIRED)
async def test_a_bare_read_of_a_parent_required_set_is_refused(bench: Bench, route: str, set_name: str) -> None:
    reply = await bench.get(f"{bench.company_url(route=route)}/{set_name}")
    assert (reply.status, reply.error["code"]) == (400, "Application_DialogException")


@pytest.mark.conformance("BC-40")
async def test_lines_are_read_below_their_parent_or_with_a_parent_filter(bench: Bench) -> None:
    invoice = (await bench.get("/salesInvoices?$top=1")).value[0]
    below = (await bench.get(f"/salesInvoices({invoice['id']})/salesInvoiceLines")).value
    filtered = (await bench.get(f"/salesInvoiceLines?$filter=documentId%20eq%20{invoice['id']}")).value
    assert [line["lineObjectNumber"] for line in below] == ["1896-S", "2000-S"]
    assert below == filtered
    one = await bench.get(f"/salesInvoices({invoice['id']})/salesInvoiceLines({below[1]['id']})")
    assert one.json["sequence"] == 20_000


@pytest.mark.conformance("BC-41")
async def test_expand_nests_with_select_and_filter(bench: Bench) -> None:
    expand = "salesInvoiceLines($select=sequence,netAmount;$filter=sequence gt 10000;$expand=item($select=number))"
    reply = await bench.get(f"/salesInvoices?$select=number&$expand={quote(expand, safe='')}")
    invoice = reply.value[0]
    assert set(invoice) == {"@odata.etag", "number", "salesInvoiceLines"}
    (line,) = invoice["salesInvoiceLines"]
    assert set(line) == {"@odata.etag", "sequence", "netAmount", "item"}
    assert line["item"]["number"] == "2000-S"


@pytest.mark.conformance("BC-41")
async def test_expanded_lines_of_many_generated_documents_belong_to_them(bench: Bench) -> None:
    company = bench.production.company("CRONUS Large Ltd.")
    reply = await bench.get(
        f"{bench.company_url(company)}/salesInvoices?$expand=salesInvoiceLines", Prefer="odata.maxpagesize=200"
    )
    assert len(reply.value) == 200
    for invoice in reply.value:
        assert len(invoice["salesInvoiceLines"]) == 3
        assert {line["documentId"] for line in invoice["salesInvoiceLines"]} == {invoice["id"]}


@pytest.mark.conformance("BC-42")
async def test_expanding_documents_as_pdf_costs_time_per_record(bench: Bench) -> None:
    await bench.control("switches", report_run_s=0.05)
    started_s = time.monotonic()
    reply = await bench.get("/salesInvoices?$expand=pdfDocument")
    took_s = time.monotonic() - started_s
    assert len(reply.value) == 8
    assert took_s >= 8 * 0.05
    assert bench.production.report_runs == 8


@pytest.mark.conformance("BC-43")
@pytest.mark.parametrize(
    "set_name",
    [
        "balanceSheets",
        "incomeStatements",
        "cashFlowStatements",
        "retainedEarningsStatements",
        "trialBalances",
        "agedAccountsReceivables",
        "agedAccountsPayables",
    ],
)
async def test_report_sets_have_no_stamp_and_refuse_a_filter_on_one(bench: Bench, set_name: str) -> None:
    rows = (await bench.get(f"/{set_name}")).value
    assert rows
    assert "lastModifiedDateTime" not in rows[0]
    reply = await bench.get(f"/{set_name}?$filter=lastModifiedDateTime%20ge%202025-01-01T00:00:00Z")
    assert reply.status == 400
    assert "Could not find a property named 'lastModifiedDateTime'" in reply.error["message"]


@pytest.mark.conformance("BC-43")
async def test_reports_are_calculated_for_the_asked_day_and_period(bench: Bench) -> None:
    async def receivables(day: str) -> str:
        rows = (await bench.get(f"/trialBalances?$filter=dateFilter%20le%20{day}")).value
        row: dict[str, Any] = next(row for row in rows if row["number"] == "10400")
        return str(row["balanceAtDateDebit"])

    assert await receivables("2024-12-31") == ""
    assert await receivables("2025-01-15") != await receivables("2025-02-28")
    aged = (await bench.get("/agedAccountsReceivables?$filter=periodLengthFilter%20eq%20'10D'")).value
    assert len(aged) == 5
    assert aged[0]["periodLengthFilter"] == "10D"
    assert sum(row["balanceDue"] for row in aged) == sum(
        row["currentAmount"] + row["period1Amount"] + row["period2Amount"] + row["period3Amount"] for row in aged
    )


@pytest.mark.conformance("BC-44")
async def test_trial_balances_are_texts_in_the_language_of_the_request(bench: Bench) -> None:
    async def bank(language: str) -> Any:
        rows = (await bench.get("/trialBalances", Accept_Language=language)).value
        return next(row["balanceAtDateDebit"] for row in rows if row["number"] == "10100")

    assert await bank("en-US") == "125,476.82"
    assert await bank("de-DE") == "125.476,82"


@pytest.mark.conformance("BC-46")
async def test_a_write_with_read_only_intent_is_an_error(bench: Bench) -> None:
    reply = await bench.send("POST", "/customers", body={"displayName": "x"}, Data_Access_Intent="ReadOnly")
    assert reply.status == 400


@pytest.mark.conformance("BC-46")
async def test_the_read_replica_trails_by_the_lag(bench: Bench) -> None:
    await bench.control("switches", replica_lag_s=60.0)
    customer = (await bench.get("/customers?$top=1")).value[0]
    place = {"company": bench.us.name, "set": "customers", "ids": [customer["id"]]}
    await bench.control("change", **place, values={"displayName": "Renamed"})
    await bench.control("insert", company=bench.us.name, set="customers", count=1)
    url = f"/customers({customer['id']})"
    assert (await bench.get(url)).json["displayName"] == "Renamed"
    assert (await bench.get(url, Data_Access_Intent="ReadOnly")).json["displayName"] == customer["displayName"]
    assert len((await bench.get("/customers", Data_Access_Intent="ReadOnly")).value) == 5
    bench.clock.advance(61)
    bench.issue("good")
    assert (await bench.get(url, Data_Access_Intent="ReadOnly")).json["displayName"] == "Renamed"


@pytest.mark.conformance("BC-47")
async def test_counts_come_only_when_asked_for(bench: Bench) -> None:
    assert "@odata.count" not in (await bench.get("/customers")).json
    counted = await bench.get("/customers?$count=true&$top=2&$filter=number%20gt%20'10000'")
    assert counted.json["@odata.count"] == 4
    assert len(counted.value) == 2
    assert (await bench.get("/customers/$count")).body == b"5"
    assert (await bench.get("/customers/$count?$filter=number%20eq%20'10000'")).body == b"1"


@pytest.mark.conformance("BC-47")
async def test_a_single_record_stands_alone_with_its_own_context(bench: Bench) -> None:
    listed = await bench.get("/customers?$top=1")
    assert listed.json["@odata.context"].endswith(f"/$metadata#companies({bench.us.id})/customers")
    single = (await bench.get(f"/customers({listed.value[0]['id'].upper()})")).json
    assert single["@odata.context"].endswith("/customers/$entity")
    assert "value" not in single
    assert {name: single[name] for name in listed.value[0]} == listed.value[0]
    assert (await bench.get("/customers(11111111-1111-1111-1111-111111111111)")).status == 404
    assert (await bench.get("/customers('10000')")).status == 400


@pytest.mark.conformance("BC-48")
async def test_api_queries_are_read_without_key_order_or_writes(bench: Bench) -> None:
    rows = (await bench.get("/customerSales")).value
    assert rows
    assert set(rows[0]) == {"@odata.etag", "customerId", "customerNumber", "name", "totalSalesAmount"}
    early = (await bench.get("/customerSales?$filter=dateFilter_FilterOnly%20le%202025-01-16")).value
    assert [row["customerNumber"] for row in early] == ["10000"]
    assert (await bench.get("/customerSales?$orderby=name")).status == 501
    assert (await bench.send("POST", "/customerSales", body={})).status == 405


@pytest.mark.conformance("BC-50")
async def test_single_parts_are_objects_and_others_arrays(bench: Bench) -> None:
    expand = "picture,customerFinancialDetail,agedAccountsReceivable,defaultDimensions,contactsInformation,paymentTerm"
    customer = (await bench.get(f"/customers?$top=1&$expand={expand}")).value[0]
    assert customer["picture"]["id"] == customer["id"]
    assert customer["customerFinancialDetail"]["number"] == customer["number"]
    assert customer["agedAccountsReceivable"]["customerId"] == customer["id"]
    assert [d["dimensionCode"] for d in customer["defaultDimensions"]] == ["CUSTOMERGROUP"]
    assert {c["contactType"] for c in customer["contactsInformation"]} == {"Company", "Person"}
    assert customer["paymentTerm"]["id"] == customer["paymentTermsId"]


@pytest.mark.conformance("BC-50")
async def test_navigation_leads_from_lines_to_their_parents_and_look_ups(bench: Bench) -> None:
    invoice = (await bench.get("/purchaseInvoices?$filter=number%20eq%20'108001'&$expand=vendor")).value[0]
    assert invoice["vendor"]["number"] == invoice["vendorNumber"]
    lines = (await bench.get(f"/purchaseInvoices({invoice['id']})/purchaseInvoiceLines?$expand=purchaseInvoice")).value
    assert {line["purchaseInvoice"]["id"] for line in lines} == {invoice["id"]}
    assert (await bench.get(f"/purchaseInvoices({invoice['id']})/vendor")).json["id"] == invoice["vendorId"]
    assert lines[0]["taxPercent"] == Decimal("6.00006")


@pytest.mark.conformance("BC-50")
async def test_every_navigation_of_the_catalogue_can_be_expanded(bench: Bench) -> None:
    await bench.control("switches", report_run_s=0.0)
    failed = []
    for entity in bench.service.entities(bench.production, "v2.0"):
        if entity.parent_required or entity.is_query:
            continue
        for navigation in entity.navigations:
            reply = await bench.get(f"/{entity.set_name}?$top=3&$expand={navigation.name}")
            kind = list if navigation.many else (dict, type(None))
            if reply.status != 200 or not all(isinstance(r[navigation.name], kind) for r in reply.value):
                failed.append((entity.set_name, navigation.name, reply.status))
    assert failed == []


async def test_every_set_of_every_route_answers(bench: Bench) -> None:
    failed = []
    for route, sets in bench.service.catalogue.routes.items():
        if route == "ODataV4":
            continue
        for entity in sets.values():
            reply = await bench.get(f"{bench.company_url(route=route)}/{entity.set_name}?$top=5")
            if reply.status != (400 if entity.parent_required else 200):
                failed.append((route, entity.set_name, reply.status, reply.body))
    assert failed == []
