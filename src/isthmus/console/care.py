"""What keeps a connection well: the end of its secret, its environment, its customer, syncs that it should have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.connections.portal_links import LIFE_S_DEFAULT, make_link
from isthmus.console.checks import check_and_keep
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import InvalidInput
from isthmus.store import connections, consumers, default_syncs, health
from isthmus.store.database import Transaction
from isthmus.store.rows import Connection

HISTORY_SHOWN: Final = 100
CONSUMER_CHARACTERS_MAX: Final = 200
LIVES: Final = (
    ("3600", "in an hour"),
    (str(LIFE_S_DEFAULT), "in a day"),
    ("604800", "in a week"),
    ("2592000", "in 30 days"),
)


@get("/connections/{connection_id:uuid}/history")
async def history_page(visit: Visiting, connection_id: FromPath[UUID]) -> Response[str]:
    """What the connection went through, newest first."""
    connection = await _connection(visit, connection_id)
    async with visit.services.db.project(visit.project.id) as tx:
        changes = await health.history(tx, connection_id, HISTORY_SHOWN)
    return await visit.page("connection_history.html", connection=connection, changes=changes)


@post("/connections/{connection_id:uuid}/secret-date", status_code=303)
async def secret_date(visit: Visiting, connection_id: FromPath[UUID]) -> Redirect:
    """When the secret in use ends; an empty date is not known."""
    await visit.here.renewing.set_expiry(connection_id, date_of(visit.text("ends")), actor=actor(visit))
    return visit.go(f"/console/connections/{connection_id}/settings", "saved")


@post("/connections/{connection_id:uuid}/unstage", status_code=303)
async def unstage(visit: Visiting, connection_id: FromPath[UUID]) -> Redirect:
    """Forget the secret that waits."""
    await visit.here.renewing.unstage(connection_id, actor=actor(visit))
    return visit.go(f"/console/connections/{connection_id}/settings", "saved")


@post("/connections/{connection_id:uuid}/environment", status_code=303)
async def choose_environment(visit: Visiting, connection_id: FromPath[UUID]) -> Redirect:
    """Another environment of the same tenant; it is checked at once."""
    wanted = visit.text("environment")
    if not wanted or len(wanted) > 200:
        raise InvalidInput("Type the environment's name.", remedy="Go back and enter it as Business Central shows it.")
    report = await check_and_keep(visit, await visit.here.move(connection_id, wanted, actor=actor(visit)))
    well = report is not None and report.failure is None
    return visit.go(f"/console/connections/{connection_id}", "checked" if well else "")


@post("/connections/{connection_id:uuid}/portal-link", status_code=200)
async def portal_link(visit: Visiting, connection_id: FromPath[UUID]) -> Response[Any]:
    """A link to the customer's own page, shown once."""
    connection = await _connection(visit, connection_id)
    if connection.consumer_id is None:
        raise InvalidInput(
            "This connection belongs to no consumer.",
            remedy="Say in its settings whose it is, then make the link.",
        )
    life = visit.text("life")
    made = await make_link(
        visit.services.db,
        visit.project.id,
        visit.services.clock,
        connection.consumer_id,
        visit.services.public_url,
        life_s=int(life) if life.isdigit() else LIFE_S_DEFAULT,
        actor=actor(visit),
    )
    async with visit.services.db.project(visit.project.id) as tx:
        consumer = await consumers.get(tx, connection.consumer_id)
    return await visit.page("portal_link.html", connection=connection, made=made, consumer=consumer)


@post("/connections/{connection_id:uuid}/default-syncs/again", opt={"role": "operator"})
async def default_syncs_again(visit: Visiting, connection_id: FromPath[UUID]) -> Redirect:
    """Let a worker make at once what did not fit before."""
    return await _settled(visit, connection_id, default_syncs.owe_now, "again")


@post("/connections/{connection_id:uuid}/default-syncs/leave")
async def default_syncs_left(visit: Visiting, connection_id: FromPath[UUID]) -> Redirect:
    """The connection does without those that do not fit."""
    return await _settled(visit, connection_id, default_syncs.note_made, "left")


@post("/connections/{connection_id:uuid}/consumer", status_code=303)
async def give_to_customer(visit: Visiting, connection_id: FromPath[UUID]) -> Redirect:
    """Say whose connection it is, by the host's own id of the customer; one that is new is made."""
    connection = await _connection(visit, connection_id)
    external_id, name = visit.text("consumer")[:CONSUMER_CHARACTERS_MAX], visit.text("consumer_name")
    async with visit.services.db.project(visit.project.id) as tx:
        owner = None
        if external_id:
            owner = await consumers.ensure(tx, external_id=external_id, name=name[:CONSUMER_CHARACTERS_MAX])
        await consumers.assign(tx, connection_id, owner.id if owner else None)
    await visit.note("connection.assign", connection.name, consumer=external_id)
    return visit.go(f"/console/connections/{connection_id}/settings", "saved")


def actor(visit: Visit) -> str:
    """How the audit log calls this person."""
    return f"user:{visit.who.name}"


def date_of(text: str) -> datetime | None:
    """A browser's date, as the first moment of the day in UTC. Raises InvalidInput."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput(
            f"“{text}” is no date.", remedy="Write it as 2027-11-30.", subject="secret_expires_at"
        ) from error


async def _settled(
    visit: Visit, connection_id: UUID, change: Callable[[Transaction, UUID], Awaitable[object]], word: str
) -> Redirect:
    """Change what becomes of the syncs that a connection lacks, note it, and show the connection again."""
    connection = await _connection(visit, connection_id)
    async with visit.services.db.project(visit.project.id) as tx:
        await change(tx, connection_id)
    await visit.note(f"connection.default_syncs_{word}", connection.name)
    return visit.go(f"/console/connections/{connection_id}", f"default-syncs-{word}")


async def _connection(visit: Visit, connection_id: UUID) -> Connection:
    async with visit.services.db.project(visit.project.id) as tx:
        return await connections.get(tx, connection_id)


HANDLERS: Final[list[ControllerRouterHandler]] = [
    history_page,
    secret_date,
    unstage,
    choose_environment,
    portal_link,
    default_syncs_again,
    default_syncs_left,
    give_to_customer,
]
