"""A write that meets a defect of ours comes to a safe end: nothing stays planned that nobody will ever carry out.

What is stored tells how far it had come, because *sent* is committed before the socket is touched. Of a planned one
nothing was sent, so it has failed, and a person may send it again. One that is noted as sent may have taken place: it
is looked for as after a lost answer. When it is the look that meets the defect, a person is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from isthmus.actions.writing import judging
from isthmus.actions.writing.ledger import Ledger
from isthmus.kernel.failures import Defect, RunSuperseded
from isthmus.store import operations
from isthmus.store.database import Database
from isthmus.store.operations import Operation, OperationState, Step

_UNSENT: Final = "A defect in isthmus stopped this write before anything of it was sent."
_MAYBE_SENT: Final = "A defect in isthmus stopped this write after it was noted as sent."
_UNSEEN: Final = "A defect in isthmus stopped the look for it."

_log = logging.getLogger(__name__)


async def end_safely(
    db: Database, ledger: Ledger, project_id: UUID, held: Sequence[Operation], error: Exception
) -> list[Operation]:
    """Settle what this process holds of these, as far as it had come; how they stand then.

    Those that have ended already, or that another process has taken over, are left as they are.
    """
    fences = {each.id: each.fence for each in held}
    async with db.project(project_id) as tx:
        present = await operations.by_ids(tx, list(fences))
    found: list[Operation] = []
    for operation in present:
        if operation.fence == fences[operation.id] and operation.leased_until is not None:
            _log.error("operation %s met a defect", operation.id, exc_info=error)
            step = _step(operation, looking=operation.state is OperationState.UNCERTAIN)
            with suppress(RunSuperseded):  # whoever has it now looks after it
                operation = await ledger.settle(project_id, operation, step)
        found.append(operation)
    return found


def _step(operation: Operation, *, looking: bool) -> Step:
    if looking:
        return judging.asked(operation, _UNSEEN, [])
    remedy = f"Look for {operation.id} in the server's log and report what it says."
    if operation.state is OperationState.PLANNED:
        return judging.failed(operation, Defect(_UNSENT, remedy=f"{remedy} It can be sent again."), [])
    return judging.doubtful(operation, Defect(_MAYBE_SENT, remedy=remedy), [], certain_s=None, next_s=0.0)
