"""The pages of a session, one address for all of them: what it shows follows from how far the session is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from litestar import Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.connections.credentials import CertificateFile
from isthmus.connections.desk import NoJournal
from isthmus.connections.integrations import HOSTS_OWN, Mode, shared_objects
from isthmus.connections.sessions import STEP_MISSING, SessionScene, modes_of
from isthmus.connections.sessions_apps import Typed
from isthmus.connections.sessions_steps import back_to_inputs, place_of
from isthmus.connections.sessions_vendor import Purpose
from isthmus.console.connect.admission import Guest
from isthmus.console.connect.pages import connect_page, scene_values
from isthmus.console.connect.words import WAYS, Trouble, administrator_message, ticks_of, trouble_of
from isthmus.console.pages import status_here
from isthmus.console.visit import Blanks
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.store import connections
from isthmus.store.rows import CompanyRow, Connection
from isthmus.vault.secrets import Secret

CALLBACK: Final = "/oauth/callback"
"""The server's one redirect address; from there the browser is sent on to its session."""

VENDOR_PARAMETERS: Final = (
    *("state", "code", "error", "error_description", "error_subcode", "admin_consent", "tenant", "session_state"),
)
FINISHED: Final = ("connected", "cancelled", "expired")

Guests = NamedDependency[SkipValidation[Guest]]


@get("/s/{session_id:uuid}")
async def session_page(guest: Guests) -> Response[str]:
    """Where the session stands."""
    await guest.desk.sessions.note_opened(guest.session_id)
    scene = await guest.desk.sessions.scene(guest.session_id)
    session = scene.session
    if session.status in FINISHED:
        return await _ended(guest, scene)
    match session.step:
        case "consent":
            return _page(guest, scene, "consent.html", modes=modes_of(session, scene.integration))
        case "inputs":
            return await inputs_page(guest, scene, guest.request.query_params.get("way", ""))
        case "vendor":
            return _page(guest, scene, "vendor.html", callback=_callback(guest), **_vendor_values(scene))
        case "checking":
            return await _checking(guest, scene)
        case _:
            return await _choose(guest, scene, {})


@post("/s/{session_id:uuid}/accept")
async def accept(guest: Guests) -> Redirect:
    """Yes to what will be shared."""
    following = await guest.desk.flow.accept(guest.session_id)
    return _go(guest, "/go" if following == "vendor" else "")


@post("/s/{session_id:uuid}/inputs", status_code=200)
async def send_inputs(guest: Guests) -> Response[Any]:
    """What was typed: on to Microsoft, or to the check."""
    scene = await guest.desk.sessions.scene(guest.session_id)
    modes = modes_of(scene.session, scene.integration)
    mode = next((mode for mode in modes if mode.value == guest.text("mode")), modes[0])
    typed = _typed(guest, mode)
    errors = _missing(guest, scene, typed)
    if errors:
        return await inputs_page(guest, scene, mode.value, errors=errors, typed=typed, status=422)
    try:
        following = await guest.desk.flow.submit(guest.session_id, typed, NoJournal())
    except Failure as failure:
        scene = await guest.desk.sessions.scene(guest.session_id)
        if scene.session.status in FINISHED:
            return _go(guest, "")
        return await inputs_page(
            guest, scene, mode.value, errors=_errors(guest, scene, failure), typed=typed, status=status_here(failure)
        )
    consent = mode is Mode.APP or guest.text("consent") == "yes"
    return _go(guest, ("/go?for=consent" if consent else "/go") if following == "vendor" else "")


@get("/s/{session_id:uuid}/go")
async def leave(guest: Guests) -> Response[Any]:
    """On to Microsoft: a page of its own that leads there by itself, so that no form is redirected to another site."""
    purpose: Purpose | None = "consent" if guest.request.query_params.get("for") == "consent" else None
    try:
        url = await guest.desk.vendor.leave(guest.session_id, guest.visit, _callback(guest), purpose)
    except Failure as failure:  # the session has kept why, or its page shows what comes first
        return _go(guest, "?first=yes" if failure.subject == STEP_MISSING else "")
    scene = await guest.desk.sessions.scene(guest.session_id)
    return _page(guest, scene, "leave.html", url=url, site=urlsplit(url).hostname)


@get("/s/{session_id:uuid}/callback")
async def come_back(guest: Guests) -> Redirect:
    """Back from Microsoft; the address without its parameters is what stays in the history."""
    given = {name: guest.request.query_params.get(name) for name in VENDOR_PARAMETERS}
    parameters = {name: str(value) for name, value in given.items() if value}
    await guest.desk.vendor.come_back(guest.session_id, guest.visit, parameters, NoJournal())
    return _go(guest, "")


@get("/s/{session_id:uuid}/ticks")
async def ticks_fragment(guest: Guests) -> Response[str]:
    """The list of ticks alone, for the page that is open; `x-connect-done` tells that there is more to see."""
    scene = await guest.desk.sessions.scene(guest.session_id)
    answer = _page(guest, scene, "ticks.html", ticks=ticks_of(scene, shared_objects(scene.integration)))
    running = scene.session.step == "checking" and scene.session.status == "opened"
    answer.headers["x-connect-done"] = "0" if running else "1"
    if running:
        answer.background = BackgroundTask(guest.desk.check, guest.session_id)
    return answer


@post("/s/{session_id:uuid}/check")
async def check_again(guest: Guests) -> Redirect:
    """Something was mended."""
    await guest.desk.flow.check_again(guest.session_id)
    return _go(guest, "")


@post("/s/{session_id:uuid}/back")
async def back(guest: Guests) -> Redirect:
    """Another way, or other inputs."""
    await back_to_inputs(guest.desk.sessions, guest.session_id)
    return _go(guest, "")


@post("/s/{session_id:uuid}/environment", status_code=200)
async def choose_environment(guest: Guests) -> Response[Any]:
    """Another environment of the same organization."""
    try:
        await guest.desk.flow.choose_environment(guest.session_id, guest.text("environment"))
    except InvalidInput as failure:
        scene = await guest.desk.sessions.scene(guest.session_id)
        if scene.session.status in FINISHED:
            return _go(guest, "")
        return await _choose(guest, scene, {"environment": f"{failure.message} {failure.remedy}"})
    return _go(guest, "")


@post("/s/{session_id:uuid}/companies", status_code=200)
async def choose_companies(guest: Guests) -> Response[Any]:
    """The companies that are shared; with that it is done."""
    try:
        await guest.desk.flow.finish(guest.session_id, guest.lists.get("company", []))
    except InvalidInput as failure:
        scene = await guest.desk.sessions.scene(guest.session_id)
        if scene.session.status in FINISHED:
            return _go(guest, "")
        if scene.session.step != "choose":
            raise
        return await _choose(guest, scene, {"company": failure.message})
    return _go(guest, "")


@post("/s/{session_id:uuid}/cancel")
async def cancel(guest: Guests) -> Redirect:
    """The person does not want to."""
    await guest.desk.sessions.cancel(guest.session_id)
    return _go(guest, "")


@post("/s/{session_id:uuid}/restart")
async def restart(guest: Guests) -> Redirect:
    """The person wants to after all."""
    await guest.desk.sessions.resume(guest.session_id)
    return _go(guest, "")


@post("/s/{session_id:uuid}/administrator", status_code=200)
async def ask_administrator(guest: Guests) -> Response[str]:
    """A message to send, with a link that works for another person."""
    token = await guest.desk.sessions.link_for_administrator(guest.session_id)
    scene = await guest.desk.sessions.scene(guest.session_id)
    values = scene_values(scene, guest.here.project.name)
    link = f"{guest.services.public_url}/connect/{token}"
    trouble = _trouble(scene, values["host"], scene.page.support)
    client_id = str(scene.session.inputs.get("client_id") or "")
    if not client_id and Mode(str(scene.session.inputs.get("mode") or Mode.SIGN_IN)) in HOSTS_OWN:
        client_id = scene.integration.client_id
    message = administrator_message(scene, values["host"], link, trouble, client_id)
    subject = f"Connecting {values['provider']} to {values['host']}"
    return _page(guest, scene, "administrator.html", link=link, message=message, subject=subject)


# -- pages -----------------------------------------------------------------------------------------------------------


async def inputs_page(
    guest: Guest,
    scene: SessionScene,
    way: str,
    *,
    errors: dict[str, str] | None = None,
    typed: Typed | None = None,
    status: int = 200,
) -> Response[str]:
    """The choice of ways, and what the chosen one needs. What was typed stays, secrets apart."""
    session = scene.session
    modes = modes_of(session, scene.integration)
    kept = str(session.inputs.get("mode") or "")
    mode = next((mode for mode in modes if mode.value == way), None)
    mode = mode or next((mode for mode in modes if mode.value == kept), modes[0])
    place = await _fixed(guest, scene)
    before = place.pop("client_id", "")
    shown = {
        "tenant": typed.tenant if typed else str(session.inputs.get("tenant") or ""),
        "environment": typed.environment if typed else str(session.inputs.get("environment") or ""),
        "client_id": typed.client_id if typed else str(session.inputs.get("client_id") or before),
    }
    if errors is None and session.status == "failed":
        errors = _errors_of_kept(scene)
    return _page(
        guest,
        scene,
        "inputs.html",
        status=status,
        mode=mode,
        ways=[(each, *WAYS[each]) for each in modes],
        fixed=Blanks({**{name: value for name, value in session.preset.items() if name != "mode"}, **place}),
        typed=shown,
        errors=Blanks(errors or {}),
        secret_kept=session.sealed is not None,
        callback=_callback(guest),
    )


async def _checking(guest: Guest, scene: SessionScene) -> Response[str]:
    ticks = ticks_of(scene, shared_objects(scene.integration))
    connection = await _connection(guest, scene)
    running = scene.session.status == "opened"
    answer = _page(guest, scene, "checking.html", ticks=ticks, running=running, connection=connection)
    if running:
        answer.background = BackgroundTask(guest.desk.check, guest.session_id)
    return answer


async def _choose(guest: Guest, scene: SessionScene, errors: dict[str, str]) -> Response[str]:
    connection = await _connection(guest, scene)
    companies = await _companies(guest, scene)
    return _page(
        guest,
        scene,
        "choose.html",
        status=422 if errors else 200,
        connection=connection,
        companies=companies,
        errors=Blanks(errors),
    )


async def _ended(guest: Guest, scene: SessionScene) -> Response[str]:
    session = scene.session
    if session.status == "connected":
        return _page(
            guest,
            scene,
            "done.html",
            connection=await _connection(guest, scene),
            companies=[each for each in await _companies(guest, scene) if each.selected],
            back=_return_url(scene),
        )
    over = session.expires_at <= guest.services.clock.now()
    return _page(
        guest,
        scene,
        "ended.html",
        status=410 if session.status == "expired" else 200,
        back=_return_url(scene),
        resumable=session.status == "cancelled" and not over,
    )


def _page(guest: Guest, scene: SessionScene, template: str, *, status: int = 200, **values: Any) -> Response[str]:
    plain = scene_values(scene, guest.here.project.name)
    return connect_page(
        f"connect/{template}",
        status=status,
        csrf=guest.csrf,
        base=guest.base,
        guest=guest,
        trouble=_trouble(scene, plain["host"], plain["brand"].support),
        first=guest.request.query_params.get("first") == "yes",
        **plain,
        **values,
    )


def _vendor_values(scene: SessionScene) -> dict[str, Any]:
    mode = Mode(str(scene.session.inputs.get("mode") or modes_of(scene.session, scene.integration)[0]))
    choice = len(modes_of(scene.session, scene.integration)) > 1 or mode not in HOSTS_OWN
    consented, only = bool(scene.session.inputs.get("consented")), scene.integration.tenant
    return {"mode": mode, "consented": consented, "choice": choice, "only": only}


def _trouble(scene: SessionScene, host: str, support: str) -> Trouble | None:
    session = scene.session
    if session.status != "failed" or session.failure is None:
        return None
    return trouble_of(session.failure, host, support)


async def _connection(guest: Guest, scene: SessionScene) -> Connection | None:
    if scene.session.connection_id is None:
        return None
    async with guest.services.db.project(scene.session.project_id) as tx:
        with suppress(InvalidInput):  # it was deleted after it was made
            return await connections.get(tx, scene.session.connection_id)
    return None


async def _companies(guest: Guest, scene: SessionScene) -> list[CompanyRow]:
    if scene.session.connection_id is None:
        return []
    async with guest.services.db.project(scene.session.project_id) as tx:
        rows = await connections.companies_of(tx, scene.session.connection_id)
    return [row for row in rows if row.missing_since is None]


async def _fixed(guest: Guest, scene: SessionScene) -> dict[str, str]:
    """What a reconnect cannot change."""
    return {name: value for name, value in (await place_of(guest.services.db, scene.session)).items() if value}


def _typed(guest: Guest, mode: Mode) -> Typed:
    secret, certificate = guest.text("client_secret"), guest.text("certificate")
    return Typed(
        mode=mode,
        tenant=guest.text("tenant"),
        environment=guest.text("environment"),
        client_id=guest.text("client_id"),
        secret=Secret(secret) if secret and not certificate else None,
        certificate=CertificateFile(
            content=certificate.encode(), password=guest.form.get("certificate_password") or None
        )
        if certificate
        else None,
    )


def _missing(guest: Guest, scene: SessionScene, typed: Typed) -> dict[str, str]:
    """What has to be there before anything is tried."""
    errors: dict[str, str] = {}
    if typed.mode in HOSTS_OWN:
        return errors
    fixed = scene.session.preset
    if not typed.tenant and not fixed.get("tenant") and not scene.session.reconnect:
        errors["tenant"] = "Enter the tenant ID, or one of your organization's domains."
    if not typed.client_id and not fixed.get("client_id"):
        errors["client_id"] = "Enter the Application (client) ID of the app registration."
    if typed.certificate is not None and b"PRIVATE KEY" not in typed.certificate.content:
        errors["certificate"] = "Paste the certificate and its private key, both as PEM text."
    kept = scene.session.sealed is not None and scene.session.inputs.get("client_id") == typed.client_id
    if typed.secret is None and typed.certificate is None and not kept:
        errors["client_secret"] = "Enter the client secret's Value."  # noqa: S105 - words, not a secret
    too_long = [name for name in ("tenant", "environment", "client_id") if len(guest.text(name)) > 200]
    return errors | dict.fromkeys(too_long, "That is too long.")


def _errors(guest: Guest, scene: SessionScene, failure: Failure) -> dict[str, str]:
    trouble = trouble_of(failure.to_dict(), scene.page.host_name or guest.here.project.name)
    field = trouble.field or (failure.subject if failure.subject in ("client_secret", "client_id", "tenant") else "")
    if field == "client_secret" and guest.text("certificate"):
        field = "certificate"
    return {str(field or ""): f"{trouble.title}. {trouble.remedy}".replace("..", ".")}


def _errors_of_kept(scene: SessionScene) -> dict[str, str]:
    """What the last try has left, for whoever comes back to the page."""
    if scene.session.failure is None:
        return {}
    trouble = trouble_of(scene.session.failure, scene.page.host_name)
    return {trouble.field: f"{trouble.title}. {trouble.remedy}".replace("..", ".")}


def _return_url(scene: SessionScene) -> str:
    """Back to the host, with the session's id and how it ended."""
    session = scene.session
    if not session.return_url:
        return ""
    parts = urlsplit(session.return_url)
    more = {"connect_session": str(session.id), "status": session.status}
    if session.status == "connected" and session.connection_id is not None:
        more["connection"] = str(session.connection_id)
    return urlunsplit(parts._replace(query="&".join(each for each in (parts.query, urlencode(more)) if each)))


def _callback(guest: Guest) -> str:
    return f"{guest.services.public_url}{CALLBACK}"


def _go(guest: Guest, path: str) -> Redirect:
    return Redirect(path=f"{guest.base}{path}", status_code=303)


HANDLERS: Final[list[ControllerRouterHandler]] = [
    session_page,
    accept,
    send_inputs,
    leave,
    come_back,
    ticks_fragment,
    check_again,
    back,
    choose_environment,
    choose_companies,
    cancel,
    restart,
    ask_administrator,
]
