"""The check inside a connect session: each tick is kept as it comes, so that any browser and process can show it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.client.protocols import Journal
from isthmus.connections.checking import Step, check
from isthmus.connections.integrations import SharedObject, shared_objects
from isthmus.connections.opening import OpenConnection, Opener
from isthmus.connections.sessions_end import fail, plain_failure
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.providers.base import Environment, ReadSpec
from isthmus.store import connect_sessions, connections, integrations
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.database import Database
from isthmus.store.rows import Connection

SILENT_S: Final = 20.0
"""A check that has told nothing for so long has died with its process; the next page that is loaded begins it anew."""

ENVIRONMENT_USUAL: Final = "Production"
"""What Business Central calls the first environment of a tenant."""


async def run_check(
    db: Database, opener: Opener, clock: Clock, journal: Journal, project_id: UUID, session_id: UUID
) -> bool:
    """Take all steps of a session that is to be checked; False when there is nothing to do or somebody is at it.

    Raises nothing foreseeable: what fails is kept in the session, with whose turn it is.
    """
    session = await _claim(db, clock, project_id, session_id)
    if session is None or session.connection_id is None:
        return False
    teller = _Teller(db, clock, session)
    try:
        failure = await _steps(db, opener, clock, journal, session, session.connection_id, teller)
    except _Overtaken:
        return False  # somebody has started it again, or gone back
    except Failure as met:
        failure = met
    if failure is not None:
        await fail(db, project_id, session_id, failure, step="checking", claim=teller.claim)
        return True
    await _passed(db, project_id, session_id, teller.claim)
    return True


async def _claim(db: Database, clock: Clock, project_id: UUID, session_id: UUID) -> ConnectSession | None:
    """The session, if it waits for a check that nobody is taking."""
    now = clock.now()
    async with db.project(project_id) as tx:
        session = await connect_sessions.get(tx, session_id, lock=True)
        taken = session.checking_at is not None and session.checking_at > now - timedelta(seconds=SILENT_S)
        if session.step != "checking" or session.status != "opened" or taken or session.expires_at <= now:
            return None
        if session.connection_id is not None:
            with suppress(InvalidInput):
                await connections.get(tx, session.connection_id)
                return await connect_sessions.save(tx, msgspec.structs.replace(session, checks=[], checking_at=now))
    await fail(db, project_id, session_id, InvalidInput("The connection that was being made is gone."), step="inputs")
    return None


async def _steps(
    db: Database,
    opener: Opener,
    clock: Clock,
    journal: Journal,
    session: ConnectSession,
    connection_id: UUID,
    teller: _Teller,
) -> Failure | None:
    async with db.project(session.project_id) as tx:
        connection = await connections.get(tx, connection_id)
        wanted = shared_objects(await integrations.get(tx, session.integration_id))
    connection = await _settle_environment(db, opener, journal, connection, teller)
    report = await check(
        db,
        opener,
        connection,
        journal,
        clock,
        just_consented=bool(session.inputs.get("just_consented")),
        on_steps=teller.base,
        quiet=not session.reconnect,
    )
    await teller.base(report.steps)
    if report.failure is not None:
        return report.failure
    async with opener.open(connection.project_id, connection_id, journal) as opened:
        for each in wanted:
            failure = await _may_read(opened, each, teller)
            if failure is not None:
                return failure
    return None


async def _settle_environment(
    db: Database, opener: Opener, journal: Journal, connection: Connection, teller: _Teller
) -> Connection:
    """Find the tenant's environments, and begin with one where nobody has chosen yet: the first production one."""
    found: list[Environment] = []
    async with opener.open(connection.project_id, connection.id, journal) as opened:
        with suppress(Failure):  # what is wrong is told by the steps themselves; not every app may list environments
            found = await opened.access.environments()
    await teller.environments(found)
    if connection.environment:
        return connection
    usual = sorted(found, key=lambda each: (each.kind.casefold() != "production", each.name.casefold()))
    name = usual[0].name if usual else ENVIRONMENT_USUAL
    async with db.project(connection.project_id) as tx:
        await connections.move(tx, connection.id, name)
        return await connections.get(tx, connection.id)


async def _may_read(opened: OpenConnection, wanted: SharedObject, teller: _Teller) -> Failure | None:
    """Whether one record of an object that is to be shared can be read (OA-18)."""
    title = f"{wanted.shown} can be read"
    access, provider = opened.access, opened.access.provider
    try:
        obj = await opened.describe(wanted.object, provider.parse_route("v2.0"))
        parts = provider.parts(obj, opened.company_ids[:1])
        for part in parts[:1]:
            spec = ReadSpec(limit=1)
            response = await access.call(provider.first_page(access.target, obj, spec, part, 1))
            provider.page(obj, response, hashed=False)
    except Failure as failure:
        await teller.add(
            Step(
                name=f"object:{wanted.object}",
                title=title,
                passed=False,
                optional=False,
                detail=failure.message,
                failure=failure,
            )
        )
        return failure
    await teller.add(
        Step(name=f"object:{wanted.object}", title=title, passed=True, optional=False, detail=wanted.reason)
    )
    return None


async def _passed(db: Database, project_id: UUID, session_id: UUID, claim: datetime | None) -> None:
    async with db.project(project_id) as tx:
        session = await connect_sessions.get(tx, session_id, lock=True)
        if session.step == "checking" and session.status == "opened" and session.checking_at == claim:
            await connect_sessions.save(
                tx, msgspec.structs.replace(session, step="choose", checking_at=None, failure=None)
            )


class _Overtaken(Exception):
    """This check is not the one that counts any more."""


class _Teller:
    """Keeps the ticks of a check in its session as they come. `claim` is the time of its last word: whoever finds
    another one there has been overtaken.
    """

    def __init__(self, db: Database, clock: Clock, session: ConnectSession) -> None:
        self._db = db
        self._clock = clock
        self._project_id = session.project_id
        self._session_id = session.id
        self.claim = session.checking_at
        self._base: list[dict[str, Any]] = []
        self._more: list[dict[str, Any]] = []
        self._environments: list[dict[str, Any]] | None = None

    async def base(self, steps: Sequence[Step]) -> None:
        """The steps of the check proper, all so far."""
        self._base = [_plain(step) for step in steps]
        await self._keep()

    async def add(self, step: Step) -> None:
        """One more, of our own."""
        self._more.append(_plain(step))
        await self._keep()

    async def environments(self, found: Sequence[Environment]) -> None:
        """What there is to choose from."""
        self._environments = [{"name": each.name, "kind": each.kind, "country": each.country} for each in found]
        await self._keep()

    async def _keep(self) -> None:
        async with self._db.project(self._project_id) as tx:
            session = await connect_sessions.get(tx, self._session_id, lock=True)
            if session.step != "checking" or session.status != "opened" or session.checking_at != self.claim:
                raise _Overtaken
            known = session.environments if self._environments is None else self._environments
            kept = await connect_sessions.save(
                tx,
                msgspec.structs.replace(
                    session,
                    checks=[*self._base, *self._more],
                    checking_at=self._clock.now(),
                    environments=known or session.environments,
                ),
            )
            self.claim = kept.checking_at


def _plain(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "title": step.title,
        "passed": step.passed,
        "optional": step.optional,
        "detail": step.detail,
        "failure": plain_failure(step.failure) if step.failure else None,
    }
