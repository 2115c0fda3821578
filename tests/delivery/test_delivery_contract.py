"""What a receiver gets, byte by byte."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.delivery.conftest import CONNECTION, PROJECT, change

from isthmus.delivery.contract import Delivery, encode_change, encode_delivery
from isthmus.store.rows import Change, ChangeKind

DESTINATION = UUID("01890000-0000-7000-8000-000000000003")


def delivery(*changes: Change, attempt: int = 1) -> Delivery:
    encoded = tuple(encode_change(entry) for entry in changes)
    return Delivery(
        project=PROJECT,
        destination=DESTINATION,
        after=changes[0].number - 1,
        last=changes[-1].number,
        attempt=attempt,
        changes=encoded,
    )


def test_a_delivery_has_the_documented_shape() -> None:
    event: Any = msgspec.json.decode(encode_delivery(delivery(change(7), change(9), attempt=3)))
    assert event["type"] == "records.changed"
    assert event["project"] == str(PROJECT)
    assert event["delivery"] == {
        "id": f"dlv_{DESTINATION.hex}_7_9",
        "destination": str(DESTINATION),
        "sequence": 7,
        "last": 9,
        "attempt": 3,
    }
    assert event["changes"][0] | {"record": None} == {
        "id": f"chg_{PROJECT.hex}_7",
        "number": 7,
        "kind": "updated",
        "object": "customers",
        "connection": str(CONNECTION),
        "company": "CRONUS",
        "remote_id": "r7",
        "at": "2026-01-02T03:04:05.678000Z",
        "record": None,
    }


@pytest.mark.conformance("BC-53")
def test_a_records_bytes_are_embedded_untouched_so_that_money_stays_exact() -> None:
    raw = b'{ "balance" : 123456789012345678.10, "rate":6.00006 ,"e":1E+2,"text":"\\u00e6 \\/ \xc3\xb8"}'
    body = encode_delivery(delivery(change(1, raw=raw)))
    assert raw in body
    shape = msgspec.defstruct("Record", [("balance", Decimal), ("rate", Decimal)])
    record = msgspec.json.decode(raw, type=shape)
    assert (record.balance, record.rate) == (Decimal("123456789012345678.10"), Decimal("6.00006"))  # type: ignore[attr-defined]  # made at run time


def test_a_deletion_carries_no_record() -> None:
    encoded = encode_change(change(1, kind=ChangeKind.DELETED, raw=None))
    assert msgspec.json.decode(encoded.json)["record"] is None


def test_the_ids_depend_on_nothing_but_what_is_delivered() -> None:
    first, second = delivery(change(4), change(5)), delivery(change(4), change(5), attempt=2)
    assert first.id == second.id
