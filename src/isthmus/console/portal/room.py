"""The portal's pages put together: the link that opens them, and the pages behind it."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from litestar import Router, get
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.connections.portal_links import PATH
from isthmus.console.connect.admission import Plain, Turned, crashed, failed, not_served, secured, turned
from isthmus.console.portal.acts import HANDLERS
from isthmus.console.portal.admission import PortalAdmission, PortalVisit
from isthmus.console.services import Services
from isthmus.kernel.failures import Failure
from isthmus.routers import SoleRouter

FORM_BYTES_MAX: Final = 64 * 1024


def create_portal_pages(services: Services) -> list[ControllerRouterHandler]:
    """The portal's handlers, for whoever serves them."""
    admission = PortalAdmission(services)

    async def visit(request: Plain, link_id: FromPath[UUID]) -> PortalVisit:
        found = await admission.visit(request, link_id)
        if request.method not in ("GET", "HEAD"):
            await found.take()
        return found

    @get("/{token:str}")
    async def open_link(request: Plain, token: FromPath[str]) -> Redirect:
        """A link: this browser is let in, and the token leaves its address bar."""
        link = await admission.open(request, token)
        answer = Redirect(path=f"{PATH}/l/{link.id}", status_code=303)
        answer.set_cookie(admission.cookie(link, token))
        return answer

    pages = Router(path="/l/{link_id:uuid}", route_handlers=HANDLERS, dependencies={"visit": Provide(visit)})
    room = SoleRouter(
        path=PATH,
        route_handlers=[open_link, pages],
        after_request=secured,
        exception_handlers={Turned: turned, Failure: failed, HTTPException: not_served, Exception: crashed},
        request_max_body_size=FORM_BYTES_MAX,
        include_in_schema=False,
    )
    return [room]
