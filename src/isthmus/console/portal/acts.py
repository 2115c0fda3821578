"""What a consumer does on their page: look, check, connect again, enter a new secret, choose an environment, end it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.connections.credentials import GrantKind, NewSecret, cloud_of
from isthmus.connections.disconnecting import losses
from isthmus.connections.integrations import shared_objects
from isthmus.connections.making import Wish
from isthmus.connections.sessions import SessionWish
from isthmus.console.asking import QuietJournal
from isthmus.console.browser_tie import tie_cookie
from isthmus.console.connect.words import provider_title
from isthmus.console.portal.admission import PortalVisit
from isthmus.console.portal.look import STATES, Shown, shown
from isthmus.console.sessions import new_token
from isthmus.kernel.failures import EnvironmentNotFound, Failure, InvalidInput
from isthmus.store import connections, grants, health, integrations, listing
from isthmus.store.health import StateChange
from isthmus.store.integrations import Integration
from isthmus.store.rows import CompanyRow, Connection, Grant
from isthmus.vault.secrets import Secret

SHOWN_MAX: Final = 100
HISTORY_SHOWN: Final = 10
CALLBACK: Final = "/oauth/callback"

Visiting = NamedDependency[SkipValidation[PortalVisit]]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One connection with everything that its page needs."""

    row: Connection
    grant: Grant
    look: Shown
    provider: str
    companies: list[CompanyRow]
    integration: Integration | None

    @property
    def person(self) -> bool:
        """True when a person has signed in; else an app signs in by itself."""
        return self.grant.kind == GrantKind.PERSON

    @property
    def own_secret(self) -> bool:
        """True when the consumer's own app signs in: its secret is theirs to renew."""
        has = self.grant.secret_sealed is not None or self.grant.certificate_sealed is not None
        hosts = self.integration is not None and self.integration.client_id == self.grant.client_id
        return (has or not self.person) and not hosts

    @property
    def own_certificate(self) -> bool:
        """True when that app proves itself by a certificate."""
        return self.grant.certificate_sealed is not None


@get("/")
async def overview(visit: Visiting) -> Response[str]:
    """All connections of the consumer, trouble first."""
    async with visit.services.db.project(visit.project_id) as tx:
        rows, _ = await listing.page(tx, Connection, SHOWN_MAX, None, consumer_id=visit.consumer.id)
    cards = [await _card(visit, row) for row in rows]
    order = ("blocked", "needs_reauth", "degraded", "pending", "connected", "disconnected")
    cards.sort(key=lambda each: (order.index(each.row.state) if each.row.state in order else 0, each.row.name))
    return visit.page("portal/overview.html", cards=cards)


@get("/c/{connection_id:uuid}")
async def connection_page(visit: Visiting, connection_id: FromPath[UUID]) -> Response[str]:
    """One connection: how it is, what is shared, what was, and what can be done."""
    return await _page(visit, await visit.own(connection_id))


@post("/c/{connection_id:uuid}/check", status_code=303)
async def check(visit: Visiting, connection_id: FromPath[UUID]) -> Redirect:
    """Look again whether everything works."""
    connection = await visit.own(connection_id)
    if connection.state != "disconnected":
        await visit.here.check(connection)
    return _back(visit, connection_id, "checked")


@post("/c/{connection_id:uuid}/reconnect", status_code=200)
async def reconnect(visit: Visiting, connection_id: FromPath[UUID]) -> Response[Any]:
    """To the connect page, or to the vendor's sign-in for a connection that was made without one."""
    connection = await visit.own(connection_id)
    card = await _card(visit, connection)
    if connection.integration_id is not None:
        made = await visit.here.connect.sessions.create(
            SessionWish(consumer=visit.consumer.external_id, connection_id=connection_id), actor=visit.actor
        )
        return Redirect(path=f"/connect/{made.token}", status_code=303)
    if not card.person:
        return Redirect(path=f"{visit.base}/c/{connection_id}/secret", status_code=303)
    wish = Wish(
        provider=connection.provider,
        cloud=cloud_of(card.grant),
        tenant=card.grant.tenant,
        environment=connection.environment,
        name=connection.name,
    )
    browser = new_token()
    started = await visit.here.signing_in.start(
        wish,
        client_id=card.grant.client_id,
        secret=None,
        redirect_uri=f"{visit.services.public_url}{CALLBACK}",
        browser=browser,
    )
    answer = visit.page("portal/continue.html", card=card, url=started.url)
    answer.set_cookie(tie_cookie(visit.services, started.state, browser))
    return answer


@get("/c/{connection_id:uuid}/secret")
async def secret_page(visit: Visiting, connection_id: FromPath[UUID]) -> Response[str]:
    """The form for a new secret of the consumer's own app."""
    card = await _card(visit, await visit.own(connection_id))
    return visit.page("portal/secret.html", card=card, errors={}, typed={})


@post("/c/{connection_id:uuid}/secret", status_code=200)
async def new_secret(visit: Visiting, connection_id: FromPath[UUID]) -> Response[Any]:
    """Try it, then use it or let it wait; one that is refused replaces nothing."""
    connection = await visit.own(connection_id)
    card = await _card(visit, connection)
    if not card.own_secret:
        raise InvalidInput("This secret is not yours to renew.", remedy=f"Ask {visit.brand.name}.")
    typed = {"ends": visit.text("ends"), "when": visit.text("when")}
    secret = visit.text("client_secret")
    errors: dict[str, str] = {}
    if not secret:
        errors |= {"client_secret": "Enter the client secret's Value."}
    ends_at = _date(typed["ends"], errors)
    if not errors:
        new = NewSecret(secret=Secret(secret), ends_at=ends_at)
        try:
            if typed["when"] == "later":
                await visit.here.renewing.stage(connection_id, new, QuietJournal(), actor=visit.actor)
                return _back(visit, connection_id, "staged")
            renewed = await visit.here.renewing.replace(connection_id, new, QuietJournal(), actor=visit.actor)
            await visit.here.check(renewed)
            return _back(visit, connection_id, "renewed")
        except Failure as failure:
            field = "ends" if failure.subject == "secret_expires_at" else "client_secret"
            errors[field] = f"{failure.message} {failure.remedy}"
    return visit.page("portal/secret.html", status=422, card=card, errors=errors, typed=typed)


@post("/c/{connection_id:uuid}/environment", status_code=200)
async def choose_environment(visit: Visiting, connection_id: FromPath[UUID]) -> Response[Any]:
    """Another environment of the same organization, for example after it was renamed."""
    connection = await visit.own(connection_id)
    wanted = visit.text("environment")[:200]
    if not wanted:
        return await _page(visit, connection, {"environment": "Type the environment's name."}, status=422)
    try:
        moved = await visit.here.move(connection_id, wanted, actor=visit.actor)
    except EnvironmentNotFound as failure:
        return await _page(visit, connection, {"environment": failure.message}, status=422)
    await visit.here.check(moved)
    return _back(visit, connection_id, "checked")


@get("/c/{connection_id:uuid}/disconnect")
async def ending_page(visit: Visiting, connection_id: FromPath[UUID]) -> Response[str]:
    """What ending it means, with numbers."""
    return await _ending(visit, await visit.own(connection_id))


@post("/c/{connection_id:uuid}/disconnect", status_code=200)
async def disconnect(visit: Visiting, connection_id: FromPath[UUID]) -> Response[Any]:
    """End it, when its name was typed."""
    connection = await visit.own(connection_id)
    if visit.text("confirm") != connection.name:
        return await _ending(visit, connection, {"confirm": f"Type exactly “{connection.name}”"}, status=422)
    if visit.text("data") not in ("keep", "erase"):
        return await _ending(visit, connection, {"data": "Say what happens to the data."}, status=422)
    ended = await visit.here.disconnect(connection_id, erase=visit.text("data") == "erase", actor=visit.actor)
    return visit.page("portal/ended.html", ended=ended)


def _back(visit: PortalVisit, connection_id: UUID, said: str) -> Redirect:
    return Redirect(path=f"{visit.base}/c/{connection_id}?said={said}", status_code=303)


_SAID: Final = {
    "checked": "Checked just now.",
    "renewed": "The new secret is in use. Everything was checked with it.",
    "staged": "The new secret waits and takes over by itself when the old one ends.",
}


async def _page(
    visit: PortalVisit, connection: Connection, errors: dict[str, str] | None = None, *, status: int = 200
) -> Response[str]:
    card = await _card(visit, connection)
    async with visit.services.db.project(visit.project_id) as tx:
        changes: list[StateChange] = await health.history(tx, connection.id, HISTORY_SHOWN)
    return visit.page(
        "portal/connection.html",
        status=status,
        card=card,
        shared=shared_objects(card.integration) if card.integration else [],
        changes=changes,
        states=STATES,
        said=_SAID.get(visit.request.query_params.get("said", ""), ""),
        errors=errors or {},
    )


async def _ending(
    visit: PortalVisit, connection: Connection, errors: dict[str, str] | None = None, *, status: int = 200
) -> Response[str]:
    card = await _card(visit, connection)
    lost = await losses(visit.services.db, visit.project_id, connection.id)
    return visit.page(
        "portal/disconnect.html", status=status, card=card, lost=lost, errors=errors or {}, data=visit.text("data")
    )


async def _card(visit: PortalVisit, row: Connection) -> Card:
    async with visit.services.db.project(visit.project_id) as tx:
        grant = await grants.get(tx, row.grant_id)
        companies = await connections.companies_of(tx, row.id)
        integration = await integrations.integration_of(tx, row.id)
    return Card(
        row=row,
        grant=grant,
        look=shown(row, grant, visit.brand.name),
        provider=provider_title(row.provider),
        companies=[each for each in companies if each.selected and each.missing_since is None],
        integration=integration,
    )


def _date(text: str, errors: dict[str, str]) -> datetime | None:
    """The last day of a secret, as a browser's date field sends it."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        errors["ends"] = "Write the date as 2027-11-30."
        return None


HANDLERS: Final[list[ControllerRouterHandler]] = [
    overview,
    connection_page,
    check,
    reconnect,
    secret_page,
    new_secret,
    choose_environment,
    ending_page,
    disconnect,
]
