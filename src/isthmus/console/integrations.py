"""Apps → an integration: the host's own app set up once, what is shared and why, and links for customers to connect."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.connections.credentials import CertificateFile, NewSecret
from isthmus.connections.given import cloud_named
from isthmus.connections.integrations import (
    MODES,
    IntegrationWish,
    Mode,
    SharedObject,
    cloud_of_integration,
    remarks_of,
    remarks_on_objects,
    shared_objects,
    usual_modes,
)
from isthmus.connections.sessions import SessionWish
from isthmus.console import clouds
from isthmus.console.asking import errors_of
from isthmus.console.care import date_of
from isthmus.console.connections import COMMON
from isthmus.console.fixes import app_secret_line
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.store import connect_sessions, connections, consumers, integrations, listing
from isthmus.store.consumers import Consumer
from isthmus.store.integrations import Integration
from isthmus.vault.secrets import Secret

PROVIDER: Final = "business_central"
CALLBACK: Final = "/oauth/callback"
LANDING: Final = "https://businesscentral.dynamics.com/OAuthLanding.htm"
"""Business Central's own page asks for consent through this one (behaviour.md BC-5; the administrator's guide)."""

NEW: Final = "/apps/business_central/integrations/new"
BLANK_ROWS: Final = 3
ROWS_MAX: Final = 50
LINKS_SHOWN: Final = 20
CONSUMERS_OFFERED: Final = 200
LIVES: Final = (("1800", "30 minutes"), ("86400", "24 hours"))
LINK_TONES: Final = {
    "connected": ("good", "check"),
    "pending": ("neutral", "clock"),
    "opened": ("working", "activity"),
    "failed": ("bad", "cross"),
    "cancelled": ("neutral", "minus"),
    "expired": ("neutral", "minus"),
}


@get(NEW, opt={"role": "admin"})
async def new_page(visit: Visiting) -> Response[str]:
    """The form for a new integration."""
    choices = clouds.choices(visit.services.settings)
    typed = {"cloud": choices[0][0], "name": "Business Central"}
    rows = [SharedObject(object="", reason="")] * BLANK_ROWS
    if visit.query.get("example"):
        example = clouds.example_app(visit.services.settings, person=True)
        if example is not None:
            typed |= {"cloud": clouds.SANDBOX, "client_id": example.client_id, "client_secret": example.client_secret}
            rows = [
                SharedObject(object="customers", reason="To show your customers next to their invoices."),
                SharedObject(object="salesInvoices", reason="To book the invoices you send.", access="write"),
            ]
    return await _form(visit, None, typed, rows, {})


@post(NEW, status_code=200)
async def make(visit: Visiting) -> Response[Any]:
    """Keep it, with its secret where it has one."""
    typed, rows = _typed(visit)
    try:
        wish = _wish(visit, typed, rows)
        made = await visit.here.connect.integrations.create(wish, given_secret(visit), by=visit.author)
    except Failure as failure:
        return await _form(
            visit, None, typed, rows, errors_of(failure, _subject(failure, typed)), status=status_here(failure)
        )
    return visit.go(f"/console/apps/integrations/{made.id}", "integration-made")


@get("/apps/integrations/{integration_id:uuid}")
async def integration_page(visit: Visiting, integration_id: FromPath[UUID]) -> Response[str]:
    """One integration: its app, what is shared, its connections and links."""
    return await shown(visit, integration_id)


@get("/apps/integrations/{integration_id:uuid}/change", opt={"role": "admin"})
async def change_page(visit: Visiting, integration_id: FromPath[UUID]) -> Response[str]:
    """The form, filled in."""
    integration = await _integration(visit, integration_id)
    rows = [*shared_objects(integration), *[SharedObject(object="", reason="")] * BLANK_ROWS]
    typed = {
        "name": integration.name,
        "client_id": integration.client_id,
        "tenant": integration.tenant,
        "cloud": cloud_of_integration(integration).name,
        "scopes": " ".join(integration.scopes),
        "modes": " ".join(integration.modes),
    }
    return await _form(visit, integration, typed, rows, {})


@post("/apps/integrations/{integration_id:uuid}/change", status_code=200)
async def change(visit: Visiting, integration_id: FromPath[UUID]) -> Response[Any]:
    """Everything but the secret."""
    integration = await _integration(visit, integration_id)
    typed, rows = _typed(visit)
    try:
        wish = _wish(visit, typed, rows, integration)
        await visit.here.connect.integrations.replace(integration_id, wish, by=visit.author)
    except Failure as failure:
        return await _form(
            visit, integration, typed, rows, errors_of(failure, _subject(failure, typed)), status=status_here(failure)
        )
    return visit.go(f"/console/apps/integrations/{integration_id}", "saved")


@post("/apps/integrations/{integration_id:uuid}/link", status_code=200)
async def make_link(visit: Visiting, integration_id: FromPath[UUID]) -> Response[Any]:
    """A link for one customer, shown this once."""
    typed = {name: visit.text(name)[:200] for name in ("consumer", "consumer_name", "life")}
    if not typed["consumer"]:
        return await shown(
            visit, integration_id, {"consumer": "Enter your own id of this customer."}, typed, status=422
        )
    life = typed["life"] if typed["life"] in {key for key, _ in LIVES} else LIVES[0][0]
    wish = SessionWish(
        consumer=typed["consumer"],
        consumer_name=typed["consumer_name"],
        integration_id=integration_id,
        expires_in_s=int(life),
    )
    try:
        made = await visit.here.connect.sessions.create(wish, actor=f"user:{visit.who.name}")
    except Failure as failure:
        return await shown(visit, integration_id, errors_of(failure, "consumer"), typed, status=status_here(failure))
    called = await _called(visit, made.session.consumer_id, typed["consumer_name"])
    return await shown(visit, integration_id, link=f"{visit.services.public_url}/connect/{made.token}", link_for=called)


@post("/apps/integrations/{integration_id:uuid}/links/{session_id:uuid}/revoke", status_code=200)
async def revoke_link(visit: Visiting, integration_id: FromPath[UUID], session_id: FromPath[UUID]) -> Response[Any]:
    """Nobody can use the link any more."""
    await visit.here.connect.sessions.revoke(session_id)
    await visit.note("connect_session.cancel", str(session_id))
    return visit.go(f"/console/apps/integrations/{integration_id}", "link-revoked")


@post("/apps/integrations/{integration_id:uuid}/delete", status_code=200)
async def delete(visit: Visiting, integration_id: FromPath[UUID]) -> Response[Any]:
    """Forget it, when its name was typed; connections stay."""
    integration = await _integration(visit, integration_id)
    if visit.text("confirm") != integration.name:
        return await shown(visit, integration_id, {"confirm": f"Type exactly “{integration.name}”"}, status=422)
    async with visit.services.db.project(visit.project.id) as tx:
        await integrations.delete(tx, integration_id)
    await visit.note("integration.delete", str(integration_id), name=integration.name)
    return visit.go("/console/apps/business_central", "integration-deleted")


async def _called(visit: Visit, consumer_id: UUID, name: str) -> str:
    """The customer's name, as it was given now or earlier, with the host's own id of them."""
    async with visit.services.db.project(visit.project.id) as tx:
        consumer = await consumers.get(tx, consumer_id)
    name = name or consumer.name
    return f"{name} ({consumer.external_id})" if name and name != consumer.external_id else consumer.external_id


async def _integration(visit: Visit, integration_id: UUID) -> Integration:
    async with visit.services.db.project(visit.project.id) as tx:
        return await integrations.get(tx, integration_id)


def _typed(visit: Visit) -> tuple[dict[str, str], list[SharedObject]]:
    """The form as it was filled in; rows without an object are left out."""
    typed = {name: visit.text(name) for name in ("name", "client_id", "tenant", "cloud", "scopes", "ends")}
    typed["modes"] = " ".join(visit.lists.get("modes", []))
    columns = [visit.lists.get(name, [])[:ROWS_MAX] for name in ("object", "access", "reason")]
    rows = [
        SharedObject(object=name.strip(), access="write" if access == "write" else "read", reason=reason.strip())
        for name, access, reason in zip(*columns, strict=False)
        if name.strip() or reason.strip()
    ]
    return typed, rows


def _wish(
    visit: Visit, typed: dict[str, str], rows: list[SharedObject], before: Integration | None = None
) -> IntegrationWish:
    """What was typed. Raises InvalidInput."""
    if not typed["name"] or len(typed["name"]) > 120:
        raise InvalidInput("Give the integration a name.", subject="name")
    kept = cloud_of_integration(before) if before is not None else None
    same = kept is not None and typed["cloud"] in ("", kept.name)
    cloud = kept if same and kept is not None else cloud_named(typed["cloud"], visit.services.settings.home)
    return IntegrationWish(
        name=typed["name"],
        cloud=cloud,
        client_id=typed["client_id"],
        scopes=tuple(typed["scopes"].split()),
        objects=tuple(rows),
        modes=tuple(typed["modes"].split()),
        tenant=typed["tenant"],
    )


def given_secret(visit: Visit) -> NewSecret | None:
    """The secret or certificate that was entered, if one was. Raises InvalidInput."""
    secret, certificate, ends_at = visit.text("client_secret"), visit.text("certificate"), date_of(visit.text("ends"))
    if certificate:
        content = CertificateFile(content=certificate.encode(), password=visit.form.get("password") or None)
        return NewSecret(certificate=content)
    return NewSecret(secret=Secret(secret), ends_at=ends_at) if secret else None


def _subject(failure: Failure, typed: dict[str, str]) -> str:
    subject = {"secret_expires_at": "ends"}.get(failure.subject or "", failure.subject or "")
    return "name" if subject == typed["name"] else subject


async def _form(
    visit: Visit,
    integration: Integration | None,
    typed: dict[str, str],
    rows: list[SharedObject],
    errors: dict[str, str],
    *,
    status: int = 200,
) -> Response[str]:
    settings = visit.services.settings
    blank = SharedObject(object="", reason="")
    return await visit.page(
        "integration_form.html",
        status=status,
        integration=integration,
        typed=typed,
        rows=rows + [blank] * max(0, BLANK_ROWS - sum(1 for row in rows if not row.object)),
        errors=errors,
        modes=[(mode.value, words) for mode, words in MODES.items()],
        chosen=set(typed.get("modes", "").split()),
        remarks=remarks_of(typed.get("tenant", ""), typed.get("modes", "").split() or usual_modes(typed["client_id"]))
        if typed.get("client_id")
        else [],
        unknown=remarks_on_objects(PROVIDER, [row.object for row in rows if row.object]),
        clouds=clouds.choices(settings),
        example=clouds.example_app(settings, person=True) is not None,
        common=COMMON,
        callback=f"{visit.services.public_url}{CALLBACK}",
        landing=LANDING,
    )


async def shown(
    visit: Visit,
    integration_id: UUID,
    errors: dict[str, str] | None = None,
    typed: dict[str, str] | None = None,
    *,
    link: str = "",
    link_for: str = "",
    status: int = 200,
) -> Response[str]:
    """The page of one integration, with what is wrong with a form on it."""
    async with visit.services.db.project(visit.project.id) as tx:
        integration = await integrations.get(tx, integration_id)
        every = [each for each in await connections.every(tx) if each.integration_id == integration_id]
        host_name = (await integrations.connect_page(tx)).host_name
        offered, _ = await listing.page(tx, Consumer, CONSUMERS_OFFERED)
        names = {each.id: each.name or each.external_id for each in offered}
        links = [
            (each, names.get(each.consumer_id) or (await consumers.get(tx, each.consumer_id)).name)
            for each in await connect_sessions.latest(tx, LINKS_SHOWN)
            if each.integration_id == integration_id
        ]
    every.sort(key=lambda each: (each.state == "connected", each.name.casefold()))
    return await visit.page(
        "integration.html",
        status=status,
        integration=integration,
        secret=app_secret_line(integration, visit.services.clock.now()),
        objects=shared_objects(integration),
        modes=[MODES[Mode(mode)] for mode in integration.modes],
        remarks=remarks_of(integration.tenant, integration.modes),
        unknown=remarks_on_objects(integration.provider, [each.object for each in shared_objects(integration)]),
        cloud=cloud_of_integration(integration),
        connections=every,
        names=names,
        consumers=offered,
        links=links,
        link_tones=LINK_TONES,
        lives=LIVES,
        link=link,
        host_name=host_name,
        link_for=link_for,
        callback=f"{visit.services.public_url}{CALLBACK}",
        landing=LANDING,
        typed=typed or {},
        errors=errors or {},
        as_api=_as_api(visit, integration),
    )


def _as_api(visit: Visit, integration: Integration) -> str:
    """The call by which the host's backend makes such a link."""
    body = msgspec.json.encode(
        {"integration": integration.name, "consumer": {"external_id": "your-id", "name": "Their name"}}
    ).decode()
    return (
        f"curl -X POST {visit.services.public_url}/v1/connect-sessions \\\n"
        '  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\\n'
        f"  --data '{body}'"
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [
    new_page,
    make,
    integration_page,
    change_page,
    change,
    make_link,
    revoke_link,
    delete,
]
