"""`/v1/consumers`, `/v1/keys` and `/v1/audit`: for whom, by whom, and what was done."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter

from isthmus.api.access import Access, Ask, Scope, caller_of, project_of
from isthmus.api.finding import note
from isthmus.api.paging import Cursor, Ends, Limit, ends, place
from isthmus.api.services import Services
from isthmus.api.shapes import Input, Text
from isthmus.settings import REQUESTS_PER_S_MAX, REQUESTS_PER_S_MIN
from isthmus.store import api_keys, consumers, listing
from isthmus.store.audit import AuditEntry
from isthmus.store.consumers import Consumer

RequestsPerS = Annotated[
    float,
    msgspec.Meta(
        ge=REQUESTS_PER_S_MIN,
        le=REQUESTS_PER_S_MAX,
        description="Requests a second that it may send to one server process, twice as many at once. "
        "Left out or null: the server's own limit.",
    ),
]


class NewConsumer(Input, frozen=True, kw_only=True):
    """One of your customers, under your own id."""

    external_id: Text
    name: Text


class ConsumerChange(Input, frozen=True, kw_only=True):
    """Another name."""

    name: Text


class ConsumerView(msgspec.Struct, frozen=True, kw_only=True):
    """One of your customers, whose systems get connected."""

    id: UUID
    external_id: str
    name: str
    created_at: datetime


class ConsumerPage(Ends, frozen=True, kw_only=True):
    """Consumers, oldest first."""

    result: list[ConsumerView]


class NewKey(Input, frozen=True, kw_only=True):
    """A key for a program. Give it no more than it needs."""

    name: Text
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=6)]
    expires_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] | None = None
    requests_per_s: RequestsPerS | None = None


class KeyChange(Input, frozen=True, kw_only=True):
    """Another limit; null is the server's own."""

    requests_per_s: RequestsPerS | None


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is shown later: its beginning alone. `last_used_at` is exact to a minute."""

    id: UUID
    name: str
    scopes: list[Scope]
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_s: float | None = None


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key itself, which is shown this once."""

    key: KeyView
    secret: str


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """The project's keys, oldest first; revoked ones stay listed."""

    result: list[KeyView]


class AuditPage(Ends, frozen=True, kw_only=True):
    """What was done, newest first."""

    result: list[AuditEntry]


def key_view(row: api_keys.ApiKey) -> KeyView:
    """A stored key."""
    return msgspec.convert(msgspec.structs.asdict(row), KeyView)


def consumer_routes(services: Services, access: Access) -> Router:
    """Consumers."""

    @get("/", guards=[access.needs(Scope.READ)], summary="List consumers")
    async def list_consumers(
        request: Ask,
        limit: Limit = 100,
        cursor: Cursor = None,
        external_id: Annotated[str | None, QueryParameter(max_length=200)] = None,
    ) -> ConsumerPage:
        """Oldest first."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            rows, more = await listing.page(tx, Consumer, limit, at, external_id=external_id)
        return ConsumerPage(result=[_consumer(row) for row in rows], **ends(rows, more, at))

    @get("/{consumer_id:uuid}", guards=[access.needs(Scope.READ)], summary="Show a consumer")
    async def show_consumer(request: Ask, consumer_id: FromPath[UUID]) -> ConsumerView:
        """By isthmus' id; list with `external_id` to find it by yours."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return _consumer(await consumers.get(tx, consumer_id))

    @post("/", guards=[access.needs(Scope.CONNECT)], summary="Add a consumer")
    async def create_consumer(request: Ask, data: JSONBody[NewConsumer]) -> ConsumerView:
        """An external id can be used once."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            made = await consumers.create(tx, external_id=data.external_id, name=data.name)
            await note(tx, request, "consumer.create", made.id, external_id=data.external_id)
        return _consumer(made)

    @patch("/{consumer_id:uuid}", guards=[access.needs(Scope.CONNECT)], summary="Rename a consumer")
    async def change_consumer(
        request: Ask, consumer_id: FromPath[UUID], data: JSONBody[ConsumerChange]
    ) -> ConsumerView:
        """The external id stays."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await note(tx, request, "consumer.change", consumer_id, name=data.name)
            return _consumer(await consumers.rename(tx, consumer_id, data.name))

    @delete("/{consumer_id:uuid}", guards=[access.needs(Scope.CONNECT)], summary="Forget a consumer")
    async def delete_consumer(request: Ask, consumer_id: FromPath[UUID]) -> None:
        """Its connections stay and belong to nobody."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await consumers.get(tx, consumer_id)
            await consumers.delete(tx, consumer_id)
            await note(tx, request, "consumer.delete", consumer_id)

    return Router(
        "/consumers",
        route_handlers=[list_consumers, show_consumer, create_consumer, change_consumer, delete_consumer],
        tags=["consumers"],
    )


def key_routes(services: Services, access: Access) -> Router:
    """Keys."""

    @get("/", guards=[access.needs(Scope.ADMIN)], summary="List keys")
    async def list_keys(request: Ask) -> KeyList:
        """Never the keys themselves."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return KeyList(result=[key_view(row) for row in await api_keys.every(tx)])

    @post("/", guards=[access.needs(Scope.ADMIN)], summary="Make a key")
    async def create_key(request: Ask, data: JSONBody[NewKey]) -> CreatedKey:
        """`secret` is shown this once; only its hash is kept. The scope `hub` is passed on by keys that have it."""
        project = await project_of(request, services)
        if Scope.HUB in data.scopes:
            caller_of(request).must(Scope.HUB)
        expires_at = services.clock.now() + timedelta(days=data.expires_days) if data.expires_days else None
        async with project.db.project(project.project.id) as tx:
            made = await api_keys.make(
                tx,
                name=data.name,
                scopes={scope.value for scope in data.scopes},
                development=project.development,
                expires_at=expires_at,
                requests_per_s=data.requests_per_s,
            )
            await note(tx, request, "key.create", made.key.id, name=data.name, scopes=made.key.scopes)
        return CreatedKey(key=key_view(made.key), secret=made.text)

    @patch("/{key_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Change a key's limit")
    async def change_key(request: Ask, key_id: FromPath[UUID], data: JSONBody[KeyChange]) -> KeyView:
        """How many requests it may send. Other processes of this hub notice within five seconds."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            changed = await api_keys.limit(tx, key_id, data.requests_per_s)
            await note(tx, request, "key.limit", key_id, name=changed.name, requests_per_s=data.requests_per_s)
        access.forget(key_id)
        return key_view(changed)

    @delete("/{key_id:uuid}", guards=[access.needs(Scope.ADMIN)], status_code=200, summary="Revoke a key")
    async def revoke_key(request: Ask, key_id: FromPath[UUID]) -> KeyView:
        """For good. Other processes of this hub notice within five seconds."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            revoked = await api_keys.revoke(tx, key_id)
            await note(tx, request, "key.revoke", key_id, name=revoked.name)
        access.forget(key_id)
        return key_view(revoked)

    return Router("/keys", route_handlers=[list_keys, create_key, change_key, revoke_key], tags=["keys"])


def audit_routes(services: Services, access: Access) -> Router:
    """The audit log."""

    @get("/", guards=[access.needs(Scope.ADMIN)], summary="Read the audit log")
    async def list_acts(request: Ask, limit: Limit = 100, cursor: Cursor = None) -> AuditPage:
        """Every administrative act, newest first. Rows cannot be changed."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            rows, more = await listing.page(tx, AuditEntry, limit, at)
        return AuditPage(result=rows, **ends(rows, more, at))

    return Router("/audit", route_handlers=[list_acts], tags=["audit"])


def _consumer(row: Consumer) -> ConsumerView:
    return ConsumerView(id=row.id, external_id=row.external_id, name=row.name, created_at=row.created_at)
