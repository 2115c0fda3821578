"""Home: is anything broken, is the data fresh, how much moved today."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.types import ControllerRouterHandler

from isthmus.console.freshness import by_trouble
from isthmus.console.troubles import troubles_of
from isthmus.console.visit import Visiting
from isthmus.store import connections, destinations, feed, overview, writes
from isthmus.store.database import Transaction
from isthmus.store.rows import Connection, Destination

HOURS: Final = 24
DAYS: Final = 14
TROUBLES_MAX: Final = 20
LINES_MAX: Final = 10
"""Syncs that are shown, those in trouble first."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """A step towards a first delivered change."""

    title: str
    words: str
    path: str
    button: str
    done: bool


@get("/")
async def home_page(visit: Visiting) -> Response[str]:
    """The start page."""
    now = visit.services.clock.now()
    async with visit.services.db.project(visit.project.id) as tx:
        every = await connections.every(tx)
        lines = by_trouble(await overview.sync_lines(tx), now)
        counted = await overview.counted(tx, [line for line, _ in lines[:LINES_MAX]])
        targets = await destinations.every(tx)
        values = await _numbers(tx, now)
        active = await overview.active_runs(tx)
        head = await feed.head(tx)
        troubles = await troubles_of(tx, now, every, lines, targets)
    setup = _setup(every, lines, targets)
    return await visit.page(
        "home.html",
        troubles=troubles[:TROUBLES_MAX],
        troubles_more=max(0, len(troubles) - TROUBLES_MAX),
        lines=lines,
        shown=[(line, word) for line, (_, word) in zip(counted, lines, strict=False)],
        tally=Counter(word for _, word in lines),
        active=active,
        head=head,
        connections=every,
        destinations=targets,
        setup=setup,
        unfinished=not all(step.done for step in setup),
        **values,
    )


async def _numbers(tx: Transaction, now: datetime) -> dict[str, Any]:
    hours = await overview.moved(tx, "hour", HOURS)
    days = await overview.moved(tx, "day", DAYS)
    delivered, refused = await overview.delivered(tx, HOURS)
    succeeded, failed = await overview.runs_ended(tx, HOURS)
    written = await writes.ended(tx, now - timedelta(hours=HOURS))
    return {
        "hours": [(f"{each.at.astimezone(UTC):%H}:00", each.changes) for each in hours],
        "days": [(f"{each.at.astimezone(UTC):%d %b}", each.changes) for each in days],
        "today": sum(each.changes for each in hours),
        "delivered": delivered,
        "refused": refused,
        "written": written.get("confirmed", 0),
        "succeeded": succeeded,
        "failed": failed,
    }


def _setup(every: list[Connection], lines: list[Any], targets: list[Destination]) -> list[Setup]:
    return [
        Setup(
            title="Connect a system",
            words="Business Central, with an app's credentials or a person's sign-in. About two minutes.",
            path="/console/apps",
            button="Choose an app",
            done=bool(every),
        ),
        Setup(
            title="Choose what to keep in step",
            words="Customers, items, invoices …: each object becomes a sync with its own schedule.",
            path=f"/console/connections/{every[0].id}/objects" if every else "/console/connections",
            button="Choose objects",
            done=bool(lines),
        ),
        Setup(
            title="Send the changes somewhere",
            words="A signed webhook or a folder; or read the feed by cursor whenever you like.",
            path="/console/deliveries/new",
            button="Add a destination",
            done=bool(targets),
        ),
    ]


HANDLERS: Final[list[ControllerRouterHandler]] = [home_page]
