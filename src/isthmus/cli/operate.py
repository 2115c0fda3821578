"""`worker`, `doctor`, `sandbox`, `demo`, and what `isthmus` alone says."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from isthmus.cli.options import Home, Json
from isthmus.cli.output import counted, out, print_json, say
from isthmus.cli.running import hub, opened_hub, run, settings
from isthmus.cli.stopping import stopped_by_signals
from isthmus.client.sandbox import SANDBOX_FILE
from isthmus.kernel.failures import DatabaseUnavailable

if TYPE_CHECKING:
    from isthmus.app import Hub


WORKER_STOP_S = 20.0
"""A stopping worker interrupts its jobs after half a second and puts them back; whatever takes longer is left."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    sandbox = typer.Typer(
        help="Simulators of the vendors' servers, to try and test without a tenant.", no_args_is_help=True
    )
    sandbox.command("up")(sandbox_up)
    app.add_typer(sandbox, name="sandbox")
    app.command("worker")(worker)
    app.command("doctor")(doctor)
    app.command("demo")(demo)


def what_next() -> None:
    """Without a command: say where things stand in this folder and what comes next."""
    home = settings().home
    console = out()
    console.print("[bold]isthmus[/]: your product ↔ your customers' Business Central\n")
    if not (home / "postgres").exists() and settings().database_url is None:
        console.print("Nothing is set up in this folder yet. Try one of these:\n")
        console.print("  isthmus demo                        see everything work, in a minute")
        console.print("  isthmus sandbox up                  a Business Central to play with, on this machine")
        console.print("  isthmus connect business-central    connect a real one")
        console.print("\n`isthmus --help` lists all commands.")
        return

    async def work() -> None:
        from isthmus.cli.troubles import troubles
        from isthmus.store import connections, syncs

        async with hub() as opened:
            found = await troubles(opened)
            async with opened.db.project(opened.project.id) as tx:
                every = await connections.every(tx)
                kept = await syncs.every(tx)
        for each in found:
            console.print(f"  [red]✗[/] {escape(each.title)}: {escape(each.reason)}")
            if each.remedy:
                console.print(f"    {escape(each.remedy)}")
            console.print(f"    [bold]→[/] {escape(each.command)}")
        console.print(f"{counted(len(every), 'connection')}, {counted(len(kept), 'sync')}.")
        if not every:
            console.print("Next: isthmus connect business-central")
        elif not kept:
            console.print("Next: isthmus objects, then isthmus sync create OBJECT")
        else:
            console.print("Next: isthmus sync run; a worker (isthmus worker, isthmus serve) follows the schedules")

    run(work)


def worker(
    home: Home = None,
    jobs: Annotated[
        int | None, typer.Option(help="Jobs side by side (default: ISTHMUS_WORKERS).", min=1, max=64)
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing about runs that end and deliveries that fail.")
    ] = False,
) -> None:
    """Follow schedules, run syncs, deliver changes, until stopped. Start as many as you like, on as many machines."""

    async def work() -> None:
        import msgspec

        loaded = settings(home)
        if jobs is not None:
            loaded = msgspec.structs.replace(loaded, workers=jobs)
        async with opened_hub(loaded) as opened:
            await _work_until_told(opened, quiet=quiet)

    run(work)


async def _work_until_told(opened: Hub, *, quiet: bool) -> None:
    from isthmus.cli.telling import Telling
    from isthmus.engine.loops import ended

    telling = Telling(opened)
    async with opened.engine(on_left=telling.run_left) as engine:
        with stopped_by_signals(engine.stop, bound_s=WORKER_STOP_S):
            say(f"Working as {engine.worker_name}. Ctrl-C stops; what is under way is handed back and resumed.")
            if opened.settings.public_url is None:
                say("[yellow]![/] ISTHMUS_PUBLIC_URL is not set: records too large for a delivery have to wait.")
                say("  [bold]→[/] Set it to where `isthmus serve` is reached, such as https://hub.example.com.")
            follower = None if quiet else asyncio.create_task(telling.follow())
            try:
                await engine.run_worker()
            finally:
                if follower is not None:
                    await ended([follower])
                    with suppress(DatabaseUnavailable):
                        await telling.tell()
    say("Stopped.")


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Examine this installation: Python, data folder, database, master key, and all that needs somebody."""
    from isthmus.cli.examination import examine

    findings = sorted(run(lambda: examine(settings(home))), key=lambda each: each.passed)
    if as_json:
        print_json(
            [
                {"title": each.title, "passed": each.passed, "detail": each.detail, "remedy": each.remedy}
                for each in findings
            ]
        )
    else:
        console = out()
        for each in findings:
            mark = "[green]✓[/]" if each.passed else "[bold red]✗[/]"
            console.print(f"{mark} {escape(each.title)}  [dim]{escape(each.detail)}[/]")
            for line in each.remedy.splitlines():
                console.print(f"  [bold]→[/] {escape(line)}")
    if not all(each.passed for each in findings):
        raise typer.Exit(3)


def sandbox_up(
    world: Annotated[str, typer.Option(help="cronus, large or messy.")] = "cronus",
    port_base: Annotated[int, typer.Option(help="First port; 0 takes free ones.", min=0, max=65_000)] = 8440,
    home: Home = None,
) -> None:
    """Start Entra and Business Central on this machine, over TLS with a throw-away certificate authority."""
    from isthmus_sandbox.__main__ import main as sandbox_main

    folder = settings(home).home
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ready: Path = folder / SANDBOX_FILE
    code = sandbox_main(
        ["up", "--world", world, "--port-base", str(port_base), "--ready-file", str(ready),
         "--data", str(folder / "sandbox")],
        next_step="Then, in another terminal:  isthmus connect business-central --cloud sandbox",
    )  # fmt: skip
    if code:
        sys.exit(code)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data folder afterwards.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep it, and leave the server with its console running until Ctrl-C.")
    ] = False,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Data folder of the demo (default: a temporary one).", show_default=False),
    ] = None,
) -> None:
    """See everything work: connect, read 25 objects, change, keep in step, deliver, export. Needs no tenant."""
    from isthmus.cli.demo import run_demo

    code = run(lambda: run_demo(home, keep=keep, serve=serve))
    if code:
        raise typer.Exit(code)
