"""`notices`: whom to mail when something needs people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, print_json, print_table, say
from isthmus.cli.running import chosen, hub, run

if TYPE_CHECKING:
    from isthmus.store.notices import NoticeAddress

Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", help="What it hears of; may be given several times (default: all).", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    notices = typer.Typer(help="Mails to people when something needs them.", no_args_is_help=True)
    notices.command("list")(list_addresses)
    notices.command("add")(add)
    notices.command("remove")(remove)
    notices.command("test")(send_test)
    notices.command("log")(log)
    app.add_typer(notices, name="notices")


def list_addresses(home: Home = None, as_json: Json = False) -> None:
    """List whom this project tells, and of what."""

    async def work() -> None:
        from isthmus.store import notices

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            every = await notices.addresses(tx)
        if as_json:
            print_json([{"address": each.address, "kinds": each.kinds} for each in every])
            return
        if not every:
            say("Nobody is told yet. `isthmus notices add ops@example.com` changes that.")
            return
        print_table(["Address", "Hears of"], [[each.address, ", ".join(each.kinds) or "everything"] for each in every])

    run(work)


def add(
    address: Annotated[str, typer.Argument(help="A mail address.")],
    kind: Kinds = None,
    home: Home = None,
) -> None:
    """Tell an address: one mail for a whole outage, the same trouble at most once an hour."""

    async def work() -> None:
        from isthmus.store import audit, notices

        async with hub(home) as opened:
            async with opened.db.project(opened.project.id) as tx:
                made = await notices.add_address(tx, address, kind or [])
                await audit.note(
                    tx, actor="cli", action="notice.address_added", subject=made.address, detail={"kinds": made.kinds}
                )
            can_mail = opened.notifier.can_mail
        say(f"[green]✓[/] {escape(made.address)} hears of {', '.join(made.kinds) or 'everything'}.")
        if not can_mail:
            say("No mail server is set yet: set ISTHMUS_SMTP_HOST for servers and workers.")

    run(work)


def remove(
    address: Annotated[str, typer.Argument(help="A mail address that is told.")],
    home: Home = None,
) -> None:
    """Tell an address no more."""

    async def work() -> None:
        from isthmus.store import audit, notices

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            every = await notices.addresses(tx)
            found: NoticeAddress = chosen(every, address, what="address", words=lambda each: [each.address])
            await notices.remove_address(tx, found.id)
            await audit.note(tx, actor="cli", action="notice.address_removed", subject=found.address)
        say(f"[green]✓[/] {escape(found.address)} is told no more.")

    run(work)


def send_test(
    address: Annotated[str, typer.Argument(help="Where the test goes.")],
    home: Home = None,
) -> None:
    """Send a test mail now."""

    async def work() -> None:
        async with hub(home) as opened:
            await opened.notifier.send_trial(opened.project.id, address)
        say(f"[green]✓[/] The mail server has taken a test mail to {escape(address)}.")

    run(work)


def log(home: Home = None, as_json: Json = False) -> None:
    """What people were told, newest first, and what became of it."""

    async def work() -> None:
        from isthmus.store import notices

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            every = await notices.history(tx, 50)
        if as_json:
            print_json([_plain(each) for each in every])
            return
        if not every:
            say("Nothing needed people yet.")
            return
        print_table(
            ["When", "About", "What", "Became"],
            [
                [
                    ago(each.at),
                    str(each.detail.get("connection") or each.detail.get("what") or ""),
                    str(each.detail.get("title") or each.kind),
                    (each.outcome or "waits").replace("_", " "),
                ]
                for each in every
            ],
        )

    run(work)


def _plain(each: Any) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "reason": each.reason,
        "detail": each.detail,
        "at": each.at.isoformat(),
        "outcome": each.outcome,
    }
