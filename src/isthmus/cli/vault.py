"""`vault`: the keys that seal secrets, and rotating them while everybody works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, counted, out, print_json, print_table, say
from isthmus.cli.progress import counting
from isthmus.cli.running import hub, run

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.processes import Process
    from isthmus.store.rows import Project, ProjectKey


def register(app: typer.Typer) -> None:
    """Add the commands."""
    vault = typer.Typer(help="The keys that seal secrets: look at them, rotate them.", no_args_is_help=True)
    rotate = typer.Typer(help="Replace a key while servers and workers go on working.", no_args_is_help=True)
    rotate.command("master")(rotate_master)
    rotate.command("data")(rotate_data)
    vault.command("status")(status)
    vault.command("new-key")(new_key)
    vault.add_typer(rotate, name="rotate")
    app.add_typer(vault, name="vault")


def status(home: Home = None, as_json: Json = False) -> None:
    """Which master keys are here, which keys every project has, and whether a rotation is under way."""

    async def work() -> None:
        from isthmus.store import projects, rotation

        async with hub(home) as opened:
            masters = opened.keyring.source.masters()
            async with opened.db.system() as tx:
                used = await projects.master_keys(tx)
                current = await rotation.current_master(tx)
            keys = []
            for project in await projects.every(opened.db):
                async with opened.db.project(project.id) as tx:
                    keys += [(project, row) for row in await projects.keys(tx)]
        if as_json:
            print_json(
                {
                    "master_keys_here": masters.ids,
                    "master_keys_used": sorted(used),
                    "master_key_current": current or masters.current.id.hex(),
                    "data_keys": [_plain(project, row) for project, row in keys],
                }
            )
            return
        console = out()
        console.print(f"Master keys on this machine  {', '.join(masters.ids)}")
        console.print(f"Used by this database        {', '.join(sorted(used)) or 'none yet'}")
        print_table(
            ["Project", "Data key", "State", "Made"],
            [[project.name, row.id.hex[-8:], _state(row), ago(row.created_at)] for project, row in keys],
        )
        if len(used) > 1:
            say("[yellow]![/] The master key is being rotated: run `isthmus vault rotate master` to finish.")
        names = sorted({project.name for project, row in keys if row.retired_at is None and _several(keys, project)})
        if names:
            say(f"[yellow]![/] Rotation under way in {escape(', '.join(names))}: run `isthmus vault rotate data`.")

    run(work)


def new_key() -> None:
    """Print a new master key, for ISTHMUS_MASTER_KEY or ISTHMUS_MASTER_KEY_NEXT. It is kept nowhere."""
    from isthmus.vault.masters import new_key_text

    print(new_key_text())


def rotate_master(home: Home = None, as_json: Json = False) -> None:
    """Replace the master key: every data key is wrapped with the new one. Run it again when it was cut short."""

    async def work() -> None:
        from isthmus.connections.rotation import Telling, rotate_master
        from isthmus.store import audit

        async with hub(home) as opened:
            environment = opened.settings.other_master_keys
            if opened.settings.master_key:
                environment |= {"ISTHMUS_MASTER_KEY": opened.settings.master_key}
            with counting("Wrapping data keys", None) as advance:
                telling = Telling(done=advance, waits=_Waiting())
                done = await rotate_master(opened.db, opened.settings.home, environment, opened.clock, telling)
            async with opened.db.project(opened.project.id) as tx:
                await audit.note(
                    tx, actor="cli", action="keys.master_rotated", subject=done.after, detail={"before": done.before}
                )
        if as_json:
            print_json({"before": done.before, "after": done.after, "rewrapped": done.rewrapped})
            return
        say(f"[green]✓[/] {counted(done.rewrapped, 'data key')} wrapped with master key {done.after}.")
        if done.earlier_file is not None:
            say(f"  The earlier key lies in {escape(str(done.earlier_file))}.")
            say("  Keep it as long as you keep backups that were made before, then delete it.")
        elif opened.settings.master_key:
            say("  Now set ISTHMUS_MASTER_KEY to the new key everywhere and remove ISTHMUS_MASTER_KEY_NEXT.")
            say("  Keep the earlier key as long as you keep backups that were made before.")

    run(work)


def rotate_data(
    project: Annotated[
        str | None, typer.Option("--project", help="One project by name (default: all).", show_default=False)
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Give projects a new data key: every stored secret is sealed again. Run it again when it was cut short."""

    async def work() -> None:
        from isthmus.connections.rotation import Telling, rotate_data

        told = []
        async with hub(home) as opened:
            for each in await _projects(opened, project):
                with counting(f"Sealing secrets of {each.name}", None) as advance:
                    telling = Telling(done=advance, waits=_Waiting())
                    done = await rotate_data(opened.db, opened.keyring.source, each.id, opened.clock, telling)
                told.append((each, done))
        if as_json:
            print_json(
                [
                    {
                        "project": each.name,
                        "resealed": done.resealed,
                        "retired": done.retired,
                        "waiting": done.waiting,
                        "unreadable": list(done.unreadable),
                    }
                    for each, done in told
                ]
            )
            return
        for each, done in told:
            say(f"[green]✓[/] {escape(each.name)}: {counted(done.resealed, 'secret')} sealed with a new key.")
            if done.waiting:
                say(f"  [yellow]![/] {counted(done.waiting, 'sign-in')} under way still needs the earlier key.")
                say("  It is retired by the next `isthmus vault rotate data`, in ten minutes or later.")
            for name in done.unreadable:
                say(f"  [yellow]![/] {escape(name)} cannot be opened and was left alone: enter that secret again.")

    run(work)


class _Waiting:
    """Says once for whom a rotation waits."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, lacking: list[Process]) -> None:
        for each in lacking:
            if each.name not in self._told:
                self._told.add(each.name)
                say(f"  waiting until {escape(each.name)} knows the new key …")


async def _projects(opened: Hub, name: str | None) -> list[Project]:
    from isthmus.cli.named import choice, nearest
    from isthmus.kernel.failures import InvalidInput
    from isthmus.store import projects

    every = await projects.every(opened.db)
    if name is None:
        return every
    found = [each for each in every if each.name.casefold() == name.strip().casefold()]
    if not found:
        names = [each.name for each in every]
        near = nearest(name, names)
        raise InvalidInput(
            f"There is no project “{name}”.",
            remedy=choice(names, near, listing="isthmus vault status"),
            nearest=near,
            subject=name,
        )
    return found


def _several(keys: list[tuple[Project, ProjectKey]], project: Project) -> bool:
    return sum(each.id == project.id and row.retired_at is None for each, row in keys) > 1


def _state(row: ProjectKey) -> str:
    if row.retired_at is not None:
        return f"retired {ago(row.retired_at)}"
    return "seals" if row.seals_since is not None else "announced"


def _plain(project: Project, row: ProjectKey) -> dict[str, object]:
    return {
        "project": project.name,
        "id": str(row.id),
        "master_key": row.master_key_id,
        "created_at": row.created_at,
        "seals_since": row.seals_since,
        "retired_at": row.retired_at,
    }
