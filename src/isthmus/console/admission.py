"""Who may come in: session, role and form proof, checked for every request before a page is made."""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.response import Redirect

from isthmus.console.pages import SECURITY_HEADERS, Theme, html, render
from isthmus.console.services import Services, Workspace
from isthmus.console.sessions import SESSION_COOKIE, SESSION_IDLE_HOURS, form_proof, hashed, proven
from isthmus.console.visit import Plain, Visit, may
from isthmus.kernel.failures import DatabaseUnavailable, Failure, InvalidInput, RecordNotFound
from isthmus.kernel.ids import new_id, short
from isthmus.kernel.statuses import status_of
from isthmus.store import console_people, projects
from isthmus.store.console_people import SignedIn

SAFE_METHODS: Final = ("GET", "HEAD")
OPEN: Final = "open"
"""Mark of a handler that answers people who are not signed in; everything else is closed by default."""

_log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is not let through, with what the page says about it."""

    def __init__(self, title: str, words: str, status: int = 403) -> None:
        super().__init__(title)
        self.title, self.words, self.status = title, words, status


class Admission:
    """The hook in front of every handler of the console."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, request: Plain) -> Response[Any] | None:
        """Let the request through with a `Visit` in its state, or answer in its stead."""
        options = request.route_handler.opt
        if options.get(OPEN):
            return None
        visit = await self.visit(request)
        if visit is None:
            back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            aim = f"?next={quote(back)}" if request.method in SAFE_METHODS else ""
            return Redirect(path=f"/console/sign-in{aim}", status_code=303)
        who, token = visit.who, request.cookies.get(SESSION_COOKIE, "")
        needed = str(options.get("role", "viewer" if request.method in SAFE_METHODS else "admin"))
        if not may(who.role, needed):
            raise Refused(
                "Not with your role",
                f"This needs the role {needed}; you are signed in as {who.name}, {who.role}. "
                "An administrator can invite you again with another role.",
            )
        if request.method not in SAFE_METHODS:
            form = await request.form()
            if not proven(token, str(form.get("csrf", ""))) or _from_elsewhere(request):
                raise Refused(
                    "This form is too old",
                    "It belongs to an earlier sign-in, so nothing was done. Go back, load the page again, repeat it.",
                )
            visit.take(form)
        request.state.visit = visit
        return None

    async def visit(self, request: Plain) -> Visit | None:
        """The visit of whoever is signed in, of any role; None when nobody is."""
        token = request.cookies.get(SESSION_COOKIE, "")
        who = await console_people.session(self._services.db, hashed(token), SESSION_IDLE_HOURS) if token else None
        if who is None:
            return None
        return Visit(self._services, await self._here(who), request, who, form_proof(token))

    async def _here(self, who: SignedIn) -> Workspace:
        """The chosen project, or the configured one when none was chosen or it is gone."""
        if who.chosen_project is not None:
            try:
                return await self._services.of(who.chosen_project)
            except RecordNotFound:
                _log.info("a session's project is gone; showing the configured one")
        return await self._services.of((await projects.first(self._services.db, self._services.settings.project)).id)


def _from_elsewhere(request: Plain) -> bool:
    """True when the browser itself says that another site sent the form."""
    return request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def visit_of(request: Request[Any, Any, Any]) -> Visit:
    """The dependency that handlers ask for."""
    visit = request.state.visit
    assert isinstance(visit, Visit)
    return visit


def secured(response: Response[Any]) -> Response[Any]:
    """Put the security headers on an answer that does not bring its own."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def refused(request: Plain, error: Refused) -> Response[str]:
    """The page of a request that was not let through."""
    return _trouble(request, error.status, title=error.title, words=error.words)


def failed(request: Plain, error: Failure) -> Response[str]:
    """The page of a foreseeable failure: what happened, why, what to do, whom to ask."""
    away = isinstance(error, DatabaseUnavailable)
    lost = isinstance(error, RecordNotFound) or (
        isinstance(error, InvalidInput) and request.method in SAFE_METHODS and error.message.startswith("There is no")
    )
    return _trouble(
        request,
        404 if lost else status_of(error),
        title="The database does not answer" if away else error.message,
        words=error.message if away else "",
        failure=error.to_dict(),
    )


def not_served(request: Plain, error: HTTPException) -> Response[str]:
    """No such page, or no such method."""
    if error.status_code >= 500:
        return crashed(request, error)
    title = "There is no such page" if error.status_code == 404 else "That cannot be done here"
    words = "The address may be mistyped, or what it showed is gone." if error.status_code == 404 else error.detail
    return _trouble(request, error.status_code, title=title, words=words)


def crashed(request: Plain, error: Exception) -> Response[str]:
    """A fault of ours: a reference for the log, and no inner details."""
    reference = short(new_id())
    _log.error("console page %s failed, reference %s", request.url.path, reference, exc_info=error)
    return _trouble(
        request,
        500,
        title="Something went wrong on our side",
        words=f"Nothing is lost. Try again; if it happens again, look for reference {reference} in the server's log.",
    )


def _trouble(
    request: Plain, status: int, *, title: str, words: str = "", failure: dict[str, Any] | None = None
) -> Response[str]:
    response = html(
        render("trouble.html", frame="alone.html", title=title, words=words, failure=failure, theme=Theme.of(request)),
        status=status,
    )
    if failure is not None and failure["retry_after"] is not None:
        response.headers.setdefault("retry-after", str(max(1, round(failure["retry_after"]))))
    return secured(response)


def known_id(text: str) -> UUID | None:
    """An id, or None for text that is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
