"""Putting the room together: all pages under /console, behind one admission, with one set of headers."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, get
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.console import (
    account,
    activity,
    approval_rules,
    apps,
    care,
    changes,
    components,
    connections,
    deliveries,
    destination_settings,
    files,
    home,
    integration_secrets,
    integrations,
    keys,
    notices,
    people,
    project_settings,
    projects,
    records,
    safekeeping,
    search,
    shared_syncs,
    sign_in,
    sync_acts,
    sync_settings,
    syncs,
    workspace,
    write_form,
    writes,
)
from isthmus.console.admission import Admission, Refused, crashed, refused, secured, visit_of
from isthmus.console.lost import failed_page, not_served_page
from isthmus.console.provider_sign_in import provider_handlers
from isthmus.console.services import Services
from isthmus.console.visit import Plain
from isthmus.kernel.failures import Failure
from isthmus.routers import SoleRouter

FORM_BYTES_MAX: Final = 256 * 1024
"""The longest form carries a certificate of a few kilobytes."""


def create_console(services: Services) -> list[ControllerRouterHandler]:
    """The console's handlers, for whoever serves them. Closed by default: a page is open only if it says so."""
    handlers = [
        *(files.static_file, *_SIGN_IN),
        *(
            *home.HANDLERS,
            *apps.HANDLERS,
            *connections.HANDLERS,
            *care.HANDLERS,
            *notices.HANDLERS,
            *syncs.HANDLERS,
            *shared_syncs.HANDLERS,
            *sync_acts.HANDLERS,
            *sync_settings.HANDLERS,
            *records.HANDLERS,
        ),
        *(
            *changes.HANDLERS,
            *activity.HANDLERS,
            *deliveries.HANDLERS,
            *destination_settings.HANDLERS,
            *workspace.HANDLERS,
            *people.HANDLERS,
        ),
        *integration_secrets.HANDLERS,
        *(
            *integrations.HANDLERS,
            *project_settings.HANDLERS,
            *approval_rules.HANDLERS,
            *keys.HANDLERS,
            *account.HANDLERS,
        ),
        *projects.HANDLERS,
        *safekeeping.HANDLERS,
        *(*search.HANDLERS, *write_form.HANDLERS, *writes.HANDLERS),
    ]
    handlers += provider_handlers(services)
    if services.settings.development:
        handlers += components.HANDLERS
    admission = Admission(services)

    async def admit(request: Plain) -> Response[Any] | None:
        """A function, because Litestar copies the hooks of every handler, and the services are one."""
        return await admission(request)

    room = SoleRouter(
        path="/console",
        route_handlers=handlers,
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "visit": Provide(visit_of, sync_to_thread=False),
        },
        before_request=admit,
        after_request=secured,
        exception_handlers={
            Refused: refused,
            Failure: failed_page,
            HTTPException: not_served_page(services),
            Exception: crashed,
        },
        request_max_body_size=FORM_BYTES_MAX,
        include_in_schema=False,
    )
    return [front_door, room]


@get("/", include_in_schema=False, sync_to_thread=False)
def front_door() -> Redirect:
    """Whoever types the server's bare address is a person who looks for the console."""
    return Redirect(path="/console", status_code=302)


_SIGN_IN: Final = (
    sign_in.sign_in_page,
    sign_in.sign_in,
    sign_in.welcome_page,
    sign_in.welcome,
    sign_in.choose_theme,
    sign_in.choose_project,
)
