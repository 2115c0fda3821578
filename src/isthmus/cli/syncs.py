"""`sync`: keeping objects in step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli import sync_runs
from isthmus.cli.options import (
    CompanyNames,
    ConnectionName,
    Expand,
    Filter,
    Home,
    Json,
    Route,
    Select,
    listed,
    not_blank,
)
from isthmus.cli.output import ago, print_json, print_table, say
from isthmus.cli.running import chosen_connection, confirm, hub, run
from isthmus.cli.runs import one_sync, run_text
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from isthmus.actions.reading.setup import SyncWish
    from isthmus.app import Hub
    from isthmus.store.rows import Connection, Sync

BACKFILL_DAYS_MAX = 36_500
"""A century; more is `full`."""

SyncName = Annotated[str, typer.Argument(help="A sync: its object, its id, or the end of its id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    sync = typer.Typer(help="Keep objects in step.", no_args_is_help=True)
    sync.command("create")(create)
    sync.command("list")(list_syncs)
    sync.command("run")(sync_runs.run_now)
    sync.command("pause")(pause)
    sync.command("resume")(resume)
    sync.command("reset")(reset)
    sync.command("schedule")(schedule)
    sync.command("delete")(delete)
    app.add_typer(sync, name="sync")


def create(
    object_name: Annotated[str, typer.Argument(help="The object; case does not matter.")],
    select: Select = None,
    filter_text: Filter = None,
    expand: Expand = None,
    company: CompanyNames = None,
    backfill: Annotated[
        str, typer.Option(help="full, none, or a number of days: how much of the past to read first.")
    ] = "full",
    every: Annotated[
        str | None,
        typer.Option("--schedule", help="“every 10m”, or cron in UTC such as “15 3 * * *”.", show_default=False),
    ] = None,
    sweep: Annotated[str, typer.Option(help="How often to look for deletions; none for never.")] = "every 1d",
    refresh: Annotated[
        str, typer.Option(help="How often to read and compare everything, also calculated fields; none for never.")
    ] = "none",
    rename: Annotated[
        list[str] | None,
        typer.Option(help="Your own name for a field, as FIELD=NAME, in changes and deliveries.", show_default=False),
    ] = None,
    another: Annotated[
        bool, typer.Option("--another", help="Set up a second sync of an object that is kept in step already.")
    ] = False,
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Set up a sync. One record is read as a sample, so that a wrong field is found now and not tonight."""

    async def work() -> None:
        from isthmus.actions.reading.setup import SyncWish

        wish = SyncWish(
            object=object_name,
            route=route,
            companies=tuple(company) if company else None,
            fields=listed(select),
            filter=not_blank(filter_text, "--filter"),
            expand=listed(expand),
            backfill_days=_backfill_days(backfill),
            schedule=not_blank(every, "--schedule"),
            sweep_schedule=None if sweep.lower() == "none" else sweep,
            refresh_schedule=None if refresh.lower() == "none" else refresh,
            names=dict(_renamed(each) for each in rename or ()),
        )
        async with hub(home) as opened:
            place = await chosen_connection(opened, connection)
            if not another:
                await _refuse_second(opened, place, wish)
            sync, checked = await opened.create_sync(place, wish)
        if as_json:
            print_json(_sync_plain(sync))
            return
        how = f"by {checked.obj.stamp}" if checked.obj.incremental else "by comparing everything (it has no stamp)"
        say(f"[green]✓[/] Sync {sync.id} of {sync.object}: changes are found {how}.")
        if checked.sample is None:
            say("  The object is empty at the moment.")
        say(
            f"Next: `isthmus sync run {sync.object}`"
            + (". A worker follows the schedule: `isthmus worker`, or the one in `isthmus serve`." if every else ".")
        )

    run(work)


async def _refuse_second(opened: Hub, place: Connection, wish: SyncWish) -> None:
    """Raise InvalidInput when the object is kept in step already: its changes would come twice."""
    from isthmus.providers.registry import provider_named
    from isthmus.store import syncs

    route = provider_named(place.provider).parse_route(wish.route)
    async with opened.db.project(opened.project.id) as tx:
        present = await syncs.every(tx, place.id)
    for sync in present:
        if sync.object.casefold() == wish.object.strip().casefold() and sync.route == route:
            only = [f"fields {', '.join(sync.fields)}"] if sync.fields else []
            only += [f"filter {sync.filter}"] if sync.filter else []
            about = ", ".join([sync.state, sync.schedule or "by hand", *only])
            raise InvalidInput(
                f"{sync.object} is kept in step already: sync {sync.id.hex[-8:]} ({about}).",
                remedy=f"Run it: `isthmus sync run {sync.object}`. For a second one, whose changes come on top, add "
                "--another.",
                subject=sync.object,
            )


def list_syncs(home: Home = None, as_json: Json = False) -> None:
    """List syncs with their freshness."""

    async def work() -> None:
        from isthmus.store import runs, schedules, syncs

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            every = await syncs.every(tx)
            rows = []
            for sync in every:
                last = await runs.history(tx, sync.id, 1)
                counts = await syncs.stream_counts(tx, sync.id)
                due = [
                    each.next_due
                    for each in await schedules.every(tx, sync.id)
                    if each.kind == "incremental" and not each.full
                ]
                rows.append((sync, last[0] if last else None, sum(counts.values()), due[0] if due else None))
        if as_json:
            print_json([_sync_plain(sync) | {"records": count, "next_due": due} for sync, _, count, due in rows])
            return
        if not rows:
            say("No sync yet. `isthmus sync create OBJECT` makes one; `isthmus objects` lists what there is.")
            return
        print_table(
            ["Sync", "Id", "State", "Schedule", "Records", "Last run", "Result", "Next"],
            [
                [
                    sync.object,
                    sync.id.hex[-8:],
                    sync.state,
                    sync.schedule or "by hand",
                    count,
                    ago(last.finished_at or last.requested_at) if last else "never",
                    run_text(last.state) if last else "–",
                    ago(due) if due and sync.state == "active" else "–",
                ]
                for sync, last, count, due in rows
            ],
            right=["Records"],
            spare=["Next", "Schedule"],
        )

    run(work)


def pause(name: SyncName, home: Home = None) -> None:
    """Stop a sync's schedule; a run under way is not touched."""
    _set_state(name, home, "paused")


def resume(name: SyncName, home: Home = None) -> None:
    """Follow the schedule again."""
    _set_state(name, home, "active")


def _set_state(name: str, home: Any, state: str) -> None:
    async def work() -> None:
        from isthmus.store import syncs

        async with hub(home) as opened:
            sync = await one_sync(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                await syncs.set_state(tx, sync.id, state)
        say(f"[green]✓[/] {sync.object} is {state}.")

    run(work)


def reset(name: SyncName, home: Home = None) -> None:
    """Forget how far a sync has come: the next run reads everything. Unchanged records emit nothing."""

    async def work() -> None:
        from isthmus.store import syncs

        async with hub(home) as opened:
            sync = await one_sync(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                await syncs.reset(tx, sync.id)
        say(f"[green]✓[/] {sync.object} starts over at its next run.")

    run(work)


def schedule(
    name: SyncName,
    spec: Annotated[str, typer.Argument(help="“every 10m”, cron in UTC, or none.")],
    home: Home = None,
) -> None:
    """Set when a sync runs."""

    async def work() -> None:
        from isthmus.store import schedules, syncs
        from isthmus.store.rows import RunKind

        text = None if spec.lower() == "none" else spec
        async with hub(home) as opened:
            sync = await one_sync(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                set_to = await schedules.set_schedule(tx, sync.id, RunKind.INCREMENTAL, text)
                await syncs.set_schedules(tx, sync.id, schedule=text, sweep_schedule=sync.sweep_schedule)
        when = f"next {ago(set_to.next_due)}; a worker follows it" if set_to else "only by hand from now on"
        say(f"[green]✓[/] {sync.object}: {when}.")

    run(work)


def delete(
    name: SyncName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Forget a sync with its stored records and its changes in the feed. Nothing happens at the vendor's side."""

    async def work() -> None:
        from isthmus.store import syncs

        async with hub(home) as opened:
            sync = await one_sync(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                count = sum((await syncs.stream_counts(tx, sync.id)).values())
            confirm(
                f"This erases {count:,} stored records; their changes leave the feed too, so who has not read them yet "
                "never will.",
                sync.object,
                yes=yes,
            )
            async with opened.db.project(opened.project.id) as tx:
                await syncs.delete(tx, sync.id)
        say(f"[green]✓[/] {sync.object} is gone, with {count:,} stored records and its changes in the feed.")

    run(work)


def _backfill_days(text: str) -> int | None:
    if text.lower() == "full":
        return None
    if text.lower() == "none":
        return 0
    if text.isdigit() and 0 < int(text[:9]) <= BACKFILL_DAYS_MAX and len(text) <= len(str(BACKFILL_DAYS_MAX)):
        return int(text)
    raise InvalidInput(
        f"“{text[:40]}” is no backfill window.",
        remedy=f"Use full, none, or a number of days from 1 to {BACKFILL_DAYS_MAX:,}.",
    )


def _renamed(text: str) -> tuple[str, str]:
    name, equals, own = (part.strip() for part in text.partition("="))
    if not (name and equals and own):
        raise InvalidInput(f"“{text[:100]}” renames nothing.", remedy="Write --rename displayName=name.")
    return name, own


def _sync_plain(sync: Sync) -> dict[str, Any]:
    return {
        "id": str(sync.id),
        "connection": str(sync.connection_id),
        "object": sync.object,
        "route": sync.route,
        "companies": sync.companies,
        "fields": sync.fields,
        "filter": sync.filter,
        "expand": sync.expand,
        "backfill_days": sync.backfill_days,
        "schedule": sync.schedule,
        "sweep_schedule": sync.sweep_schedule,
        "refresh_schedule": sync.refresh_schedule,
        "rename": sync.names,
        "state": sync.state,
    }
