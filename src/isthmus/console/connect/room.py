"""The connect pages put together: links, sessions, the popup script, the guide, and what belongs to them."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import MediaType, Response, Router, get
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.console.connect import steps
from isthmus.console.connect.admission import (
    ConnectAdmission,
    Guest,
    Plain,
    Turned,
    crashed,
    failed,
    not_served,
    secured,
    turned,
)
from isthmus.console.connect.look import accent_style, is_colour
from isthmus.console.connect.pages import STATIC, connect_page, connect_static
from isthmus.console.connect.sign_in import sign_in_handlers
from isthmus.console.connect.status import link_status
from isthmus.console.services import Services
from isthmus.kernel.failures import Failure
from isthmus.routers import SoleRouter
from isthmus.store import integrations

FORM_BYTES_MAX: Final = 256 * 1024
FOR_EVER: Final = "public, max-age=31536000, immutable"
SCRIPT_AGE: Final = "public, max-age=3600, stale-while-revalidate=86400"
"""Of the popup script at its plain address, which hosts write into their pages."""

_FILES: Final = {name: connect_static(name) for name in STATIC}


def create_connect_pages(services: Services) -> list[ControllerRouterHandler]:
    """The connect pages' handlers, for whoever serves them."""
    admission = ConnectAdmission(services)

    async def guest(request: Plain, session_id: FromPath[UUID]) -> Guest:
        found = await admission.guest(request, session_id)
        if request.method not in ("GET", "HEAD"):
            await found.take()
        return found

    sessions = Router(path="/", route_handlers=steps.HANDLERS, dependencies={"guest": Provide(guest)})
    room = SoleRouter(
        path="/connect",
        route_handlers=[
            sessions,
            *_link_handlers(services, admission),
            *sign_in_handlers(services, admission),
            *_plain_handlers(services),
        ],
        after_request=secured,
        exception_handlers={Turned: turned, Failure: failed, HTTPException: not_served, Exception: crashed},
        request_max_body_size=FORM_BYTES_MAX,
        include_in_schema=False,
    )
    return [room, popup_script]


def _link_handlers(services: Services, admission: ConnectAdmission) -> list[ControllerRouterHandler]:
    @get("/{token:str}")
    async def open_link(request: Plain, token: FromPath[str]) -> Redirect:
        """A link: this browser is let in, and the token leaves its address bar."""
        door = await admission.door(request, token)
        answer = Redirect(path=f"/connect/s/{door.session_id}", status_code=303)
        if not await admission.known(request, door):
            here = await services.of(door.project_id)
            opened = await here.connect.sessions.visit(door)
            answer.set_cookie(admission.cookie(door.session_id, opened.visit))
        return answer

    @get("/{token:str}/status")
    async def status(request: Plain, token: FromPath[str]) -> Response[bytes]:
        """The state of a link, for the host's page; readable by scripts of the session's own origin alone."""
        if not admission.poll(token):
            return _json({"error": "too_many_requests"}, 429, {"retry-after": "2"})
        door = await admission.door(request, token)
        here = await services.of(door.project_id)
        session = await here.connect.sessions.show(door.session_id)
        more = {"vary": "origin", "cross-origin-resource-policy": "cross-origin"}
        if session.origin and request.headers.get("origin") == session.origin:
            more["access-control-allow-origin"] = session.origin
        return _json(msgspec.to_builtins(link_status(session)), 200, more)

    return [open_link, status]


def _plain_handlers(services: Services) -> list[ControllerRouterHandler]:
    @get("/guide/business-central")
    async def guide() -> Response[str]:
        """The illustrated administrator's guide, open to everybody."""
        return connect_page(
            "connect/guide.html", callback=f"{services.public_url}{steps.CALLBACK}", app_name="the product you connect"
        )

    @get("/logo/{project_id:uuid}")
    async def logo(project_id: FromPath[UUID]) -> Response[bytes]:
        """The host's logo. A picture and nothing else: no script of it runs."""
        async with services.db.project(project_id) as tx:
            page = await integrations.connect_page(tx)
        if page.logo is None:
            raise NotFoundException
        headers = {
            "cache-control": "public, max-age=3600",
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
            "cross-origin-resource-policy": "cross-origin",
        }
        return Response(page.logo, media_type=page.logo_type, headers=headers)

    @get("/theme/{name:str}", sync_to_thread=False)
    def theme(name: FromPath[str]) -> Response[str]:
        """The host's colour as a style sheet."""
        colour = name.removesuffix(".css")
        if not is_colour(colour):
            raise NotFoundException
        return Response(accent_style(f"#{colour}"), media_type="text/css", headers={"cache-control": FOR_EVER})

    @get("/static/{name:str}", sync_to_thread=False)
    def static_file(name: FromPath[str]) -> Response[bytes]:
        """The files of the pages; their address carries their hash."""
        if name not in _FILES:
            raise NotFoundException
        headers = {"cache-control": FOR_EVER, "cross-origin-resource-policy": "cross-origin"}
        return Response(_FILES[name], media_type=STATIC[name], headers=headers)

    return [guide, logo, theme, static_file]


@get("/connect.js", include_in_schema=False, sync_to_thread=False)
def popup_script(request: Plain) -> Response[bytes]:
    """What a host puts into its page to open the connect pages in a popup. With `?v=…` browsers keep it for a year."""
    headers = {
        "cache-control": FOR_EVER if request.query_params.get("v") else SCRIPT_AGE,
        "cross-origin-resource-policy": "cross-origin",
    }
    return Response(_FILES["popup.js"], media_type=STATIC["popup.js"], headers=headers)


def _json(content: Any, status: int, headers: dict[str, str]) -> Response[bytes]:
    return Response(msgspec.json.encode(content), status_code=status, media_type=MediaType.JSON, headers=headers)
