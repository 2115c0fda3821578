"""`/v1/notices`: whom to tell when something needs people, what was told, and a test mail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note
from isthmus.api.problems import Refused
from isthmus.api.services import Services
from isthmus.api.shapes import Input
from isthmus.store import notices

MailText = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
Kinds = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=60)]],
    msgspec.Meta(max_length=20, description=f"Of {', '.join(notices.KINDS)}; empty: all of them."),
]


class NewNoticeAddress(Input, frozen=True, kw_only=True):
    """An address, and what it wants to hear of."""

    address: MailText
    kinds: Kinds = msgspec.field(default_factory=list)


class NoticeKinds(Input, frozen=True, kw_only=True):
    """What an address wants to hear of; none named means everything."""

    kinds: Kinds


class TrialMail(Input, frozen=True, kw_only=True):
    """Where the test goes."""

    address: MailText


class NoticeAddressView(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is told."""

    id: UUID
    address: str
    kinds: list[str]
    created_at: datetime


class NoticeAddressList(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the project tells. `can_mail` is false while no mail server is set."""

    result: list[NoticeAddressView]
    can_mail: bool
    kinds: dict[str, str]


class NoticeView(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people are told. `outcome`: mailed, passed (over before the mail left), nobody (no address wants
    it), no_mail (no mail server); null while it waits for others of its kind.
    """

    id: UUID
    kind: str
    connection: UUID | None
    reason: str
    detail: dict[str, Any]
    at: datetime
    told_at: datetime | None
    outcome: str | None


class NoticeList(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    result: list[NoticeView]


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The mail server has taken the mail."""

    address: str
    accepted: bool


def notice_routes(services: Services, access: Access) -> Router:
    """The routes."""
    handlers = [*_looking(services, access), *_telling(services, access)]
    return Router(
        "/notices",
        route_handlers=handlers,
        tags=["notices"],
    )


def _looking(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @get("/", guards=[access.needs(Scope.READ)], summary="List notices")
    async def list_notices(request: Ask, limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100) -> NoticeList:
        """What people were told, and what still waits, newest first."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            rows = await notices.history(tx, limit)
        return NoticeList(
            result=[
                NoticeView(
                    id=row.id,
                    kind=row.kind,
                    connection=row.connection_id,
                    reason=row.reason,
                    detail=row.detail,
                    at=row.at,
                    told_at=row.told_at,
                    outcome=row.outcome,
                )
                for row in rows
            ]
        )

    @get("/addresses", guards=[access.needs(Scope.ADMIN)], summary="List whom is told")
    async def list_notice_addresses(request: Ask) -> NoticeAddressList:
        """The addresses with the kinds of notice that they want, and every kind in words."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            rows = await notices.addresses(tx)
        return NoticeAddressList(
            result=[_view(row) for row in rows], can_mail=project.notifier.can_mail, kinds=dict(notices.KINDS)
        )

    return [list_notices, list_notice_addresses]


def _telling(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @post("/addresses", guards=[access.needs(Scope.ADMIN)], summary="Tell an address")
    async def add_notice_address(request: Ask, data: JSONBody[NewNoticeAddress]) -> NoticeAddressView:
        """One mail per kind and outage, the same trouble at most once an hour."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            made = await notices.add_address(tx, data.address, data.kinds)
            await note(tx, request, "notice.address_added", made.address, kinds=made.kinds)
        return _view(made)

    @patch("/addresses/{address_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Change what it hears of")
    async def change_notice_address(
        request: Ask, address_id: FromPath[UUID], data: JSONBody[NoticeKinds]
    ) -> NoticeAddressView:
        """The address stays."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            changed = await notices.change_address(tx, address_id, data.kinds)
            await note(tx, request, "notice.address_changed", changed.address, kinds=changed.kinds)
        return _view(changed)

    @delete("/addresses/{address_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Tell it no more")
    async def remove_notice_address(request: Ask, address_id: FromPath[UUID]) -> None:
        """Mails that are under way still arrive."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            removed = await notices.remove_address(tx, address_id)
            await note(tx, request, "notice.address_removed", removed.address)

    @post("/test", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="Send a test mail")
    async def send_test_mail(request: Ask, data: JSONBody[TrialMail]) -> Accepted:
        """At once; a refusal of the mail server is the answer."""
        project = await project_of(request, services)
        address = notices.checked_address(data.address)
        if not project.notifier.can_mail:
            raise Refused(
                409,
                "no_mail_server",
                "No mail server is set",
                "This server has no mail server to send with.",
                "Set ISTHMUS_SMTP_HOST and its neighbours, then restart isthmus.",
            )
        async with project.db.project(project.project.id) as tx:
            await note(tx, request, "notice.test", address)
        await project.notifier.send_trial(project.project.id, address)
        return Accepted(address=address, accepted=True)

    return [add_notice_address, change_notice_address, remove_notice_address, send_test_mail]


def _view(row: notices.NoticeAddress) -> NoticeAddressView:
    return NoticeAddressView(id=row.id, address=row.address, kinds=row.kinds, created_at=row.created_at)
