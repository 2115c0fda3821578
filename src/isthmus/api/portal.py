"""`/v1/consumers/{id}/portal-links`: a signed link to the consumer's own page."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, JSONBody

from isthmus.api.access import Access, Ask, Scope, caller_of, project_of
from isthmus.api.finding import note
from isthmus.api.services import Services
from isthmus.api.shapes import Input
from isthmus.connections.portal_links import LIFE_S_DEFAULT, LIFE_S_MAX, LIFE_S_MIN, make_link
from isthmus.store import consumers, portal
from isthmus.store.portal import PortalLink


class NewPortalLink(Input, frozen=True, kw_only=True):
    """How long the link works."""

    expires_in: Annotated[int, msgspec.Meta(ge=LIFE_S_MIN, le=LIFE_S_MAX, description="Seconds.")] = LIFE_S_DEFAULT


class PortalLinkView(msgspec.Struct, frozen=True, kw_only=True):
    """A link as it is shown later, without its address."""

    id: UUID
    consumer: UUID
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


class CreatedPortalLink(msgspec.Struct, frozen=True, kw_only=True):
    """Give `url` to your customer: whoever has it sees and manages their connections until it ends. Shown this once."""

    url: str
    link: PortalLinkView


class PortalLinkList(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's links, newest first."""

    result: list[PortalLinkView]


def portal_routes(services: Services, access: Access) -> Router:
    """The routes, beside those of `consumers`."""

    @post("/{consumer_id:uuid}/portal-links", guards=[access.needs(Scope.CONNECT)], summary="Make a portal link")
    async def create_portal_link(
        request: Ask, consumer_id: FromPath[UUID], data: JSONBody[NewPortalLink]
    ) -> CreatedPortalLink:
        """Their connections, what is shared, reconnect, a new secret, disconnect: in your name and colours."""
        project = await project_of(request, services)
        made = await make_link(
            project.db,
            project.project.id,
            services.clock,
            consumer_id,
            services.public_url,
            life_s=data.expires_in,
            actor=caller_of(request).actor,
        )
        return CreatedPortalLink(url=made.url, link=_view(made.link))

    @get("/{consumer_id:uuid}/portal-links", guards=[access.needs(Scope.CONNECT)], summary="List portal links")
    async def list_portal_links(request: Ask, consumer_id: FromPath[UUID]) -> PortalLinkList:
        """Without their addresses."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await consumers.get(tx, consumer_id)
            return PortalLinkList(result=[_view(row) for row in await portal.every(tx, consumer_id)])

    @delete("/{consumer_id:uuid}/portal-links", guards=[access.needs(Scope.CONNECT)], summary="End all portal links")
    async def revoke_portal_links(request: Ask, consumer_id: FromPath[UUID]) -> None:
        """At once, also for pages that are open."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            consumer = await consumers.get(tx, consumer_id)
            ended = await portal.revoke_all(tx, consumer_id)
            await note(tx, request, "portal_link.revoke", consumer_id, consumer=consumer.external_id, ended=ended)

    return Router(
        "/consumers", route_handlers=[create_portal_link, list_portal_links, revoke_portal_links], tags=["consumers"]
    )


def _view(row: PortalLink) -> PortalLinkView:
    return PortalLinkView(
        id=row.id,
        consumer=row.consumer_id,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
        revoked_at=row.revoked_at,
    )
