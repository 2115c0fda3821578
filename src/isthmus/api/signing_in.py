"""`/v1/authorize` starts a person's sign-in in the browser; `/oauth/callback` is where the vendor sends them back.

The address that the caller gets is a page of ours: the sign-in belongs to the browser that goes on from there, and its
answer counts in no other (`connections.browsers`).
"""

from __future__ import annotations

import html
import logging
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import MediaType, Response, Router, get, post
from litestar.background_tasks import BackgroundTask
from litestar.params import JSONBody
from litestar.response import Redirect

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.connections import Secret
from isthmus.api.finding import note
from isthmus.api.places import CloudInput, CustomCloud, cloud_of
from isthmus.api.services import ProjectServices, Services
from isthmus.api.shapes import Input, Text
from isthmus.auth.entra.authorization import SIGN_IN_MAX_S
from isthmus.client.protocols import JournalEntry
from isthmus.connections.browsers import belongs, cookie_name
from isthmus.connections.given import given_secret
from isthmus.connections.making import Wish
from isthmus.connections.signing_in import state_hash
from isthmus.kernel.failures import Failure, SignInAgain
from isthmus.kernel.statuses import status_of
from isthmus.store import consumers, grants
from isthmus.store.rows import Connection

CALLBACK_PATH: Final = "/oauth/callback"
START_PATH: Final = "/connect/sign-in"
"""The page from which a browser goes on (`isthmus.console.connect`)."""

_log = logging.getLogger(__name__)

_PARAMETERS: Final = (
    *("state", "code", "error", "error_description", "error_subcode", "admin_consent", "tenant", "session_state"),
)
_PARAMETER_CHARACTERS_MAX: Final = 16_384


class NewSignIn(Input, frozen=True, kw_only=True):
    """A person's sign-in. The same name again signs in anew and keeps the data."""

    name: Text
    client_id: Text
    client_secret: Secret | None = None
    tenant: Annotated[str, msgspec.Meta(max_length=200, description="Empty: the sign-in tells it.")] = ""
    environment: Text = "Production"
    provider: Literal["business_central"] = "business_central"
    cloud: CloudInput | CustomCloud = "public"
    consumer: UUID | None = None

    def __repr__(self) -> str:
        return f"NewSignIn(name={self.name!r})"


class StartedSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """Open `url` in the person's browser within `expires_in` seconds; `connection` tells how it ends.

    It is a page of ours that says who asks for what and leads to the vendor. The sign-in can be ended in the browser
    that went on from there, and in no other.
    """

    url: str
    connection: UUID
    expires_in: int
    redirect_uri: str


class NoJournal:
    """Calls outside a run leave no journal."""

    def note(self, entry: JournalEntry) -> None:
        """Let it go."""


def signing_in_routes(services: Services, access: Access) -> Router:
    """`/authorize` below `/v1`."""

    @post("/", guards=[access.needs(Scope.CONNECT)], summary="Start a sign-in in the browser")
    async def authorize(request: Ask, data: JSONBody[NewSignIn]) -> StartedSignIn:
        """Its pages cannot be framed: open them as a whole page or a popup. The app registration has to list
        `redirect_uri`."""
        project = await project_of(request, services)
        if data.consumer is not None:
            async with project.db.project(project.project.id) as tx:
                await consumers.get(tx, data.consumer)
        wish = Wish(
            provider=data.provider,
            cloud=cloud_of(data.cloud, project),
            tenant=data.tenant,
            environment=data.environment,
            name=data.name,
        )
        redirect_uri = services.public_url + CALLBACK_PATH
        started = await project.signing_in.start(
            wish, client_id=data.client_id, secret=given_secret(data.client_secret), redirect_uri=redirect_uri
        )
        async with project.db.project(project.project.id) as tx:
            if data.consumer is not None:
                await consumers.assign(tx, started.connection_id, data.consumer)
            await note(tx, request, "connection.sign_in", started.connection_id, name=data.name)
        return StartedSignIn(
            url=f"{services.public_url}{START_PATH}?{urlencode({'state': started.state})}",
            connection=started.connection_id,
            expires_in=int(SIGN_IN_MAX_S),
            redirect_uri=redirect_uri,
        )

    return Router("/authorize", route_handlers=[authorize], tags=["connections"])


def callback_routes(services: Services) -> list[Any]:
    """`/oauth/callback`, for browsers that come back from the vendor. The state in it is good once."""

    @get(CALLBACK_PATH, include_in_schema=False, media_type=MediaType.HTML)
    async def callback(request: Ask) -> Response[Any]:
        given = {name: request.query_params.get(name) for name in _PARAMETERS}
        parameters = {name: str(value)[:_PARAMETER_CHARACTERS_MAX] for name, value in given.items() if value}
        session = await _session_of(services, parameters)
        if session:
            return Redirect(path=f"/connect/s/{session}/callback?{urlencode(parameters)}", status_code=303)
        try:
            project, connection = await _finish(services, request, parameters)
        except Failure as failure:
            return _page("The sign-in did not work", f"{failure.message} {failure.remedy}", status_of(failure))
        return _page(
            "Signed in",
            f"“{connection.name}” is connected. You can close this window.",
            200,
            BackgroundTask(_check_afterwards, project, connection),
        )

    return [callback]


async def _session_of(services: Services, parameters: dict[str, str]) -> str:
    """The connect session that a sign-in belongs to: its pages know the browser by its cookie, this one does not."""
    pending = await grants.find_authorization(services.db, state_hash(parameters.get("state", "")))
    return str(pending.context.get("connect_session") or "") if pending is not None else ""


async def _finish(services: Services, request: Ask, parameters: dict[str, str]) -> tuple[ProjectServices, Connection]:
    state = parameters.get("state", "")
    pending = await grants.find_authorization(services.db, state_hash(state))
    if pending is None:
        raise SignInAgain(
            "The answer does not belong to a sign-in that was started here.", remedy="Start the sign-in again."
        )
    name = cookie_name(state, secure=services.public_url.startswith("https://"))
    if not belongs(pending, request.cookies.get(name, "")):
        raise SignInAgain(
            "This sign-in was not begun in this browser.",
            remedy="Start it again in this one, from the page that led you to Microsoft; cookies have to be allowed.",
        )
    project = await services.of(pending.project_id)
    return project, await project.signing_in.finish(parameters, NoJournal())


async def _check_afterwards(project: ProjectServices, connection: Connection) -> None:
    """A consent needs a moment to reach all servers; the connection stays pending until the check has passed."""
    try:
        await project.check(connection, just_consented=True)
    except Failure as failure:
        _log.warning("the check after the sign-in of connection %s: %s", connection.id, failure.message)


_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}}</style>
<h1>{title}</h1><p>{text}</p></html>"""


def _page(title: str, text: str, status: int, after: BackgroundTask | None = None) -> Response[str]:
    return Response(
        _PAGE.format(title=html.escape(title), text=html.escape(text)),
        status_code=status,
        media_type=MediaType.HTML,
        background=after,
        headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"},
    )
