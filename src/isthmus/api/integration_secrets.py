"""`/v1/integrations/{id}/…secret`: what your own app proves itself with, for all its connections."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Router, delete, patch, put
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.care import GivenSecret, SecretDate, StagedSecret, given_secret
from isthmus.api.finding import author_of
from isthmus.api.integrations import IntegrationView, shown_integration
from isthmus.api.patience import patience
from isthmus.api.services import Services
from isthmus.api.signing_in import NoJournal


class SecretReplaced(msgspec.Struct, frozen=True, kw_only=True):
    """The integration, and how many sign-ins use the new secret. `tried`: the identity provider has accepted it before
    it replaced anything; false when nobody has connected yet, so that it cannot be asked.
    """

    integration: IntegrationView
    sign_ins: int
    tried: bool


class AppSecretStaged(msgspec.Struct, frozen=True, kw_only=True):
    """`accepted`: the identity provider has taken it already. Otherwise it is tried when its turn comes."""

    integration: IntegrationView
    accepted: Annotated[
        bool, msgspec.Meta(description="False for one that begins later, or when nobody connected yet.")
    ]


def integration_secret_routes(services: Services, access: Access) -> Router:
    """The routes, beside those of `integrations`."""
    handlers = [*_in_use(services, access), *_waiting(services, access)]
    return Router("/integrations", route_handlers=handlers, tags=["integrations"])


def _in_use(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @put("/{integration_id:uuid}/secret", guards=[access.needs(Scope.ADMIN)], summary="Replace the app's secret")
    async def replace_secret(
        request: Ask, integration_id: FromPath[UUID], data: JSONBody[GivenSecret]
    ) -> SecretReplaced:
        """Tried first: one that is refused replaces nothing. Connections that were made through your app use it from
        now on; nobody consents again, and those that stood still because of the old one are checked by themselves."""
        project = await project_of(request, services)
        async with patience():
            used = await project.connect.app_secrets.replace(
                integration_id, given_secret(data), NoJournal(), by=author_of(request)
            )
        shown = await shown_integration(services, project, integration_id)
        return SecretReplaced(integration=shown, sign_ins=used.sign_ins, tried=used.tried)

    @patch(
        "/{integration_id:uuid}/secret", guards=[access.needs(Scope.ADMIN)], summary="Say when the app's secret ends"
    )
    async def date_app_secret(
        request: Ask, integration_id: FromPath[UUID], data: JSONBody[SecretDate]
    ) -> IntegrationView:
        """Warnings come 30, 14, 7 and 1 days before, by event and by mail: one for all connections that use it."""
        project = await project_of(request, services)
        await project.connect.app_secrets.set_expiry(integration_id, data.secret_expires_at, by=author_of(request))
        return await shown_integration(services, project, integration_id)

    return [replace_secret, date_app_secret]


def _waiting(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @put(
        "/{integration_id:uuid}/staged-secret",
        guards=[access.needs(Scope.ADMIN)],
        summary="Stage a second secret of the app",
    )
    async def stage_app_secret(
        request: Ask, integration_id: FromPath[UUID], data: JSONBody[StagedSecret]
    ) -> AppSecretStaged:
        """It waits beside the one in use and takes over when that is refused or has ended, or from a date on."""
        project = await project_of(request, services)
        async with patience():
            accepted = await project.connect.app_secrets.stage(
                integration_id, given_secret(data), NoJournal(), by=author_of(request), from_at=data.from_at
            )
        return AppSecretStaged(
            integration=await shown_integration(services, project, integration_id), accepted=accepted
        )

    @delete(
        "/{integration_id:uuid}/staged-secret",
        guards=[access.needs(Scope.ADMIN)],
        summary="Drop the app's staged secret",
    )
    async def unstage_app_secret(request: Ask, integration_id: FromPath[UUID]) -> None:
        """The one in use stays."""
        project = await project_of(request, services)
        await project.connect.app_secrets.unstage(integration_id, by=author_of(request))

    return [stage_app_secret, unstage_app_secret]
