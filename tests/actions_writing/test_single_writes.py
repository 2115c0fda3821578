"""One write at a time: created, changed, deleted, posted, and what is refused before and after sending."""

from __future__ import annotations

import msgspec
import pytest
from tests.actions_writing.conftest import QUICK, Pen, confirmed, record, refused

from isthmus.kernel.failures import BadRequest, InvalidInput, UnknownField, Unsupported
from isthmus.store.operations import OperationState


@pytest.mark.conformance("BC-59")
async def test_a_record_is_created_and_its_operation_tells_id_version_and_record(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "Contoso Coffee", "city": "Aarhus"}))
    (row,) = pen.rows("customers", displayName="Contoso Coffee")
    assert (made.remote_id, made.attempts, record(made)["city"]) == (row["id"], 1, "Aarhus")
    assert (made.etag or "").startswith('W/"')
    assert [entry["purpose"] for entry in made.journal if entry["method"] == "POST"][-1] == "create"


@pytest.mark.conformance("BC-60", "BC-63")
async def test_a_change_reads_the_version_first_and_sends_only_what_differs(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A", "city": "Aarhus"}))
    whole = record(made) | {"city": "Odense"}
    changed = confirmed(await pen.submit("update", "customers", whole_body(whole), record_id=made.remote_id))
    assert record(changed)["city"] == "Odense"
    assert changed.sent_body == b'{"city":"Odense"}'
    assert changed.etag != made.etag


async def test_a_change_without_a_difference_sends_nothing(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A", "city": "Aarhus"}))
    same = confirmed(await pen.submit("update", "customers", {"city": "Aarhus"}, record_id=made.remote_id))
    assert same.attempts == 0
    assert pen.sent("PATCH") == []


@pytest.mark.conformance("BC-61")
@pytest.mark.parametrize("status", [409, 412])
async def test_a_stale_version_is_a_conflict_with_the_current_record(pen: Pen, status: int) -> None:
    pen.house.switch(stale_etag_status=status)
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A", "city": "Aarhus"}))
    pen.house.change("customers", ids=[made.remote_id], values={"city": "Vejle"})
    late = await pen.submit("update", "customers", {"city": "Odense"}, record_id=made.remote_id, if_match=made.etag)
    assert refused(late)["code"] == "conflict"
    assert record(late)["city"] == "Vejle"
    assert late.etag == record(late)["@odata.etag"]


@pytest.mark.conformance("BC-61")
async def test_overwriting_happens_only_when_it_was_asked_for(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A", "city": "Aarhus"}))
    pen.house.change("customers", ids=[made.remote_id], values={"city": "Vejle"})
    forced = await pen.submit("update", "customers", {"city": "Odense"}, record_id=made.remote_id, overwrite=True)
    assert record(confirmed(forced))["city"] == "Odense"
    with pytest.raises(InvalidInput, match="no version"):
        await pen.submit("update", "customers", {"city": "X"}, record_id=made.remote_id, if_match="*")


@pytest.mark.conformance("BC-71")
async def test_a_change_of_an_unknown_record_is_not_found_and_creates_nothing(pen: Pen) -> None:
    before = len(pen.rows("customers"))
    unknown = "00000000-0000-0000-0000-00000000abcd"
    assert (
        refused(await pen.submit("update", "customers", {"city": "X"}, record_id=unknown))["code"] == "record_not_found"
    )
    overwriting = await pen.submit("update", "customers", {"city": "X"}, record_id=unknown, overwrite=True)
    assert refused(overwriting)["code"] == "record_not_found"
    assert len(pen.rows("customers")) == before


@pytest.mark.conformance("BC-59")
async def test_a_record_is_deleted(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A"}))
    confirmed(await pen.submit("delete", "customers", record_id=made.remote_id))
    assert pen.rows("customers", displayName="A") == []


async def test_deleting_what_is_not_there_fails_and_a_stale_version_is_a_conflict(pen: Pen) -> None:
    unknown = "00000000-0000-0000-0000-00000000abcd"
    assert refused(await pen.submit("delete", "customers", record_id=unknown))["code"] == "record_not_found"
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A"}))
    pen.house.change("customers", ids=[made.remote_id], values={"city": "Vejle"})
    stale = await pen.submit("delete", "customers", record_id=made.remote_id, if_match=made.etag)
    assert (refused(stale)["code"], record(stale)["city"]) == ("conflict", "Vejle")
    assert pen.sent("DELETE") == []


@pytest.mark.conformance("BC-65")
async def test_a_document_and_its_lines_are_one_request(pen: Pen) -> None:
    made = confirmed(await pen.draft_invoice("EXT-1"))
    assert len(pen.rows("salesInvoiceLines", documentId=made.remote_id)) == 1
    assert len(pen.sent("POST")) == 1


@pytest.mark.conformance("BC-73", "BC-74")
async def test_a_posted_invoice_keeps_its_id_and_gets_another_number(pen: Pen) -> None:
    made = confirmed(await pen.draft_invoice("EXT-1"))
    posted = confirmed(await pen.submit("action", "salesInvoices", record_id=made.remote_id, action="post"))
    (row,) = pen.rows("salesInvoices", id=made.remote_id) or [
        each for each in pen.rows("salesInvoices") if each["id"] == made.remote_id
    ]
    assert row["number"] != record(made)["number"]
    assert posted.remote_id == made.remote_id


@pytest.mark.conformance("BC-62", "BC-73")
async def test_what_an_object_does_not_offer_is_refused_before_anything_is_sent(pen: Pen) -> None:
    with pytest.raises(Unsupported):
        await pen.submit("create", "generalLedgerEntries", {"description": "x"})
    with pytest.raises(Unsupported, match="cancel"):
        await pen.submit("action", "purchaseInvoices", record_id="0" * 32, action="cancel")
    assert pen.sent("POST") == []


@pytest.mark.conformance("BC-68")
async def test_a_body_that_cannot_be_written_is_refused_before_anything_is_stored(pen: Pen) -> None:
    with pytest.raises(UnknownField, match="displayName"):
        await pen.submit("create", "customers", {"displayNam": "x"})
    with pytest.raises(BadRequest, match="read-only"):
        await pen.submit("create", "customers", {"id": "0" * 8, "displayName": "x"})
    assert await pen.writer.list(pen.project_id) == []


@pytest.mark.conformance("BC-70")
async def test_a_business_rule_is_told_in_the_vendors_words_and_not_repeated(pen: Pen) -> None:
    pen.house.switch(manual_numbers_refused=["customers"])
    made = await pen.submit("create", "customers", {"number": "MINE", "displayName": "A"})
    failure = refused(made)
    assert (failure["code"], failure["vendor"]["code"]) == ("business_rule", "Application_DialogException")
    assert failure["vendor"]["correlation_id"]
    assert made.attempts == 1


@pytest.mark.conformance("BC-46")
async def test_no_write_and_no_read_around_one_asks_for_the_replica(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A"}))
    pen.house.switch(replica_lag_s=3_600.0)
    confirmed(await pen.submit("update", "customers", {"city": "B"}, record_id=made.remote_id))
    confirmed(await pen.submit("delete", "customers", record_id=made.remote_id))


async def test_an_upsert_creates_once_and_changes_afterwards(pen: Pen) -> None:
    body = {"number": "UP-1", "displayName": "A & B (Ltd.)", "city": "Aarhus"}
    first = confirmed(await pen.submit("upsert", "customers", body, match=("displayName",)))
    second = confirmed(await pen.submit("upsert", "customers", body | {"city": "Odense"}, match=("displayName",)))
    assert second.remote_id == first.remote_id
    assert [row["city"] for row in pen.rows("customers", number="UP-1")] == ["Odense"]


async def test_throttling_puts_a_write_off_without_losing_it(pen: Pen) -> None:
    pen.writer = pen.another(msgspec.structs.replace(QUICK, deadline_s=3.0))
    pen.house.sandbox.fault("status", method="POST", path="customers$", status=503, count=50)
    put_off = await pen.submit("create", "customers", {"displayName": "A"})
    assert put_off.state is OperationState.PLANNED
    assert (put_off.failure or {})["code"] == "vendor_unavailable"
    pen.house.sandbox.call(pen.house.sandbox.estate.faults.clear)
    confirmed(await pen.settled(put_off))
    assert len(pen.rows("customers", displayName="A")) == 1


def whole_body(values: dict[str, object]) -> bytes:
    """A record as JSON, decimals as numbers."""
    return msgspec.json.Encoder(decimal_format="number").encode(values)
