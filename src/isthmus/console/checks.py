"""Checking a connection from a page, and keeping what the steps said, so that the result has an address."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from isthmus.connections.checking import Report
from isthmus.console.visit import Visit
from isthmus.kernel.failures import Failure
from isthmus.store import connections
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


async def check_and_keep(visit: Visit, connection: Connection) -> Report | None:
    """Check, and keep the steps with the connection. None when no step could be taken at all; that is kept too."""
    try:
        report = await visit.here.check(connection)
    except Failure as failure:
        await _keep(visit, connection, [_could_not_begin(failure)])
        return None
    steps = [
        KeptStep(
            title=step.title,
            passed=step.passed,
            optional=step.optional,
            detail=step.detail,
            failure=step.failure.to_dict() if step.failure else None,
        )
        for step in report.steps
    ]
    await _keep(visit, report.connection, steps)
    return report


def last_check(connection: Connection) -> KeptCheck | None:
    """What the last check said; None when there was none, or an older version kept it differently."""
    kept = connection.settings.get(KEPT_AS)
    try:
        return None if kept is None else msgspec.convert(kept, KeptCheck)
    except msgspec.ValidationError:
        return None


def _could_not_begin(failure: Failure) -> KeptStep:
    return KeptStep(
        title="The check can begin", passed=False, optional=False, detail=failure.message, failure=failure.to_dict()
    )


async def _keep(visit: Visit, connection: Connection, steps: list[KeptStep]) -> None:
    kept = msgspec.to_builtins(KeptCheck(at=visit.services.clock.now(), steps=steps))
    async with visit.services.db.project(visit.project.id) as tx:
        current = await connections.get(tx, connection.id)
        await connections.update(tx, connection.id, settings={**current.settings, KEPT_AS: kept})
