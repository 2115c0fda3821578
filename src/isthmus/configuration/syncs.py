"""Syncs: what the file asks of each connection against what there is.

A wish that looks like what is kept costs no request. Anything else is checked against the vendor's own description
first, so that a plan tells a wrong name with its line and the names that were perhaps meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from isthmus.actions.reading import setup
from isthmus.configuration.checking import object_of
from isthmus.configuration.document import Spot
from isthmus.configuration.document import nearest as nearest_names
from isthmus.configuration.ground import Ground, NoJournal
from isthmus.configuration.loading import Loaded
from isthmus.configuration.shape import SyncPart
from isthmus.configuration.steps import Shown, Sign, Step, additions, counted, differences
from isthmus.kernel.failures import CompanyNotFound, FilterRefused, InvalidInput, UnknownField, UnknownObject
from isthmus.store import connections, integrations, schedules, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import CompanyRow, Connection, RunKind, Sync

KIND = "sync"

_NAMED: Final = (UnknownObject, UnknownField, CompanyNotFound, FilterRefused, InvalidInput)
"""What the file itself has wrong; anything else is the connection's trouble and is told as such."""

Path = tuple[str | int, ...]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A sync as the file asks for it, with where it stands there."""

    name: str
    part: SyncPart
    path: Path

    @property
    def object(self) -> str:
        """The object that it reads."""
        return object_of(self.name, self.part)

    @property
    def route(self) -> str:
        """Its API route as typed, empty for the vendor's own."""
        return self.part.route if isinstance(self.part.route, str) else ""


class _Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One sync in exact names, as it is kept; equal values mean that nothing has to be done."""

    companies: list[str] | None
    fields: list[str]
    filter: str | None
    expand: list[str]
    backfill_days: int | None


async def plan_syncs(ground: Ground, loaded: Loaded) -> list[Step]:
    """The steps for the syncs of every connection that the file names. Raises Mistaken, or the vendor's Failure."""
    async with ground.db.project(ground.project.id) as tx:
        present = {each.name: each for each in await connections.every(tx)}
        made_through = await integrations.names_by_connection(tx)
    parts = loaded.configuration.connections
    for name in parts if isinstance(parts, dict) else ():
        if name not in present:
            raise loaded.refused(
                loaded.places.name("connections", name),
                f"There is no connection “{name}” in project {ground.project.name}.",
                "People make connections: `isthmus connect business-central`, or a connect link. "
                "`isthmus connections` lists them.",
                nearest_names(name, list(present)),
            )
    steps: list[Step] = []
    for name, connection in present.items():
        wanted = _wanted(loaded, name, made_through.get(connection.id))
        if wanted is not None:
            steps += await _of_connection(ground, loaded, connection, wanted)
    return steps


def _wanted(loaded: Loaded, name: str, integration: str | None) -> list[Wanted] | None:
    """What a connection shall read: its integration's syncs, and its own in place of those of the same name.

    None when the file says nothing about it.
    """
    configuration, found = loaded.configuration, {}
    parts: list[tuple[tuple[str, str], Any]] = []
    if isinstance(configuration.integrations, dict) and integration in configuration.integrations:
        parts.append((("integrations", str(integration)), configuration.integrations[integration].syncs))
    if isinstance(configuration.connections, dict) and name in configuration.connections:
        parts.append((("connections", name), configuration.connections[name].syncs))
    said = [(path, syncs) for path, syncs in parts if isinstance(syncs, dict)]
    for path, wished in said:
        for each, sync in wished.items():
            found[each] = Wanted(name=each, part=sync, path=(*path, "syncs", each))
    return list(found.values()) if said else None


async def _of_connection(
    ground: Ground, loaded: Loaded, connection: Connection, wanted: Sequence[Wanted]
) -> list[Step]:
    async with ground.db.project(ground.project.id) as tx:
        present = await syncs.every(tx, connection.id)
        companies = await connections.companies_of(tx, connection.id)
    left = list(present)
    steps: list[Step] = []
    for each in wanted:
        found = next((row for row in left if _same_sync(row, each)), None)
        if found is not None:
            left.remove(found)
        planner = _One(ground, loaded, connection, companies, each)
        step = await (planner.added() if found is None else planner.changed(found))
        if step is not None:
            steps.append(step)
    return steps + [await _removed(ground, connection, row) for row in left]


def _same_sync(row: Sync, wanted: Wanted) -> bool:
    same_route = not wanted.route or row.route.casefold() == wanted.route.casefold()
    return row.object.casefold() == wanted.object.casefold() and same_route


class _One:
    """The step for one sync of the file."""

    def __init__(
        self, ground: Ground, loaded: Loaded, connection: Connection, companies: Sequence[CompanyRow], wanted: Wanted
    ) -> None:
        self._ground = ground
        self._loaded = loaded
        self._connection = connection
        self._companies = companies
        self._wanted = wanted
        self._label = f"{connection.name} › {wanted.name}"

    async def added(self) -> Step:
        """It is not there yet."""
        part, wish = self._wanted.part, self._wish()
        await self._checked(wish)

        async def perform() -> Sequence[Shown]:
            try:
                sync, _ = await self._ground.create_sync(self._connection, wish)
            except _NAMED as failure:
                raise self._mistaken(failure) from failure
            if part.paused is True:
                async with self._ground.db.project(self._ground.project.id) as tx:
                    await syncs.set_state(tx, sync.id, "paused")
            return []

        listed = additions(
            [
                ("object", wish.object if wish.object != self._wanted.name else None),
                ("route", wish.route or None),
                ("fields", wish.fields),
                ("filter", wish.filter),
                ("expand", wish.expand),
                ("companies", wish.companies),
                ("backfill", _window(wish.backfill_days)),
                ("schedule", wish.schedule or "by hand"),
                ("paused", part.paused is True or None),
            ]
        )
        return Step(sign=Sign.ADD, kind=KIND, name=self._label, act="sync.create", perform=perform, differences=listed)

    async def changed(self, row: Sync) -> Step | None:
        """It is there; None when it is as asked for."""
        before = _Compared(
            companies=row.companies,
            fields=list(row.fields),
            filter=row.filter,
            expand=list(row.expand),
            backfill_days=row.backfill_days,
        )
        after = self._as_typed(before)
        swept = row.sweep_schedule
        if after is None or _deletions(self._wanted.part, swept) != swept:
            after, swept = await self._as_checked(row)
        schedule = _schedule(self._wanted.part.schedule, None)
        paused = self._wanted.part.paused
        state = row.state if not isinstance(paused, bool) else ("paused" if paused else "active")
        read = differences(
            [
                ("companies", self._company_names(before.companies), self._company_names(after.companies)),
                ("fields", before.fields, after.fields),
                ("filter", before.filter, after.filter),
                ("expand", before.expand, after.expand),
                ("backfill", _window(before.backfill_days), _window(after.backfill_days)),
            ]
        )
        timed = differences(
            [
                ("schedule", row.schedule, schedule),
                ("deletions", row.sweep_schedule, swept),
                ("state", row.state, state),
            ]
        )
        if not read and not timed:
            return None
        wish, there = after, bool(read)

        async def perform() -> Sequence[Shown]:
            async def change(tx: Transaction) -> None:
                await syncs.set_state(tx, row.id, state)
                if row.schedule != schedule:
                    await schedules.set_schedule(tx, row.id, RunKind.INCREMENTAL, schedule)
                if row.sweep_schedule != swept:
                    await schedules.set_schedule(tx, row.id, RunKind.SWEEP, swept)
                await syncs.set_schedules(tx, row.id, schedule=schedule, sweep_schedule=swept)
                if there:
                    await syncs.change_reading(tx, row.id, **msgspec.structs.asdict(wish))

            await self._ground.db.transact(self._ground.project.id, change)
            return []

        return Step(
            sign=Sign.CHANGE,
            kind=KIND,
            name=self._label,
            act="sync.change",
            perform=perform,
            differences=read + timed,
            loses=await self._loss(row, before, after),
        )

    # -- wishes --------------------------------------------------------------------------------------------------

    def _wish(self) -> setup.SyncWish:
        part = self._wanted.part
        return setup.SyncWish(
            object=self._wanted.object,
            route=self._wanted.route,
            companies=tuple(part.companies) if isinstance(part.companies, list) else None,
            fields=tuple(part.fields) if isinstance(part.fields, list) else (),
            filter=part.filter if isinstance(part.filter, str) else None,
            expand=tuple(part.expand) if isinstance(part.expand, list) else (),
            backfill_days=_days(part),
            schedule=_schedule(part.schedule, None),
            sweep_schedule=_schedule(part.deletions, setup.SWEEP_SCHEDULE_DEFAULT),
        )

    def _as_typed(self, before: _Compared) -> _Compared | None:
        """What is kept, when the file says the same in other words at most; None when somebody has to look closer."""
        wish = self._wish()
        try:
            chosen = (
                None if wish.companies is None else [setup.company_id(self._companies, each) for each in wish.companies]
            )
        except CompanyNotFound:
            return None
        same = (
            _set(before.companies) == _set(chosen)
            and _set(before.fields) == _set(wish.fields)
            and _set(before.expand) == _set(wish.expand)
            and (before.filter or None) == (wish.filter or None)
            and before.backfill_days == wish.backfill_days
        )
        return before if same else None

    async def _as_checked(self, row: Sync) -> tuple[_Compared, str | None]:
        """The wish in the vendor's exact names, and when deletions are looked for."""
        checked = await self._checked(self._wish())
        after = _Compared(
            companies=_ordered(row.companies, checked.companies),
            fields=_ordered(row.fields, list(checked.fields)) or [],
            filter=checked.filter,
            expand=_ordered(row.expand, list(checked.expand)) or [],
            backfill_days=_days(self._wanted.part),
        )
        swept = _deletions(self._wanted.part, row.sweep_schedule)
        if swept is not None and not (checked.obj.incremental and checked.obj.deletions):
            swept = row.sweep_schedule  # compared in full at every run anyway
        return after, swept

    async def _checked(self, wish: setup.SyncWish) -> setup.CheckedSync:
        """Names, filter and one record, as the vendor has them. Raises Mistaken for what the file has wrong."""
        try:
            async with self._ground.connection(self._connection.id, NoJournal()) as opened:
                companies = opened.companies or self._companies
                if not companies:  # the first look at this connection: names are checked when the sync is made
                    companies, wish = [], msgspec.structs.replace(wish, companies=None)
                return await setup.check_wish(opened, wish, companies)
        except _NAMED as failure:
            raise self._mistaken(failure) from failure

    def _mistaken(self, failure: Any) -> Exception:
        where = "" if self._wanted.path[0] == "connections" else f"{self._connection.name}: "
        return self._loaded.refused(
            self._spot(failure), where + failure.message, failure.remedy, tuple(failure.nearest)
        )

    def _spot(self, failure: Any) -> Spot:
        """Where in the file the name stands that a failure is about."""
        places, path, part = self._loaded.places, self._wanted.path, self._wanted.part
        lists: list[tuple[str, Any]] = [("fields", part.fields), ("expand", part.expand), ("companies", part.companies)]
        for name, values in lists:
            for place, text in enumerate(values if isinstance(values, list) else []):
                if failure.subject and failure.subject.casefold() in (
                    text.casefold(),
                    text.partition("(")[0].casefold(),
                ):
                    return places.value(*path, name, place)
        if isinstance(failure, UnknownObject):
            return places.value(*path, "object") if isinstance(part.object, str) else places.name(*path)
        if isinstance(part.filter, str) and isinstance(failure, FilterRefused | UnknownField):
            return places.value(*path, "filter")
        if "backfill" in failure.message and part.backfill is not msgspec.UNSET:
            return places.value(*path, "backfill")
        return places.name(*path)

    # -- words ---------------------------------------------------------------------------------------------------

    def _company_names(self, ids: Sequence[str] | None) -> list[str] | str:
        names = {row.remote_id: row.name for row in self._companies}
        return "all" if ids is None else [names.get(each, each) for each in ids]

    async def _loss(self, row: Sync, before: _Compared, after: _Compared) -> str | None:
        """What a narrower sync gives up."""
        async with self._ground.db.project(self._ground.project.id) as tx:
            counts = await syncs.stream_counts(tx, row.id)
        total = sum(counts.values())
        if not total:
            return None
        if after.companies is not None:
            kept = set(after.companies)
            gone = sum(count for company, count in counts.items() if company and company not in kept)
            if gone:
                return f"{counted(gone, 'stored record')} of companies that are no longer read get no changes any more"
        if after.filter != before.filter and after.filter is not None:
            return f"of {counted(total, 'stored record')} those that the filter leaves out are announced as deleted"
        dropped = sorted(set(before.fields) - set(after.fields)) if after.fields else []
        if dropped or (after.fields and not before.fields):
            what = ", ".join(dropped[:5]) if dropped else "every field that is not named"
            return f"{what} of {counted(total, 'stored record')}"
        return None


async def _removed(ground: Ground, connection: Connection, row: Sync) -> Step:
    async with ground.db.project(ground.project.id) as tx:
        total = sum((await syncs.stream_counts(tx, row.id)).values())

    async def perform() -> Sequence[Shown]:
        async def forget(tx: Transaction) -> None:
            await syncs.delete(tx, row.id)

        await ground.db.transact(ground.project.id, forget)
        return []

    return Step(
        sign=Sign.REMOVE,
        kind=KIND,
        name=f"{connection.name} › {row.object}",
        act="sync.delete",
        perform=perform,
        loses=f"{counted(total, 'stored record')}, and their changes in the feed",
        unnamed=True,
    )


def _schedule(text: Any, otherwise: str | None) -> str | None:
    if not isinstance(text, str):
        return otherwise
    return None if text.casefold() == "none" else text


def _deletions(part: SyncPart, present: str | None) -> str | None:
    """When deletions are looked for; what is there stays unless the file says otherwise."""
    return _schedule(part.deletions, present)


def _days(part: SyncPart) -> int | None:
    if isinstance(part.backfill, int):
        return part.backfill
    return 0 if part.backfill == "none" else None


def _window(days: int | None) -> str:
    return "full" if days is None else "none" if days == 0 else counted(days, "day")


def _set(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(each.casefold() for each in names)


def _ordered(before: Sequence[str] | None, after: list[str] | None) -> list[str] | None:
    """The same members in another order are no difference."""
    return list(before) if before is not None and after is not None and set(before) == set(after) else after
