"""What an idempotency key stands for: a write that was made just now, a stored answer, or one that is under way."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from isthmus.kernel.failures import Conflict
from isthmus.store.operations import Operation, OperationState, Planned, mismatch


def fresh(planned: Planned) -> Operation | None:
    """The operation when it was made just now. Raises IdempotencyMismatch for a key of another write."""
    if planned.clash and planned.operation is not None:
        raise mismatch(planned.operation)
    return planned.operation if planned.fresh else None


def stored(operation: Operation) -> Operation:
    """The stored answer of a key, marked as such; raises Conflict while there is none yet."""
    if operation.state.settled or operation.state is OperationState.WAITING_FOR_APPROVAL:
        return msgspec.structs.replace(operation, replayed=True)
    raise Conflict(
        f"A write with this idempotency key is under way ({operation.state.value}).",
        remedy=f"Ask for operation {operation.id} until it is settled.",
        subject=str(operation.id),
    )


def made_of(planned: Sequence[Planned]) -> list[Operation]:
    """Of the rows of a batch, those that were made just now; the others have their answers.

    Raises IdempotencyMismatch, and Conflict while one of those others has none yet: then nothing is to be made either.
    """
    made = [fresh(each) for each in planned]
    for each, row in zip(planned, made, strict=True):
        if row is None and each.operation is not None:
            stored(each.operation)
    return [row for row in made if row is not None]
