"""What the host is told of a write: that it came to an end, or waits for a person. In the transaction that moves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from isthmus.store import events
from isthmus.store.database import Transaction
from isthmus.store.operations import Operation, OperationState

_TOLD: Final = {
    OperationState.CONFIRMED: "operation.confirmed",
    OperationState.FAILED: "operation.failed",
    OperationState.NEEDS_PERSON: "operation.uncertain",
    OperationState.WAITING_FOR_APPROVAL: "operation.approval_needed",
}


async def tell(tx: Transaction, moved: Sequence[Operation]) -> None:
    """Append the host's events for operations that have come to an end, or wait for a person."""
    await events.append_all(
        tx,
        [
            events.NewEvent(
                type=_TOLD[operation.state],
                subject={
                    "connection_id": str(operation.connection_id),
                    "operation_id": str(operation.id),
                    "object": operation.object,
                },
                data=_event_data(operation),
            )
            for operation in moved
            if operation.state in _TOLD
        ],
    )


def _event_data(operation: Operation) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": operation.verb, "state": operation.state.value}
    more = {
        "action": operation.wish.get("action"),
        "company": operation.company,
        "remote_id": operation.remote_id,
        "idempotency_key": operation.idempotency_key,
        "batch_id": str(operation.batch_id) if operation.batch_id else None,
        "planned_by": operation.planned_by,
        "expires_at": operation.approval_expires_at.isoformat() if operation.approval_expires_at else None,
        "failure": operation.failure if operation.state is not OperationState.CONFIRMED else None,
    }
    return data | {name: value for name, value in more.items() if value is not None}
