"""Everything that needs somebody, worst first, each with the command that helps."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from isthmus.cli.output import ago
from isthmus.cli.remedies import CHECK, RECONNECT, command_for, remedy_of
from isthmus.kernel.failures import SchemaDrift, UnknownField

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.database import Transaction
    from isthmus.store.rows import Connection, Destination, Run, Schedule, Sync

LEFT_LYING_AFTER_S = 300.0
"""Workers take writes up within seconds of their time, a long queue of them within minutes."""

OVERDUE_AFTER = timedelta(seconds=30)
"""A worker starts what is due within a second or two."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One finding: what it is about, what is wrong, what to do, and the command."""

    title: str
    reason: str
    command: str
    remedy: str = ""


async def troubles(opened: Hub) -> list[Trouble]:
    """Connections, runs, sweeps, destinations, writes and schedules that do not go on by themselves."""
    from isthmus.store import connections, destinations, overview, schedules, syncs
    from isthmus.store.paused import Pause, paused

    async with opened.db.project(opened.project.id) as tx:
        every = await connections.every(tx)
        kept = {sync.id: sync for sync in await syncs.every(tx)}
        stopped = await paused(tx)
        found = [_restored(sorted(stopped))] if stopped else []
        found += [_connection(each) for each in every if each.state != "connected"]
        sick = {each.id for each in every if each.state not in ("connected", "degraded")}
        names = _names(list(kept.values()))
        for run in await overview.latest_ended(tx):
            sync = kept.get(run.sync_id)
            if sync is not None:
                found += _run(run, names[sync.id], sync, covered=sync.connection_id in sick)
        found += [_destination(each) for each in await destinations.every(tx) if each.paused or each.failing_since]
        found += [] if Pause.WRITES in stopped else await _left_lying(tx)
        late = await _late(tx, [each for each in await schedules.every(tx) if _active(kept.get(each.sync_id))])
    return found + ([await _overdue(opened, late)] if late else [])


def _names(syncs: list[Sync]) -> dict[object, str]:
    """What to type for each sync: its object, or the end of its id where two have one object."""
    objects = [sync.object for sync in syncs]
    return {sync.id: sync.object if objects.count(sync.object) == 1 else sync.id.hex[-8:] for sync in syncs}


def _restored(stopped: list[str]) -> Trouble:
    return Trouble(
        title="Restored from a backup",
        reason=f"Paused until somebody has looked: {', '.join(stopped).replace('tokens', 'the renewal of sign-ins')}.",
        command="isthmus restored reconcile",
    )


def _active(sync: Sync | None) -> bool:
    return sync is not None and sync.state == "active"


def _connection(each: Connection) -> Trouble:
    failure = each.failure or {}
    return Trouble(
        title=f"Connection {each.name}",
        reason=each.reason or each.state.replace("_", " "),
        remedy=remedy_of(failure),
        command=command_for(failure.get("code"), each.name) or f"isthmus check {shlex.quote(each.name)}",
    )


def _run(run: Run, name: str, sync: Sync, *, covered: bool) -> list[Trouble]:
    """A sweep that is held, or a last run that failed, unless the connection's own trouble explains it."""
    if run.state == "held":
        return [
            Trouble(
                title=f"Sweep of {sync.object}",
                reason=f"{run.options.get('held', 0):,} records would be deleted, which is suspiciously many.",
                remedy="If they really are gone, let it delete them.",
                command=f"isthmus sync run {name} --sweep --force",
            )
        ]
    failure = run.failure or {}
    if run.state != "failed" or (covered and failure.get("code") in RECONNECT | CHECK):
        return []
    fields = failure.get("code") in (SchemaDrift.code, UnknownField.code)
    sweep = " --sweep" if run.kind == "sweep" else ""
    return [
        Trouble(
            title=f"{'Sweep' if sweep else 'Sync'} of {sync.object}",
            reason=f"{failure.get('message', 'The last run failed.')} ({ago(run.finished_at)})",
            remedy=remedy_of(failure, object_name=sync.object),
            command=f"isthmus describe {sync.object}" if fields else f"isthmus sync run {name}{sweep}",
        )
    ]


def _destination(each: Destination) -> Trouble:
    why = each.paused or (each.failure or {}).get("message", "The last delivery failed.")
    rhythm = "paused" if each.paused else f"next try {ago(each.next_attempt_at)}"
    return Trouble(
        title=f"Destination {each.name}",
        reason=f"{why} ({rhythm})",
        remedy="When the receiver works again:",
        command=f"isthmus destination resume {shlex.quote(each.name)}",
    )


async def _left_lying(tx: Transaction) -> list[Trouble]:
    """Planned writes that nobody is going to carry out as things are."""
    from isthmus.store import overview

    lying = await overview.writes_left_lying(tx, LEFT_LYING_AFTER_S)
    if lying is None:
        return []
    now: datetime = await tx.value("SELECT now()")
    are = "planned write is" if lying.count == 1 else "planned writes are"
    return [
        Trouble(
            title="Writes",
            reason=f"{lying.count:,} {are} carried out by nobody, the first since {ago(lying.since, now)}: no worker "
            "runs, or it does not get that far.",
            remedy="Carry them out now; if they stay, the server's log tells why, under each write's id.",
            command="isthmus operations reconcile",
        )
    ]


async def _late(tx: Transaction, schedules: list[Schedule]) -> list[Schedule]:
    now: datetime = await tx.value("SELECT now()")
    return [each for each in schedules if each.next_due < now - OVERDUE_AFTER]


async def _overdue(opened: Hub, late: list[Schedule]) -> Trouble:
    """Who should have started them: nobody, somebody who was cut off from the database, or somebody who is busy."""
    from isthmus.store.processes import FRESH_S, cut_off, heard_of_a_worker

    async with opened.db.system() as tx:
        now: datetime = await tx.value("SELECT clock_timestamp()")
        silent = await cut_off(tx)
    async with opened.db.unscoped() as tx:
        heard = await heard_of_a_worker(tx)
    why, remedy, command = "no worker runs.", "", "isthmus worker"
    if heard is not None and heard > now - timedelta(seconds=FRESH_S):
        why, command = "the worker is busy with other work.", "isthmus runs"
    elif heard is not None and silent:
        why = f"{silent[0].name} has said nothing for a while."
        remedy = "It was cut off from the database and takes its work up again within seconds. Look again:"
        command = "isthmus doctor"
    since = min(each.next_due for each in late).astimezone(UTC)
    many = f"{len(late)} {'is' if len(late) == 1 else 'are'} overdue, the first since {ago(since, now)}"
    return Trouble(title="Schedules", reason=f"{many}: {why}", remedy=remedy, command=command)
