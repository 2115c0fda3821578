"""What the file says about a sync, in values that can be compared with what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from isthmus.actions.reading import setup
from isthmus.configuration.checking import object_of
from isthmus.configuration.shape import SyncPart
from isthmus.configuration.steps import counted
from isthmus.store import schedules, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import RunKind, Sync

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


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One sync in exact names, as it is kept; equal values mean that nothing has to be done."""

    companies: list[str] | None
    fields: list[str]
    filter: str | None
    expand: list[str]
    backfill_days: int | None

    @staticmethod
    def of(row: Sync) -> Compared:
        """What is kept of a sync."""
        return Compared(
            companies=row.companies,
            fields=list(row.fields),
            filter=row.filter,
            expand=list(row.expand),
            backfill_days=row.backfill_days,
        )


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """When a sync reads what is new, looks for deletions, and compares everything; None is never."""

    schedule: str | None
    deletions: str | None
    refresh: str | None

    @staticmethod
    def of(row: Sync) -> Timing:
        """What is kept of a sync."""
        return Timing(schedule=row.schedule, deletions=row.sweep_schedule, refresh=row.refresh_schedule)

    @property
    def looks_for(self) -> tuple[str | None, str | None]:
        """What not every object can do."""
        return self.deletions, self.refresh

    def with_wish(self, part: SyncPart) -> Timing:
        """As the file wants it; when deletions are looked for stays unless the file says otherwise."""
        return Timing(
            schedule=schedule_of(part.schedule, None),
            deletions=schedule_of(part.deletions, self.deletions),
            refresh=schedule_of(part.refresh, None),
        )

    def beside(self, other: Timing) -> list[tuple[str, str | None, str | None]]:
        """Name, this, and the other, for each of the three."""
        return [(name, getattr(self, name), getattr(other, name)) for name in self.__struct_fields__]

    async def keep(self, tx: Transaction, row: Sync) -> None:
        """Set what differs from what is kept; a schedule that stays keeps its rhythm."""
        if row.schedule != self.schedule:
            await schedules.set_schedule(tx, row.id, RunKind.INCREMENTAL, self.schedule)
        if row.sweep_schedule != self.deletions:
            await schedules.set_schedule(tx, row.id, RunKind.SWEEP, self.deletions)
        if row.refresh_schedule != self.refresh:
            await schedules.set_refresh(tx, row.id, self.refresh)
        await syncs.set_schedules(tx, row.id, schedule=self.schedule, sweep_schedule=self.deletions)
        await syncs.set_refresh_schedule(tx, row.id, self.refresh)


def wish_of(name: str, part: SyncPart) -> setup.SyncWish:
    """A sync of the file as an action takes it."""
    return setup.SyncWish(
        object=object_of(name, part),
        route=part.route if isinstance(part.route, str) else "",
        companies=tuple(part.companies) if isinstance(part.companies, list) else None,
        fields=tuple(part.fields) if isinstance(part.fields, list) else (),
        filter=part.filter if isinstance(part.filter, str) else None,
        expand=tuple(part.expand) if isinstance(part.expand, list) else (),
        backfill_days=days_of(part),
        schedule=schedule_of(part.schedule, None),
        sweep_schedule=schedule_of(part.deletions, setup.SWEEP_SCHEDULE_DEFAULT),
        refresh_schedule=schedule_of(part.refresh, None),
        names=names_of(part, {}),
    )


def same_sync(row: Sync, name: str, part: SyncPart) -> bool:
    """Whether a sync that is there is the one that is meant: its object, and its route where one is named."""
    route = part.route if isinstance(part.route, str) else ""
    same_route = not route or row.route.casefold() == route.casefold()
    return row.object.casefold() == object_of(name, part).casefold() and same_route


def names_of(part: SyncPart, known: dict[str, str]) -> dict[str, str]:
    """The host's names as the file has them, spelled like the ones that are kept where only the case differs."""
    wanted = part.names if isinstance(part.names, dict) else {}
    spelled = {name.casefold(): name for name in known}
    return {spelled.get(name.casefold(), name): own for name, own in wanted.items()}


def schedule_of(text: Any, otherwise: str | None) -> str | None:
    """When, as it is kept: `none` is never, nothing written is `otherwise`."""
    if not isinstance(text, str):
        return otherwise
    return None if text.casefold() == "none" else text


def days_of(part: SyncPart) -> int | None:
    """How far back the first load goes; None is everything."""
    if isinstance(part.backfill, int):
        return part.backfill
    return 0 if part.backfill == "none" else None


def window(days: int | None) -> str:
    """How far back, in words."""
    return "full" if days is None else "none" if days == 0 else counted(days, "day")


def set_of(names: Sequence[str] | None) -> frozenset[str] | None:
    """Names whose order and case do not matter."""
    return None if names is None else frozenset(each.casefold() for each in names)


def ordered(before: Sequence[str] | None, after: list[str] | None) -> list[str] | None:
    """The same members in another order are no difference."""
    return list(before) if before is not None and after is not None and set(before) == set(after) else after
