"""Syncs: what the file asks of each connection against what there is.

A wish that looks like what is kept costs no request. Anything else is checked against the vendor's own description
first, so that a plan tells a wrong name with its line and the names that were perhaps meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from isthmus.actions.reading import setup
from isthmus.configuration.document import Spot
from isthmus.configuration.document import nearest as nearest_names
from isthmus.configuration.ground import Ground, NoJournal
from isthmus.configuration.loading import Loaded
from isthmus.configuration.steps import Shown, Sign, Step, additions, counted, differences
from isthmus.configuration.sync_values import (
    Compared,
    Timing,
    Wanted,
    days_of,
    names_of,
    ordered,
    same_sync,
    set_of,
    window,
    wish_of,
)
from isthmus.kernel.failures import (
    CompanyNotFound,
    CredentialFailure,
    Failure,
    FilterRefused,
    InvalidInput,
    UnknownField,
    UnknownObject,
)
from isthmus.store import connections, integrations, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import CompanyRow, Connection, Sync

KIND = "sync"

_NAMED: Final = (UnknownObject, UnknownField, CompanyNotFound, FilterRefused, InvalidInput)
"""What the file itself has wrong; anything else is the connection's trouble and is told as such."""


async def plan_syncs(ground: Ground, loaded: Loaded, remarks: list[str]) -> list[Step]:
    """The steps for the syncs of every connection that the file speaks of. Raises Mistaken, or the vendor's Failure.

    A connection that only its integration speaks of, and that stands still, is left as it is, with a remark.
    """
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
        named = isinstance(parts, dict) and name in parts
        if wanted is None or (connection.state == "disconnected" and not named):
            continue
        try:
            steps += await _of_connection(ground, loaded, connection, wanted)
        except CredentialFailure as failure:
            if named:
                raise
            remarks.append(f"{name} stands still, so its syncs stay as they are: {failure.message}")
        except Failure as failure:
            failure.message = f"{name}: {failure.message}"
            raise
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
        found = next((row for row in left if same_sync(row, each.name, each.part)), None)
        if found is not None:
            left.remove(found)
        planner = _One(ground, loaded, connection, companies, each)
        step = await (planner.added() if found is None else planner.changed(found))
        if step is not None:
            steps.append(step)
    return steps + [await _removed(ground, connection, row) for row in left]


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
                ("names", wish.names),
                ("filter", wish.filter),
                ("expand", wish.expand),
                ("companies", wish.companies),
                ("backfill", window(wish.backfill_days)),
                ("schedule", wish.schedule or "by hand"),
                ("paused", part.paused is True or None),
            ]
        )
        return Step(sign=Sign.ADD, kind=KIND, name=self._label, act="sync.create", perform=perform, differences=listed)

    async def changed(self, row: Sync) -> Step | None:
        """It is there; None when it is as asked for."""
        before, part = Compared.of(row), self._wanted.part
        after: Compared | None = self._as_typed(before)
        timing, names = Timing.of(row).with_wish(part), names_of(part, row.names)
        if after is None or names != row.names or timing.looks_for != Timing.of(row).looks_for:
            after, names, timing = await self._as_checked(row, timing)
        state = row.state if not isinstance(part.paused, bool) else ("paused" if part.paused else "active")
        read = differences(
            [
                ("companies", self._company_names(before.companies), self._company_names(after.companies)),
                ("fields", before.fields, after.fields),
                ("filter", before.filter, after.filter),
                ("expand", before.expand, after.expand),
                ("backfill", window(before.backfill_days), window(after.backfill_days)),
            ]
        )
        rest = differences([("names", row.names, names), *Timing.of(row).beside(timing), ("state", row.state, state)])
        if not read and not rest:
            return None
        wish, reads_else = after, bool(read)

        async def perform() -> Sequence[Shown]:
            async def change(tx: Transaction) -> None:
                await syncs.set_state(tx, row.id, state)
                await syncs.set_names(tx, row.id, names)
                await timing.keep(tx, row)
                if reads_else:
                    await syncs.change_reading(tx, row.id, **msgspec.structs.asdict(wish))

            await self._ground.db.transact(self._ground.project.id, change)
            return []

        return Step(
            sign=Sign.CHANGE,
            kind=KIND,
            name=self._label,
            act="sync.change",
            perform=perform,
            differences=read + rest,
            loses=await self._loss(row, before, after),
        )

    # -- wishes --------------------------------------------------------------------------------------------------

    def _wish(self) -> setup.SyncWish:
        return wish_of(self._wanted.name, self._wanted.part)

    def _as_typed(self, before: Compared) -> Compared | None:
        """What is kept, when the file says the same in other words at most; None when somebody has to look closer."""
        wish = self._wish()
        try:
            chosen = (
                None if wish.companies is None else [setup.company_id(self._companies, each) for each in wish.companies]
            )
        except CompanyNotFound:
            return None
        same = (
            set_of(before.companies) == set_of(chosen)
            and set_of(before.fields) == set_of(wish.fields)
            and set_of(before.expand) == set_of(wish.expand)
            and (before.filter or None) == (wish.filter or None)
            and before.backfill_days == wish.backfill_days
        )
        return before if same else None

    async def _as_checked(self, row: Sync, timing: Timing) -> tuple[Compared, dict[str, str], Timing]:
        """The wish in the vendor's exact names, and when deletions and calculated fields are looked for."""
        checked = await self._checked(self._wish())
        after = Compared(
            companies=ordered(row.companies, checked.companies),
            fields=ordered(row.fields, list(checked.fields)) or [],
            filter=checked.filter,
            expand=ordered(row.expand, list(checked.expand)) or [],
            backfill_days=days_of(self._wanted.part),
        )
        kept = Timing.of(row)
        if not (checked.obj.incremental and checked.obj.deletions):  # compared in full at every run anyway
            timing = msgspec.structs.replace(timing, deletions=kept.deletions)
        if not checked.obj.incremental:
            timing = msgspec.structs.replace(timing, refresh=kept.refresh)
        return after, checked.names, timing

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
        if isinstance(part.names, dict) and failure.subject:
            renamed = next((each for each, own in part.names.items() if failure.subject in (each, own)), None)
            if renamed is not None:
                return places.name(*path, "names", renamed)
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

    async def _loss(self, row: Sync, before: Compared, after: Compared) -> str | None:
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
