"""Pages: sizes, caps, nextLinks that must come back untouched, empty pages, rows that move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Bench

LARGE = "CRONUS Large Ltd."


def large_url(bench: Bench, rest: str = "") -> str:
    """The customers of the larger company: 20,000 of them."""
    company = bench.production.company(LARGE)
    assert company is not None
    return f"{bench.company_url(company)}/customers{rest}"


@pytest.mark.conformance("BC-25")
async def test_a_page_holds_20000_records_unless_the_client_prefers_fewer(bench: Bench) -> None:
    await bench.control("seed", company=LARGE, set="customers", count=500)
    default = await bench.get(large_url(bench, "?$select=id"))
    assert len(default.value) == 20_000
    assert default.next_link is not None
    assert "Preference-Applied" not in default.headers
    assert len((await bench.get(default.next_link)).value) == 500


@pytest.mark.conformance("BC-25")
async def test_a_preferred_page_size_is_honoured_exactly_and_confirmed(bench: Bench) -> None:
    pages = await bench.pages(large_url(bench, "?$select=id"), Prefer="odata.maxpagesize=7000")
    assert [len(page.value) for page in pages] == [7000, 7000, 6000]
    assert {page.headers["Preference-Applied"] for page in pages} == {"odata.maxpagesize=7000"}
    ids = [record["id"] for page in pages for record in page.value]
    assert ids == sorted(set(ids))


@pytest.mark.conformance("BC-26")
async def test_a_page_size_above_the_maximum_is_clamped_or_refused(bench: Bench) -> None:
    await bench.control("seed", company=LARGE, set="customers", count=1)
    clamped = await bench.get(large_url(bench, "?$select=id"), Prefer="odata.maxpagesize=50000")
    assert len(clamped.value) == 20_000
    await bench.control("switches", page_too_large="refuse")
    assert (await bench.get(large_url(bench), Prefer="odata.maxpagesize=50000")).status == 413


@pytest.mark.conformance("BC-27")
async def test_top_is_a_cap_on_the_result_and_never_a_page_size(bench: Bench) -> None:
    await bench.control("seed", company=LARGE, set="customers", count=10_000)
    small = await bench.get(large_url(bench, "?$select=id&$top=100"))
    assert (len(small.value), small.next_link) == (100, None)
    wide = await bench.get(large_url(bench, "?$select=id&$top=25000"))
    assert len(wide.value) == 20_000
    assert wide.next_link is not None
    assert "$top=5000" in wide.next_link
    last = await bench.get(wide.next_link)
    assert (len(last.value), last.next_link) == (5000, None)


@pytest.mark.conformance("BC-28")
async def test_a_next_link_names_the_last_row_and_continues_behind_it(bench: Bench) -> None:
    first = await bench.get("/customers", Prefer="odata.maxpagesize=2")
    last_id = first.value[-1]["id"]
    assert first.next_link == f"{bench.company_url()}/customers?aid=FIN&$skiptoken={last_id}"
    everything = await bench.read_all("/customers", Prefer="odata.maxpagesize=2")
    assert len({customer["id"] for customer in everything}) == len(everything) == 5


@pytest.mark.conformance("BC-28")
async def test_a_next_link_that_lost_a_part_or_was_encoded_again_is_refused(bench: Bench) -> None:
    asked = "/customers?$filter=displayName%20ne%20'x%2Cy'&$select=id,number"
    link = (await bench.get(asked, Prefer="odata.maxpagesize=2")).next_link
    assert link is not None
    token = link.rpartition("=")[2]
    for broken in (
        link.replace("&aid=FIN", ""),
        link.replace(f"&$skiptoken={token}", ""),
        link.replace("$skiptoken", "%24skiptoken"),
        link.replace("%2C", ","),
        link.replace("%20", "+"),
    ):
        assert broken != link
        assert (await bench.get(broken)).status == 400
    assert (await bench.get(link)).status == 200


@pytest.mark.conformance("BC-28")
async def test_a_next_link_may_also_carry_a_tenant_mark_and_wants_it_back(bench: Bench) -> None:
    await bench.control("switches", next_link_tenant="msweua2905t5512389")
    link = (await bench.get("/customers", Prefer="odata.maxpagesize=2")).next_link
    assert link is not None
    assert "tenant=msweua2905t5512389&aid=FIN&$skiptoken=" in link
    assert (await bench.get(link)).status == 200
    assert (await bench.get(link.replace("tenant=msweua2905t5512389&", ""))).status == 400


@pytest.mark.conformance("BC-29")
async def test_a_next_link_can_point_to_another_host(bench: Bench) -> None:
    await bench.control("switches", next_link_origin="https://elsewhere.example")
    link = (await bench.get("/customers", Prefer="odata.maxpagesize=2")).next_link
    assert link is not None
    assert link.startswith("https://elsewhere.example/v2.0/")


@pytest.mark.conformance("BC-30")
@pytest.mark.parametrize("order", ["", "?$orderby=lastModifiedDateTime", "?$filter=number%20ge%20'1'&$count=true"])
async def test_an_empty_page_with_a_next_link_is_not_the_end(bench: Bench, order: str) -> None:
    await bench.control("switches", empty_page_every=2)
    await bench.get(f"/customers{order}")
    pages = await bench.pages(f"/customers{order}", Prefer="odata.maxpagesize=2")
    assert pages[0].value == []
    sizes = [len(page.value) for page in pages]
    assert 0 in sizes[1:-1]
    assert sum(sizes) == 5


@pytest.mark.conformance("BC-30")
async def test_the_last_page_can_be_empty_and_without_a_next_link(bench: Bench) -> None:
    await bench.control("switches", full_page_links=True)
    pages = await bench.pages("/customers", Prefer="odata.maxpagesize=5")
    assert [len(page.value) for page in pages] == [5, 0]


@pytest.mark.conformance("BC-31")
@pytest.mark.parametrize("status", [504, 408])
async def test_a_page_above_the_row_threshold_times_out(bench: Bench, status: int) -> None:
    await bench.control("switches", row_threshold=1000, row_threshold_status=status)
    assert (await bench.get(large_url(bench), Prefer="odata.maxpagesize=1001")).status == status
    assert (await bench.get(large_url(bench), Prefer="odata.maxpagesize=1000")).status == 200


@pytest.mark.conformance("BC-32")
async def test_a_skip_loop_loses_records_when_rows_go_between_its_pages(bench: Bench) -> None:
    before = {record["id"] for record in await bench.read_all("/items?$select=id")}
    first = (await bench.get("/items?$select=id&$top=10&$skip=0")).value
    await bench.control("delete", company=bench.us.name, set="items", ids=[first[0]["id"], first[1]["id"]])
    rest = (await bench.get("/items?$select=id&$top=100&$skip=10")).value
    seen = {record["id"] for record in [*first, *rest]}
    assert len(before - seen) == 2


async def test_server_paging_after_skip_does_not_skip_twice(bench: Bench) -> None:
    everything = [record["id"] for record in await bench.read_all("/items?$select=id")]
    skipped = [record["id"] for record in await bench.read_all("/items?$select=id&$skip=3", Prefer="maxpagesize=4")]
    assert skipped == everything[3:]


@pytest.mark.parametrize("order", ["number%20desc", "unitPrice,number%20desc", "lastModifiedDateTime%20desc"])
async def test_other_orders_page_without_loss(bench: Bench, order: str) -> None:
    whole = (await bench.get(f"/items?$orderby={order}")).value
    paged = await bench.read_all(f"/items?$orderby={order}", Prefer="odata.maxpagesize=3")
    assert [r["id"] for r in paged] == [r["id"] for r in whole]
    assert len(whole) == 22


@pytest.mark.parametrize("text", ["-1", "x", "1.5"])
async def test_a_top_that_is_no_whole_number_is_refused(bench: Bench, text: str) -> None:
    assert (await bench.get(f"/items?$top={text}")).status == 400


async def test_pages_travel_gzipped_where_the_switch_says_so(bench: Bench) -> None:
    plain = await bench.get("/customers", Accept_Encoding="gzip")
    assert "Content-Encoding" not in plain.headers
    await bench.control("switches", compress_bodies=True)
    packed = await bench.get("/customers", Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.value == plain.value
    assert "Content-Encoding" not in (await bench.get("/customers", Accept_Encoding="identity")).headers
