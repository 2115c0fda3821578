"""`projects`: the workspaces of this hub. These commands work whatever ISTHMUS_PROJECT names."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli.backups import Yes, database_url
from isthmus.cli.keys import Scopes, chosen_scopes
from isthmus.cli.named import given
from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, print_json, print_table, say
from isthmus.cli.running import chosen, confirm, run, settings
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from isthmus.settings import Settings
    from isthmus.store.database import Database
    from isthmus.store.rows import Project

ProjectName = Annotated[str, typer.Argument(help="A project's name, or the end of its id.")]
Development = Annotated[
    bool | None,
    typer.Option(
        "--development/--production",
        help="Whether webhooks may lead to this machine and private networks (needs ISTHMUS_DEVELOPMENT=1).",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    projects = typer.Typer(help="The projects of this hub.", no_args_is_help=True)
    projects.command("list")(list_projects)
    projects.command("create")(create)
    projects.command("change")(change)
    projects.command("delete")(delete)
    app.add_typer(projects, name="projects")


def list_projects(home: Home = None, as_json: Json = False) -> None:
    """List projects, and which of them commands work on."""

    async def work() -> None:
        from isthmus.store import projects

        loaded = settings(home)
        async with database(loaded) as db:
            every = await projects.every(db)
        if as_json:
            print_json([_plain(each, loaded) for each in every])
            return
        if not every:
            say("No project yet. `isthmus projects create NAME` makes one; so does the first `isthmus serve`.")
            return
        print_table(
            ["Project", "Id", "Kind", "Made", "Commands work here"],
            [[each.name, each.id.hex[-8:], _kind(each), ago(each.created_at), _mark(each, loaded)] for each in every],
        )

    run(work)


def create(
    name: Annotated[str, typer.Argument(help="How to call it.")],
    development: Development = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Make a first API key of that name, too.", show_default=False)
    ] = None,
    scope: Scopes = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a project; with --key also its first key, which is shown once (--scope, default: admin)."""
    called = given(name, "name")

    async def work() -> None:
        from isthmus.store import api_keys, audit, projects

        loaded = settings(home)
        allowed = _allowed(loaded, development)
        scopes = chosen_scopes(scope or ["admin"])
        async with database(loaded) as db:
            made = await projects.create(db, called, development=allowed is True)
            secret = None
            async with db.project(made.id) as tx:
                await audit.note(tx, actor="cli", action="project.create", subject=made.name)
                if key is not None:
                    first = await api_keys.make(
                        tx, name=given(key, "name of the key"), scopes=scopes, development=made.development
                    )
                    secret = first.text
        if as_json:
            print_json(_plain(made, loaded) | ({} if secret is None else {"secret": secret}))
            return
        say(f"[green]✓[/] Project {escape(made.name)}, for {_kind(made)}. The console's switcher shows it.")
        if secret is not None:
            say(f"Its first key may {', '.join(scopes)}. Shown only now:")
            print(secret)
        else:
            named = escape(shlex.quote(made.name))
            say(f"Its first key: ISTHMUS_PROJECT={named} isthmus keys create NAME --scope admin")

    run(work)


def change(
    name: ProjectName,
    new_name: Annotated[
        str | None, typer.Option("--name", help="Another name; the id stays.", show_default=False)
    ] = None,
    development: Development = None,
    home: Home = None,
) -> None:
    """Rename a project, or make it a development or a production project; deliveries obey from the next one on."""
    if new_name is None and development is None:
        raise InvalidInput("Nothing to change was given.", remedy="Give --name, --development or --production.")

    async def work() -> None:
        from isthmus.store import audit, projects

        loaded = settings(home)
        allowed = _allowed(loaded, development)
        async with database(loaded) as db:
            before = await _one(db, name)
            after = await projects.change(db, before.id, name=new_name, development=allowed)
            async with db.project(after.id) as tx:
                detail = {"before": _plain(before, loaded), "after": _plain(after, loaded)}
                await audit.note(tx, actor="cli", action="project.change", subject=after.name, detail=detail)
        say(f"[green]✓[/] Project {escape(after.name)}, for {_kind(after)}.")
        if before.name == loaded.project != after.name:
            say(f"[yellow]![/] ISTHMUS_PROJECT names it still as {escape(before.name)}: set it to the new name.")

    run(work)


def delete(name: ProjectName, yes: Yes = False, home: Home = None) -> None:
    """Delete a project with everything in it, after saying what would be lost."""

    async def work() -> None:
        from isthmus.store import project_contents, projects

        loaded = settings(home)
        async with database(loaded) as db:
            project = await _one(db, name)
            if project.name == loaded.project:
                raise InvalidInput(
                    f"Commands work on “{project.name}”, so it cannot be deleted.",
                    remedy="Set ISTHMUS_PROJECT to another project first.",
                    subject=project.name,
                )
            await project_contents.refuse_in_use(db, project)
            async with db.project(project.id) as tx:
                held = await project_contents.contents(tx)
            confirm(
                f"This deletes {project.name} for good, with: {held.words}. Nothing changes at the vendors.",
                project.name,
                yes=yes,
            )
            await projects.delete(db, project.id)
            await _tell(db, loaded, project, held.words)
        say(f"[green]✓[/] Project {escape(project.name)} is gone, with: {held.words}.")

    run(work)


@asynccontextmanager
async def database(loaded: Settings) -> AsyncIterator[Database]:
    """The database, migrated, without any project being opened or made."""
    from isthmus.store.database import Database
    from isthmus.store.migrate import migrate

    async with database_url(loaded) as url:
        await migrate(url)
        async with await Database.open(url) as db:
            yield db


async def _one(db: Database, name: str) -> Project:
    from isthmus.store import projects

    project: Project = chosen(
        await projects.every(db), name, what="project", words=lambda each: [str(each.id), each.id.hex, each.name]
    )
    return project


async def _tell(db: Database, loaded: Settings, gone: Project, words: str) -> None:
    """The audit log of a deleted project is gone with it; the one that commands work on remembers."""
    from isthmus.store import audit, projects

    here = await projects.named(db, loaded.project)
    if here is not None:
        async with db.project(here.id) as tx:
            detail = {"name": gone.name, "lost": words}
            await audit.note(tx, actor="cli", action="project.delete", subject=str(gone.id), detail=detail)


def _allowed(loaded: Settings, development: bool | None) -> bool | None:
    """What was chosen. Raises InvalidInput for development where this hub does not allow it."""
    if development and not loaded.development:
        raise InvalidInput(
            "This hub allows no development projects.",
            remedy="Set ISTHMUS_DEVELOPMENT=1 for every process that shall deliver for them, and here.",
            subject="development",
        )
    return development


def _kind(project: Project) -> str:
    return "development" if project.development else "production"


def _mark(project: Project, loaded: Settings) -> str:
    return "● yes" if project.name == loaded.project else ""


def _plain(project: Project, loaded: Settings) -> dict[str, Any]:
    return {
        "id": str(project.id),
        "name": project.name,
        "development": project.development,
        "created_at": project.created_at.isoformat(),
        "here": project.name == loaded.project,
    }
