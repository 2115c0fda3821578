"""`sync` and `runs`: keeping objects in step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text

from isthmus.cli.options import CompanyNames, ConnectionName, Expand, Filter, Home, Json, Route, Select, listed
from isthmus.cli.output import ago, exit_code, print_json, print_table, say
from isthmus.cli.running import chosen, chosen_connection, confirm, hub, run
from isthmus.kernel.failures import Failure, InvalidInput

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.rows import Progress, Run, RunKind, Sync

RUN_TONES = {
    "succeeded": ("✓ succeeded", "green"),
    "running": ("◌ running", "cyan"),
    "queued": ("○ queued", "dim"),
    "failed": ("✗ failed", "red"),
    "held": ("‖ held", "yellow"),
    "cancelled": ("– cancelled", "dim"),
}

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
    app.command("runs")(list_runs)
    app.command("requests")(list_requests)


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
            filter=filter_text,
            expand=listed(expand),
            backfill_days=_backfill_days(backfill),
            schedule=every,
            sweep_schedule=None if sweep.lower() == "none" else sweep,
        )
        async with hub(home) as opened:
            sync, checked = await opened.create_sync(await chosen_connection(opened, connection), wish)
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
                due = [each.next_due for each in await schedules.every(tx, sync.id) if each.kind == "incremental"]
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
            if not fresh and run_row.state == "running" and _alive(run_row):
                print_busy(sync, run_row, as_json=as_json)
                continue
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
        say(f"– {sync.object}: another worker is at it since {ago(row.started_at)}. `isthmus runs` shows how far.")


def _alive(row: Run) -> bool:
    from datetime import UTC, datetime

    return row.heartbeat_at is not None and (datetime.now(UTC) - row.heartbeat_at).total_seconds() < 20


async def _tell_end(opened: Hub, sync: Sync, ended: Run, *, as_json: bool) -> int:
    from isthmus.store import runs

    async with opened.db.project(opened.project.id) as tx:
        progress = await runs.progress(tx, ended.id)
    if as_json:
        print_json(_run_plain(ended, sync, progress))
    elif ended.state in ("queued", "running"):
        print_busy(sync, ended, as_json=False)
    elif ended.state == "held":
        say(
            f"[yellow]‖[/] {sync.object}: {ended.options.get('held', 0):,} records would be deleted, which is "
            f"suspiciously many. Nothing was deleted.\n"
            f"  [bold]→[/] If they really are gone: isthmus sync run {sync.object} --sweep --force"
        )
    elif ended.failure is not None:
        _print_failed(sync, ended.failure)
    else:
        say(
            f"[green]✓[/] {sync.object}: {progress.seen:,} read, {progress.created:,} created, "
            f"{progress.updated:,} updated, {progress.deleted:,} deleted ({ended.kind.value})"
        )
        for name, text in (("appeared", "new fields"), ("vanished", "fields gone"), ("retyped", "fields retyped")):
            fields = (ended.options.get("drift") or {}).get(name)
            if fields:
                say(f"  [yellow]![/] {text}: {', '.join(fields)}")
    return 0 if ended.failure is None else _code_of(ended.failure["code"])


def _print_failed(sync: Sync, failure: dict[str, Any]) -> None:
    say(f"[bold red]✗[/] {sync.object}: {escape(failure['message'])}")
    if failure.get("nearest"):
        say(f"  Did you mean: {escape(', '.join(failure['nearest']))}?")
    vendor = failure.get("vendor") or {}
    if vendor.get("code"):
        say(f"  [dim]The vendor said:[/] {escape(vendor['code'])}")
    if vendor.get("correlation_id"):
        say(f"  [dim]Reference:[/] {escape(vendor['correlation_id'])}")
    say(f"  [dim]Whose turn:[/] {failure['turn']}\n  [bold]→[/] {escape(failure['remedy'])}")


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
            sync = await _one_sync(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                await syncs.set_state(tx, sync.id, state)
        say(f"[green]✓[/] {sync.object} is {state}.")

    run(work)


def reset(name: SyncName, home: Home = None) -> None:
    """Forget how far a sync has come: the next run reads everything. Unchanged records emit nothing."""

    async def work() -> None:
        from isthmus.store import syncs

        async with hub(home) as opened:
            sync = await _one_sync(opened, name)
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
            sync = await _one_sync(opened, name)
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
    """Forget a sync with its stored records. Nothing happens at the vendor's side."""

    async def work() -> None:
        from isthmus.store import syncs

        async with hub(home) as opened:
            sync = await _one_sync(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                count = sum((await syncs.stream_counts(tx, sync.id)).values())
            confirm(f"This erases {count:,} stored records.", sync.object, yes=yes)
            async with opened.db.project(opened.project.id) as tx:
                await syncs.delete(tx, sync.id)
        say(f"[green]✓[/] {sync.object} is gone, with {count:,} stored records.")

    run(work)


def list_runs(
    name: Annotated[str | None, typer.Option("--sync", help="Only this sync.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=500)] = 20,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""

    async def work() -> None:
        from isthmus.store import runs, syncs

        async with hub(home) as opened:
            wanted = (await _one_sync(opened, name)).id if name else None
            async with opened.db.project(opened.project.id) as tx:
                found = await runs.history(tx, wanted, limit)
                by_id = {sync.id: sync for sync in await syncs.every(tx)}
                rows = [(each, by_id[each.sync_id], await runs.progress(tx, each.id)) for each in found]
        if as_json:
            print_json([_run_plain(*row) for row in rows])
            return
        if not rows:
            say("No run yet. `isthmus sync run` starts one.")
            return
        print_table(
            ["Run", "Sync", "Kind", "Result", "Started", "Took", "Read", "Created", "Updated", "Deleted", "Why"],
            [
                [
                    each.id.hex[-8:],
                    sync.object,
                    each.kind.value,
                    run_text(each.state),
                    ago(each.started_at),
                    _took(each),
                    done.seen,
                    done.created,
                    done.updated,
                    done.deleted,
                    (each.failure or {}).get("message", ""),
                ]
                for each, sync, done in rows
            ],
            right=["Took", "Read", "Created", "Updated", "Deleted"],
        )

    run(work)


def list_requests(
    run_id: Annotated[str, typer.Argument(help="A run's id, or the end of it (`isthmus runs`).")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what a run asked the vendor, request by request; secrets are never kept."""

    async def work() -> None:
        from isthmus.store import runs

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            every = await runs.history(tx, None, 500)
            found = chosen(every, run_id, what="run", words=lambda each: [str(each.id), each.id.hex])
            entries = await runs.journal(tx, found.id)
        if as_json:
            print_json([each.entry for each in entries])
            return
        print_table(
            ["At", "For", "Status", "Took", "Bytes", "Try", "Request"],
            [
                [
                    f"{each.at:%H:%M:%S}",
                    each.entry["purpose"],
                    each.entry.get("failure") or each.entry["status"],
                    f"{each.entry['elapsed_s'] * 1000:,.0f} ms",
                    each.entry["bytes_received"],
                    each.entry["attempt"],
                    f"{each.entry['method']} {each.entry['url'].partition('/api/')[2] or each.entry['url']}",
                ]
                for each in entries
            ],
            right=["Took", "Bytes", "Try"],
        )

    run(work)


def run_text(state: str) -> Text:
    """A run's state as a word with a shape, then a colour."""
    word, tone = RUN_TONES.get(state, (state, ""))
    return Text(word, style=tone)


async def _chosen_syncs(opened: Hub, names: list[str] | None) -> list[Sync]:
    from isthmus.store import syncs

    if names:
        return [await _one_sync(opened, name) for name in names]
    async with opened.db.project(opened.project.id) as tx:
        return [sync for sync in await syncs.every(tx) if sync.state == "active"]


async def _one_sync(opened: Hub, name: str) -> Sync:
    from isthmus.store import syncs

    async with opened.db.project(opened.project.id) as tx:
        every = await syncs.every(tx)
    found: Sync = chosen(every, name, what="sync", words=lambda sync: [str(sync.id), sync.id.hex, sync.object])
    return found


def _backfill_days(text: str) -> int | None:
    if text.lower() == "full":
        return None
    if text.lower() == "none":
        return 0
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise InvalidInput(f"“{text}” is no backfill window.", remedy="Use full, none, or a number of days.")


def _took(row: Run) -> str:
    if row.started_at is None or row.finished_at is None:
        return "–"
    return f"{(row.finished_at - row.started_at).total_seconds():,.1f} s"


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
        "state": sync.state,
    }


def _run_plain(row: Run, sync: Sync, progress: Progress) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "sync": str(sync.id),
        "object": sync.object,
        "kind": row.kind.value,
        "state": row.state.value,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "total": row.total,
        "read": progress.seen,
        "created": progress.created,
        "updated": progress.updated,
        "deleted": progress.deleted,
        "notes": row.options,
        "failure": row.failure,
    }
