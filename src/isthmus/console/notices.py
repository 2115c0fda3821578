"""Settings → Notices: whom to mail when something needs people, a test mail, and what was told."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.console.asking import errors_of
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure
from isthmus.store import notices

PATH: Final = "/console/settings/notices"
SHOWN: Final = 50


@get("/settings/notices", opt={"role": "operator"})
async def notices_page(visit: Visiting) -> Response[str]:
    """Addresses, and the latest notices with what became of them."""
    return await _page(visit)


@post("/settings/notices", status_code=200)
async def add_address(visit: Visiting) -> Response[Any]:
    """Tell an address. Every kind ticked, or none, means all."""
    address, chosen = visit.text("address"), visit.lists.get("kind", [])
    try:
        async with visit.services.db.project(visit.project.id) as tx:
            made = await notices.add_address(tx, address, _narrowed(chosen))
    except Failure as failure:
        return await _page(
            visit, errors_of(failure, "address"), {"address": address}, chosen, status=status_here(failure)
        )
    await visit.note("notice.address_added", made.address, kinds=made.kinds)
    return visit.go(PATH, "saved")


@post("/settings/notices/{address_id:uuid}/kinds", status_code=303)
async def change_kinds(visit: Visiting, address_id: FromPath[UUID]) -> Redirect:
    """Other kinds for an address."""
    async with visit.services.db.project(visit.project.id) as tx:
        changed = await notices.change_address(tx, address_id, _narrowed(visit.lists.get("kind", [])))
    await visit.note("notice.address_changed", changed.address, kinds=changed.kinds)
    return visit.go(PATH, "saved")


@post("/settings/notices/{address_id:uuid}/remove", status_code=303)
async def remove_address(visit: Visiting, address_id: FromPath[UUID]) -> Redirect:
    """Tell it no more."""
    async with visit.services.db.project(visit.project.id) as tx:
        removed = await notices.remove_address(tx, address_id)
    await visit.note("notice.address_removed", removed.address)
    return visit.go(PATH, "saved")


@post("/settings/notices/test", status_code=200)
async def send_test(visit: Visiting) -> Response[Any]:
    """A test mail, now; the mail server's refusal is on the page."""
    address = visit.text("test_address")
    try:
        await visit.here.notifier.send_trial(visit.project.id, address)
    except Failure as failure:
        errors = {"test_address": f"{failure.message} {failure.remedy}"}
        return await _page(visit, errors, {"test_address": address}, status=status_here(failure))
    await visit.note("notice.test", address)
    return visit.go(PATH, "test-mail-sent")


def _narrowed(chosen: list[str]) -> list[str]:
    """No kind when all are chosen, so that kinds that come later are told as well."""
    return [] if set(chosen) >= set(notices.KINDS) else chosen


async def _page(
    visit: Visit,
    errors: dict[str, str] | None = None,
    typed: dict[str, str] | None = None,
    chosen: list[str] | None = None,
    *,
    status: int = 200,
) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        addresses = await notices.addresses(tx)
        told = await notices.history(tx, SHOWN)
        mails = await notices.mails(tx, SHOWN)
    return await visit.page(
        "notices.html",
        status=status,
        addresses=addresses,
        told=told,
        stuck=[each for each in mails if each.sent_at is None],
        kinds=notices.KINDS,
        chosen=list(notices.KINDS) if chosen is None else chosen,
        can_mail=visit.here.notifier.can_mail,
        server=visit.here.notifier.server,
        errors=errors or {},
        typed=typed or {},
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [
    notices_page,
    add_address,
    change_kinds,
    remove_address,
    send_test,
]
