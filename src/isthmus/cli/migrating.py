"""`migrate`: the schema brought to this version, and what is taken away once nobody needs it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from isthmus.cli.backups import database_url
from isthmus.cli.options import Home, Json
from isthmus.cli.output import counted, out, print_json, say
from isthmus.cli.running import run, settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate)


def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Take away what only older versions used, once none is at work.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Bring the database to this version while older servers and workers go on working."""

    async def work() -> None:
        from isthmus.store import migrate as migrating

        async with database_url(settings(home)) as url:
            before = await migrating.standing(url)
            done: list[str] = []
            if not plan:
                await migrating.migrate(url)
                done = await migrating.finish(url) if finish else []
            after = await migrating.standing(url)
        if as_json:
            print_json(
                {
                    "before": before.version,
                    "version": after.version,
                    "this_version": after.head,
                    "oldest_code": after.oldest,
                    "to_apply": list(after.to_apply),
                    "to_finish": list(after.to_finish),
                    "finished": done,
                    "older_at_work": list(after.older),
                }
            )
            return
        console = out()
        console.print(f"Database      schema {before.version or 'none yet'}")
        console.print(f"This version  schema {before.head}, oldest code that may work: {before.oldest or 'any'}")
        for step in before.to_apply:
            console.print(f"  {'would add' if plan else 'added'}  {escape(step)}")
        for name in done:
            console.print(f"  taken away  {escape(name)}")
        if after.to_finish:
            say(f"[yellow]![/] {counted(len(after.to_finish), 'thing')} that only older versions use is left:")
            say(f"  {escape(', '.join(after.to_finish))}")
            for name in after.older:
                say(f"  still at work with older code: {escape(name)}")
            say("  When no older version runs any more:  isthmus migrate --finish")
        elif not before.to_apply and not done:
            say("[green]✓[/] Nothing to do.")
        elif not plan:
            say("[green]✓[/] Done.")

    run(work)
