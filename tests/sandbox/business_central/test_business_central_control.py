"""The control API: seeding, changing and switching from outside, and refusing what makes no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Bench, Reply


async def call(bench: Bench, command: str, **body: Any) -> Reply:
    """A control call that may fail."""
    return await bench.send("POST", f"{bench.origin}/_sandbox/business-central/{command}", token=None, body=body)


async def test_the_state_shows_companies_with_the_sizes_of_their_sets(bench: Bench) -> None:
    state = (await bench.get(f"{bench.origin}/_sandbox/business-central", token=None)).json
    production = state["tenants"][0]["environments"][0]
    sizes = {company["name"]: company["sets"] for company in production["companies"]}
    assert sizes[bench.us.name]["customers"] == 5
    assert sizes["CRONUS Large Ltd."]["customers"] == 20_000
    assert sizes["My Company"] == {}
    assert production["switches"]["version"] == "29.0"


async def test_any_set_of_any_route_can_be_seeded(bench: Bench) -> None:
    failed = []
    for route, sets in bench.service.catalogue.routes.items():
        for entity in sets.values():
            if route == "ODataV4" or entity.is_query or entity.parent_required:
                continue
            reply = await call(bench, "seed", company="My Company", set=entity.set_name, route=route, count=3)
            if reply.status != 200:
                failed.append((route, entity.set_name, reply.body))
    assert failed == []
    my = bench.production.company("My Company")
    for set_name in ("employees", "salesInvoices", "transferOrders", "accountingPeriods"):
        records = (await bench.get(f"{bench.company_url(my)}/{set_name}")).value
        entity = bench.service.catalogue.routes["v2.0"][set_name]
        assert len(records) == 3
        for record in records:
            for name, value in record.items():
                limit = entity.by_name[name].max_length if name in entity.by_name else None
                assert limit is None or len(value) <= limit


async def test_seeding_is_repeatable(bench: Bench) -> None:
    my = bench.production.company("My Company")
    other = bench.service.add_company(bench.production, "Twin", tail=my.tail if my is not None else None)
    pages = []
    for company in (my, other):
        assert company is not None
        await bench.control("seed", company=company.name, set="customers", count=50)
        pages.append((await bench.get(f"{bench.company_url(company)}/customers")).value)
    assert pages[0] == pages[1]


async def test_seeded_documents_bring_their_lines(bench: Bench) -> None:
    await bench.control("seed", company="My Company", set="purchaseOrders", count=10, lines=4)
    my = bench.production.company("My Company")
    orders = (await bench.get(f"{bench.company_url(my)}/purchaseOrders?$expand=purchaseOrderLines")).value
    assert [len(order["purchaseOrderLines"]) for order in orders] == [4] * 10


async def test_a_company_can_be_added_and_filled(bench: Bench) -> None:
    made = await bench.control("companies", name="Brand New")
    await bench.control("insert", company="Brand New", set="customers", count=2)
    listed = (await bench.get(f"{bench.root()}/companies({made['id']})/customers")).value
    assert len(listed) == 2
    assert (await call(bench, "companies", name="Brand New")).status == 400


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("seed", {"company": "Nobody", "set": "customers", "count": 1}),
        ("seed", {"company": "My Company", "set": "nothings", "count": 1}),
        ("seed", {"company": "My Company", "set": "customers", "count": 0}),
        ("seed", {"company": "My Company", "set": "customers", "count": 1_000_001}),
        ("seed", {"set": "customers"}),
        ("change", {"company": "My Company", "set": "customers", "ids": ["00000000-0000-0000-0000-000000000001"]}),
        ("insert", {"company": "My Company", "set": "customers", "records": [{"nope": 1}]}),
        ("schema", {"company": "My Company", "set": "customers", "lose": "id"}),
        ("schema", {"company": "My Company", "set": "customers", "gain": "number"}),
        ("switches", {"no_such_switch": 1}),
        ("switches", {"version": 29}),
        ("switches", {"version": "next"}),
        ("switches", {"environment": "Nowhere"}),
    ],
)
async def test_a_wrong_call_is_answered_with_a_reason(bench: Bench, command: str, body: dict[str, Any]) -> None:
    reply = await call(bench, command, **body)
    assert reply.status == 400
    assert reply.json["error"]


async def test_switches_belong_to_an_environment(bench: Bench) -> None:
    await bench.control("switches", environment="Sandbox", version="28.0")
    assert (await bench.get(f"{bench.root()}/$metadata")).body.count(b"purchaseQuotes") > 0
    assert (await bench.get(f"{bench.root('Sandbox')}/$metadata")).body.count(b"purchaseQuotes") == 0
