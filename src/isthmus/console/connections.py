"""Connections: the list, and one connection's health, objects, companies, requests and settings."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.auth.entra.clouds import Cloud
from isthmus.connections.agreements import agreement_of
from isthmus.connections.credentials import AppCredentials, GrantKind, NewSecret, cloud_of
from isthmus.connections.ending import end_of
from isthmus.connections.health import health_of
from isthmus.connections.making import Wish
from isthmus.console.apps import CALLBACK
from isthmus.console.asking import QuietJournal, errors_of
from isthmus.console.browser_tie import tie_cookie
from isthmus.console.care import LIVES, actor, date_of
from isthmus.console.checks import check_and_keep
from isthmus.console.fixes import button_of, check_of, failure_of, secret_line
from isthmus.console.freshness import by_trouble
from isthmus.console.operation_story import title_of
from isthmus.console.pages import status_here
from isthmus.console.sessions import new_token
from isthmus.console.troubles import LACKING
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure
from isthmus.store import (
    app_secrets,
    connections,
    consumers,
    default_syncs,
    disconnecting,
    grants,
    overview,
    runs,
    writes,
)
from isthmus.store.rows import Connection
from isthmus.vault.secrets import Secret

ORDER: Final = ("blocked", "needs_reauth", "degraded", "pending", "connected", "disconnected")
REQUESTS_SHOWN: Final = 8
OBJECTS_SHOWN: Final = 30
CUSTOMERS_OFFERED: Final = 500
COMMON: Final = (
    "customers",
    "vendors",
    "items",
    "salesInvoices",
    "purchaseInvoices",
    "salesOrders",
    "salesCreditMemos",
    "generalLedgerEntries",
    "accounts",
    "contacts",
    "employees",
    "dimensions",
    "journals",
    "currencies",
    "paymentTerms",
)
"""What most people come for stands first in the list of objects; the rest follows by name."""

TABS: Final = (("", "Overview"), ("/objects", "Objects"), ("/companies", "Companies"), ("/settings", "Settings"))


@get("/connections")
async def connections_page(visit: Visiting) -> Response[str]:
    """All connections, trouble first."""
    wanted = visit.query.get("state", "")
    text = visit.query.get("q", "").strip()
    async with visit.services.db.project(visit.project.id) as tx:
        every = await connections.every(tx)
        companies = {each.id: await connections.companies_of(tx, each.id) for each in every[:200]}
        lines = by_trouble(await overview.sync_lines(tx), visit.services.clock.now())
        at_integration = await app_secrets.by_connection(tx)
    shown = [
        each
        for each in every
        if (not wanted or each.state == wanted) and text.casefold() in f"{each.name} {each.environment}".casefold()
    ]
    shown.sort(key=lambda each: (ORDER.index(each.state) if each.state in ORDER else 0, each.name.casefold()))
    return await visit.page(
        "connections.html",
        shown=shown[:200],
        total=len(every),
        companies=companies,
        healths={each.id: health_of(each) for each in shown[:200]},
        fixes={each.id: button_of(each, at_integration.get(each.id)) for each in shown[:200]},
        syncs={each.id: [word for line, word in lines if line.connection_id == each.id] for each in every},
        wanted=wanted,
        text=text,
        states=ORDER,
    )


@get("/connections/{connection_id:uuid}")
async def connection_page(visit: Visiting, connection_id: FromPath[UUID]) -> Response[str]:
    """One connection: is it well, what does it keep in step, what is going on."""
    return await overview_page(visit, connection_id)


async def overview_page(
    visit: Visit, connection_id: UUID, errors: dict[str, str] | None = None, *, status: int = 200
) -> Response[str]:
    """The first tab of a connection, with what went wrong with a button on it."""
    async with visit.services.db.project(visit.project.id) as tx:
        connection = await connections.get(tx, connection_id)
        companies = await connections.companies_of(tx, connection_id)
        lines = by_trouble(
            await overview.counted(tx, await overview.sync_lines(tx, connection_id)), visit.services.clock.now()
        )
        active = await overview.active_runs(tx, connection_id)
        history = await overview.run_lines(tx, overview.RunFilter(connection_id=connection_id), 5)
        journal = await runs.journal(tx, history[0].id) if history else []
        written = await writes.lines(tx, writes.WriteFilter(connection_id=connection_id), 5)
        lacking = await default_syncs.refused(tx, connection_id)
        at_integration = await app_secrets.by_connection(tx)
    return await _tab(
        visit,
        connection,
        "connection.html",
        "",
        status=status,
        errors=errors or {},
        companies=companies,
        lines=lines,
        active=active,
        history=history,
        requests=journal[-REQUESTS_SHOWN:],
        requests_total=len(journal),
        written=written,
        lacking=lacking[0] if lacking else None,
        lacking_remedy=LACKING,
        title_of=title_of,
        checked=check_of(connection, at_integration.get(connection_id)),
        agreement=agreement_of(connection),
        missing=missing_syncs(connection, {line.object for line, _ in lines}),
    )


@post("/connections/{connection_id:uuid}/check", opt={"role": "operator"})
async def check_connection(visit: Visiting, connection_id: FromPath[UUID]) -> Redirect:
    """Take all steps again."""
    connection = await _connection(visit, connection_id)
    return await _checked(visit, connection)


@get("/connections/{connection_id:uuid}/objects")
async def objects_page(visit: Visiting, connection_id: FromPath[UUID]) -> Response[str]:
    """What can be read, and what is kept in step already."""
    connection = await _connection(visit, connection_id)
    text, route = visit.query.get("q", "").strip(), visit.query.get("route", "v2.0").strip() or "v2.0"
    objects, unseen = [], None
    try:
        async with visit.here.connection(connection_id, QuietJournal()) as opened:
            objects = await opened.objects(opened.access.provider.parse_route(route))
    except Failure as error:
        unseen = error.to_dict()
    async with visit.services.db.project(visit.project.id) as tx:
        lines = by_trouble(
            await overview.counted(tx, await overview.sync_lines(tx, connection_id)), visit.services.clock.now()
        )
    by_object: dict[tuple[str, str], list[Any]] = {}
    for line, word in lines:
        by_object.setdefault((line.object, line.route), []).append((line, word))
    shown = [each for each in objects if text.casefold() in f"{each.name} {each.label}".casefold()]
    shown.sort(key=lambda each: ((each.name, each.route) not in by_object, _commonness(each.name), each.name))
    found = len(shown)
    if not text and visit.query.get("all") != "1":
        shown = shown[:OBJECTS_SHOWN]
    return await _tab(
        visit,
        connection,
        "objects.html",
        "/objects",
        shown=shown,
        found=found,
        total=len(objects),
        by_object=by_object,
        unseen=unseen,
        text=text,
        route=route,
    )


@get("/connections/{connection_id:uuid}/companies")
async def companies_page(visit: Visiting, connection_id: FromPath[UUID]) -> Response[str]:
    """Which companies are read."""
    connection = await _connection(visit, connection_id)
    async with visit.services.db.project(visit.project.id) as tx:
        companies = await connections.companies_of(tx, connection_id)
    return await _tab(
        visit, connection, "companies.html", "/companies", companies=companies, new=visit.query.get("step") == "3"
    )


@post("/connections/{connection_id:uuid}/companies")
async def choose_companies(visit: Visiting, connection_id: FromPath[UUID]) -> Redirect:
    """Select exactly the ticked ones."""
    connection = await _connection(visit, connection_id)
    chosen = visit.lists.get("company", [])
    async with visit.services.db.project(visit.project.id) as tx:
        await connections.select_companies(tx, connection_id, chosen)
    await visit.note("connection.companies_chosen", connection.name, companies=len(chosen))
    after = "/objects" if visit.text("new") else "/companies"
    return visit.go(f"/console/connections/{connection_id}{after}", "companies-saved")


@get("/connections/{connection_id:uuid}/settings")
async def settings_page(visit: Visiting, connection_id: FromPath[UUID]) -> Response[str]:
    """Identifiers, credentials, and the danger zone."""
    return await _settings(visit, await _connection(visit, connection_id))


@post("/connections/{connection_id:uuid}/secret", status_code=200)
async def new_secret(visit: Visiting, connection_id: FromPath[UUID]) -> Response[Any]:
    """A new client secret for the same app, or the sign-in again; data and cursors stay."""
    connection = await _connection(visit, connection_id)
    async with visit.services.db.project(visit.project.id) as tx:
        grant = await grants.get(tx, connection.grant_id)
    client_id = visit.text("client_id") or grant.client_id
    secret = visit.text("client_secret")
    person = grant.kind == GrantKind.PERSON
    if not secret and not person:
        return await _settings(visit, connection, {"client_secret": "Enter the client secret's Value."}, status=422)
    wish = _same_place(connection, grant.tenant, cloud_of(grant))
    try:
        if person:
            return await _sign_in_again(visit, wish, client_id, secret)
        if client_id == grant.client_id:
            return await _renew(visit, connection, Secret(secret))
        await visit.here.connect.with_app(wish, AppCredentials(client_id=client_id, secret=Secret(secret)))
    except Failure as failure:
        field = "ends" if failure.subject == "secret_expires_at" else "client_secret"
        return await _settings(visit, connection, errors_of(failure, field), status=status_here(failure))
    await visit.note("connection.secret_replaced", connection.name)
    return await _checked(visit, connection)


@post("/connections/{connection_id:uuid}/disconnect", status_code=200)
async def disconnect(visit: Visiting, connection_id: FromPath[UUID]) -> Response[Any]:
    """End the connection and keep or erase its data, when its name was typed."""
    connection = await _connection(visit, connection_id)
    if visit.text("confirm") != connection.name:
        return await _settings(visit, connection, {"confirm": f"Type exactly “{connection.name}”"}, status=422)
    erase = visit.text("data") != "keep"
    await visit.here.disconnect(connection_id, erase=erase, actor=actor(visit))
    if erase:
        return visit.go("/console/connections", "disconnected")
    return visit.go(f"/console/connections/{connection_id}", "disconnected-kept")


def missing_syncs(connection: Connection, kept: set[str]) -> list[str]:
    """The objects that the customer agreed to and that nothing keeps in step."""
    agreement = agreement_of(connection)
    known = {name.casefold() for name in kept}
    return [each.object for each in agreement.objects if each.object.casefold() not in known] if agreement else []


def _commonness(name: str) -> int:
    return COMMON.index(name) if name in COMMON else len(COMMON)


async def _checked(visit: Visit, connection: Connection) -> Redirect:
    """Take the steps; good news is said, bad news is the page itself."""
    report = await check_and_keep(visit, connection)
    well = report is not None and report.failure is None
    return visit.go(f"/console/connections/{connection.id}", "checked" if well else "")


async def _connection(visit: Visit, connection_id: UUID) -> Connection:
    async with visit.services.db.project(visit.project.id) as tx:
        return await connections.get(tx, connection_id)


async def _renew(visit: Visit, connection: Connection, secret: Secret) -> Response[Any]:
    """Another secret of the same app: tried, then used at once or kept until the old one ends."""
    new = NewSecret(secret=secret, ends_at=date_of(visit.text("ends")))
    if visit.text("when") == "later":
        await visit.here.renewing.stage(connection.id, new, QuietJournal(), actor=actor(visit))
        return visit.go(f"/console/connections/{connection.id}", "secret-staged")
    renewed = await visit.here.renewing.replace(connection.id, new, QuietJournal(), actor=actor(visit))
    return await _checked(visit, renewed)


async def _settings(
    visit: Visit, connection: Connection, errors: dict[str, str] | None = None, *, status: int = 200
) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        grant = await grants.get(tx, connection.grant_id)
        lost = await disconnecting.losses(tx, connection.id)
        customers = (await consumers.every(tx))[:CUSTOMERS_OFFERED]
        owner = await consumers.get(tx, connection.consumer_id) if connection.consumer_id else None
        ends_at, _ = await end_of(tx, connection, grant)
    return await _tab(
        visit,
        connection,
        "connection_settings.html",
        "/settings",
        status=status,
        errors=errors or {},
        tenant=grant.tenant,
        client_id=grant.client_id,
        kind=grant.kind,
        person=grant.kind == GrantKind.PERSON,
        secret_expires_at=ends_at,
        cloud=cloud_of(grant).title,
        staged_at=grant.staged_at,
        staged_from=grant.staged_from,
        staged_ends_at=grant.staged_expires_at,
        lost=lost,
        lives=LIVES,
        customers=customers,
        owner=owner,
    )


async def _sign_in_again(visit: Visit, wish: Wish, client_id: str, secret: str) -> Response[str]:
    browser = new_token()
    started = await visit.here.signing_in.start(
        wish,
        client_id=client_id,
        secret=Secret(secret) if secret else None,
        redirect_uri=f"{visit.services.public_url}{CALLBACK}",
        browser=browser,
    )
    await visit.note("connection.sign_in_started", wish.name)
    answer = await visit.page("continue.html", url=started.url, connection_id=started.connection_id, wish=wish)
    answer.set_cookie(tie_cookie(visit.services, started.state, browser))
    return answer


def _same_place(connection: Connection, tenant: str, cloud: Cloud) -> Wish:
    return Wish(
        provider=connection.provider,
        cloud=cloud,
        tenant=tenant,
        environment=connection.environment,
        name=connection.name,
    )


async def _tab(
    visit: Visit, connection: Connection, template: str, tab: str, *, status: int = 200, **values: Any
) -> Response[str]:
    base = f"/console/connections/{connection.id}"
    async with visit.services.db.project(visit.project.id) as tx:
        grant = await grants.get(tx, connection.grant_id)
        _, integration = await end_of(tx, connection, grant)
    return await visit.page(
        template,
        status=status,
        connection=connection,
        fix=button_of(connection, integration.id if integration else None),
        failure=failure_of(connection, integration.id if integration else None),
        secret=secret_line(connection, grant, integration, visit.services.clock.now()),
        base=base,
        tabs=[(f"{base}{end}", words, end == tab) for end, words in TABS],
        **values,
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [
    connections_page,
    connection_page,
    check_connection,
    objects_page,
    companies_page,
    choose_companies,
    settings_page,
    new_secret,
    disconnect,
]
