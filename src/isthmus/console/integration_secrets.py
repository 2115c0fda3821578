"""Apps → an integration → the secret of your app: replaced or staged for all connections at once, and its last day."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.console.asking import QuietJournal, errors_of
from isthmus.console.care import date_of
from isthmus.console.integrations import given_secret, shown
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure, InvalidInput


@post("/apps/integrations/{integration_id:uuid}/secret", status_code=200)
async def new_secret(visit: Visiting, integration_id: FromPath[UUID]) -> Response[Any]:
    """Another secret for the host's app, tried first: all connections use it, now or when the old one ends."""
    secrets, path = visit.here.connect.app_secrets, f"/console/apps/integrations/{integration_id}"
    try:
        new = given_secret(visit)
        if new is None:
            raise InvalidInput("Enter the client secret's Value.", subject="client_secret")
        if visit.text("when") == "later":
            await secrets.stage(integration_id, new, QuietJournal(), by=visit.author)
            return visit.go(path, "secret-staged")
        used = await secrets.replace(integration_id, new, QuietJournal(), by=visit.author)
    except Failure as failure:
        return await _refused(visit, integration_id, failure)
    return visit.go(path, "app-secret-used" if used.tried else "app-secret-untried")


@post("/apps/integrations/{integration_id:uuid}/secret-date", status_code=200)
async def secret_date(visit: Visiting, integration_id: FromPath[UUID]) -> Response[Any]:
    """When the secret in use ends; an empty date is not known."""
    try:
        ends_at = date_of(visit.text("last_day"))
        await visit.here.connect.app_secrets.set_expiry(integration_id, ends_at, by=visit.author)
    except Failure as failure:
        return await _refused(visit, integration_id, failure)
    return visit.go(f"/console/apps/integrations/{integration_id}", "saved")


@post("/apps/integrations/{integration_id:uuid}/unstage", status_code=200)
async def unstage(visit: Visiting, integration_id: FromPath[UUID]) -> Response[Any]:
    """Forget the secret that waits."""
    await visit.here.connect.app_secrets.unstage(integration_id, by=visit.author)
    return visit.go(f"/console/apps/integrations/{integration_id}", "saved")


async def _refused(visit: Visit, integration_id: UUID, failure: Failure) -> Response[str]:
    field = "ends" if failure.subject == "secret_expires_at" else "client_secret"
    return await shown(visit, integration_id, errors_of(failure, field), status=status_here(failure))


HANDLERS: Final[list[ControllerRouterHandler]] = [new_secret, secret_date, unstage]
