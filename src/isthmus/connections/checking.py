"""Checking a connection, step by step, each with its remedy; a token alone proves nothing (OA-18)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec

from isthmus.auth.entra.errors import consent_may_be_spreading
from isthmus.client.protocols import Journal
from isthmus.connections.health import state_after_check
from isthmus.connections.opening import OpenConnection, Opener
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    AppNotRegistered,
    ConsentMissing,
    EnvironmentNotFound,
    Failure,
    TransientFailure,
)
from isthmus.kernel.messages import Response
from isthmus.providers.base import Check, Finding
from isthmus.store import connections, grants
from isthmus.store.database import Database
from isthmus.store.rows import CompanyRow, Connection

CONSENT_PAUSE_S: Final = 5.0
"""Between two tries while a consent that was given a moment ago reaches all servers (OA-36 [verify])."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report."""

    name: str
    title: str
    passed: bool
    optional: bool
    detail: str
    failure: Failure | None = None


OnSteps = Callable[[Sequence[Step]], Awaitable[None]]
"""Told of the steps taken so far."""


async def _nobody(_: Sequence[Step]) -> None:
    """Nobody wants to know before the end."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All steps that were taken, and the failure that decides."""

    connection: Connection
    steps: list[Step]

    @property
    def failure(self) -> Failure | None:
        """The first required step's failure; None when the connection works."""
        return next((step.failure for step in self.steps if not step.passed and not step.optional), None)


async def check(
    db: Database,
    opener: Opener,
    connection: Connection,
    journal: Journal,
    clock: Clock,
    *,
    just_consented: bool = False,
    on_steps: OnSteps | None = None,
    quiet: bool = False,
) -> Report:
    """Take the steps, save the companies that were found, and move the connection to the state that follows.

    `just_consented` waits up to two minutes for a fresh consent to spread (OA-36). `on_steps` hears of all steps taken
    so far after each one; it hears of fewer when they begin again. With `quiet` the state stays: the connection is
    still being made, and whoever makes it says when it is done.
    """
    consented_at = clock.now() if just_consented else None
    async with opener.open(connection.project_id, connection.id, journal) as opened:
        opened.tokens.forget_refusal()
        while True:
            report = Report(connection=connection, steps=await _steps(db, opened, on_steps or _nobody))
            failure = report.failure
            if failure is None or not _may_be_spreading(failure, consented_at, clock):
                break
            await clock.sleep(CONSENT_PAUSE_S)
        if failure is None:
            with suppress(Failure):  # the connection works without; the next check asks again
                await opener.learn_tenant(opened.grant, journal)
    if not isinstance(failure, TransientFailure) and not quiet:
        async with db.project(connection.project_id) as tx:
            number = grants.credential_number(opened.grant)
            await connections.set_state(tx, connection.id, state_after_check(failure), failure, credential=number)
            return Report(connection=await connections.get(tx, connection.id), steps=report.steps)
    return report


async def refuse_unknown_environment(opened: OpenConnection, environment: str) -> None:
    """Ask the vendor before a connection is moved. Raises EnvironmentNotFound, with the names that there are.

    Where the list cannot be had now nothing is refused: the check that follows says what is wrong.
    """
    access = opened.access
    target = msgspec.structs.replace(access.target, environment=environment)
    for each in access.provider.checks(target, [], None):
        if each.name == "environment":
            failure = (await _take(opened, each)).failure
            if isinstance(failure, EnvironmentNotFound):
                raise failure


async def save_companies(db: Database, opened: OpenConnection) -> None:
    """Ask which companies there are and keep the answer."""
    found = await opened.access.companies()
    async with db.project(opened.connection.project_id) as tx:
        opened.companies = await connections.save_companies(
            tx, opened.connection.id, [(each.id, each.name, each.display_name) for each in found]
        )


def _may_be_spreading(failure: Failure, consented_at: datetime | None, clock: Clock) -> bool:
    late = isinstance(failure, AppNotRegistered) and consented_at is not None
    return consent_may_be_spreading(failure, consented_at=consented_at, now=clock.now()) or (
        late and consent_may_be_spreading(ConsentMissing(), consented_at=consented_at, now=clock.now())
    )


async def _steps(db: Database, opened: OpenConnection, on_steps: OnSteps) -> list[Step]:
    """The token, then the provider's own list."""
    try:
        await opened.tokens.access_token()
    except Failure as failure:
        return [
            Step(
                name="token",
                title="The identity provider issues a token",
                passed=False,
                optional=False,
                detail=failure.message,
                failure=failure,
            )
        ]
    steps = [
        Step(
            name="token",
            title="The identity provider issues a token",
            passed=True,
            optional=False,
            detail=f"for {opened.cloud.business_central_resource}",
        )
    ]
    await on_steps(steps)
    with suppress(Failure):  # the steps come to the same refusal and explain it
        await save_companies(db, opened)
    chosen = opened.company_ids
    probe = chosen[0] if chosen else None
    steps += [_missing(row) for row in opened.companies if row.selected and row.missing_since is not None]
    access = opened.access
    for each in access.provider.checks(access.target, chosen, probe):
        finding = await _take(opened, each)
        steps.append(
            Step(
                name=each.name,
                title=each.title,
                passed=finding.passed,
                optional=each.optional,
                detail=finding.detail,
                failure=finding.failure,
            )
        )
        await on_steps(steps)
        if each.stops and not finding.passed:
            break
    return steps


def _missing(row: CompanyRow) -> Step:
    """A company that the vendor lists no more: told, and no obstacle for the others."""
    detail = f"“{row.name}” is not listed any more; its stored records are kept, nothing more is read."
    return Step(name="company", title="A company is gone", passed=False, optional=True, detail=detail)


async def _take(opened: OpenConnection, each: Check) -> Finding:
    try:
        response: Response = await opened.access.call(each.request)
    except Failure as failure:
        return Finding(passed=False, detail=failure.message, failure=failure)
    return opened.access.provider.find(each, response)
