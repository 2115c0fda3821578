"""`sync run`: syncs performed here and now, with a bar each and a line about how each ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli.busy import awaited
from isthmus.cli.options import Home, Json, moment_of
from isthmus.cli.output import BUSY, HELD, ago, exit_code, print_json, say
from isthmus.cli.remedies import command_for, remedy_of
from isthmus.cli.running import hub, run
from isthmus.cli.runs import one_sync, run_plain
from isthmus.kernel.failures import Failure, InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from isthmus.actions.reading.mode import Stretch
    from isthmus.app import Hub
    from isthmus.store.rows import Progress, Run, RunKind, Sync


def run_now(
    names: Annotated[list[str] | None, typer.Argument(help="Which syncs (default: all that are active).")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Look for deletions by comparing ids.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Read and compare everything, also calculated fields.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Delete even if a sweep misses suspiciously many.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            help="Read again what was modified from here on, for example 2026-01-31; the sync goes on from where it "
            "was, and deletions are not looked for.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="The end of that stretch, included (default: now); a date is the whole day.", show_default=False
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run syncs here and now. Ctrl-C is safe: the next run goes on where this one stopped."""

    async def work() -> int:
        from isthmus.store.rows import RunKind

        kind = RunKind.SWEEP if sweep else None
        options: dict[str, Any] = {"full": full, "force": force}
        stretch = _stretch(since, until, compares=sweep or full or force)
        if stretch is not None:
            kind = RunKind.INCREMENTAL
            options |= {name: each.isoformat() for name, each in _ends(stretch)}
        async with hub(home) as opened:
            chosen_syncs = await _chosen_syncs(opened, names)
            if not chosen_syncs:
                raise InvalidInput("There is no sync to run.", remedy="Create one: isthmus sync create OBJECT")
            if stretch is not None:
                await _check_stretch(opened, chosen_syncs, stretch)
            return await run_syncs(opened, chosen_syncs, kind, options, as_json=as_json)

    code = run(work)
    if code:
        raise typer.Exit(code)


async def run_syncs(
    opened: Hub, chosen_syncs: list[Sync], kind: RunKind | None, options: dict[str, Any], *, as_json: bool = False
) -> int:
    """Run them one after another with a bar each; the exit code of the first failure."""
    from isthmus.cli.progress import bars

    code = 0
    wanted = {name: value for name, value in options.items() if value}
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
    say(f"  [dim]Whose turn:[/] {failure['turn']}\n  [bold]→[/] {escape(remedy_of(failure, object_name=sync.object))}")
    command = command_for(failure["code"], connection.name)
    if command is not None:
        say(f"  [bold]→[/] {escape(command)}")


def _code_of(code: str) -> int:
    from isthmus.kernel.failures import every_failure

    found = next((cls for cls in every_failure() if cls.code == code), Failure)
    return exit_code(found())


async def _chosen_syncs(opened: Hub, names: list[str] | None) -> list[Sync]:
    from isthmus.store import syncs

    if names:
        return [await one_sync(opened, name) for name in names]
    async with opened.db.project(opened.project.id) as tx:
        return [sync for sync in await syncs.every(tx) if sync.state == "active"]


def _stretch(since: str | None, until: str | None, *, compares: bool) -> Stretch | None:
    """The stretch of time that was typed. Raises InvalidInput."""
    from isthmus.actions.reading.mode import Stretch

    if since is None and until is None:
        return None
    if compares:
        raise InvalidInput(
            "--since and --until read what changed in that time, and neither compare everything nor find deletions.",
            remedy="Leave out --full, --sweep and --force, or run it twice.",
        )
    return Stretch(
        since=None if since is None else moment_of(since), until=None if until is None else moment_of(until, end=True)
    )


def _ends(stretch: Stretch) -> list[tuple[str, datetime]]:
    return [(name, each) for name, each in (("since", stretch.since), ("until", stretch.until)) if each is not None]


async def _check_stretch(opened: Hub, syncs: list[Sync], stretch: Stretch) -> None:
    """Refuse a stretch that one of the syncs cannot read, before any of them runs. Raises InvalidInput."""
    from isthmus.actions.reading.setup import check_stretch
    from isthmus.app import ForgetfulJournal

    for sync in syncs:
        async with opened.connection(sync.connection_id, ForgetfulJournal()) as ready:
            check_stretch(await ready.describe(sync.object, sync.route), stretch)
