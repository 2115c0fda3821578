"""`sync`: keeping objects in step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli.busy import awaited
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
from isthmus.cli.output import BUSY, HELD, ago, exit_code, print_json, print_table, say
from isthmus.cli.remedies import command_for
from isthmus.cli.running import chosen_connection, confirm, hub, run
from isthmus.cli.runs import one_sync, run_plain, run_text
from isthmus.kernel.failures import Failure, InvalidInput

if TYPE_CHECKING:
    from isthmus.actions.reading.setup import SyncWish
    from isthmus.app import Hub
    from isthmus.store.rows import Connection, Progress, Run, RunKind, Sync

BACKFILL_DAYS_MAX = 36_500
"""A century; more is `full`."""

SyncName = Annotated[str, typer.Argument(help="A sync: its object, its id, or the end of its id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    sync = typer.Typer(help="Keep objects in step.", no_args_is_help=True)
    sync.command("create")(create)
    sync.command("list")(list_syncs)
    sync.command("run")(run_now)
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
            + (", or `isthmus worker` to follow the schedule." if every else ".")
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


def run_now(
    names: Annotated[list[str] | None, typer.Argument(help="Which syncs (default: all that are active).")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Look for deletions by comparing ids.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Read and compare everything, also calculated fields.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Delete even if a sweep misses suspiciously many.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run syncs here and now. Ctrl-C is safe: the next run goes on where this one stopped."""

    async def work() -> int:
        from isthmus.store.rows import RunKind

        kind = RunKind.SWEEP if sweep else None
        async with hub(home) as opened:
            chosen_syncs = await _chosen_syncs(opened, names)
            if not chosen_syncs:
                raise InvalidInput("There is no sync to run.", remedy="Create one: isthmus sync create OBJECT")
            return await run_syncs(opened, chosen_syncs, kind, {"full": full, "force": force}, as_json=as_json)

    code = run(work)
    if code:
        raise typer.Exit(code)


async def run_syncs(
    opened: Hub, chosen_syncs: list[Sync], kind: RunKind | None, options: dict[str, Any], *, as_json: bool = False
) -> int:
    """Run them one after another with a bar each; the exit code of the first failure."""
    from isthmus.cli.progress import bars

    code = 0
    wanted = {name: True for name, on in options.items() if on}
    with bars() as progress:
        for sync in chosen_syncs:
            run_row, fresh = await opened.begin_run(sync.id, kind, wanted)
            if not fresh and run_row.state == "running":
                waited = await awaited(opened, sync, run_row)
                if waited.state == "running" and not waited.due:
                    print_busy(sync, run_row, as_json=as_json)
                    code = code or BUSY
                    continue
                if waited.state not in ("queued", "running"):  # it came to its end meanwhile
                    run_row, fresh = await opened.begin_run(sync.id, kind, wanted)
            code = await _perform(opened, sync, run_row, progress, as_json=as_json) or code
            if not fresh and (wanted or kind not in (None, run_row.kind)):  # that was a leftover; now what was asked
                run_row, _ = await opened.begin_run(sync.id, kind, wanted)
                code = await _perform(opened, sync, run_row, progress, as_json=as_json) or code
    return code


async def _perform(opened: Hub, sync: Sync, run_row: Run, progress: Any, *, as_json: bool) -> int:
    """One run with its bar; its exit code."""
    bar = progress.add_task(f"{sync.object} ({run_row.kind.value})", total=None)

    async def advance(now: Run, done: Progress) -> None:
        progress.update(bar, completed=done.seen, total=now.total)

    ended = await opened.perform(run_row, advance)
    shown = progress.tasks[bar].completed or 1
    progress.update(bar, total=shown, completed=shown)
    return await _tell_end(opened, sync, ended, as_json=as_json)


def print_busy(sync: Sync, row: Run, *, as_json: bool) -> None:
    """Somebody else is at it."""
    if as_json:
        print_json({"sync": str(sync.id), "object": sync.object, "id": str(row.id), "state": row.state.value})
    else:
        say(
            f"– {sync.object}: not run, another worker is at it since {ago(row.started_at)}. `isthmus runs` shows how "
            "far; if that worker has died, the same command takes over after a while."
        )


async def _tell_end(opened: Hub, sync: Sync, ended: Run, *, as_json: bool) -> int:
    from isthmus.store import runs

    async with opened.db.project(opened.project.id) as tx:
        progress = await runs.progress(tx, ended.id)
    if as_json:
        print_json(run_plain(ended, sync, progress))
    elif ended.state in ("queued", "running"):
        print_busy(sync, ended, as_json=False)
    elif ended.state == "held":
        say(
            f"[yellow]‖[/] {sync.object}: {ended.options.get('held', 0):,} records would be deleted, which is "
            f"suspiciously many. Nothing was deleted.\n"
            f"  [bold]→[/] If they really are gone: isthmus sync run {sync.object} --sweep --force"
        )
    elif ended.failure is not None:
        await _print_failed(opened, sync, ended.failure)
    else:
        say(
            f"[green]✓[/] {sync.object}: {progress.seen:,} read, {progress.created:,} created, "
            f"{progress.updated:,} updated, {progress.deleted:,} deleted ({ended.kind.value})"
        )
        for name, text in (("appeared", "new fields"), ("vanished", "fields gone"), ("retyped", "fields retyped")):
            fields = (ended.options.get("drift") or {}).get(name)
            if fields:
                say(f"  [yellow]![/] {text}: {', '.join(fields)}")
    if ended.failure is not None:
        return _code_of(ended.failure["code"])
    return {"held": HELD, "queued": BUSY, "running": BUSY}.get(ended.state.value, 0)


async def _print_failed(opened: Hub, sync: Sync, failure: dict[str, Any]) -> None:
    from isthmus.store import connections

    async with opened.db.project(opened.project.id) as tx:
        connection = await connections.get(tx, sync.connection_id)
    say(f"[bold red]✗[/] {sync.object}: {escape(failure['message'])}")
    if failure.get("nearest"):
        say(f"  Did you mean: {escape(', '.join(failure['nearest']))}?")
    vendor = failure.get("vendor") or {}
    if vendor.get("code"):
        say(f"  [dim]The vendor said:[/] {escape(vendor['code'])}")
    if vendor.get("correlation_id"):
        say(f"  [dim]Reference:[/] {escape(vendor['correlation_id'])}")
    say(f"  [dim]Whose turn:[/] {failure['turn']}\n  [bold]→[/] {escape(failure['remedy'])}")
    command = command_for(failure["code"], connection.name)
    if command is not None:
        say(f"  [bold]→[/] {escape(command)}")


def _code_of(code: str) -> int:
    from isthmus.kernel.failures import every_failure

    found = next((cls for cls in every_failure() if cls.code == code), Failure)
    return exit_code(found())


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
        when = f"next {ago(set_to.next_due)}; `isthmus worker` follows it" if set_to else "only by hand from now on"
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


async def _chosen_syncs(opened: Hub, names: list[str] | None) -> list[Sync]:
    from isthmus.store import syncs

    if names:
        return [await one_sync(opened, name) for name in names]
    async with opened.db.project(opened.project.id) as tx:
        return [sync for sync in await syncs.every(tx) if sync.state == "active"]


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
