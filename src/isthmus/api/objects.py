"""`/v1/connections/{id}/objects`: what an environment offers, as it describes itself today."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Router, get
from litestar.params import FromPath, QueryParameter

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import one
from isthmus.api.patience import patience
from isthmus.api.services import ProjectServices, Services
from isthmus.api.signing_in import NoJournal
from isthmus.connections.opening import OpenConnection
from isthmus.store import connections

Route = Annotated[
    str,
    QueryParameter(max_length=300, description="API route: `v2.0`, `automation`, or PUBLISHER/GROUP/VERSION."),
]
Fresh = Annotated[bool, QueryParameter(description="Ask the vendor now; else a description of the last hour will do.")]


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What can be done with an object. `null` where no source tells: try it with `dry_run`."""

    read: Annotated[bool, msgspec.Meta(description="In bulk; else record by record, through the proxy.")]
    incremental: Annotated[bool, msgspec.Meta(description="Only what changed; else every run compares everything.")]
    delete_detection: bool
    create: bool | None
    update: bool | None
    delete: bool | None
    batch: Annotated[bool | None, msgspec.Meta(description="Many writes in one request; only below a company.")]
    actions: list[str]


class ObjectSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An object and what it can do. `stamp` is the field that tells changes; null: found by comparing."""

    name: str
    entity: str
    route: str
    label: str
    key: list[str]
    fields: int
    stamp: str | None
    reading: str
    bulk: bool
    incremental: bool
    deletions: bool
    tenant_level: bool
    insertable: bool | None
    updatable: bool | None
    deletable: bool | None
    capabilities: Capabilities


class ObjectList(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of a route, by name."""

    result: list[ObjectSummary]


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """One value of an enum: `name` on the wire, `label` for people."""

    name: str
    label: str


class FieldView(msgspec.Struct, frozen=True, kw_only=True):
    """One field. `read_only` is null where no source tells; `required` as far as it is known; `custom` fields come
    from an extension. Dates without a value arrive as `0001-01-01`."""

    name: str
    type: str
    label: str
    max_length: int | None
    nullable: bool
    read_only: bool | None
    required: bool = False
    custom: bool = False
    members: list[MemberView]


class NavigationView(msgspec.Struct, frozen=True, kw_only=True):
    """Related records that can be brought along with `expand`."""

    name: str
    target: str
    many: bool


class ObjectView(msgspec.Struct, frozen=True, kw_only=True):
    """An object with its fields, related objects and actions."""

    name: str
    entity: str
    route: str
    label: str
    key: list[str]
    fields: list[FieldView]
    navigation: list[NavigationView]
    actions: list[str]
    calculated: list[str]
    stamp: str | None
    reading: str
    bulk: bool
    incremental: bool
    deletions: bool
    tenant_level: bool
    insertable: bool | None
    updatable: bool | None
    deletable: bool | None
    capabilities: Capabilities


def object_routes(services: Services, access: Access) -> Router:
    """The routes."""

    @get("/", guards=[access.needs(Scope.READ)], summary="List objects")
    async def list_objects(
        request: Ask,
        connection_id: FromPath[UUID],
        route: Route = "v2.0",
        matching: Annotated[
            str | None, QueryParameter(max_length=100, description="Only names that contain this.")
        ] = None,
        fresh: Fresh = False,
    ) -> ObjectList:
        """What can be read, how changes are found, and what can be written."""
        project = await _existing(request, services, connection_id)
        async with patience(), project.connection(connection_id, NoJournal()) as opened:
            found = await opened.objects(_route(opened, route), fresh=fresh)
        shown = [each for each in found if matching is None or matching.casefold() in each.name.casefold()]
        return ObjectList(result=[msgspec.convert(_plain(each, whole=False), ObjectSummary) for each in shown])

    @get("/{name:str}", guards=[access.needs(Scope.READ)], summary="Describe an object")
    async def describe_object(
        request: Ask,
        connection_id: FromPath[UUID],
        name: FromPath[str],
        route: Route = "v2.0",
        fresh: Fresh = False,
    ) -> ObjectView:
        """Fields with type, length and members, related objects, actions. Case does not matter."""
        project = await _existing(request, services, connection_id)
        async with patience(), project.connection(connection_id, NoJournal()) as opened:
            found = await opened.describe(name, _route(opened, route), fresh=fresh)
        return msgspec.convert(_plain(found, whole=True), ObjectView)

    return Router(
        "/connections/{connection_id:uuid}/objects", route_handlers=[list_objects, describe_object], tags=["objects"]
    )


async def _existing(request: Ask, services: Services, connection_id: UUID) -> ProjectServices:
    project = await project_of(request, services)
    async with project.db.project(project.project.id) as tx:
        await one(connections.get, tx, connection_id, "connection")
    return project


def _route(opened: OpenConnection, text: str) -> str:
    return opened.access.provider.parse_route(text)


def _capabilities(obj: Any) -> dict[str, Any]:
    writes = (obj.insertable, obj.updatable, obj.deletable) if obj.batchable else ()
    return {
        "read": obj.bulk,
        "incremental": obj.incremental,
        "delete_detection": obj.deletions,
        "create": obj.insertable,
        "update": obj.updatable,
        "delete": obj.deletable,
        "batch": True if True in writes else (None if None in writes else False),
        "actions": list(obj.actions),
    }


def _plain(obj: Any, *, whole: bool) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(obj)
    plain |= {"incremental": obj.incremental, "deletions": obj.deletions, "capabilities": _capabilities(obj)}
    if not whole:
        plain["fields"] = len(obj.fields)
    return plain
