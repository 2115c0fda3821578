"""First loads, increments, comparisons and sweeps against a real Business Central simulator."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.hub_fixtures import US, US_ID, W1, W1_ID, House

from isthmus.app import Hub
from isthmus.kernel.failures import InvalidInput
from isthmus.store import runs, syncs
from isthmus.store.rows import Change, Connection, RunKind, RunState, Sync
from isthmus_sandbox.business_central import changes
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import Value

ONE = (US,)


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    """An opened hub."""
    async with house.hub() as opened:
        yield opened


@pytest.fixture
async def connection(house: House, hub: Hub) -> Connection:
    """A checked connection."""
    return await house.connect(hub)


def vendors_of(house: House) -> list[Row]:
    """The vendors as the simulator holds them; inside its own loop only."""
    place = house.place("vendors")
    return list(house.service.table(place.company, place.entity).rows())


def kinds(found: list[Change]) -> Counter[str]:
    return Counter(each.kind.value for each in found)


async def emitted(house: House, hub: Hub, sync: Sync, kind: RunKind | None = None, **options: object) -> list[Change]:
    """What one more run adds to the feed."""
    before = await house.head(hub)
    ended, _ = await house.run(hub, sync, kind, **options)
    assert ended.state is RunState.SUCCEEDED, ended.failure
    return await house.changes_after(hub, before)


# -- increments --------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-03", "BC-96")
async def test_an_increment_finds_exactly_what_changed_in_each_company(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "Customers", companies=(US, W1))
    ended, done = await house.run(hub, sync)
    assert (ended.kind, done.created) == (RunKind.BACKFILL, house.count("customers"))
    assert await emitted(house, hub, sync) == []
    changed = [*house.change("customers", 2), *house.change("customers", 1, W1)]
    added = house.insert("customers", 2, W1)
    found = await emitted(house, hub, sync)
    assert kinds(found) == {"updated": 3, "created": 2}
    assert {each.remote_id.casefold() for each in found} == {each.casefold() for each in changed + added}
    assert {each.company for each in found if each.kind == "created"} == {W1_ID}
    assert await emitted(house, hub, sync) == []


@pytest.mark.conformance("BC-96")
async def test_a_change_that_bears_the_very_stamp_of_the_watermark_is_found(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    newest = house.insert("vendors", 3)
    await house.run(hub, sync)
    house.change("vendors", ids=[newest[1]], keep_stamp=True)
    assert kinds(await emitted(house, hub, sync)) == {"updated": 1}


@pytest.mark.conformance("BC-96")
async def test_what_commits_as_late_as_the_vendor_allows_is_found_and_nothing_comes_twice(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    house.insert("vendors")
    await house.run(hub, sync)
    late = house.insert("vendors", 2, backdate_s=600)
    found = await emitted(house, hub, sync)
    assert sorted(each.remote_id for each in found) == sorted(each.lower() for each in late)
    assert await emitted(house, hub, sync) == []


@pytest.mark.conformance("BC-97", "BC-98")
async def test_what_commits_later_than_the_overlap_is_found_by_the_sweep(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    house.insert("vendors")
    await house.run(hub, sync)
    house.insert("vendors", 2, backdate_s=3_000)
    assert await emitted(house, hub, sync) == []
    assert kinds(await emitted(house, hub, sync, RunKind.SWEEP)) == {"created": 2}


@pytest.mark.conformance("BC-97")
async def test_records_without_a_stamp_are_read_at_first_and_found_later_by_the_sweep(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.insert("vendors", 3, stamped=False)
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    await house.run(hub, sync)
    assert await house.stored(hub, sync) == house.count("vendors", US)
    house.insert("vendors", 60, stamped=False)
    assert await emitted(house, hub, sync) == []
    found = await emitted(house, hub, sync, RunKind.SWEEP)
    assert kinds(found) == {"created": 60}
    assert all(each.raw and b"displayName" in each.raw for each in found)
    assert await emitted(house, hub, sync, RunKind.SWEEP) == []


@pytest.mark.conformance("BC-97")
async def test_a_restamp_of_everything_emits_nothing(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "items", companies=ONE)
    await house.run(hub, sync)
    assert house.restamp("items") == 22
    before = await house.head(hub)
    _, done = await house.run(hub, sync)
    assert done.seen == 22
    assert await house.head(hub) == before


@pytest.mark.conformance("BC-04")
async def test_the_same_id_in_two_environments_is_two_records(house: House, hub: Hub, connection: Connection) -> None:
    trial = await house.connect(hub, name="trial", environment="Sandbox")
    one = await house.sync(hub, connection, "currencies", companies=ONE)
    two = await house.sync(hub, trial, "currencies", companies=ONE)
    first = await emitted(house, hub, one)
    second = await emitted(house, hub, two)
    assert {each.remote_id for each in first} & {each.remote_id for each in second}
    assert {each.connection_id for each in second} == {trial.id}
    assert kinds(second) == {"created": 5}


@pytest.mark.conformance("BC-98")
async def test_a_calculated_change_without_a_stamp_is_found_by_a_full_comparison(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    old = house.sandbox.call(lambda: [row.id for row in vendors_of(house)])
    house.insert("vendors")
    await house.run(hub, sync)
    house.change("vendors", ids=old[:1], keep_stamp=True)
    assert await emitted(house, hub, sync) == []
    assert kinds(await emitted(house, hub, sync, full=True)) == {"updated": 1}


# -- deletions ---------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-98")
async def test_deletions_are_found_by_the_sweep_and_by_nothing_else(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "vendors", companies=(US, W1))
    await house.run(hub, sync)
    gone = [*house.delete("vendors", 1), *house.delete("vendors", 1, W1)]
    assert await emitted(house, hub, sync) == []
    found = await emitted(house, hub, sync, RunKind.SWEEP)
    assert kinds(found) == {"deleted": 2}
    assert {each.remote_id for each in found} == {each.lower() for each in gone}
    assert await emitted(house, hub, sync, RunKind.SWEEP) == []


@pytest.mark.conformance("BC-98")
async def test_a_sweep_that_did_not_see_everything_deletes_nothing(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("vendors", 100)
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    await house.run(hub, sync)
    house.delete("vendors", 3)
    house.switch(page_records_max=40)
    house.sandbox.fault("status", status=503, path="/vendors$", skip=1, count=None, retry_after_s=3_000)
    before = await house.head(hub)
    ended, _ = await house.run(hub, sync, RunKind.SWEEP)
    assert ended.state is RunState.FAILED
    assert await house.head(hub) == before
    assert await house.stored(hub, sync) == 105


@pytest.mark.conformance("BC-98")
async def test_a_sweep_that_misses_suspiciously_many_waits_for_a_person(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("vendors", 60)
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    await house.run(hub, sync)
    house.delete("vendors", 40)
    before = await house.head(hub)
    ended, _ = await house.run(hub, sync, RunKind.SWEEP)
    assert (ended.state, ended.options["held"]) == (RunState.HELD, 40)
    assert await house.head(hub) == before
    assert kinds(await emitted(house, hub, sync, RunKind.SWEEP, force=True)) == {"deleted": 40}


async def test_a_record_that_comes_back_is_created_again(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "disputeStatus", companies=ONE)
    await house.run(hub, sync)

    def take_out() -> dict[str, Value]:
        place = house.place("disputeStatus")
        table = house.service.table(place.company, place.entity)
        row = next(iter(table.rows()))
        values = dict(row.values)
        changes.delete(house.service, place, ids=[row.id])
        return values

    values = house.sandbox.call(take_out)
    assert kinds(await emitted(house, hub, sync)) == {"deleted": 1}
    house.sandbox.call(lambda: changes.insert(house.service, house.place("disputeStatus"), records=[values]))
    assert kinds(await emitted(house, hub, sync)) == {"created": 1}


# -- sets of other kinds -----------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-95", "BC-98")
async def test_a_set_without_a_stamp_is_compared_in_full_with_its_deletions(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "disputeStatus", companies=ONE)
    assert sync.sweep_schedule is None
    await house.run(hub, sync)
    assert await emitted(house, hub, sync) == []
    house.insert("disputeStatus", 2)
    house.change("disputeStatus", 1)
    found = kinds(await emitted(house, hub, sync))
    assert found["created"] == 2
    house.delete("disputeStatus", 1)
    assert kinds(await emitted(house, hub, sync)) == {"deleted": 1}


@pytest.mark.conformance("BC-40", "BC-41")
async def test_lines_come_through_their_documents_and_stay_in_step(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "salesInvoiceLines", companies=ONE)
    first = await emitted(house, hub, sync)
    assert kinds(first) == {"created": 14}
    assert await emitted(house, hub, sync) == []
    (line,) = house.change("salesInvoiceLines", 1)

    def touch_document() -> None:
        place = house.place("salesInvoiceLines")
        row = house.service.table(place.company, place.entity).get(line)
        assert row is not None
        changes.change(house.service, house.place("salesInvoices"), ids=[str(row.values["documentId"])], values={})

    house.sandbox.call(touch_document)
    found = await emitted(house, hub, sync)
    assert kinds(found) == {"updated": 1}
    house.delete("salesInvoiceLines", ids=[line])
    assert kinds(await emitted(house, hub, sync, RunKind.SWEEP)) == {"deleted": 1}


@pytest.mark.conformance("BC-40")
async def test_lines_with_several_parents_are_read_through_all_of_them(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "defaultDimensions", companies=ONE)
    assert len(await emitted(house, hub, sync)) == 5


@pytest.mark.conformance("BC-43", "BC-44")
async def test_a_report_is_compared_and_unchanged_rows_emit_nothing(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "trialBalances", companies=ONE)
    assert await emitted(house, hub, sync)
    assert await emitted(house, hub, sync) == []


@pytest.mark.conformance("BC-48")
async def test_an_api_query_without_a_key_is_compared_by_content(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "customerSales", companies=ONE)
    first = await emitted(house, hub, sync)
    assert first
    assert await emitted(house, hub, sync) == []


@pytest.mark.conformance("BC-12", "BC-11")
async def test_a_custom_route_is_read_with_all_of_its_fields(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "rentalContracts", route="contoso/app1/v1.0", companies=(US, W1))
    found = await emitted(house, hub, sync)
    assert len(found) == house.count("rentalContracts", route="contoso/app1/v1.0") == 6
    assert all(each.raw is not None and len(msgspec.json.decode(each.raw)) > 3 for each in found)


async def test_the_automation_route_is_read_like_the_others(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "users", route="automation", companies=ONE)
    assert len(await emitted(house, hub, sync)) == 4


@pytest.mark.conformance("BC-02")
async def test_a_set_of_the_whole_tenant_is_read_once(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "companies")
    found = await emitted(house, hub, sync)
    assert len(found) == 4
    assert {each.company for each in found} == {""}


@pytest.mark.conformance("BC-07")
async def test_a_set_of_a_later_version_says_which(house: House, connection: Connection) -> None:
    import asyncio

    house.switch(version="28.0")
    answer = await asyncio.to_thread(house.type, "read", "assemblyOrders")
    assert answer.code == 5
    assert "came with Business Central version 29" in answer.words
    assert "assemblyOrders" not in (await asyncio.to_thread(house.type, "objects")).out


# -- wishes ------------------------------------------------------------------------------------------------------------


async def test_no_backfill_starts_at_the_present(house: House, hub: Hub, connection: Connection) -> None:
    house.insert("vendors")
    sync = await house.sync(hub, connection, "vendors", companies=ONE, backfill_days=0)
    assert await emitted(house, hub, sync) == []
    assert await house.stored(hub, sync) == 0
    house.sandbox.advance(800)
    added = house.insert("vendors", 2)
    found = await emitted(house, hub, sync)
    assert {each.remote_id for each in found} >= {each.lower() for each in added}
    assert kinds(found)["created"] <= 3, "the newest old one lies inside the overlap"


async def test_no_backfill_of_an_empty_set_loses_nothing_that_comes(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "assemblyOrders", companies=ONE, backfill_days=0)
    await house.run(hub, sync)
    house.insert("assemblyOrders", 1)
    house.sandbox.advance(3_000)
    house.insert("assemblyOrders", 1)
    assert kinds(await emitted(house, hub, sync)) == {"created": 2}


async def test_a_window_reads_its_days_and_a_sweep_does_not_widen_it(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("vendors", 30)
    new = house.insert("vendors", 2)
    sync = await house.sync(hub, connection, "vendors", companies=ONE, backfill_days=1)
    found = await emitted(house, hub, sync)
    assert {each.lower() for each in new} <= {each.remote_id for each in found}
    assert len(found) < 30
    assert await emitted(house, hub, sync, RunKind.SWEEP) == []
    house.delete("vendors", ids=[new[0]])
    assert kinds(await emitted(house, hub, sync, RunKind.SWEEP)) == {"deleted": 1}


async def test_a_filter_and_a_selection_hold_in_every_run(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(
        hub, connection, "customers", companies=ONE, fields=("number", "DISPLAYNAME"), filter="number ge '20000'"
    )
    assert (sync.fields, sync.filter) == (["number", "displayName"], "number ge '20000'")
    found = await emitted(house, hub, sync)
    assert found
    rows = [msgspec.json.decode(each.raw) for each in found if each.raw]
    assert all(row["number"] >= "20000" for row in rows)
    assert {name for row in rows for name in row if not name.startswith("@")} == {
        "id",
        "number",
        "displayName",
        "lastModifiedDateTime",
    }
    house.change("customers", 5)
    again = await emitted(house, hub, sync)
    assert {each.remote_id for each in again} <= {each.remote_id for each in found}


async def test_related_records_come_along(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "salesInvoices", companies=ONE, expand=("SalesInvoiceLines",))
    found = await emitted(house, hub, sync)
    lines = [len(msgspec.json.decode(each.raw)["salesInvoiceLines"]) for each in found if each.raw]
    assert sum(lines) == 14


async def test_a_reset_reads_everything_again_and_emits_nothing(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    await house.run(hub, sync)
    async with hub.db.project(hub.project.id) as tx:
        await syncs.reset(tx, sync.id)
    before = await house.head(hub)
    _, done = await house.run(hub, sync)
    assert (done.seen, done.created, done.updated) == (5, 0, 0)
    assert await house.head(hub) == before


@pytest.mark.parametrize(
    "wish",
    [{"backfill_days": -1}, {"schedule": "sometimes"}, {"sweep_schedule": "61 * * * *"}],
    ids=["a negative window", "no schedule", "no cron"],
)
async def test_a_wish_that_cannot_be_kept_is_refused_before_it_is_saved(
    house: House, hub: Hub, connection: Connection, wish: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput):
        await house.sync(hub, connection, "vendors", **wish)
    async with hub.db.project(hub.project.id) as tx:
        assert await syncs.every(tx) == []


async def test_a_sync_whose_companies_are_all_gone_says_so(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "vendors", companies=(W1,))
    await house.run(hub, sync)

    def drop() -> None:
        production = house.service.environment_named("Production", None)
        production.companies[:] = [each for each in production.companies if each.id != W1_ID]

    house.sandbox.call(drop)
    await hub.check(connection)
    ended, _ = await house.run(hub, sync)
    assert (ended.failure or {})["code"] == "company_not_found"


async def test_records_are_kept_byte_for_byte(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "items", companies=ONE)
    await house.run(hub, sync)
    asked = [each for each in house.requests("/items") if each["status"] == 200]
    assert asked
    found = await house.changes_after(hub, 0)
    amounts = [each.raw for each in found if each.raw and b'"unitPrice":' in each.raw]
    assert len(amounts) == 22
    assert {each.company for each in found} == {US_ID}


async def test_the_journal_of_a_run_names_every_request_and_no_secret(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    ended, _ = await house.run(hub, sync)
    async with hub.db.project(hub.project.id) as tx:
        noted = [each.entry for each in await runs.journal(tx, ended.id)]
    assert {"count", "page"} <= {each["purpose"] for each in noted}
    assert "Bearer" not in str(noted)
    assert dt.datetime.now(dt.UTC) - ended.requested_at < dt.timedelta(minutes=1)
