"""What a receiver gets: the change, the delivery around it, and their JSON. See docs/explanation/delivery-contract.md.

    {"type": "records.changed", "project": "…",
     "delivery": {"id": "dlv_…", "destination": "…", "sequence": 7, "last": 9, "attempt": 1},
     "changes": [{"id": "chg_…", "number": 7, "kind": "updated", "object": "customers", "connection": "…",
                  "company": "…", "remote_id": "…", "at": "2026-01-02T03:04:05.678Z", "record": {…}}, …]}

`record` holds the vendor's bytes untouched, as they are when the delivery is made (so money is never rounded, BC-53).
It is null for a deletion, and for a record that has been deleted since: its deletion follows. A record that is too
large for the destination is null too, with a link under which it can be fetched for a while (`record_url`).

An event comes alone, in the same envelope:

    {"type": "run.failed", "project": "…", "delivery": {…},
     "event": {"id": "evt_…", "number": 8, "type": "run.failed", "at": "…", "subject": {…}, "data": {…}}}
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.kernel.event_types import RECORDS_CHANGED
from isthmus.store.events import Event
from isthmus.store.rows import Change


class Encoded(msgspec.Struct, frozen=True):
    """A change or an event as JSON, ready to be put into a delivery or a file."""

    number: int
    json: bytes
    type: str = RECORDS_CHANGED


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A batch on its way to one destination: what it wants `after` a cursor up to `last`; `attempt` counts from one.

    `replay`: it was asked for by numbers, and is no step of the destination's own way through the feed. `name`: it
    stands outside of the feed (a test event) and is known by this.
    """

    project: UUID
    destination: UUID
    after: int
    last: int
    attempt: int
    changes: tuple[Encoded, ...]
    replay: bool = False
    name: str | None = None

    @property
    def id(self) -> str:
        """The same for every attempt at the same changes, before and after a crash: made of what it holds."""
        if self.name is not None:
            return f"dlv_{self.destination.hex}_{self.name}"
        return delivery_id(self.destination, self.first, self.changes[-1].number)

    @property
    def changed(self) -> int:
        """How many changes of records are inside; events do not count."""
        return sum(each.type == RECORDS_CHANGED for each in self.changes)

    @property
    def first(self) -> int:
        """Number of the first change inside."""
        return self.changes[0].number


class RecordLink(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record that is too large to be sent can be fetched, and until when."""

    url: str
    expires_at: datetime


class _Change(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    number: int
    kind: str
    object: str
    connection: UUID
    company: str
    remote_id: str
    at: datetime
    record: msgspec.Raw
    record_bytes: int | None = None
    record_url: str | None = None
    record_url_expires_at: datetime | None = None


class _Event(msgspec.Struct, frozen=True):
    id: str
    number: int
    type: str
    at: datetime
    subject: dict[str, Any]
    data: dict[str, Any]


def delivery_id(destination: UUID, first: int, last: int) -> str:
    """The stable id of a batch; also the `webhook-id`."""
    return f"dlv_{destination.hex}_{first}_{last}"


_NULL: Final = msgspec.Raw(b"null")


def encode_change(change: Change, link: RecordLink | None = None) -> Encoded:
    """A change as JSON with the record's bytes embedded as they are, or with a link in their place."""
    document = _Change(
        id=change.id,
        number=change.number,
        kind=change.kind.value,
        object=change.object,
        connection=change.connection_id,
        company=change.company,
        remote_id=change.remote_id,
        at=change.at,
        record=_NULL if change.raw is None or link is not None else msgspec.Raw(change.raw),
        record_bytes=None if change.raw is None or link is None else len(change.raw),
        record_url=None if link is None else link.url,
        record_url_expires_at=None if link is None else link.expires_at,
    )
    return Encoded(change.number, msgspec.json.encode(document))


def encode_event(event: Event) -> Encoded:
    """An event as JSON."""
    document = _Event(
        id=event.name, number=event.number, type=event.type, at=event.at, subject=event.subject, data=event.data
    )
    return Encoded(event.number, msgspec.json.encode(document), event.type)


def encode_delivery(delivery: Delivery) -> bytes:
    """The body of a webhook."""
    head = msgspec.json.encode(
        {
            "type": delivery.changes[0].type,
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
    if delivery.changes[0].type != RECORDS_CHANGED:
        return head[:-1] + b',"event":' + delivery.changes[0].json + b"}"
    return head[:-1] + b',"changes":[' + b",".join(change.json for change in delivery.changes) + b"]}"
