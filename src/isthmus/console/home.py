"""Home: is anything broken, is the data fresh, how much moved today."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.types import ControllerRouterHandler

from isthmus.connections.health import health_of
from isthmus.console.fixes import WARN_DAYS, button_of
from isthmus.console.freshness import by_trouble
from isthmus.console.visit import Visiting
from isthmus.console.words import ago, plural
from isthmus.store import connect_sessions, connections, destinations, feed, health, overview, writes
from isthmus.store.database import Transaction
from isthmus.store.health import EndingSecret
from isthmus.store.rows import Connection, Destination

HOURS: Final = 24
DAYS: Final = 14
TROUBLES_MAX: Final = 20


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs somebody: what, why, since when, whose turn, and where it is fixed."""

    title: str
    words: str
    remedy: str
    turn: str
    tone: str
    path: str
    button: str
    since: datetime | None = None


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
        targets = await destinations.every(tx)
        values = await _numbers(tx, now)
        active = await overview.active_runs(tx)
        head = await feed.head(tx)
        waiting = await overview.dead_letters_waiting(tx)
        undecided = await writes.waiting(tx)
        ending = await health.ending_secrets(tx, WARN_DAYS)
        making = await connect_sessions.being_connected(tx)
    settled = [each for each in every if each.state != "pending" or each.id not in making]  # else it is their turn
    troubles = _troubles(settled, lines, targets) + _undecided(undecided) + _ending(ending, every, now)
    if waiting:
        troubles.append(_dead_letters(waiting))
    setup = _setup(every, lines, targets)
    return await visit.page(
        "home.html",
        troubles=troubles[:TROUBLES_MAX],
        troubles_more=max(0, len(troubles) - TROUBLES_MAX),
        lines=lines,
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


def _troubles(every: list[Connection], lines: list[Any], targets: list[Destination]) -> list[Trouble]:
    """Connections first: a dead one explains what follows from it."""
    found = [
        Trouble(
            title=f"{each.name}: {_state_words(each)}",
            words=each.reason or "",
            remedy=str((each.failure or {}).get("remedy", "")),
            turn=each.turn or "you",
            tone="attention" if each.state in ("pending", "degraded") else "bad",
            path=_fix_path(each),
            button=health_of(each).button or "Look into it",
            since=each.since,
        )
        for each in every
        if each.state not in ("connected", "disconnected")
    ]
    ill = {each.id for each in every if each.state in ("needs_reauth", "blocked")}
    found += [
        Trouble(
            title=f"{line.object} of {line.connection_name} is {'held' if line.last_state == 'held' else 'failing'}",
            words=str((line.last_failure or {}).get("message", "")),
            remedy=str((line.last_failure or {}).get("remedy", "Look at the run.")),
            turn=str((line.last_failure or {}).get("turn", "you")),
            tone="bad",
            path=f"/console/runs/{line.last_id}",
            button="Look at the run",
        )
        for line, word in lines
        if word == "failing" and line.connection_id not in ill
    ]
    found += [
        Trouble(
            title=f"{each.name} {'is paused' if each.paused is not None else 'does not take deliveries'}",
            words=each.paused or str((each.failure or {}).get("message", "")),
            remedy=str((each.failure or {}).get("remedy", "Fix the receiver, then resume it.")),
            turn="you",
            tone="bad" if each.paused is not None else "attention",
            path=f"/console/deliveries/{each.id}",
            button="Look into it",
            since=each.failing_since,
        )
        for each in targets
        if each.paused is not None or each.failing_since is not None
    ]
    return found


def _ending(ending: list[EndingSecret], every: list[Connection], now: datetime) -> list[Trouble]:
    """Secrets that end soon, unless the connection stands still already."""
    well = {each.id for each in every if each.state in ("connected", "degraded")}
    what = {True: "certificate", False: "client secret"}
    return [
        Trouble(
            title=f"{each.name}: the {what[each.certificate]} ends {ago(each.ends_at, now)}",
            words="Reading and writing stop when it has ended.",
            remedy="Create a new one in Entra and enter it now; it may wait beside the old one. No consent is needed.",
            turn="you",
            tone="bad" if each.ends_at - now < timedelta(days=1) else "attention",
            path=f"/console/connections/{each.connection_id}/settings#credentials",
            button="Enter the next secret",
        )
        for each in ending
        if each.connection_id in well
    ]


def _fix_path(connection: Connection) -> str:
    """Where the one button leads; what needs a form of its own begins on the connection's page."""
    button = button_of(connection)
    return f"/console/connections/{connection.id}" if button is None or button.sends else button.path


def _state_words(connection: Connection) -> str:
    return {
        "pending": "not checked yet",
        "degraded": "works, with a restriction",
        "needs_reauth": "the sign-in is not accepted",
        "blocked": "blocked",
    }.get(connection.state, connection.state)


def _undecided(waiting: dict[str, int]) -> list[Trouble]:
    """Writes that wait for a person, one line for each kind of waiting."""
    found = []
    if waiting.get("needs_person"):
        found.append(
            Trouble(
                title=plural(waiting["needs_person"], "write needs", "writes need") + " a person",
                words="Nobody can tell from here whether they took place.",
                remedy="Look at the vendor’s side, then say how they ended.",
                turn="you",
                tone="bad",
                path="/console/writes?state=needs_person",
                button="See the writes",
            )
        )
    if waiting.get("waiting_for_approval"):
        found.append(
            Trouble(
                title=plural(waiting["waiting_for_approval"], "write waits", "writes wait") + " for approval",
                words="Nothing is sent before somebody has approved it.",
                remedy="Read what would be sent, then approve or refuse it.",
                turn="you",
                tone="attention",
                path="/console/writes?state=waiting_for_approval",
                button="See the writes",
            )
        )
    return found


def _dead_letters(waiting: int) -> Trouble:
    return Trouble(
        title=plural(waiting, "batch", "batches") + " not delivered after three days",
        words="They are kept as dead letters, in full.",
        remedy="Fix the receiver, then replay them.",
        turn="you",
        tone="bad",
        path="/console/deliveries",
        button="See deliveries",
    )


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
