"""Signing in and out through the organization's identity provider: there, back, and who one is here."""

from __future__ import annotations

import hmac
import logging
from typing import Any, Final

from litestar import Response, get, post
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.console.admission import OPEN, Refused
from isthmus.console.oidc import OidcProvider, Who, journey
from isthmus.console.pages import Theme, html, render
from isthmus.console.services import Services
from isthmus.console.sessions import FAILURES_FREE_PER_ADDRESS, PAUSE_S_MAX, SESSION_COOKIE, hashed, new_token
from isthmus.console.sign_in import Given, Plain, begin, cookie, inside, note
from isthmus.console.visit import Visiting
from isthmus.kernel.failures import Failure
from isthmus.settings_oidc import ANYBODY, OidcSettings
from isthmus.store import console_people
from isthmus.store.console_people import Person

JOURNEY_COOKIE: Final = "isthmus_journey"
JOURNEY_HOURS: Final = 1
SIGN_IN: Final = "/console/sign-in"
CALLBACK: Final = f"{SIGN_IN}/callback"
SIGNED_OUT: Final = f"{SIGN_IN}/signed-out"
WAY: Final = "provider"

_log = logging.getLogger(__name__)


def provider_handlers(services: Services) -> list[ControllerRouterHandler]:
    """Signing out, and where a provider is set up its own addresses."""
    oidc = services.settings.oidc
    provider = OidcProvider(oidc, services.clock) if oidc is not None else None
    return [_sign_out(provider), *(_provided(provider) if provider is not None else ())]


def _sign_out(provider: OidcProvider | None) -> ControllerRouterHandler:
    @post("/sign-out", opt={"role": "viewer"}, status_code=200)
    async def sign_out(visit: Visiting) -> Response[Any]:
        """End the session here and in the database; who came through the provider ends that session too."""
        await console_people.end_session(visit.services.db, hashed(visit.request.cookies.get(SESSION_COOKIE, "")))
        url = None
        if provider is not None and visit.who.way == WAY:
            url = await provider.sign_out_url(f"{visit.services.public_url}{SIGNED_OUT}")
        answer: Response[Any] = Redirect(path=f"{SIGN_IN}?notice=signed-out", status_code=303)
        if url is not None:  # a page that leads there: browsers hold redirects of a form to `form-action`
            answer = html(render("signing_out.html", url=url, theme=Theme.of(visit.request)))
        answer.delete_cookie(SESSION_COOKIE, path="/console")
        return answer

    return sign_out


def _provided(provider: OidcProvider) -> list[ControllerRouterHandler]:
    @get("/sign-in/signed-out", opt={OPEN: True}, sync_to_thread=False)
    def signed_out() -> Redirect:
        """Back from signing out at the provider. An address without parameters, as providers want them registered."""
        return Redirect(path=f"{SIGN_IN}?notice=signed-out", status_code=303)

    @get("/sign-in/provider", opt={OPEN: True})
    async def leave(request: Plain, services: Given) -> Response[Any]:
        """Off to the provider, with a cookie that only this browser has."""
        secret, aim = new_token(), inside(request.query_params.get("next", ""))
        address = await _open_to(request, services)
        try:
            url = await provider.sign_in_url(_redirect_uri(services), journey(secret))
        except Failure as failure:
            await console_people.note_failure(services.db, address, FAILURES_FREE_PER_ADDRESS, PAUSE_S_MAX)
            raise _not_now(failure) from failure
        answer = Redirect(path=url, status_code=303)
        answer.set_cookie(cookie(services, JOURNEY_COOKIE, f"{secret}|{aim}", hours=JOURNEY_HOURS))
        return answer

    @get("/sign-in/callback", opt={OPEN: True})
    async def come_back(request: Plain, services: Given) -> Response[Any]:
        """Back from the provider: a session, when everything is right."""
        secret, _, aim = request.cookies.get(JOURNEY_COOKIE, "").partition("|")
        made, query = journey(secret), request.query_params
        if not secret or not hmac.compare_digest(made.state.encode(), query.get("state", "").encode()):
            raise Refused(
                "This sign-in was not begun here",
                "It may have taken too long, or been begun in another browser. Sign in again from this console.",
                status=400,
            )
        if query.get("error") or not query.get("code"):
            raise Refused("You are not signed in", _said(query.get("error", "")), status=403)
        address = await _open_to(request, services)
        try:
            who = await provider.who(
                query["code"][:8_192], _redirect_uri(services), made, answered_by=query.get("iss", "")
            )
        except Failure as failure:
            await console_people.note_failure(services.db, address, FAILURES_FREE_PER_ADDRESS, PAUSE_S_MAX)
            raise _not_now(failure) from failure
        person = await _person(services, provider.settings, who)
        await note(services, person.name, "session.begun", person.name, way=WAY)
        answer = await begin(request, services, person, inside(aim), way=WAY)
        answer.delete_cookie(JOURNEY_COOKIE, path="/console")
        return answer

    return [leave, come_back, signed_out]


async def _open_to(request: Plain, services: Services) -> bytes:
    """The address's name in the list of failures. Raises Refused while it has to wait: every try asks the provider."""
    address = hashed(f"provider:{request.client.host if request.client else ''}")
    wait_s = await console_people.closed_s(services.db, [address])
    if wait_s > 0:
        raise Refused("Too many failed sign-ins from here", f"Try again in {max(1, round(wait_s))} s.", status=429)
    return address


async def _person(services: Services, oidc: OidcSettings, who: Who) -> Person:
    """Who this is here, made or refreshed. Raises Refused."""
    if oidc.domains:
        domain = who.email.rpartition("@")[2].lower()
        if not who.email_proven or domain not in oidc.domains:
            unproven = who.email and not who.email_proven
            raise Refused(
                "Not from your organization",
                f"Only people with an e-mail address of {', '.join(oidc.domains)} may come in; you came as "
                f"{who.email or 'somebody without one'}"
                + (", which your identity provider has not verified." if unproven else "."),
            )
    known = await console_people.identified(services.db, who.issuer, who.subject)
    explicit = next((role for role, value in oidc.roles if value != ANYBODY and value in who.values), None)
    anybody = next((role for role, value in oidc.roles if value == ANYBODY), None)
    role = explicit or (known.role if known is not None and anybody is not None else anybody)
    if role is None:
        if known is not None:
            await console_people.end_sessions(services.db, known.id)
        raise Refused(
            "You have no role here",
            f"Your organization knows you as {who.name}, but gives you none of the groups that may use this console. "
            "Ask whoever manages those groups.",
        )
    person = await console_people.provision(
        services.db, issuer=who.issuer, subject=who.subject, name=who.name, email=who.email, role=role
    )
    if known is None:
        await note(services, person.name, "person.made", person.name, role=person.role, way=WAY)
    elif known.role != person.role:
        await note(services, person.name, "person.role_changed", person.name, before=known.role, role=person.role)
    return person


def _redirect_uri(services: Services) -> str:
    return f"{services.public_url}{CALLBACK}"


def _said(error: str) -> str:
    if error == "access_denied":
        return "Your organization’s sign-in was cancelled or refused. Nothing was changed."
    return "Your organization’s sign-in did not succeed. Try again, or tell the people who run this console."


def _not_now(failure: Failure) -> Refused:
    """What people are told; the details that the operator needs are in the log and in the remedy."""
    _log.warning("signing in through the identity provider failed: %s", failure)
    return Refused("You are not signed in", f"{failure.message} {failure.remedy}", status=502)
