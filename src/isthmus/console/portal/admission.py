"""Who may see a consumer's page: whoever holds its link. The token moves into a cookie and leaves the address bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from litestar import Response
from litestar.datastructures import Cookie

from isthmus.connections.portal_links import PATH, TOKEN_CHARACTERS_MAX, opened_link
from isthmus.console.connect.admission import VALUE_CHARACTERS_MAX, Buckets, Plain, Turned
from isthmus.console.connect.pages import Brand, connect_page
from isthmus.console.portal.look import brand
from isthmus.console.services import Services, Workspace
from isthmus.console.sessions import form_proof, proven
from isthmus.console.visit import Blanks
from isthmus.kernel.failures import InvalidInput
from isthmus.store import connections, consumers, portal
from isthmus.store.consumers import Consumer
from isthmus.store.portal import OpenLink
from isthmus.store.rows import Connection

LINKS_PER_S: Final = 2.0
LINKS_BURST: Final = 60
"""How often one address may open links: enough for an office, too little to guess."""

_GONE: Final = (
    "This link does not work any more",
    "It has ended, or it is cut off. Ask for a new one where you found it.",
)


class PortalVisit:
    """One browser on one consumer's page."""

    def __init__(
        self,
        services: Services,
        here: Workspace,
        request: Plain,
        link: OpenLink,
        token: str,
        consumer: Consumer,
        brand: Brand,
    ) -> None:
        self.services = services
        self.here = here
        self.request = request
        self.link = link
        self.token = token
        self.consumer = consumer
        self.brand = brand
        self.form: Mapping[str, str] = {}

    @property
    def csrf(self) -> str:
        """What every form of this browser carries."""
        return form_proof(self.token)

    @property
    def base(self) -> str:
        """Where this page is."""
        return f"{PATH}/l/{self.link.id}"

    @property
    def actor(self) -> str:
        """How the audit log calls whoever holds the link."""
        return f"portal:{self.consumer.external_id}"

    @property
    def project_id(self) -> UUID:
        """The project that the consumer belongs to."""
        return self.link.project_id

    def text(self, name: str) -> str:
        """A field of the form without blanks around it."""
        return self.form.get(name, "").strip()

    async def own(self, connection_id: UUID) -> Connection:
        """One of the consumer's connections. Raises Turned for anybody else's, as for one that there is not."""
        async with self.services.db.project(self.project_id) as tx:
            try:
                found = await connections.get(tx, connection_id)
            except InvalidInput as error:
                raise Turned("There is no such connection", "Go back to the list.", 404) from error
        if found.consumer_id != self.consumer.id:
            raise Turned("There is no such connection", "Go back to the list.", 404)
        return found

    async def take(self) -> None:
        """Read the form. Raises Turned when it was not made by a page of this browser's."""
        form = await self.request.form()
        self.form = {name: value[:VALUE_CHARACTERS_MAX] for name, value in form.multi_items() if isinstance(value, str)}
        elsewhere = self.request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if elsewhere or not proven(self.token, self.form.get("csrf", "")):
            raise Turned("This page is too old", "Nothing was done. Go back, load the page again and repeat it.")

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response[str]:
        """A page in the host's frame."""
        values |= {name: Blanks(values[name]) for name in ("errors", "typed") if name in values}
        return connect_page(
            template,
            status=status,
            brand=self.brand,
            visit=self,
            csrf=self.csrf,
            base=self.base,
            consumer=self.consumer,
            host=self.brand.name,
            **values,
        )


class PortalAdmission:
    """Lets browsers in. One per server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._links = Buckets(services.clock, per_s=LINKS_PER_S, burst=LINKS_BURST)

    async def open(self, request: Plain, token: str) -> OpenLink:
        """Where a link leads. Raises Turned for one that does not work, or when somebody tries too many."""
        address = request.client.host if request.client else ""
        if not self._links.take(address):
            raise Turned("Too many tries", "Wait a minute, then open the link again.", 429)
        link = await opened_link(self._services.db, token) if 20 <= len(token) <= TOKEN_CHARACTERS_MAX else None
        if link is None:
            raise Turned(*_GONE, 404)
        async with self._services.db.project(link.project_id) as tx:
            await portal.used(tx, link.id)
        return link

    async def visit(self, request: Plain, link_id: UUID) -> PortalVisit:
        """The browser that asks. Raises Turned when the link is over, or this browser never opened it."""
        token = request.cookies.get(_cookie_name(link_id), "")
        link = await opened_link(self._services.db, token)
        if link is None or link.id != link_id:
            raise Turned(*_GONE, 403)
        here = await self._services.of(link.project_id)
        async with self._services.db.project(link.project_id) as tx:
            consumer = await consumers.get(tx, link.consumer_id)
        look = await brand(self._services, link.project_id, here.project.name)
        return PortalVisit(self._services, here, request, link, token, consumer, look)

    def cookie(self, link: OpenLink, token: str) -> Cookie:
        """What speaks for the browser: not readable by scripts, sent to these pages alone, gone with the link."""
        left = link.expires_at - self._services.clock.now()
        return Cookie(
            key=_cookie_name(link.id),
            value=token,
            path=PATH,
            httponly=True,
            samesite="lax",
            secure=self._services.public_url.startswith("https://"),
            max_age=max(1, int(left.total_seconds())),
        )


def _cookie_name(link_id: UUID) -> str:
    return f"isthmus_portal_{link_id.hex}"
