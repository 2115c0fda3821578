"""Settings → Project: its name, how the pages look that its customers see, and what its proxy lets through."""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.datastructures import UploadFile
from litestar.types import ControllerRouterHandler

from isthmus.connections.integrations import LOGO_BYTES_MAX, usable_page
from isthmus.console.approval_rules import whole_project
from isthmus.console.asking import errors_of
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.store import approvals, feed, integrations, projects, proxy_limits
from isthmus.store.integrations import ConnectPage
from isthmus.store.proxy_limits import ProxyLimits

NAME_CHARACTERS_MAX: Final = 80
LINES_MAX: Final = 60
MEGABYTE: Final = 1024 * 1024
PROXY_UNITS: Final = {"request_bytes": MEGABYTE, "response_bytes": MEGABYTE, "timeout_s": 1, "pages": 1, "records": 1}
"""The proxy's limits as the form has them: sizes in megabytes."""

PROXY_MOST: Final = {
    "request_bytes": proxy_limits.REQUEST_BYTES_MAX // MEGABYTE,
    "response_bytes": proxy_limits.RESPONSE_BYTES_MAX // MEGABYTE,
    "timeout_s": int(proxy_limits.TIMEOUT_S_MAX),
    "pages": proxy_limits.PAGES_MAX,
    "records": proxy_limits.RECORDS_MAX,
}


@get("/settings")
async def project_page(visit: Visiting) -> Response[str]:
    """The project and the installation."""
    return await _page(visit, {})


@post("/settings/name", status_code=200)
async def rename(visit: Visiting) -> Response[Any]:
    """Another name for the project."""
    name, before = visit.text("name"), visit.project.name
    if before == visit.services.settings.project:
        words = "This name is set by ISTHMUS_PROJECT; another name here would leave that one empty."
        return await _page(visit, {"name": words}, {"name": name}, status=422)
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        return await _page(
            visit, {"name": f"Give a name of at most {NAME_CHARACTERS_MAX} characters."}, {"name": name}, status=422
        )
    try:
        await projects.change(visit.services.db, visit.project.id, name=name)
    except InvalidInput as failure:
        return await _page(visit, {"name": failure.message}, {"name": name}, status=status_here(failure))
    await visit.note("project.renamed", name, before=before)
    return visit.go("/console/settings", "saved")


@post("/settings/look", status_code=200)
async def change_look(visit: Visiting) -> Response[Any]:
    """How the connect page looks and where it may lead back to."""
    names = ("host_name", "accent", "support", "privacy_url", "allowed_origins")
    typed = {name: visit.text(name) for name in names}
    async with visit.services.db.project(visit.project.id) as tx:
        before = await integrations.connect_page(tx)
    try:
        logo = None if visit.text("no_logo") else await _uploaded(visit) or before.logo
        page = ConnectPage(
            host_name=typed["host_name"],
            accent=typed["accent"],
            logo=logo,
            support=typed["support"],
            privacy_url=typed["privacy_url"],
            allowed_origins=[
                line.strip() for line in typed["allowed_origins"].splitlines()[:LINES_MAX] if line.strip()
            ],
        )
        page = usable_page(page, development=visit.here.development)
    except Failure as failure:
        return await _page(visit, errors_of(failure, failure.subject or ""), typed, status=status_here(failure))
    async with visit.services.db.project(visit.project.id) as tx:
        await integrations.save_connect_page(tx, page)
    await visit.note("project.look_changed", visit.project.name, origins=len(page.allowed_origins))
    return visit.go("/console/settings", "saved")


@post("/settings/proxy", status_code=200)
async def change_proxy(visit: Visiting) -> Response[Any]:
    """How much and how long the project's proxy lets through; an empty field is as it comes."""
    typed = {name: visit.text(name) for name in PROXY_UNITS}
    errors = {
        name: "Give a whole number, or leave it empty for the usual one."
        for name, text in typed.items()
        if text and not (text.isascii() and text.isdigit() and len(text) <= 9)
    }
    given = {name: int(text) * PROXY_UNITS[name] for name, text in typed.items() if text and name not in errors}
    try:
        limits = msgspec.convert(given, ProxyLimits)
    except msgspec.ValidationError as error:
        name = next((each for each in PROXY_UNITS if f"`$.{each}`" in str(error)), "")
        errors |= {name: f"At least 1, at most {PROXY_MOST[name]:,}." if name else str(error)}
    if errors:
        return await _page(visit, errors, typed, status=422)
    async with visit.services.db.project(visit.project.id) as tx:
        await proxy_limits.save(tx, limits)
    await visit.note("proxy.limits", str(visit.project.id), **msgspec.structs.asdict(limits))
    return visit.go("/console/settings", "saved")


async def _uploaded(visit: Visit) -> bytes | None:
    """The picture that was chosen, if one was. Raises InvalidInput for one that is too large."""
    given = (await visit.request.form()).get("logo")
    if not isinstance(given, UploadFile):
        return None
    content = await given.read(LOGO_BYTES_MAX + 1)
    if len(content) > LOGO_BYTES_MAX:
        raise InvalidInput(f"The logo has more than {LOGO_BYTES_MAX // 1024} KB.", subject="logo")
    return content or None


async def _page(
    visit: Visit, errors: dict[str, str], typed: dict[str, str] | None = None, *, status: int = 200
) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        head = await feed.head(tx)
        look = await integrations.connect_page(tx)
        rules = await approvals.rules(tx)
        limits = await proxy_limits.get(tx)
    kept = msgspec.structs.asdict(look) | {"allowed_origins": "\n".join(look.allowed_origins)}
    shown = {name: str(value or "") for name, value in kept.items() if name not in ("logo", "logo_type")}
    whole = whole_project(rules)
    let_through = {name: str(int(getattr(limits, name) // unit)) for name, unit in PROXY_UNITS.items()}
    return await visit.page(
        "settings.html",
        status=status,
        head=head,
        settings=visit.services.settings,
        public_url=visit.services.public_url,
        typed={"name": visit.project.name, **shown, **let_through, **(typed or {})},
        logo=_data_url(look),
        approval=whole is not None and whole.required,
        narrower=[rule for rule in rules if rule is not whole],
        most=PROXY_MOST,
        errors=errors,
    )


def _data_url(look: ConnectPage) -> str:
    """The logo as it stands in the page. A picture in an <img> runs no script, whatever is in it."""
    if look.logo is None:
        return ""
    return f"data:{look.logo_type};base64,{base64.b64encode(look.logo).decode()}"


HANDLERS: Final[list[ControllerRouterHandler]] = [project_page, rename, change_look, change_proxy]
