"""What Isthmus tells the host besides changed records: every type of event, in one sentence, with an example.

The names are part of the contract with receivers: a name is never used for something else, and new ones may come at any
time, so that receivers pass over what they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

RECORDS_CHANGED: Final = "records.changed"
"""The type of a delivery of changes. They have a feed of their own and are no events."""


class EventExample(msgspec.Struct, frozen=True):
    """What an event of a type looks like: `subject` says what it is about (ids), `data` what happened."""

    subject: dict[str, Any]
    data: dict[str, Any]


EVENT_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "connection.created": "A consumer's connection was made; it is not usable before its state is `connected`.",
        "connection.state_changed": "A connection entered another state, or the same state for another reason.",
        "connection.needs_reauth": "A connection stands still until a person signs in again or gives a new secret.",
        "connection.secret_expiring": "A connection's own secret expires in 30, 14, 7 or 1 days, or has expired.",
        "integration.secret_expiring": "The secret of your own app, for all connections, ends in 30, 14, 7 or 1 days.",
        "connection.disconnected": "A connection was ended; nothing is read from it or written to it any more.",
        "connect_session.completed": "A person finished the connect page and the connection works.",
        "connect_session.failed": "A person's attempt to connect ended without a working connection.",
        "sync.schema_changed": "Fields of an object that a sync reads were created, removed, or changed their type.",
        "sync.held": "A run found suspiciously many deletions and waits for a person to confirm them.",
        "run.failed": "A run of a sync ended without success and is not tried again by itself.",
        "operation.confirmed": "A write was carried out at the vendor.",
        "operation.failed": "A write was refused and nothing of it was carried out.",
        "operation.uncertain": "It could not be found out whether a write was carried out; a person has to look.",
        "operation.approval_needed": "A write waits until a person approves it.",
        "destination.paused": "A destination gets no deliveries until a person resumes it.",
        "test": "Somebody sent a test event; it means nothing.",
    }
)
"""Every type with one sentence."""

_CONNECTION: Final = {"connection_id": "0199f6a0-0000-7000-8000-000000000001", "consumer": "acme-42"}
_SYNC: Final = {**_CONNECTION, "sync_id": "0199f6a0-0000-7000-8000-000000000002", "object": "customers"}
_RUN: Final = {**_SYNC, "run_id": "0199f6a0-0000-7000-8000-000000000003"}
_OPERATION: Final = {
    "connection_id": _CONNECTION["connection_id"],
    "operation_id": "0199f6a0-0000-7000-8000-000000000004",
    "object": "salesInvoices",
}
_SESSION: Final = {"connect_session_id": "0199f6a0-0000-7000-8000-000000000005", "consumer": "acme-42"}

EVENT_EXAMPLES: Final[Mapping[str, EventExample]] = MappingProxyType(
    {
        "connection.created": EventExample(_CONNECTION, {"name": "acme", "provider": "business_central"}),
        "connection.state_changed": EventExample(
            _CONNECTION, {"state": "degraded", "reason": "permission_missing", "before": "connected"}
        ),
        "connection.needs_reauth": EventExample(_CONNECTION, {"reason": "secret_expired", "turn": "consumer"}),
        "connection.secret_expiring": EventExample(_CONNECTION, {"days": 14, "expires_at": "2026-12-04T00:00:00Z"}),
        "integration.secret_expiring": EventExample(
            {"integration_id": "0199f6a0-0000-7000-8000-000000000007"},
            {"days": 14, "expires_at": "2026-12-04T00:00:00Z", "staged": False, "connections": 212},
        ),
        "connection.disconnected": EventExample(_CONNECTION, {"data": "kept"}),
        "connect_session.completed": EventExample(
            {**_SESSION, "connection_id": _CONNECTION["connection_id"]}, {"provider": "business_central"}
        ),
        "connect_session.failed": EventExample(_SESSION, {"reason": "app_not_registered"}),
        "sync.schema_changed": EventExample(
            _SYNC, {"created": ["eInvoiceAddress"], "removed": [], "changed": ["creditLimit"]}
        ),
        "sync.held": EventExample(_RUN, {"deletions": 1_204}),
        "run.failed": EventExample(
            _RUN, {"kind": "incremental", "failure": {"code": "permission_missing", "message": "…", "remedy": "…"}}
        ),
        "operation.confirmed": EventExample(_OPERATION, {"kind": "create", "remote_id": "5d115c9c-44e3-ea11-bb43"}),
        "operation.failed": EventExample(
            _OPERATION, {"kind": "create", "failure": {"code": "validation_failed", "message": "…", "remedy": "…"}}
        ),
        "operation.uncertain": EventExample(_OPERATION, {"kind": "create"}),
        "operation.approval_needed": EventExample(_OPERATION, {"kind": "action", "action": "post"}),
        "destination.paused": EventExample(
            {"destination_id": "0199f6a0-0000-7000-8000-000000000006"},
            {"name": "webhook", "reason": "The receiver answered 410: it wants no more deliveries."},
        ),
        "test": EventExample(
            {"destination_id": "0199f6a0-0000-7000-8000-000000000006"}, {"message": "This is a test event."}
        ),
    }
)
"""An example of every type; the documentation shows them."""
