"""`retention` and `consumers`: how long things are kept, and erasing a consumer altogether."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from isthmus.cli.backups import Yes
from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, counted, print_json, print_table, say
from isthmus.cli.progress import counting
from isthmus.cli.running import chosen, confirm, hub, run
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from isthmus.store.consumers import Consumer

_FOR_EVER = ("forever", "ever", "never", "none")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    kept = typer.Typer(help="How long things are kept.", no_args_is_help=True)
    kept.command("show")(show)
    kept.command("set")(change)
    kept.command("run")(forget_now)
    app.add_typer(kept, name="retention")
    consumers = typer.Typer(help="Your customers, whose systems are connected.", no_args_is_help=True)
    consumers.command("list")(list_consumers)
    consumers.command("erase")(erase)
    app.add_typer(consumers, name="consumers")


def show(home: Home = None, as_json: Json = False) -> None:
    """How long each kind of data is kept, and what holds something back."""

    async def work() -> None:
        from isthmus.store import retention

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            found, held = await retention.settings(tx), await retention.held(tx)
        if as_json:
            print_json({"days": found.days, "ran_at": found.ran_at, "report": found.report, "held_by": held.by})
            return
        print_table(
            ["Kind", "Days", "Default", "Last round", "What"],
            [
                [kind.name, _days(found.days[kind.name]), _days(kind.days), found.report.get(kind.name), kind.words]
                for kind in retention.KINDS
            ],
            right=["Days", "Default", "Last round"],
            spare=["What"],
        )
        say(f"Last round: {ago(found.ran_at)}.")
        if held.at is not None and datetime.now(UTC) - held.at > timedelta(days=1):
            say(
                f"[yellow]![/] {escape(', '.join(held.by))} has not received what is newer than {ago(held.at)}: "
                "that stays, however old it gets."
            )

    run(work)


def change(
    kind: Annotated[
        str, typer.Argument(help="requests, runs, records, changes, deliveries, operations, links or audit.")
    ],
    days: Annotated[str, typer.Argument(help="A number of days, or “forever”.")],
    home: Home = None,
) -> None:
    """Keep one kind of data for so many days."""

    async def work() -> None:
        from isthmus.store import audit, retention

        wanted = _typed(days)
        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            await retention.change(tx, {kind: wanted})
            await audit.note(
                tx, actor="cli", action="retention.change", subject=str(opened.project.id), detail={kind: wanted}
            )
        say(f"[green]✓[/] {escape(kind)}: kept {'for ever' if wanted is None else counted(wanted, 'day')}.")

    run(work)


def forget_now(home: Home = None, as_json: Json = False) -> None:
    """Forget what is old enough now, instead of within the hour."""

    async def work() -> None:
        from isthmus.store import retention

        async with hub(home) as opened:
            done = await retention.forget(opened.db, opened.project.id)
        if as_json:
            print_json(done)
            return
        went = {name: count for name, count in done.items() if count}
        if not went:
            say("[green]✓[/] Nothing is old enough.")
        for name, count in went.items():
            say(f"[green]✓[/] {name}: {count:,} forgotten")

    run(work)


def list_consumers(home: Home = None, as_json: Json = False) -> None:
    """List consumers."""

    async def work() -> None:
        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            from isthmus.store import consumers

            every = await consumers.every(tx)
        if as_json:
            print_json(every)
            return
        if not every:
            say("No consumer yet. Connect sessions and POST /v1/consumers make them.")
            return
        print_table(
            ["Name", "Your id", "Id", "Since"],
            [[each.name, each.external_id, each.id.hex[-8:], ago(each.created_at)] for each in every],
        )

    run(work)


def erase(
    name: Annotated[str, typer.Argument(help="The consumer's name, your own id of it, or the end of its id.")],
    yes: Yes = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Erase everything of a consumer: connections, secrets, records, changes, journals, writes. It cannot be undone."""

    async def work() -> None:
        from isthmus.store import consumers, erasing

        async with hub(home) as opened:
            async with opened.db.project(opened.project.id) as tx:
                every = await consumers.every(tx)
            consumer: Consumer = chosen(
                every,
                name,
                what="consumer",
                words=lambda each: [str(each.id), each.id.hex, each.external_id, each.name],
            )
            confirm(f"Everything of {consumer.name} will be gone for good.", consumer.external_id, yes=yes)
            with counting("Erasing", None) as advance:
                begun = await erasing.begin(opened.db, opened.project.id, consumer.id, "cli")
                done = await erasing.carry_on(opened.db, opened.project.id, begun, on_rows=advance)
        if as_json:
            print_json({"id": str(done.id), "consumer_id": str(done.consumer_id), "rows": done.counts})
            return
        say(f"[green]✓[/] Erased: {counted(len(done.connection_ids), 'connection')} and all that came through them.")
        for table, count in sorted(done.counts.items()):
            say(f"  {table.replace('_', ' ')}: {count:,}")
        say("Not reached from here: what receivers have got, files of file destinations, logs, and backups.")
        say("In the database's own files the bytes go when PostgreSQL reuses their place: VACUUM hastens that.")

    run(work)


def _typed(text: str) -> int | None:
    if text.strip().casefold() in _FOR_EVER:
        return None
    if not text.strip().isdigit():
        raise InvalidInput(f"“{text}” is no number of days.", remedy="Give a number, or “forever”.", subject="days")
    return int(text)


def _days(days: int | None) -> str:
    return "for ever" if days is None else f"{days:,}"
