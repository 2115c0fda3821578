"""Reading what changed: stamps, ties, late commits, restamps, silent changes, and a million rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from isthmus_sandbox.business_central.catalogue import load_catalogue

if TYPE_CHECKING:
    from .conftest import Bench

STAMPLESS_V20 = 26


def since(stamp: str, operator: str = "ge") -> str:
    """Customers from a stamp on, oldest change first."""
    return f"/customers?$filter=lastModifiedDateTime%20{operator}%20{stamp}&$orderby=lastModifiedDateTime%20asc"


async def stamps(bench: Bench, set_name: str = "customers") -> dict[str, str]:
    """The stamp of each record by id."""
    return {record["id"]: record["lastModifiedDateTime"] for record in await bench.read_all(f"/{set_name}")}


@pytest.mark.conformance("BC-95")
async def test_the_first_read_of_a_set_can_fail_and_metadata_knows_the_stamp_anyway(bench: Bench) -> None:
    await bench.control("switches", first_read_status={"customers": 503})
    assert (await bench.get("/customers")).status == 503
    assert (await bench.get("/customers")).status == 200
    assert b'<Property Name="lastModifiedDateTime"' in (await bench.get(f"{bench.root()}/$metadata")).body


@pytest.mark.conformance("BC-95")
def test_26_sets_have_no_stamp_and_two_name_it_otherwise() -> None:
    sets = load_catalogue().routes["v2.0"].values()
    assert len([entity for entity in sets if entity.stamp is None]) == STAMPLESS_V20
    assert {entity.set_name for entity in sets if entity.stamp == "lastDateTimeModified"} == {
        "approvalEntries",
        "postedApprovalEntries",
    }


@pytest.mark.conformance("BC-96")
async def test_the_order_by_stamp_pages_through_ties_without_loss(bench: Bench) -> None:
    place = {"company": bench.us.name, "set": "customers"}
    await bench.control("insert", **place, count=40, stamped=False)
    await bench.control("insert", **place, count=30)
    everything = await bench.read_all(since("0001-01-01T00:00:00Z"), Prefer="odata.maxpagesize=7")
    assert len({record["id"] for record in everything}) == len(everything) == 75
    assert [r["lastModifiedDateTime"] for r in everything[:41]] == ["0001-01-01T00:00:00Z"] * 41


@pytest.mark.conformance("BC-96")
async def test_ge_includes_ties_gt_loses_them_and_le_bounds_from_above(bench: Bench) -> None:
    place = {"company": bench.us.name, "set": "customers"}
    ids = (await bench.control("insert", **place, count=3))["ids"]
    tie = (await stamps(bench))[ids[0]]
    tied = {row_id for row_id, stamp in (await stamps(bench)).items() if stamp == tie}
    assert len(tied) >= 2
    assert tied <= {record["id"] for record in (await bench.get(since(tie))).value}
    assert not tied & {record["id"] for record in (await bench.get(since(tie, "gt"))).value}
    bounded = since("2025-01-01T00:00:00Z").replace("&", f"%20and%20lastModifiedDateTime%20lt%20{tie}&")
    assert len((await bench.get(bounded)).value) == 4
    assert len((await bench.get(bounded.replace("20lt", "20le"))).value) == 4 + len(tied)


@pytest.mark.conformance("BC-96")
@pytest.mark.parametrize("kind", ["insert", "change"])
async def test_a_late_commit_appears_below_the_newest_stamp(bench: Bench, kind: str) -> None:
    place = {"company": bench.us.name, "set": "customers"}
    (newest_id,) = (await bench.control("insert", **place, count=1))["ids"]
    newest = (await stamps(bench))[newest_id]
    late = (await bench.control("late-commit", **place, count=2, kind=kind, backdate_s=240))["ids"]
    assert not set(late) & {record["id"] for record in (await bench.get(since(newest))).value} - {newest_id}
    after = await stamps(bench)
    for row_id in set(late) - {newest_id}:
        assert "2025-12-31" < after[row_id] < newest


@pytest.mark.conformance("BC-96")
async def test_a_row_changed_during_paging_moves_to_the_end_of_the_order(bench: Bench) -> None:
    first = await bench.get(since("2025-01-01T00:00:00Z"), Prefer="odata.maxpagesize=2")
    moved = first.value[0]["id"]
    await bench.control("change", company=bench.us.name, set="customers", ids=[moved])
    assert first.next_link is not None
    rest = await bench.read_all(first.next_link)
    assert rest[-1]["id"] == moved


@pytest.mark.conformance("BC-97")
async def test_unstamped_rows_are_lost_to_a_filter_with_a_start_date(bench: Bench) -> None:
    everything = await stamps(bench)
    filtered = {record["id"] for record in (await bench.get(since("0001-01-02T00:00:00Z"))).value}
    (lost,) = set(everything) - filtered
    assert everything[lost] == "0001-01-01T00:00:00Z"


@pytest.mark.conformance("BC-97")
async def test_a_mass_restamp_touches_every_stamp_and_etag_and_no_content(bench: Bench) -> None:
    def content(record: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in record.items() if k not in ("@odata.etag", "lastModifiedDateTime")}

    company = bench.production.company("CRONUS Large Ltd.")
    assert company is not None
    large = f"{bench.company_url(company)}/customers?$top=300"
    for name, url in ((bench.us.name, "/customers"), (company.name, large)):
        before = (await bench.get(url)).value
        await bench.control("restamp", company=name, set="customers")
        after = (await bench.get(url)).value
        assert [content(record) for record in after] == [content(record) for record in before]
        for old, new in zip(before, after, strict=True):
            assert new["@odata.etag"] != old["@odata.etag"]
            assert new["lastModifiedDateTime"] > old["lastModifiedDateTime"]


@pytest.mark.conformance("BC-98")
async def test_a_change_of_a_calculated_field_leaves_the_stamp(bench: Bench) -> None:
    customer = (await bench.get("/customers?$top=1")).value[0]
    await bench.control(
        "change",
        company=bench.us.name,
        set="customers",
        ids=[customer["id"]],
        values={"balanceDue": 12.5},
        keep_stamp=True,
    )
    after = (await bench.get(f"/customers({customer['id']})")).json
    assert float(after["balanceDue"]) == 12.5
    assert after["lastModifiedDateTime"] == customer["lastModifiedDateTime"]


@pytest.mark.conformance("BC-98")
async def test_a_deleted_record_leaves_no_trace_but_its_absence(bench: Bench) -> None:
    before = await stamps(bench)
    (gone,) = (await bench.control("delete", company=bench.us.name, set="customers", count=1))["ids"]
    after = await stamps(bench)
    assert before.keys() - after.keys() == {gone}
    assert (await bench.get(f"/customers({gone})")).status == 404
    assert (await bench.get("/customers?$deltatoken=x", Prefer="odata.track-changes")).status == 200
    assert b"deltaLink" not in (await bench.get("/customers", Prefer="odata.track-changes")).body


async def test_a_million_rows_are_paged_filtered_and_changed_like_ten(bench: Bench) -> None:
    place = {"company": bench.us.name, "set": "vendors"}
    assert (await bench.control("seed", **place, count=999_995))["records"] == 1_000_000
    assert (await bench.get("/vendors/$count")).body == b"1000000"
    page = await bench.get("/vendors", Prefer="odata.maxpagesize=2000")
    assert len(page.value) == 2000
    assert page.next_link is not None
    ids = [record["id"] for record in (await bench.get(page.next_link, Prefer="odata.maxpagesize=2000")).value]
    assert ids == sorted(ids)
    assert ids[0] > page.value[-1]["id"]
    changed = (await bench.control("change", **place, count=50))["ids"]
    gone = (await bench.control("delete", **place, count=50))["ids"]
    new = (await bench.control("insert", **place, count=50))["ids"]
    url = "/vendors?$filter=lastModifiedDateTime%20ge%202026-01-02T00:00:00Z&$orderby=lastModifiedDateTime&$count=true"
    found = await bench.get(url)
    assert {record["id"] for record in found.value} == (set(changed) - set(gone)) | set(new)
    assert found.json["@odata.count"] == len(found.value)
    assert (await bench.get("/vendors/$count")).body == b"1000000"
    middle = page.value[1000]["id"]
    above = await bench.get(f"/vendors?$filter=id%20gt%20{middle}&$top=5&$select=id")
    assert all(record["id"] > middle for record in above.value)
    assert len(above.value) == 5


async def test_a_filter_that_no_index_answers_reads_only_as_far_as_its_page(bench: Bench) -> None:
    await bench.control("seed", company=bench.us.name, set="vendors", count=1_000_000)
    found = await bench.get("/vendors?$filter=country%20eq%20'DK'&$top=20&$select=country")
    assert [record["country"] for record in found.value] == ["DK"] * 20
    (one,) = (await bench.get("/vendors?$filter=number%20eq%20'0654321'&$select=number")).value
    assert one["number"] == "0654321"


async def test_records_named_by_their_ids_are_found_at_once_among_a_million(bench: Bench) -> None:
    await bench.control("seed", company=bench.us.name, set="vendors", count=1_000_000)
    ids = (await bench.control("change", company=bench.us.name, set="vendors", count=30))["ids"]
    either = quote(" or ".join(f"id eq {row_id}" for row_id in ids), safe="")
    found = (await bench.get(f"/vendors?$filter={either}&$select=id")).value
    assert [record["id"] for record in found] == sorted(ids)
    among = quote(f"id in ({','.join(ids)}) and country ne 'XX'", safe="")
    paged = await bench.read_all(f"/vendors?$filter={among}&$schemaversion=2.1&$select=id", Prefer="maxpagesize=7")
    assert [record["id"] for record in paged] == sorted(ids)
