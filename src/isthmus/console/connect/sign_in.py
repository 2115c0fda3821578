"""The page between a host and the sign-in that `/v1/authorize` starts: who asks, for what, and in which browser.

The host's backend gets the address of this page. The sign-in belongs to the browser that presses “continue” here, and
to nobody else: neither a link that was passed on nor an answer from another browser ends it.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from isthmus.connections.browsers import CONTEXT, belongs, browser_hash
from isthmus.connections.signing_in import state_hash
from isthmus.console.browser_tie import tie_cookie, tie_of
from isthmus.console.connect.admission import ConnectAdmission, Plain, Turned
from isthmus.console.connect.pages import brand_for, connect_page
from isthmus.console.connect.words import provider_title
from isthmus.console.services import Services, Workspace
from isthmus.console.sessions import form_proof, new_token, proven
from isthmus.store import connections, grants, integrations
from isthmus.store.rows import Authorization, Connection

PATH: Final = "/connect/sign-in"
STATE_CHARACTERS_MAX: Final = 200


def sign_in_handlers(services: Services, admission: ConnectAdmission) -> list[ControllerRouterHandler]:
    """Looking, and going on."""

    @get("/sign-in")
    async def look(request: Plain) -> Response[str]:
        """Who asks for what. Looking begins nothing: scanners of mails look too."""
        state = request.query_params.get("state", "")
        found = await _found(services, admission, request, state)
        token = tie_of(services, request, state) or new_token()
        answer = await _page(services, found, csrf=form_proof(token), state=state)
        answer.set_cookie(tie_cookie(services, state, token))
        return answer

    @post("/sign-in", status_code=200)
    async def go_on(request: Plain) -> Response[str]:
        """From here on the sign-in is this browser's; on to the vendor by a page, as forms are not redirected there."""
        form = await request.form()
        state, proof = str(form.get("state", "")), str(form.get("csrf", ""))
        found = await _found(services, admission, request, state)
        token = tie_of(services, request, state)
        elsewhere = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if elsewhere or not proven(token, proof):
            raise Turned("This page is too old", "Nothing was done. Go back, load the page again and repeat it.")
        here = await services.of(found.project_id)
        async with services.db.project(found.project_id) as tx:
            if not await grants.tie_authorization(tx, found.id, browser_hash(token)):
                raise _begun_elsewhere()
        url = here.signing_in.address_of(found)
        return await _page(services, found, url=url, site=urlsplit(url).hostname)

    return [look, go_on]


async def _found(services: Services, admission: ConnectAdmission, request: Plain, state: str) -> Authorization:
    """The sign-in that an address stands for. Raises Turned for one that cannot be begun in this browser."""
    found = None
    if 20 <= len(state) <= STATE_CHARACTERS_MAX:
        found = await grants.find_authorization(services.db, state_hash(state))
    if found is None or "connect_session" in found.context or "connection_id" not in found.context:
        admission.guessed(request)
        raise Turned(
            "This link does not work", "It may be cut off. Start the sign-in again where you found it.", status=404
        )
    if found.used_at is not None or found.expires_at <= services.clock.now():
        raise Turned(
            "This sign-in is over",
            "It was finished already, or took longer than a quarter of an hour. Look where you found the link whether "
            "it worked, and start it again there if not.",
            status=410,
        )
    if found.context.get(CONTEXT) and not belongs(found, tie_of(services, request, state)):
        raise _begun_elsewhere()
    return found


def _begun_elsewhere() -> Turned:
    return Turned(
        "This sign-in was begun in another browser",
        "Go on there. If that was not you, do not sign in: start it again where you found the link.",
    )


async def _page(services: Services, found: Authorization, **values: Any) -> Response[str]:
    here: Workspace = await services.of(found.project_id)
    async with services.db.project(found.project_id) as tx:
        page = await integrations.connect_page(tx)
        connection: Connection = await connections.get(tx, here.signing_in.connection_of(found))
    brand = brand_for(page, found.project_id, here.project.name)
    plain = {"url": "", "site": "", "csrf": "", "state": ""}
    return connect_page(
        "connect/sign_in.html",
        brand=brand,
        host=brand.name,
        provider=provider_title(connection.provider),
        connection=connection,
        **{**plain, **values},
    )
