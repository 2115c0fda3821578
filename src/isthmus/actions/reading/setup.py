"""Setting a sync up: everything that can be wrong is found before it is saved, with one record read as a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from uuid import UUID

import msgspec

from isthmus.actions.reading.mode import Stretch
from isthmus.actions.reading.run import Opened
from isthmus.kernel.failures import CompanyNotFound, InvalidInput, UnknownField
from isthmus.providers.base import ObjectInfo, Reading, ReadSpec
from isthmus.store import schedules, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import CompanyRow, RunKind, Sync

SWEEP_SCHEDULE_DEFAULT = "every 1d"
"""Deletions cost a read of all ids, so they are looked for at a slower pace of their own."""


Also = Callable[[Transaction, Sync], Awaitable[None]]
"""What belongs to a new sync: its entry in the audit log."""


async def nothing(tx: Transaction, sync: Sync) -> None:
    """Nobody wants anything with it."""


class SyncWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks for. Names are as typed; `companies` None means all selected ones of the connection."""

    object: str
    route: str = ""
    companies: tuple[str, ...] | None = None
    fields: tuple[str, ...] = ()
    filter: str | None = None
    expand: tuple[str, ...] = ()
    backfill_days: int | None = None
    schedule: str | None = None
    sweep_schedule: str | None = SWEEP_SCHEDULE_DEFAULT
    refresh_schedule: str | None = None
    names: dict[str, str] = {}


class CheckedSync(msgspec.Struct, frozen=True, kw_only=True):
    """A wish that can be carried out: canonical names, and one record as proof (None where there is none yet)."""

    obj: ObjectInfo
    route: str
    companies: list[str] | None
    fields: tuple[str, ...]
    filter: str | None
    expand: tuple[str, ...]
    sample: bytes | None
    names: dict[str, str] = {}


async def check_wish(opened: Opened, wish: SyncWish, companies: Sequence[CompanyRow]) -> CheckedSync:
    """Resolve names, check filter and schedules, read one record.

    Raises UnknownObject, UnknownField, CompanyNotFound, FilterRefused, InvalidInput, or what the vendor answers.
    """
    provider = opened.access.provider
    route = provider.parse_route(wish.route)
    obj = await opened.describe(wish.object, route)
    for schedule in (wish.schedule, wish.sweep_schedule, wish.refresh_schedule):
        if schedule is not None:
            schedules.interval_s(schedule)
    if wish.backfill_days is not None and wish.backfill_days < 0:
        raise InvalidInput("A backfill window cannot be negative.", remedy="Use none, full, or a number of days.")
    if wish.backfill_days is not None and not obj.incremental:
        raise InvalidInput(
            f"“{obj.name}” has no modification stamp, so only its full content can be read.",
            remedy="Leave the backfill window at full.",
        )
    if wish.backfill_days == 0 and obj.reading is not Reading.DIRECT:
        raise InvalidInput(
            f"“{obj.name}” comes with its documents, so it cannot start at the newest of its own records.",
            remedy="Use full, or a number of days.",
        )
    chosen = None if wish.companies is None else [company_id(companies, name) for name in wish.companies]
    fields = tuple(field_name(obj, name) for name in wish.fields)
    expand = tuple(navigation_name(obj, name) for name in wish.expand)
    names = own_names(obj, fields, expand, wish.names)
    checked_filter = provider.checked_filter(obj, wish.filter) if wish.filter else None
    spec = ReadSpec(select=fields, filter=checked_filter, expand=expand, limit=1)
    sample = await _sample(opened, obj, spec, chosen)
    return CheckedSync(
        obj=obj,
        route=route,
        companies=chosen,
        fields=fields,
        filter=checked_filter,
        expand=expand,
        sample=sample,
        names=names,
    )


async def _sample(opened: Opened, obj: ObjectInfo, spec: ReadSpec, companies: list[str] | None) -> bytes | None:
    parts = opened.access.provider.parts(obj, (companies or opened.company_ids)[:1])
    for part in parts[:1]:
        async for fetched in opened.access.reader(obj, spec, part, page_records=None).pages():
            if fetched.page.raws:
                return fetched.page.raws[0]
    return None


async def save_sync(tx: Transaction, connection_id: UUID, checked: CheckedSync, wish: SyncWish) -> Sync:
    """Keep the sync with its schedules. Objects that are compared in full at every run need neither a sweep nor a
    refresh of their own.
    """
    sweep = wish.sweep_schedule if checked.obj.incremental and checked.obj.deletions else None
    refresh = wish.refresh_schedule if checked.obj.incremental else None
    sync = await syncs.create(
        tx,
        connection_id=connection_id,
        object=checked.obj.name,
        route=checked.route,
        companies=checked.companies,
        fields=checked.fields,
        filter=checked.filter,
        expand=checked.expand,
        backfill_days=wish.backfill_days,
        schedule=wish.schedule,
        sweep_schedule=sweep,
        refresh_schedule=refresh,
        names=checked.names,
    )
    await schedules.set_schedule(tx, sync.id, RunKind.INCREMENTAL, wish.schedule)
    await schedules.set_schedule(tx, sync.id, RunKind.SWEEP, sweep)
    await schedules.set_refresh(tx, sync.id, refresh)
    return sync


async def change_reading(tx: Transaction, sync_id: UUID, checked: CheckedSync, backfill_days: int | None) -> None:
    """Let a sync read what was checked; the next run reads everything again."""
    await syncs.change_reading(
        tx,
        sync_id,
        companies=checked.companies,
        fields=checked.fields,
        filter=checked.filter,
        expand=checked.expand,
        backfill_days=backfill_days,
    )


def check_stretch(obj: ObjectInfo, stretch: Stretch) -> None:
    """Refuse a stretch of time that cannot be read. Raises InvalidInput."""
    if not obj.incremental:
        raise InvalidInput(
            f"“{obj.name}” has no modification stamp, so what changed in a stretch of time cannot be told.",
            remedy="Run it without a stretch of time: each of its runs reads and compares everything.",
        )
    if stretch.since is not None and stretch.until is not None and stretch.since > stretch.until:
        raise InvalidInput("`since` is later than `until`.", remedy="Exchange them.")


def own_names(
    obj: ObjectInfo, fields: Sequence[str], expand: Sequence[str], wanted: Mapping[str, str]
) -> dict[str, str]:
    """The host's names for what is read of an object, by the vendor's names in their exact writing.

    Raises UnknownField, or InvalidInput where a name would stand twice in a record or is of no use.
    """
    brought = {name.partition("(")[0] for name in expand}
    every = {field.name for field in obj.fields}
    present = ({*fields, *obj.key, *([obj.stamp] if obj.stamp else [])} if fields else every) | brought
    names: dict[str, str] = {}
    for given, name in wanted.items():
        known = {each.casefold(): each for each in brought}.get(given.strip().casefold()) or field_name(obj, given)
        if known not in present:
            raise InvalidInput(f"“{given}” is renamed but not read.", remedy="Add it to the fields.", subject=given)
        if known in names:
            raise InvalidInput(f"“{known}” is renamed twice.", remedy="Keep one of its names.", subject=given)
        names[known] = name
    shown = Counter(names.get(each, each) for each in present)
    twice = next((name for name in names.values() if shown[name] > 1), None)
    if twice is not None:
        raise InvalidInput(
            f"Two fields would be called “{twice}”.", remedy="Choose another name for one of them.", subject=twice
        )
    return names


async def next_kind(tx: Transaction, sync_id: UUID) -> RunKind:
    """What a person means by “run now”: the backfill the first time, the increment afterwards."""
    known = await syncs.streams(tx, sync_id)
    fresh = all(stream.watermark is None and stream.born_run is None for stream in known)
    return RunKind.BACKFILL if fresh else RunKind.INCREMENTAL


def company_id(companies: Sequence[CompanyRow], name: str) -> str:
    """A company's id from its id, name or display name; case does not matter. Raises CompanyNotFound."""
    wanted = name.strip().casefold()
    for row in companies:
        if wanted in (row.remote_id.casefold(), row.name.casefold(), row.display_name.casefold()):
            return row.remote_id
    names = {row.name.casefold(): row.name for row in companies}
    nearest = [names[each] for each in get_close_matches(wanted, names, n=3, cutoff=0.4)]
    raise CompanyNotFound(f"There is no company “{name}” in this connection.", nearest=nearest, subject=name)


def field_name(obj: ObjectInfo, name: str) -> str:
    """A field's exact name; case does not matter. Raises UnknownField with the nearest names."""
    names = {field.name.casefold(): field.name for field in obj.fields}
    found = names.get(name.strip().casefold())
    if found is None:
        nearest = [names[each] for each in get_close_matches(name.strip().casefold(), names, n=3, cutoff=0.5)]
        raise UnknownField(f"“{obj.name}” has no field “{name}”.", nearest=nearest, subject=name)
    return found


def navigation_name(obj: ObjectInfo, name: str) -> str:
    """A navigation's exact name (what stands before a parenthesis); case does not matter. Raises UnknownField."""
    head, bracket, options = name.strip().partition("(")
    names = {nav.name.casefold(): nav.name for nav in obj.navigation}
    found = names.get(head.casefold())
    if found is None:
        nearest = [names[each] for each in get_close_matches(head.casefold(), names, n=3, cutoff=0.5)]
        raise UnknownField(f"“{obj.name}” has nothing named “{head}” to expand.", nearest=nearest, subject=head)
    return found + bracket + options
