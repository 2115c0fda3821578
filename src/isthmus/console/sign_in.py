"""Signing in and out, and the one-time links by which people come to exist."""

from __future__ import annotations

from typing import Any, Protocol

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from litestar.response import Redirect

from isthmus.console.admission import OPEN, Refused
from isthmus.console.pages import Theme, html, render
from isthmus.console.services import Services
from isthmus.console.sessions import (
    BROWSER_COOKIE,
    BROWSER_DAYS,
    FAILURES_FREE,
    FAILURES_FREE_PER_ADDRESS,
    FORM_COOKIE,
    INVITATION_HOURS,
    PAUSE_S_MAX,
    SESSION_COOKIE,
    SESSION_HOURS,
    THEME_COOKIE,
    browser_mark,
    browser_number,
    form_proof,
    hash_password,
    hashed,
    new_token,
    password_problem,
    proven,
    right_password,
)
from isthmus.console.visit import Blanks, Visiting
from isthmus.kernel.failures import InvalidInput
from isthmus.store import audit, console_people, projects
from isthmus.store.database import Database

NAME_CHARACTERS_MAX = 80

Plain = Request[Any, Any, Any]
Given = NamedDependency[SkipValidation[Services]]


class HasDatabase(Protocol):
    """Whatever gives the database: a hub, or the services of a server."""

    db: Database


async def first_administrator_link(hub: HasDatabase, public_url: str = "http://localhost:8080") -> str | None:
    """A one-time link that makes the first administrator, or None when there are people already.

    Good for a day; each call makes a new one and ends the one before.
    """
    token = new_token()
    if not await console_people.invite(hub.db, hashed(token), "admin", INVITATION_HOURS, first=True):
        return None
    return f"{public_url.rstrip('/')}/console/welcome/{token}"


async def invitation_link(hub: HasDatabase, role: str, public_url: str) -> str:
    """A one-time link for somebody of that role, good for a day."""
    token = new_token()
    await console_people.invite(hub.db, hashed(token), role, INVITATION_HOURS)
    return f"{public_url.rstrip('/')}/console/welcome/{token}"


@get("/sign-in", opt={OPEN: True})
async def sign_in_page(request: Plain, services: Given) -> Response[str]:
    """The form; it tells what to do when there is nobody yet."""
    return await _form(
        request,
        services,
        "sign_in.html",
        name="",
        errors={},
        aim=inside(request.query_params.get("next", "")),
        nobody_yet=await console_people.count(services.db) == 0,
        passwords=await passwords_open(services),
        provider=services.settings.oidc,
        signed_out=request.query_params.get("notice") == "signed-out",
    )


@post("/sign-in", opt={OPEN: True}, status_code=200)
async def sign_in(request: Plain, services: Given) -> Response[Any]:
    """Check name and password; a session when they are right, a pause when they are wrong too often."""
    form = await _proven_form(request)
    name, password = form.get("name", "").strip()[:NAME_CHARACTERS_MAX], form.get("password", "")
    address = request.client.host if request.client else ""
    person = await console_people.named(services.db, name)
    counted = _counted(name, address, browser_number(request.cookies.get(BROWSER_COOKIE, ""), _hash_of(person)))
    wait_s = await console_people.closed_s(services.db, list(counted))
    aim = inside(form.get("next", ""))
    if wait_s <= 0:
        right = await right_password(person.password_hash if person else None, password[:1024])
        if right and person is not None and await passwords_open(services, person):
            await console_people.forget_failures(services.db, next(iter(counted)))
            await note(services, person.name, "session.begun", person.name)
            answer = await begin(request, services, person, aim)
            mark = browser_mark(person.password_hash)
            answer.set_cookie(cookie(services, BROWSER_COOKIE, mark, hours=24 * BROWSER_DAYS))
            return answer
        for subject, free in counted.items():
            await console_people.note_failure(services.db, subject, free, PAUSE_S_MAX)
        words = "Name or password is wrong."
        if not await passwords_open(services):
            words = "Passwords are switched off here. Sign in through your organization."
    else:
        words = f"Too many wrong passwords in a row. Try again in {max(1, round(wait_s))} s."
    return await _form(
        request,
        services,
        "sign_in.html",
        status=429 if wait_s > 0 else 401,
        name=name,
        errors={"name": words},
        aim=aim,
        nobody_yet=False,
        passwords=await passwords_open(services),
        provider=services.settings.oidc,
        signed_out=False,
    )


def _hash_of(person: console_people.Person | None) -> str:
    return person.password_hash if person is not None else ""


def _counted(name: str, address: str, browser: str | None) -> dict[bytes, int]:
    """Under what wrong passwords are counted, and how many pass without a pause: the browser of somebody who has signed
    in from it by itself, anybody else by name and by address.
    """
    if browser is not None:
        return {hashed(f"browser:{browser}"): FAILURES_FREE}
    return {
        hashed(f"name:{name.casefold()}"): FAILURES_FREE,
        hashed(f"address:{address}"): FAILURES_FREE_PER_ADDRESS,
    }


@get("/welcome/{token:str}", opt={OPEN: True})
async def welcome_page(request: Plain, services: Given, token: FromPath[str]) -> Response[str]:
    """The form behind a one-time link."""
    invitation = await _invitation(services, token)
    return await _form(
        request, services, "welcome.html", first=invitation.first, role=invitation.role, name="", errors={}
    )


@post("/welcome/{token:str}", opt={OPEN: True}, status_code=200)
async def welcome(request: Plain, services: Given, token: FromPath[str]) -> Response[Any]:
    """Make the person and sign in."""
    form = await _proven_form(request)
    invitation = await _invitation(services, token)
    name = form.get("name", "").strip()
    errors: dict[str, str] = {}
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        errors["name"] = f"Give a name of at most {NAME_CHARACTERS_MAX} characters."
    problem = password_problem(form.get("password", ""), form.get("again", ""), name)
    if problem:
        errors["password"] = problem
    if not errors:
        try:
            password_hash = await hash_password(form["password"])
            person = await console_people.accept(services.db, hashed(token), name, password_hash)
        except InvalidInput as failure:
            errors["name"] = failure.message
        else:
            if person is None:
                raise await _used_up(services)
            await note(services, person.name, "person.made", person.name, role=person.role)
            return await begin(request, services, person, "/console")
    return await _form(
        request,
        services,
        "welcome.html",
        status=422,
        first=invitation.first,
        role=invitation.role,
        name=name,
        errors=errors,
    )


@post("/theme", opt={"role": "viewer"})
async def choose_theme(visit: Visiting) -> Redirect:
    """Light, dark, or as the machine says; kept in this browser."""
    chosen = visit.text("theme")
    answer = Redirect(path=inside(visit.text("back")), status_code=303)
    if chosen in Theme.CHOICES:
        answer.set_cookie(cookie(visit.services, THEME_COOKIE, chosen, hours=24 * 365))
    return answer


@post("/project", opt={"role": "viewer"})
async def choose_project(visit: Visiting) -> Redirect:
    """Look at another project."""
    here = await visit.services.of(visit.uuid(visit.text("project")))
    token = visit.request.cookies.get(SESSION_COOKIE, "")
    await console_people.choose_project(visit.services.db, hashed(token), here.project.id)
    return visit.go(inside(visit.text("next")))


async def passwords_open(services: Services, person: console_people.Person | None = None) -> bool:
    """Whether a password may be used: always, unless they are switched off. Even then an administrator's still opens
    while no administrator has ever come through the provider, so that nobody is locked out. With a person, whether
    that one's may."""
    oidc = services.settings.oidc
    if oidc is None or oidc.passwords:
        return True
    if person is not None and person.role != "admin":
        return False
    return not await console_people.provided_administrator(services.db, oidc.issuer)


async def _invitation(services: Services, token: str) -> console_people.Invitation:
    found = await console_people.invitation(services.db, hashed(token))
    if found is None:
        raise await _used_up(services)
    return found


async def _used_up(services: Services) -> Refused:
    """Why a one-time link opens nothing, with what helps: who can make another depends on whether anybody is there."""
    again = "Start the server again: it prints a new link for the first administrator."
    if await console_people.count(services.db):
        again = (
            "If you used it, sign in with the name and password that you chose. Else ask an administrator to invite "
        )
        again += "you again, or whoever runs the server."
    return Refused("This link is not good any more", f"One-time links work once and for a day. {again}", status=410)


async def begin(
    request: Plain, services: Services, person: console_people.Person, aim: str, *, way: str = "password"
) -> Redirect:
    """A new session with a new token, whatever the browser had before."""
    token = new_token()
    await console_people.begin_session(
        services.db,
        hashed(token),
        person.id,
        SESSION_HOURS,
        address=request.client.host if request.client else "",
        agent=request.headers.get("user-agent", ""),
        way=way,
    )
    answer = Redirect(path=aim, status_code=303)
    answer.set_cookie(cookie(services, SESSION_COOKIE, token, hours=SESSION_HOURS))
    answer.delete_cookie(FORM_COOKIE, path="/console")
    return answer


def cookie(services: Services, name: str, value: str, *, hours: int) -> Cookie:
    """A cookie of the console: unreadable for scripts, and only over TLS where the server has it."""
    return Cookie(
        key=name,
        value=value,
        path="/console",
        httponly=True,
        samesite="lax",
        secure=services.public_url.startswith("https://"),
        max_age=hours * 3_600,
    )


async def _form(
    request: Plain, services: Services, template: str, *, status: int = 200, **values: Any
) -> Response[str]:
    """A page for somebody who is not signed in, its form bound to a cookie of its own."""
    token = request.cookies.get(FORM_COOKIE) or new_token()
    values["errors"] = Blanks(values["errors"]) if "errors" in values else Blanks()
    answer = html(render(template, csrf=form_proof(token), theme=Theme.of(request), **values), status=status)
    answer.set_cookie(cookie(services, FORM_COOKIE, token, hours=1))
    return answer


async def _proven_form(request: Plain) -> dict[str, str]:
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    elsewhere = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if elsewhere or not proven(request.cookies.get(FORM_COOKIE, ""), form.get("csrf", "")):
        raise Refused(
            "This form is too old",
            "Nothing was done. Go back, load the page again and repeat it; cookies have to be allowed for this site.",
        )
    return form


def inside(path: str) -> str:
    """An address of the console, or its start page: nobody is sent elsewhere by a link."""
    fine = path == "/console" or path.startswith(("/console/", "/console?"))
    return path if fine and path.isprintable() and "\\" not in path and "//" not in path else "/console"


async def note(services: Services, name: str, action: str, subject: str, **detail: str) -> None:
    """Write down what somebody did who was not signed in when the request came."""
    project = await projects.first(services.db, services.settings.project)
    async with services.db.project(project.id) as tx:
        await audit.note(tx, actor=f"user:{name}", action=action, subject=subject, detail=dict(detail))
