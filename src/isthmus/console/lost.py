"""Addresses that lead nowhere: a page that says so, with the way on, and the project that has what was looked for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

from litestar import Response
from litestar.exceptions import HTTPException
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from isthmus.connections.portal_links import PATH as PORTAL
from isthmus.console.admission import SAFE_METHODS, Admission, failed, not_served, secured
from isthmus.console.connect import admission as connect_admission
from isthmus.console.pages import Theme, html, render
from isthmus.console.services import Services
from isthmus.console.visit import Plain, Visit
from isthmus.kernel.failures import Failure, InvalidInput, RecordNotFound
from isthmus.store import connections, destinations, operations, projects, runs, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import Project

CONSOLE: Final = "/console"
CONNECT: Final = "/connect"
PROJECTS_MAX: Final = 200
"""In how many projects of the hub a thing is looked for."""

Find = Callable[[Transaction, UUID], Awaitable[Any]]
Handler = Callable[[Plain, HTTPException], Response[Any]]

THINGS: Final[Mapping[str, tuple[str, Find]]] = {
    "connections": ("connection", connections.get),
    "syncs": ("sync", syncs.get),
    "data": ("sync", syncs.get),
    "runs": ("run", runs.get),
    "writes": ("write", operations.get),
    "deliveries": ("destination", destinations.get),
}
"""What an address below /console names by its id: its word, and how it is found."""

_THING: Final = re.compile(r"/console/(\w+)/([0-9a-fA-F-]{36})(?:/|$)")


class _Looked(Response[str]):
    """A page that looks something up before it is made: the framework asks for failures' pages without waiting."""

    def __init__(self, make: Callable[[], Awaitable[Response[Any]]]) -> None:
        super().__init__("")
        self._make = make

    def to_asgi_response(self, app: Any, request: Any, **_: Any) -> ASGIResponse:
        """What is sent when the page has been made."""
        return _Sending(self._make, request)


class _Sending(ASGIResponse):
    def __init__(self, make: Callable[[], Awaitable[Response[Any]]], request: Plain) -> None:
        super().__init__()
        self._make, self._request = make, request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = secured(await self._make())
        await answer.to_asgi_response(app=None, request=self._request)(scope, receive, send)


def unknown_address(services: Services, otherwise: Handler) -> Handler:
    """What answers when no route does: pages for browsers, `otherwise` for programs and everything else."""
    admission = Admission(services)

    def answer(request: Plain, error: HTTPException) -> Response[Any]:
        if error.status_code not in (404, 405) or "route_handler" in request.scope or not _wants_page(request):
            return otherwise(request, error)
        if _below(request.url.path, CONNECT) or _below(request.url.path, PORTAL):
            return connect_admission.not_served(request, error)
        return _Looked(lambda: _nowhere(admission, request, error.status_code))

    return answer


def not_served_page(services: Services) -> Handler:
    """What answers inside the console's own routes: an id that is none, a method that is not there."""
    admission = Admission(services)

    def answer(request: Plain, error: HTTPException) -> Response[Any]:
        if error.status_code not in (404, 405):
            return not_served(request, error)
        return _Looked(lambda: _nowhere(admission, request, error.status_code))

    return answer


def failed_page(request: Plain, error: Failure) -> Response[str]:
    """The page of a foreseeable failure; what is not there may be in another project of the hub."""
    visit = request.scope.get("state", {}).get("visit")
    if request.method not in SAFE_METHODS or not isinstance(visit, Visit) or not _missing(error):
        return failed(request, error)
    return _Looked(lambda: _not_here(visit, error))


def _missing(error: Failure) -> bool:
    return isinstance(error, InvalidInput | RecordNotFound) and error.message.startswith("There is no")


def _wants_page(request: Plain) -> bool:
    return (
        any(_below(request.url.path, room) for room in (CONSOLE, CONNECT, PORTAL))
        or "text/html" in request.headers.get("accept", "").lower()
    )


def _below(path: str, room: str) -> bool:
    return path == room or path.startswith(f"{room}/")


async def _nowhere(admission: Admission, request: Plain, status: int) -> Response[str]:
    title, words = "There is no such page", "The address may be mistyped, or what it showed is gone."
    if status == 405:
        title, words = "That cannot be done here", "Go back, load the page again, and use what it offers."
    visit = await admission.visit(request)
    if visit is None:
        return html(
            render("trouble.html", frame="alone.html", title=title, words=words, failure=None, theme=Theme.of(request)),
            status=status,
        )
    return await visit.page("trouble.html", frame="base.html", status=status, title=title, words=words, failure=None)


async def _not_here(visit: Visit, error: Failure) -> Response[str]:
    found = _THING.match(visit.request.url.path)
    noun, find = THINGS.get(found[1], ("", None)) if found else ("", None)
    other = await _elsewhere(visit, find, UUID(found[2])) if found and find else None
    words = f"What it showed is gone, or the address is mistyped. You are in the project “{visit.project.name}”."
    if other is not None:
        words = f"You are in the project “{visit.project.name}”; it is in “{other.name}”."
    return await visit.page(
        "lost.html",
        status=404,
        title=f"There is no such {noun} here" if noun else error.message.rstrip("."),
        words=words if noun or not error.remedy else error.remedy,
        other=other,
        address=visit.request.url.path,
    )


async def _elsewhere(visit: Visit, find: Find, thing_id: UUID) -> Project | None:
    """The other project that has it. People of the console see every project of the hub."""
    for project in (await projects.every(visit.services.db))[:PROJECTS_MAX]:
        if project.id == visit.project.id:
            continue
        async with visit.services.db.project(project.id) as tx:
            try:
                await find(tx, thing_id)
            except Failure:
                continue
        return project
    return None
