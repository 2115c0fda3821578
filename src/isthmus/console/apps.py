"""Apps: the catalogue of providers, the administrator's guide, and adding a connection."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from isthmus.connections.credentials import AppCredentials, CertificateFile
from isthmus.connections.given import cloud_named
from isthmus.connections.making import Wish
from isthmus.console import clouds
from isthmus.console.asking import errors_of
from isthmus.console.browser_tie import tie_cookie
from isthmus.console.checks import check_and_keep
from isthmus.console.pages import status_here
from isthmus.console.sessions import new_token
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure
from isthmus.store import connections, integrations
from isthmus.vault.secrets import Secret

PROVIDER: Final = "business_central"
CALLBACK: Final = "/oauth/callback"
"""The server's one redirect address, whoever started the sign-in."""

WAYS: Final = ("app", "certificate", "person")
NAME_CHARACTERS_MAX: Final = 120


class App(msgspec.Struct, frozen=True, kw_only=True):
    """A provider in the catalogue."""

    name: str
    title: str
    words: str
    letters: str
    ready: bool


CATALOGUE: Final = (
    App(
        name="business_central",
        title="Dynamics 365 Business Central",
        words="Customers, vendors, items, invoices, ledgers and all other standard objects, with deletions.",
        letters="BC",
        ready=True,
    ),
    App(
        name="finance_operations",
        title="Dynamics 365 Finance & Operations",
        words="Not part of this version yet.",
        letters="FO",
        ready=False,
    ),
    App(
        name="dataverse",
        title="Dataverse / Dynamics 365 Sales",
        words="Not part of this version yet.",
        letters="DV",
        ready=False,
    ),
    App(name="salesforce", title="Salesforce", words="Not part of this version yet.", letters="SF", ready=False),
)


@get("/apps")
async def apps_page(visit: Visiting) -> Response[str]:
    """The catalogue."""
    async with visit.services.db.project(visit.project.id) as tx:
        every = await connections.every(tx)
    return await visit.page("apps.html", catalogue=CATALOGUE, connections=every)


@get("/apps/business_central")
async def app_page(visit: Visiting) -> Response[str]:
    """What Business Central offers, and its connections."""
    async with visit.services.db.project(visit.project.id) as tx:
        every = [each for each in await connections.every(tx) if each.provider == PROVIDER]
        kept = [each for each in await integrations.every(tx) if each.provider == PROVIDER]
        used = await integrations.connections_by_integration(tx)
    every.sort(key=lambda each: (each.state == "connected", each.name.casefold()))
    return await visit.page("app.html", connections=every, integrations=kept, used=used)


@get("/apps/business_central/guide")
async def guide_page(visit: Visiting) -> Response[str]:
    """The administrator's guide: registering the app, granting it access, finding the names."""
    return await visit.page("guide.html", callback=_callback(visit), public_url=visit.services.public_url)


@get("/apps/business_central/connect", opt={"role": "admin"})
async def connect_page(visit: Visiting) -> Response[str]:
    """The form, for one of three ways to sign in."""
    way = visit.query.get("way", "app")
    way = way if way in WAYS else "app"
    choices = clouds.choices(visit.services.settings)
    typed = {"cloud": choices[0][0], "environment": "Production"}
    if visit.query.get("example"):
        example = clouds.example_app(visit.services.settings, person=way == "person")
        if example is not None:
            typed |= {"cloud": clouds.SANDBOX, "name": "cronus", **msgspec.structs.asdict(example)}
    return await _form(visit, way, typed, {})


@post("/apps/business_central/connect", status_code=200)
async def connect(visit: Visiting) -> Response[Any]:
    """Keep the credentials, then check them at once; or send the person to the vendor's sign-in."""
    way = visit.text("way") if visit.text("way") in WAYS else "app"
    typed = {name: visit.text(name) for name in ("name", "cloud", "tenant", "environment", "client_id")}
    errors = _missing(visit, way, typed)
    if errors:
        return await _form(visit, way, typed, errors, status=422)
    try:
        wish = Wish(
            provider=PROVIDER,
            cloud=cloud_named(typed["cloud"], visit.services.settings.home),
            tenant=typed["tenant"],
            environment=typed["environment"],
            name=typed["name"],
        )
        if way == "person":
            return await _to_sign_in(visit, wish, typed)
        connection = await visit.here.connect.with_app(wish, _credentials(visit, way, typed["client_id"]))
    except Failure as failure:
        default = "certificate" if way == "certificate" else "name" if failure.subject == typed["name"] else ""
        return await _form(visit, way, typed, errors_of(failure, default), status=status_here(failure))
    await visit.note("connection.made", connection.name, environment=connection.environment, way=way)
    report = await check_and_keep(visit, connection)
    if report is None or report.failure is not None:
        return visit.go(f"/console/connections/{connection.id}")
    return visit.go(f"/console/connections/{connection.id}/companies", "connected", step="3")


async def _to_sign_in(visit: Visit, wish: Wish, typed: dict[str, str]) -> Response[str]:
    secret = visit.text("client_secret")
    browser = new_token()
    started = await visit.here.signing_in.start(
        wish,
        client_id=typed["client_id"],
        secret=Secret(secret) if secret else None,
        redirect_uri=_callback(visit),
        browser=browser,
    )
    await visit.note("connection.sign_in_started", wish.name)
    answer = await visit.page("continue.html", url=started.url, connection_id=started.connection_id, wish=wish)
    answer.set_cookie(tie_cookie(visit.services, started.state, browser))
    return answer


async def _form(
    visit: Visit, way: str, typed: dict[str, str], errors: dict[str, str], *, status: int = 200
) -> Response[str]:
    settings = visit.services.settings
    return await visit.page(
        "connect.html",
        status=status,
        way=way,
        typed=typed,
        errors=errors,
        clouds=clouds.choices(settings),
        example=clouds.example_app(settings, person=way == "person") is not None,
        callback=_callback(visit),
    )


def _missing(visit: Visit, way: str, typed: dict[str, str]) -> dict[str, str]:
    errors: dict[str, str] = {}
    if not typed["name"] or len(typed["name"]) > NAME_CHARACTERS_MAX:
        errors["name"] = "Give the connection a name, for example the customer's."
    if way != "person" and not typed["tenant"]:
        errors["tenant"] = "Enter the tenant id or one of its domains: Entra admin centre → Overview → Tenant ID."
    if not typed["environment"]:
        errors["environment"] = "Enter the environment's name as Business Central shows it."
    if not typed["client_id"]:
        errors["client_id"] = "Enter the Application (client) ID of the app registration."
    if way == "app" and not visit.text("client_secret"):
        errors["client_secret"] = "Enter the client secret's Value."  # noqa: S105 - words, not a secret
    if way == "certificate" and "PRIVATE KEY" not in visit.text("certificate"):
        errors["certificate"] = "Paste the certificate and its private key, both in PEM form."
    return errors


def _credentials(visit: Visit, way: str, client_id: str) -> AppCredentials:
    if way == "certificate":
        content = CertificateFile(
            content=visit.text("certificate").encode(), password=visit.form.get("password") or None
        )
        return AppCredentials(client_id=client_id, certificate=content)
    return AppCredentials(client_id=client_id, secret=Secret(visit.text("client_secret")))


def _callback(visit: Visit) -> str:
    return f"{visit.services.public_url}{CALLBACK}"


HANDLERS: Final[list[ControllerRouterHandler]] = [apps_page, app_page, guide_page, connect_page, connect]
