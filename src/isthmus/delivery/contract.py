"""What a receiver gets: the change, the delivery around it, and their JSON. See docs/explanation/delivery-contract.md.

    {"type": "records.changed", "project": "…",
     "delivery": {"id": "dlv_…", "destination": "…", "sequence": 7, "last": 9, "attempt": 1},
     "changes": [{"id": "chg_…", "number": 7, "kind": "updated", "object": "customers", "connection": "…",
                  "company": "…", "remote_id": "…", "at": "2026-01-02T03:04:05.678Z", "record": {…}}, …]}

`record` holds the vendor's bytes untouched, as they are when the delivery is made (so money is never rounded, BC-53).
It is null for a deletion, and for a record that has been deleted since: its deletion follows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from isthmus.store.rows import Change

RECORDS_CHANGED: Final = "records.changed"
"""The one event type of the change feed."""


class EncodedChange(msgspec.Struct, frozen=True):
    """A change as JSON, ready to be put into a delivery or a file."""

    number: int
    json: bytes


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A batch on its way to one destination: the changes `after` a cursor up to `last`; `attempt` counts from one.

    `replay`: it was asked for by numbers, and is no step of the destination's own way through the feed.
    """

    project: UUID
    destination: UUID
    after: int
    last: int
    attempt: int
    changes: tuple[EncodedChange, ...]
    replay: bool = False

    @property
    def id(self) -> str:
        """The same for every attempt at the same changes, before and after a crash: made of what it holds."""
        return delivery_id(self.destination, self.first, self.changes[-1].number)

    @property
    def first(self) -> int:
        """Number of the first change inside."""
        return self.changes[0].number


class _Change(msgspec.Struct, frozen=True):
    id: str
    number: int
    kind: str
    object: str
    connection: UUID
    company: str
    remote_id: str
    at: datetime
    record: msgspec.Raw


def delivery_id(destination: UUID, first: int, last: int) -> str:
    """The stable id of a batch; also the `webhook-id`."""
    return f"dlv_{destination.hex}_{first}_{last}"


_NULL: Final = msgspec.Raw(b"null")


def encode_change(change: Change) -> EncodedChange:
    """A change as JSON with the record's bytes embedded as they are."""
    document = _Change(
        id=change.id,
        number=change.number,
        kind=change.kind.value,
        object=change.object,
        connection=change.connection_id,
        company=change.company,
        remote_id=change.remote_id,
        at=change.at,
        record=_NULL if change.raw is None else msgspec.Raw(change.raw),
    )
    return EncodedChange(change.number, msgspec.json.encode(document))


def encode_delivery(delivery: Delivery) -> bytes:
    """The body of a webhook."""
    head = msgspec.json.encode(
        {
            "type": RECORDS_CHANGED,
            "project": delivery.project,
            "delivery": {
                "id": delivery.id,
                "destination": delivery.destination,
                "sequence": delivery.first,
                "last": delivery.changes[-1].number,
                "attempt": delivery.attempt,
            },
        }
    )
    return head[:-1] + b',"changes":[' + b",".join(change.json for change in delivery.changes) + b"]}"
