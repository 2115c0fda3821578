"""`destination`: where changes go, what happened to them, and sending them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text

from isthmus.cli.named import given, synced_objects
from isthmus.cli.options import Home, Json, listed
from isthmus.cli.output import ago, counted, print_json, print_table, say
from isthmus.cli.remedies import told
from isthmus.cli.running import chosen, confirm, hub, run
from isthmus.kernel.failures import InvalidInput
from isthmus.transport.redaction import redact_url

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.database import Transaction
    from isthmus.store.rows import Destination

DestinationName = Annotated[str, typer.Argument(help="A destination's name, or the end of its id.")]
Events = Annotated[
    str | None,
    typer.Option(
        "--events",
        help="Only these types of events, separated by commas; records.changed is changes of records.",
        show_default=False,
    ),
]
Objects = Annotated[
    str | None,
    typer.Option("--objects", help="Only changes of these objects, separated by commas.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    destination = typer.Typer(help="Where changes go.", no_args_is_help=True)
    destination.command("webhook")(add_webhook)
    destination.command("folder")(add_folder)
    destination.command("list")(list_destinations)
    destination.command("deliver")(deliver_now)
    destination.command("attempts")(attempts)
    destination.command("dead-letters")(dead_letters)
    destination.command("test")(send_test)
    destination.command("replay")(replay)
    destination.command("resume")(resume)
    destination.command("delete")(delete)
    app.add_typer(destination, name="destination")


def add_webhook(
    name: Annotated[str, typer.Argument(help="How to call it.")],
    url: Annotated[str, typer.Argument(help="Where to send changes: an https address.")],
    objects: Objects = None,
    events: Events = None,
    only_new: Annotated[bool, typer.Option("--only-new", help="Skip what the feed holds already.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Send changes to a webhook, signed by the Standard Webhooks scheme. The secret is shown once."""

    async def work() -> None:
        from isthmus.store import feed

        called = given(name, "name")
        async with hub(home) as opened:
            async with opened.db.project(opened.project.id) as tx:
                wanted = await synced_objects(tx, listed(objects))
                after = await feed.head(tx) if only_new else 0
            with _name_taken(called):
                made, secret = await opened.create_webhook(
                    called, url, objects=wanted, events=listed(events), after=after
                )
        if as_json:
            print_json({"id": str(made.id), "name": called, "url": redact_url(url), "secret": secret})
            return
        say(f"[green]✓[/] Webhook {escape(called)}. Its signing secret, shown only now:")
        print(secret)
        say("A worker delivers while it runs (`isthmus worker`; `isthmus serve` has one).")
        say("`isthmus destination deliver` does it once.")

    run(work)


def add_folder(
    name: Annotated[str, typer.Argument(help="How to call it.")],
    folder: Annotated[str, typer.Argument(help="An existing folder.")],
    objects: Objects = None,
    only_new: Annotated[bool, typer.Option("--only-new", help="Skip what the feed holds already.")] = False,
    home: Home = None,
) -> None:
    """Write changes as JSON lines into a folder."""
    place = Path(given(folder, "folder")).resolve()

    async def work() -> None:
        from isthmus.store import feed

        called = given(name, "name")
        async with hub(home) as opened:
            async with opened.db.project(opened.project.id) as tx:
                wanted = await synced_objects(tx, listed(objects))
                after = await feed.head(tx) if only_new else 0
            with _name_taken(called):
                await opened.create_folder(called, place, objects=wanted, after=after)
        say(f"[green]✓[/] Changes go to {escape(str(place))} while a worker runs.")

    run(work)


def list_destinations(home: Home = None, as_json: Json = False) -> None:
    """List destinations; trouble comes first."""

    async def work() -> None:
        from isthmus.store import destinations, feed

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            every = await destinations.every(tx)
            head = await feed.head(tx)
        every.sort(key=lambda each: (each.paused is None, each.failing_since is None, each.name))
        if as_json:
            print_json([_plain(each, head) for each in every])
            return
        if not every:
            say("No destination yet. `isthmus destination webhook NAME URL` makes one.")
            return
        print_table(
            ["Destination", "Kind", "State", "Behind", "Next try", "Why", "Where"],
            [
                [
                    each.name,
                    each.kind,
                    _state(each),
                    head - each.cursor,
                    ago(each.next_attempt_at) if each.failing_since else "–",
                    each.paused or (each.failure or {}).get("message", ""),
                    redact_url(each.url),
                ]
                for each in every
            ],
            right=["Behind"],
            spare=["Kind", "Next try"],
        )

    run(work)


def deliver_now(home: Home = None, as_json: Json = False) -> None:
    """Deliver what is due, once, without a worker: a line for each destination, exit code 1 when one refuses."""

    async def work() -> bool:
        from isthmus.store import destinations, feed

        async with hub(home) as opened:
            async with opened.db.project(opened.project.id) as tx:
                before = {row.id: await _last_attempt(tx, row) for row in await destinations.every(tx)}
            while await opened.deliver():
                continue
            async with opened.db.project(opened.project.id) as tx:
                head = await feed.head(tx)
                every = await destinations.every(tx)
                found = [(row, await _delivered_since(tx, row, before.get(row.id, 0))) for row in every]
        found.sort(key=lambda each: (each[0].paused is None, each[0].failing_since is None, each[0].name))
        if as_json:
            print_json([_plain(row, head) | {"delivered": count} for row, count in found])
        elif not found:
            say("No destination yet. `isthmus destination webhook NAME URL` makes one.")
        else:
            for row, count in found:
                _tell_delivery(row, count)
        return any(row.paused is not None or row.failing_since is not None for row, _ in found)

    if run(work):
        raise typer.Exit(1)


async def _last_attempt(tx: Transaction, row: Destination) -> int:
    from isthmus.store import destinations

    found = await destinations.attempts(tx, row.id, 1)
    return found[0].id if found else 0


async def _delivered_since(tx: Transaction, row: Destination, attempt: int) -> int:
    from isthmus.store import destinations

    found = await destinations.attempts(tx, row.id, destinations.ATTEMPTS_KEPT)
    return sum(each.changes for each in found if each.id > attempt and each.delivered)


def _tell_delivery(row: Destination, count: int) -> None:
    name = escape(row.name)
    if row.paused is not None:
        say(f"[yellow]‖[/] {name}: paused: {escape(row.paused)}")
    elif row.failing_since is not None:
        why = str((row.failure or {}).get("message", "The last delivery failed.")).rstrip(".")
        say(f"[bold red]✗[/] {name}: {escape(why)}, next try {ago(row.next_attempt_at)}")
    else:
        say(f"[green]✓[/] {name}: {counted(count, 'change')} delivered.")
        return
    if count:
        say(f"  {counted(count, 'change')} delivered before that.")
    say(f"  [bold]→[/] isthmus destination resume {escape(shlex.quote(row.name))}")


def attempts(name: DestinationName, home: Home = None, as_json: Json = False) -> None:
    """Show the latest tries to deliver."""

    async def work() -> None:
        from isthmus.store import destinations

        async with hub(home) as opened:
            row = await _one(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                found = await destinations.attempts(tx, row.id)
        if as_json:
            import msgspec

            print_json([msgspec.to_builtins(each) for each in found])
            return
        print_table(
            ["When", "Changes", "From", "To", "Try", "Result", "Took", "Answer"],
            [
                [
                    ago(each.at),
                    each.changes,
                    each.first_number,
                    each.last_number,
                    each.attempt,
                    Text("✓ delivered", style="green") if each.delivered else Text("✗ refused", style="red"),
                    f"{each.elapsed_s * 1000:,.0f} ms",
                    each.error or each.status,
                ]
                for each in found
            ],
            right=["Changes", "From", "To", "Try", "Took"],
        )

    run(work)


def dead_letters(name: DestinationName, home: Home = None, as_json: Json = False) -> None:
    """Show what a destination did not take in three days."""

    async def work() -> None:
        import msgspec

        from isthmus.store import destinations

        async with hub(home) as opened:
            row = await _one(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                found = await destinations.dead_letters(tx, row.id)
        if as_json:
            print_json([msgspec.to_builtins(each) for each in found])
            return
        if not found:
            say("No dead letters: everything was delivered, or is still being tried.")
            return
        print_table(
            ["Dead letter", "When", "Changes", "From", "To", "Why"],
            [
                [
                    str(each.id),
                    ago(each.at),
                    each.changes,
                    each.first_number,
                    each.last_number,
                    each.failure.get("message", ""),
                ]
                for each in found
            ],
            right=["Changes", "From", "To"],
        )
        say(f"Next: `isthmus destination replay {row.name} --letter ID` delivers one after all.")

    run(work)


def send_test(name: DestinationName, home: Home = None, as_json: Json = False) -> None:
    """Send a test event now and show what the receiver said; exit code 1 when it was not taken."""

    async def work() -> bool:
        import msgspec

        async with hub(home) as opened:
            row = await _one(opened, name)
            result = await opened.deliveries.send_test(opened.project.id, row.id)
        if as_json:
            print_json(msgspec.to_builtins(result))
            return result.delivered
        took = f"after {result.elapsed_s * 1000:,.0f} ms"
        if result.delivered:
            said = f", status {result.status}" if result.status is not None else ""
            say(f"[green]✓[/] {escape(row.name)} took the test event {took}{said}.")
        else:
            say(f"[bold red]✗[/] {escape(row.name)}: {escape(str((result.failure or {}).get('message')))}")
        if result.answer and result.status is not None:
            say(f"  It said: {escape(result.answer)}")
        return result.delivered

    if not run(work):
        raise typer.Exit(1)


def replay(
    name: DestinationName,
    first: Annotated[int, typer.Option("--from", help="First change number.", min=0)] = 0,
    last: Annotated[int, typer.Option("--to", help="Last change number.", min=0)] = 0,
    letter: Annotated[str | None, typer.Option(help="A dead letter's id.", show_default=False)] = None,
    home: Home = None,
) -> None:
    """Deliver a stretch of the feed, or a dead letter, again. Receivers drop repeats by the change ids."""

    async def work() -> None:
        from uuid import UUID

        async with hub(home) as opened:
            row = await _one(opened, name)
            if letter is not None:
                try:
                    identifier = UUID(letter)
                except ValueError as error:
                    raise InvalidInput(f"“{letter}” is not the id of a dead letter.") from error
                report = await opened.deliveries.replay_dead_letter(opened.project.id, row.id, identifier)
            else:
                report = await opened.deliveries.replay(opened.project.id, row.id, first, last)
        say(f"{report.changes:,} changes in {report.batches:,} batches were delivered again.")
        if report.failure is not None:
            say(
                f"[bold red]✗[/] Then: {escape(str(report.failure['message']))} Go on with --from {report.next_number}."
            )
            raise typer.Exit(1)

    run(work)


def resume(name: DestinationName, home: Home = None) -> None:
    """Deliver again to a destination that was paused."""

    async def work() -> None:
        from isthmus.store import destinations

        async with hub(home) as opened:
            row = await _one(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                await destinations.resume(tx, row.id)
        say(f"[green]✓[/] {escape(row.name)} is delivered to again.")

    run(work)


def delete(
    name: DestinationName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Forget a destination with its history."""

    async def work() -> None:
        from isthmus.store import destinations

        async with hub(home) as opened:
            row = await _one(opened, name)
            confirm("This forgets the destination and its history.", row.name, yes=yes)
            async with opened.db.project(opened.project.id) as tx:
                await destinations.delete(tx, row.id)
        say(f"[green]✓[/] {escape(row.name)} is gone.")

    run(work)


@contextmanager
def _name_taken(name: str) -> Iterator[None]:
    """A name that another destination has is refused with the way out."""
    try:
        yield
    except InvalidInput as failure:
        if failure.subject == name:
            failure.remedy = f"Choose another name, or: isthmus destination delete {shlex.quote(name)}"
        raise


async def _one(opened: Hub, name: str) -> Destination:
    from isthmus.store import destinations

    async with opened.db.project(opened.project.id) as tx:
        every = await destinations.every(tx)
    found: Destination = chosen(every, name, what="destination", words=lambda row: [str(row.id), row.id.hex, row.name])
    return found


def _state(row: Destination) -> Text:
    if row.paused is not None:
        return Text("‖ paused", style="red")
    if row.failing_since is not None:
        return Text("◐ retrying", style="yellow")
    return Text("● good", style="green")


def _plain(row: Destination, head: int) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "kind": row.kind,
        "url": redact_url(row.url),
        "cursor": row.cursor,
        "behind": head - row.cursor,
        "failing_since": row.failing_since,
        "paused": row.paused,
        "failure": told(row.failure),
    }
