"""The last check of a connection, kept with it: whoever asked for it, its page shows what every step said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.connections.checking import Step
from isthmus.kernel.failures import Failure
from isthmus.store import connections
from isthmus.store.database import Transaction
from isthmus.store.rows import Connection

KEPT_AS: Final = "last_check"
"""The name in the connection's settings."""


class KeptStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step as it is shown."""

    title: str
    passed: bool
    optional: bool
    detail: str
    failure: dict[str, Any] | None = None


class KeptCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The last check."""

    at: datetime
    steps: list[KeptStep]


async def keep_check(tx: Transaction, connection_id: UUID, at: datetime, steps: Sequence[KeptStep]) -> None:
    """Keep what the steps said instead of what they said before."""
    kept = msgspec.to_builtins(KeptCheck(at=at, steps=list(steps)))
    await connections.update(tx, connection_id, settings={KEPT_AS: kept})


def last_check(connection: Connection) -> KeptCheck | None:
    """What the last check said; None when there was none, or an older version kept it differently."""
    kept = connection.settings.get(KEPT_AS)
    try:
        return None if kept is None else msgspec.convert(kept, KeptCheck)
    except msgspec.ValidationError:
        return None


def kept_steps(steps: Sequence[Step]) -> list[KeptStep]:
    """The steps of a check that was taken."""
    return [
        KeptStep(
            title=step.title,
            passed=step.passed,
            optional=step.optional,
            detail=step.detail,
            failure=step.failure.to_dict() if step.failure else None,
        )
        for step in steps
    ]


def could_not_begin(failure: Failure) -> list[KeptStep]:
    """A check of which no step could be taken."""
    return [
        KeptStep(
            title="The check can begin", passed=False, optional=False, detail=failure.message, failure=failure.to_dict()
        )
    ]
