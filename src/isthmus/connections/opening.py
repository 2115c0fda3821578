"""Opening a connection: grant, tokens, budget and journal put together into the authorised way in.

Everything that is shared inside a process lives here once: the HTTP session, token sources per grant, and budgets per
app user and environment.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Final
from uuid import UUID

import msgspec
import xxhash

from isthmus.auth.entra.clouds import Cloud
from isthmus.auth.entra.errors import token_failure
from isthmus.auth.entra.id_token import tenant_id
from isthmus.client.access import Access
from isthmus.client.call import AuthorisedCall, RetryingCall
from isthmus.client.protocols import Journal, JournalEntry
from isthmus.client.streaming import StreamingCall
from isthmus.client.tokens import run_steps
from isthmus.connections.credentials import cloud_of
from isthmus.connections.keyring import Keyrings
from isthmus.connections.tokens import REFRESHES_MAX, StoredTokens
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import PausedAfterRestore, UnknownObject
from isthmus.kernel.ids import new_id
from isthmus.providers.base import ObjectInfo, Provider, Target, VendorLimits
from isthmus.providers.registry import provider_named
from isthmus.store import connections, grants
from isthmus.store.database import Database
from isthmus.store.leases import DatabaseLeaseStore
from isthmus.store.paused import Pause, paused
from isthmus.store.rows import CompanyRow, Connection, Grant
from isthmus.transport.http import HttpTransport
from isthmus.transport.shared_budget import SharedBudget

DESCRIPTION_AGE_MAX: Final = timedelta(hours=1)
"""How old a description of a connection's objects may be: a field that appears is noticed within the hour (BC-16)."""


class OpenConnection:
    """A connection that is ready to be used."""

    def __init__(
        self,
        db: Database,
        connection: Connection,
        grant: Grant,
        cloud: Cloud,
        companies: list[CompanyRow],
        access: Access,
        tokens: StoredTokens,
        clock: Clock,
        budget: SharedBudget,
        streams: StreamingCall,
    ) -> None:
        self.budget = budget
        self.streams = streams
        self._db = db
        self._clock = clock
        self.connection = connection
        self.grant = grant
        self.cloud = cloud
        self.companies = companies
        self.tokens = tokens
        self._access = access

    @property
    def access(self) -> Access:
        """The authorised way in."""
        return self._access

    @property
    def company_ids(self) -> list[str]:
        """The selected companies that still exist."""
        return [row.remote_id for row in self.companies if row.selected and row.missing_since is None]

    async def refuse_while_paused(self) -> None:
        """After a restore nothing is written past the operations either. Raises PausedAfterRestore."""
        async with self._db.unscoped() as tx:
            if Pause.WRITES in await paused(tx):
                raise PausedAfterRestore("Writes are paused: the database was restored from a backup.", unsent=True)

    async def objects(self, route: str, *, fresh: bool = False) -> list[ObjectInfo]:
        """What the route offers, from the cache unless it is old or `fresh` is asked for."""
        kept = None if fresh else await self._kept_description(route)
        if kept is not None:
            return msgspec.json.decode(kept, type=list[ObjectInfo])
        found = await self._access.objects(route)
        document = msgspec.json.encode(found)
        async with self._db.project(self.connection.project_id) as tx:
            await connections.save_schema(tx, self.connection.id, route, document, xxhash.xxh3_128_digest(document))
        return found

    async def _kept_description(self, route: str) -> bytes | None:
        async with self._db.project(self.connection.project_id) as tx:
            cached = await connections.schema(tx, self.connection.id, route)
        if cached is None or self._clock.now() - cached.fetched_at >= DESCRIPTION_AGE_MAX:
            return None
        return cached.document

    async def describe(self, name: str, route: str, *, fresh: bool = False) -> ObjectInfo:
        """One object; a name that the cache does not know is looked up at the vendor before it is refused."""
        provider = self._access.provider
        if fresh:
            return provider.find_object(await self.objects(route, fresh=True), name)
        kept = await self._kept_description(route)
        if kept is not None and (found := _only(kept, name)) is not None:
            return found
        try:
            return provider.find_object(await self.objects(route), name)
        except UnknownObject:
            return provider.find_object(await self.objects(route, fresh=True), name)


def _only(document: bytes, name: str) -> ObjectInfo | None:
    """The object of exactly that name, without taking the others apart: a run asks for one of about a hundred."""
    beginning = b'{"name":' + msgspec.json.encode(name) + b","
    for raw in msgspec.json.decode(document, type=list[msgspec.Raw]):
        if bytes(memoryview(raw)[: len(beginning)]) == beginning:
            return msgspec.json.decode(raw, type=ObjectInfo)
    return None


class JournalRelay:
    """Token requests serve many runs: they are noted where the connection was opened last."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def note(self, entry: JournalEntry) -> None:
        """Hand the entry on."""
        self.journal.note(entry)


class Opener:
    """Opens connections. Use it as `async with Opener(…)`; it owns the HTTP session and the budgets."""

    def __init__(self, db: Database, keyrings: Keyrings, clock: Clock, *, limits: VendorLimits | None = None) -> None:
        self._db = db
        self._keyrings = keyrings
        self._clock = clock
        self._limits = limits
        self._holder = str(new_id())
        self._leases = DatabaseLeaseStore(db)
        self._stack = AsyncExitStack()
        self._rng = random.Random()  # noqa: S311  (jitter, not a secret)
        self._session: HttpTransport | None = None
        self._budgets: dict[str, SharedBudget] = {}
        self._renewals = asyncio.Semaphore(REFRESHES_MAX)
        self._tokens: dict[tuple[UUID, str, str], tuple[StoredTokens, JournalRelay]] = {}

    async def __aenter__(self) -> Opener:
        self._session = await self._stack.enter_async_context(HttpTransport())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def transport(self) -> HttpTransport:
        """The process's HTTP session."""
        if self._session is None:
            raise RuntimeError("Opener is used outside its `async with` block")
        return self._session

    def token_call(self, cloud: Cloud, journal: Journal) -> RetryingCall:
        """Requests to a cloud's identity provider."""
        return RetryingCall(
            errors=token_failure,
            transport=self.transport.trusting(cloud.ca_file),
            journal=journal,
            clock=self._clock,
        )

    async def learn_tenant(self, grant: Grant, journal: Journal) -> None:
        """Ask once which tenant an app's grant belongs to, so that all names of it share one budget (BC-85)."""
        cloud = cloud_of(grant)
        authority = cloud.authority(grant.tenant)
        if grant.settings.get("tenant_id") or authority.shared:
            return
        found = await run_steps(tenant_id(authority), self.token_call(cloud, journal))
        if found is not None:
            async with self._db.project(grant.project_id) as tx:
                await grants.set_tenant_id(tx, grant.id, found)

    def forget_tokens(self, grant_id: UUID) -> None:
        """A grant's credential has changed: this process asks for a new token at the next call."""
        for key, (source, _) in self._tokens.items():
            if key[0] == grant_id:
                source.forget()

    @asynccontextmanager
    async def open(self, project_id: UUID, connection_id: UUID, journal: Journal) -> AsyncIterator[OpenConnection]:
        """A connection by id. Raises InvalidInput when there is none."""
        async with self._db.project(project_id) as tx:
            connection = await connections.get(tx, connection_id)
            grant = await grants.get(tx, connection.grant_id)
            companies = await connections.companies_of(tx, connection_id)
        yield await self.put_together(connection, grant, companies, journal)

    async def put_together(
        self, connection: Connection, grant: Grant, companies: list[CompanyRow], journal: Journal
    ) -> OpenConnection:
        """Grant, tokens, budget, journal → the authorised call."""
        provider = provider_named(connection.provider)
        cloud = cloud_of(grant)
        tokens = await self._token_source(grant, cloud, provider, journal)
        budget = await self._budget(grant, connection, provider)
        call = AuthorisedCall(
            api_url=cloud.business_central_url,
            errors=provider.failure,
            tokens=tokens,
            budget=budget,
            journal=journal,
            transport=self.transport.trusting(cloud.ca_file),
            clock=self._clock,
            rng=self._rng,
        )
        streams = StreamingCall(
            api_url=cloud.business_central_url,
            errors=provider.failure,
            tokens=tokens,
            budget=budget,
            journal=journal,
            transport=self.transport.trusting(cloud.ca_file),
            clock=self._clock,
            rng=self._rng,
        )
        target = Target(api_url=cloud.business_central_url, tenant=grant.tenant, environment=connection.environment)
        access = Access(provider=provider, target=target, call=call)
        return OpenConnection(
            self._db, connection, grant, cloud, companies, access, tokens, self._clock, budget, streams
        )

    async def _token_source(self, grant: Grant, cloud: Cloud, provider: Provider, journal: Journal) -> StoredTokens:
        resource = cloud.business_central_resource
        key = (grant.id, cloud.login_url, resource)
        found = self._tokens.get(key)
        if found is None:
            relay = JournalRelay(journal)
            source = StoredTokens(
                self._db,
                await self._keyrings.of(grant.project_id),
                grant,
                self.token_call(cloud, relay),
                self._clock,
                permissions=tuple(grant.scopes) or provider.declaration.delegated_scopes,
                resource=resource,
                places=self._renewals,
            )
            found = self._tokens[key] = (source, relay)
        source, relay = found
        relay.journal = journal
        return source

    async def _budget(self, grant: Grant, connection: Connection, provider: Provider) -> SharedBudget:
        """One budget per app user and environment, whatever the number of connections (BC-85).

        A tenant goes by its id; before a check has learned that, by the name that was typed.
        """
        user = str(grant.settings.get("user_id") or grant.client_id)
        tenant = str(grant.settings.get("tenant_id") or grant.tenant)
        scope = "/".join((provider.declaration.name, tenant, connection.environment, user)).casefold()
        found = self._budgets.get(scope)
        if found is None:
            found = SharedBudget(
                self._limits or provider.declaration.limits,
                self._clock,
                self._leases,
                scope=scope,
                holder=self._holder,
            )
            self._budgets[scope] = await self._stack.enter_async_context(found)
        return found
