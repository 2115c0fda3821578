"""`people`: who may sign in to the console, and one-time links for when nobody can."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, print_json, print_table, say
from isthmus.cli.running import hub, run
from isthmus.kernel.failures import InvalidInput

ROLES = ("admin", "operator", "viewer")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    people = typer.Typer(help="Who may sign in to the console.", no_args_is_help=True)
    people.command("list")(list_people)
    people.command("invite")(invite)
    app.add_typer(people, name="people")


def list_people(home: Home = None, as_json: Json = False) -> None:
    """List people with their roles."""

    async def work() -> None:
        from isthmus.store import console_people

        async with hub(home) as opened:
            everybody = await console_people.every(opened.db)
        plain = [
            {
                "id": str(each.id),
                "name": each.name,
                "role": each.role,
                "signs_in_with": "identity provider" if each.issuer else "password",
                "last_seen_at": each.last_seen_at.isoformat() if each.last_seen_at else None,
            }
            for each in everybody
        ]
        if as_json:
            print_json(plain)
            return
        if not plain:
            say("Nobody yet. `isthmus serve` prints the link that makes the first administrator.")
            return
        rows = [
            [escape(each.name), each.role, "provider" if each.issuer else "password", ago(each.last_seen_at)]
            for each in everybody
        ]
        print_table(["Name", "Role", "Signs in with", "Last signed in"], rows)

    run(work)


def invite(
    role: Annotated[str, typer.Option("--role", help="admin, operator or viewer.")] = "admin",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a one-time link to the console, good for a day: for a colleague, or when nobody can sign in any more."""
    if role not in ROLES:
        raise InvalidInput(f"There is no role “{role}”.", remedy=f"Use {', '.join(ROLES)}.", nearest=ROLES)

    async def work() -> None:
        from isthmus.console import invitation_link

        async with hub(home) as opened:
            link = await invitation_link(opened, role, opened.settings.public_url or "http://localhost:8080")
        if as_json:
            print_json({"role": role, "link": link})
            return
        say(f"[green]✓[/] Whoever opens this link becomes {role}. It works once, for a day:")
        print(link)

    run(work)
