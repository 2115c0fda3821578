"""What needs somebody: every kind of trouble as one line with its reason, since when, whose turn, and one button."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from isthmus.connections.health import health_of
from isthmus.console.fixes import WARN_DAYS, button_of, ends_in, failure_of
from isthmus.console.remedies import changes_reading, remedy_here
from isthmus.console.words import plural
from isthmus.store import app_secrets, connect_sessions, default_syncs, health, overview, writes
from isthmus.store.database import Transaction
from isthmus.store.default_syncs import RefusedSyncs
from isthmus.store.health import EndingSecret
from isthmus.store.overview import SyncLine, WaitingLetters
from isthmus.store.rows import Connection, Destination

STATES: Final = {
    "pending": "not checked yet",
    "degraded": "works, with a restriction",
    "needs_reauth": "the sign-in is not accepted",
    "blocked": "blocked",
}
TONES: Final = ("bad", "attention")
"""The worst first."""


LACKING: Final = "Correct the integration’s syncs, give the connection what it lacks, or set the sync up by hand."


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


async def troubles_of(
    tx: Transaction,
    now: datetime,
    every: list[Connection],
    lines: list[tuple[SyncLine, str]],
    targets: list[Destination],
) -> list[Trouble]:
    """All of a project, the worst first; connections before what follows from a dead one."""
    making = await connect_sessions.being_connected(tx)
    settled = [each for each in every if each.state != "pending" or each.id not in making]  # else it is their turn
    well = {each.id for each in every if each.state in ("connected", "degraded")}
    ill = {each.id for each in every if each.state in ("needs_reauth", "blocked")}
    at_integration = await app_secrets.by_connection(tx)
    found = [
        _connection(each, at_integration.get(each.id))
        for each in settled
        if each.state not in ("connected", "disconnected")
    ]
    found += [_failing(line) for line, word in lines if word == "failing" and line.connection_id not in ill]
    found += [_held(line) for line, _ in lines if line.held is not None]
    found += [_destination(each) for each in targets if each.paused is not None or each.failing_since is not None]
    found += [_letters(each) for each in await overview.dead_letters_waiting(tx)]
    found += _undecided(await writes.waiting(tx), await writes.waiting_since(tx))
    found += [refused_trouble(each) for each in await default_syncs.refused(tx)]
    ending = await health.ending_secrets(tx, WARN_DAYS)
    # a connection whose own it is stands still already
    found += [_ending(each, now) for each in ending if each.connection_id is None or each.connection_id in well]
    return sorted(found, key=lambda each: TONES.index(each.tone))


def refused_trouble(each: RefusedSyncs) -> Trouble:
    """Syncs of an integration that a connection lacks."""
    failure = each.refused[0].failure
    names = ", ".join(refused.object for refused in each.refused)
    return Trouble(
        title=f"{each.name} lacks {plural(len(each.refused), 'sync')} of its integration: {names}",
        words=str(failure.get("message", "")),
        remedy=LACKING,
        turn=str(failure.get("turn", "you")),
        tone="attention",
        path=f"/console/connections/{each.connection_id}#default-syncs",
        button="Look into it",
        since=each.since,
    )


def _connection(each: Connection, integration_id: UUID | None) -> Trouble:
    button = button_of(each, integration_id)
    here = f"/console/connections/{each.id}"  # what needs a form of its own begins on the connection's page
    return Trouble(
        title=f"{each.name}: {STATES.get(each.state, each.state)}",
        words=each.reason or "",
        remedy=remedy_here(failure_of(each, integration_id)),
        turn=each.turn or "you",
        tone="attention" if each.state in ("pending", "degraded") else "bad",
        path=here if button is None or button.sends else button.path,
        button=health_of(each).button or "Look into it",
        since=each.since,
    )


def _failing(line: SyncLine) -> Trouble:
    failure = line.last_failure or {}
    return Trouble(
        title=f"{line.object} of {line.connection_name} is failing",
        words=str(failure.get("message", "")),
        remedy=remedy_here(failure) or "Look at the run.",
        turn=str(failure.get("turn", "you")),
        tone="bad",
        path=f"/console/syncs/{line.id}" if changes_reading(failure) else f"/console/runs/{line.last_id}",
        button="Look at the sync" if changes_reading(failure) else "Look at the run",
        since=line.failing_since,
    )


def _held(line: SyncLine) -> Trouble:
    return Trouble(
        title=f"{plural(line.held or 0, 'deletion')} of {line.object} of {line.connection_name} are held back",
        words="So many records gone at once look like a mistake: a wrong company, a filter, a lost permission.",
        remedy="Look whether they really are gone; then release the deletions.",
        turn="you",
        tone="attention",
        path=f"/console/syncs/{line.id}#held",
        button="Look at the deletions",
        since=line.held_at,
    )


def _destination(each: Destination) -> Trouble:
    stopped = each.paused is not None
    return Trouble(
        title=f"{each.name} {'is paused' if stopped else 'does not take deliveries'}",
        words=each.paused or str((each.failure or {}).get("message", "")),
        remedy="Resume it when the receiver is ready; what waits is kept." if stopped else remedy_here(each.failure),
        turn="you",
        tone="bad" if stopped else "attention",
        path=f"/console/deliveries/{each.id}",
        button="Look into it",
        since=each.failing_since,
    )


def _letters(each: WaitingLetters) -> Trouble:
    return Trouble(
        title=f"{plural(each.batches, 'batch', 'batches')} not delivered to {each.name} after three days",
        words="They are kept as dead letters, in full.",
        remedy="Fix the receiver, then replay them.",
        turn="you",
        tone="bad",
        path=f"/console/deliveries/{each.destination_id}#dead-letters",
        button="See the dead letters",
        since=each.since,
    )


def _undecided(waiting: dict[str, int], since: dict[str, datetime]) -> list[Trouble]:
    """Writes that wait for a person, one line for each kind of waiting."""
    found = []
    if count := waiting.get("needs_person"):
        it = "it" if count == 1 else "they"
        found.append(
            Trouble(
                title=plural(count, "write needs", "writes need") + " a person",
                words=f"Nobody can tell from here whether {it} took place.",
                remedy=f"Look at the vendor’s side, then say how {it} ended.",
                turn="you",
                tone="bad",
                path="/console/writes?state=needs_person",
                button=f"See the {'write' if count == 1 else 'writes'}",
                since=since.get("needs_person"),
            )
        )
    if count := waiting.get("waiting_for_approval"):
        found.append(
            Trouble(
                title=plural(count, "write waits", "writes wait") + " for approval",
                words="Nothing is sent before somebody has approved it.",
                remedy="Read what would be sent, then approve or refuse it.",
                turn="you",
                tone="attention",
                path="/console/writes?state=waiting_for_approval",
                button=f"See the {'write' if count == 1 else 'writes'}",
                since=since.get("waiting_for_approval"),
            )
        )
    return found


def _ending(each: EndingSecret, now: datetime) -> Trouble:
    """A connection's own secret, or the one of the host's app that all connections of an integration share."""
    days, when = ends_in(each.ends_at, now)
    what = ("certificate" if each.certificate else "client secret") + (" of your app" if each.integration_id else "")
    stops = "of every connection through it " if each.integration_id else ""
    own = f"/console/connections/{each.connection_id}/settings#credentials"
    beside = "; it may wait beside the old one" if days else ""
    return Trouble(
        title=f"{each.name}: the {what} {when}",
        words=f"Reading and writing {stops}{'stop when it has ended' if days else 'have stopped'}.",
        remedy=f"Create a new one in Entra and enter it now{beside}. No consent is needed.",
        turn="you",
        tone="bad" if each.ends_at - now < timedelta(days=1) else "attention",
        path=app_secrets.PLACE.format(each.integration_id) if each.integration_id else own,
        button="Enter the next secret",
    )
