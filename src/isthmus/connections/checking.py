"""Checking a connection, step by step, each with its remedy; a token alone proves nothing (OA-18)."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from isthmus.client.protocols import Journal
from isthmus.connections.opening import OpenConnection, Opener
from isthmus.kernel.failures import (
    AppNotRegistered,
    ConsentMissing,
    CredentialFailure,
    Failure,
    TransientFailure,
)
from isthmus.kernel.messages import Response
from isthmus.providers.base import Check, Finding
from isthmus.store import connections
from isthmus.store.database import Database
from isthmus.store.rows import Connection

CONSENT_WAITS_S: Final = (2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 40.0)
"""A consent that was given a moment ago reaches all servers within two minutes (OA-36 [verify])."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report."""

    name: str
    title: str
    passed: bool
    optional: bool
    detail: str
    failure: Failure | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All steps that were taken, and the failure that decides."""

    connection: Connection
    steps: list[Step]

    @property
    def failure(self) -> Failure | None:
        """The first required step's failure; None when the connection works."""
        return next((step.failure for step in self.steps if not step.passed and not step.optional), None)


async def check(
    db: Database, opener: Opener, connection: Connection, journal: Journal, *, just_consented: bool = False
) -> Report:
    """Take the steps, save the companies that were found, and move the connection to the state that follows.

    `just_consented` waits up to two minutes for a fresh consent to spread.
    """
    waits = CONSENT_WAITS_S if just_consented else ()
    async with opener.open(connection.project_id, connection.id, journal) as opened:
        steps = await _steps(opened)
        for wait_s in waits:
            blocking = next((step.failure for step in steps if not step.passed and not step.optional), None)
            if not isinstance(blocking, (ConsentMissing, AppNotRegistered)):
                break
            await asyncio.sleep(wait_s)
            steps = await _steps(opened)
        report = Report(connection=connection, steps=steps)
        failure = report.failure
        if failure is None:
            await save_companies(db, opened)
    if not isinstance(failure, TransientFailure):
        async with db.project(connection.project_id) as tx:
            await connections.set_state(tx, connection.id, _state(failure), failure)
            return Report(connection=await connections.get(tx, connection.id), steps=steps)
    return report


async def save_companies(db: Database, opened: OpenConnection) -> None:
    """Ask which companies there are and keep the answer."""
    found = await opened.access.companies()
    async with db.project(opened.connection.project_id) as tx:
        opened.companies = await connections.save_companies(
            tx, opened.connection.id, [(each.id, each.name, each.display_name) for each in found]
        )


def _state(failure: Failure | None) -> str:
    if failure is None:
        return "connected"
    return "needs_reauth" if isinstance(failure, CredentialFailure) else "blocked"


async def _steps(opened: OpenConnection) -> list[Step]:
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
    chosen = opened.company_ids
    probe = chosen[0] if chosen else await _first_company(opened)
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
        if each.stops and not finding.passed:
            break
    return steps


async def _first_company(opened: OpenConnection) -> str | None:
    try:
        found = await opened.access.companies()
    except Failure:
        return None  # the list of steps comes to the same refusal and explains it
    return found[0].id if found else None


async def _take(opened: OpenConnection, each: Check) -> Finding:
    try:
        response: Response = await opened.access.call(each.request)
    except Failure as failure:
        return Finding(passed=False, detail=failure.message, failure=failure)
    return opened.access.provider.find(each, response)
