"""`restored`: what may have happened between a backup and its restore, looking it up, and going on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from isthmus.cli.backups import Yes
from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, counted, out, print_json, say
from isthmus.cli.running import ask, hub, run
from isthmus.kernel.failures import Failure, InvalidInput

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.paused import Pause, Restored, Since

_WORDS = {"writes": "Writes", "tokens": "The renewal of sign-ins", "deliveries": "Deliveries"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    restored = typer.Typer(help="After a restore: what is paused, and how it goes on.", no_args_is_help=True)
    restored.command("status")(status)
    restored.command("reconcile")(reconcile)
    restored.command("resume")(resume)
    restored.command("end")(end)
    app.add_typer(restored, name="restored")


def status(home: Home = None, as_json: Json = False) -> None:
    """What is paused, and what may have happened since the backup."""

    async def work() -> None:
        async with hub(home) as opened:
            at, stopped, found = await _everything(opened)
        if as_json:
            print_json({"restored": at, "paused": sorted(stopped), "projects": found})
            return
        if at is None:
            say("This database was never restored from a backup.")
            return
        console = out()
        console.print(f"Restored {ago(at.restored_at)} from a backup made {ago(at.backup_made_at)}")
        console.print(f"Paused     {', '.join(_WORDS[each].lower() for each in sorted(stopped)) or 'nothing'}")
        console.print(f"Looked up  {ago(at.reconciled_at)}")
        for each in found:
            _print_since(each)
        if stopped:
            say("Next:  isthmus restored reconcile")

    run(work)


def reconcile(yes: Yes = False, home: Home = None, as_json: Json = False) -> None:
    """Look up what may have happened since the backup; then be asked, one thing after the other, what may go on."""

    async def work() -> None:
        from isthmus.store import paused
        from isthmus.store.paused import Pause

        async with hub(home) as opened:
            at, stopped, found = await _everything(opened)
            if at is None:
                raise InvalidInput("This database was never restored from a backup.")
            loud = not as_json
            signed_in = [each for project in found for each in project.sign_ins]
            if Pause.TOKENS in stopped and (
                not signed_in or _agreed(f"Renew {counted(len(signed_in), 'sign-in')} of people now?", yes=yes)
            ):
                await paused.resume(opened.db, [Pause.TOKENS])
                stopped -= {Pause.TOKENS}
            checked = await _check_sign_ins(opened, found, loud=loud) if Pause.TOKENS not in stopped else {}
            writes = await _look_up(opened, found, loud=loud)
            report = {"writes": writes, "sign_ins": checked}
            await paused.reconciled(opened.db, report)
            if as_json and not yes:
                print_json(report | {"paused": sorted(stopped)})
                return
            for what, question in (
                (Pause.WRITES, "May writes go on?"),
                (Pause.DELIVERIES, "May deliveries go on?"),
            ):
                if what in stopped and _agreed(question, yes=yes):
                    await _let_go_on(opened, what)
                    stopped -= {what}
        if as_json:
            print_json(report | {"paused": sorted(stopped)})
        elif stopped:
            say(f"Still paused: {', '.join(sorted(stopped))}. `isthmus restored resume` lets them go on.")
        else:
            say("[green]✓[/] Everything goes on. New creates are still looked for before they are sent, for two days.")

    run(work)


def resume(
    writes: Annotated[bool, typer.Option("--writes", help="Let writes go on.")] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="Let sign-ins of people be renewed.")] = False,
    deliveries: Annotated[bool, typer.Option("--deliveries", help="Let deliveries go on.")] = False,
    home: Home = None,
) -> None:
    """Let what is paused go on, without another look."""

    async def work() -> None:
        from isthmus.store.paused import Pause

        wanted = [
            what
            for what, chosen in ((Pause.WRITES, writes), (Pause.TOKENS, tokens), (Pause.DELIVERIES, deliveries))
            if chosen
        ]
        if not wanted:
            raise InvalidInput("Say what may go on.", remedy="Give --writes, --tokens or --deliveries.")
        async with hub(home) as opened:
            for what in wanted:
                await _let_go_on(opened, what)
        for what in wanted:
            say(f"[green]✓[/] {_WORDS[what]}: going on.")

    run(work)


def end(home: Home = None) -> None:
    """Send new creates again without looking for them first: no host repeats anything from before the restore."""

    async def work() -> None:
        from isthmus.store import paused

        async with hub(home) as opened:
            await paused.end_guard(opened.db)
        say("[green]✓[/] New writes are sent without a look.")

    run(work)


async def _everything(opened: Hub) -> tuple[Restored | None, frozenset[Pause], list[Since]]:
    from isthmus.store import paused, projects

    async with opened.db.unscoped() as tx:
        at, stopped = await paused.restored(tx), await paused.paused(tx)
    found = []
    for project in await projects.every(opened.db) if at is not None else []:
        async with opened.db.project(project.id) as tx:
            assert at is not None
            found.append(await paused.since(tx, project.name, at))
    return at, stopped, found


async def _let_go_on(opened: Hub, what: Pause) -> None:
    from isthmus.store import audit, paused, projects

    await paused.resume(opened.db, [what])
    for project in await projects.every(opened.db):
        async with opened.db.project(project.id) as tx:
            await audit.note(tx, actor="cli", action="restored.resumed", subject=what.value)


async def _check_sign_ins(opened: Hub, found: list[Since], *, loud: bool) -> dict[str, str]:
    """Use every person's sign-in once; what came of it, by connection."""
    from isthmus.app import ForgetfulJournal
    from isthmus.connections import checking
    from isthmus.store import connections, grants

    outcomes: dict[str, str] = {}
    for project in found:
        for each in project.sign_ins:
            async with opened.db.project(project.project_id) as tx:
                await grants.forget_access_token(tx, each.grant_id)
                connection = await connections.get(tx, each.connection_id)
            try:
                report = await checking.check(opened.db, opened.opener, connection, ForgetfulJournal(), opened.clock)
                words = "works" if report.failure is None else report.failure.message
            except Failure as failure:
                words = failure.message
            outcomes[each.connection] = words
            if loud:
                mark = "[green]✓[/]" if words == "works" else "[red]✗[/]"
                say(f"{mark} Sign-in of {escape(each.connection)}: {escape(words)}")
    return outcomes


async def _look_up(opened: Hub, found: list[Since], *, loud: bool) -> list[dict[str, str]]:
    """Look for every write that was open when the backup was made; what came of each."""
    told = []
    for project in found:
        for each in project.writes:
            try:
                now = await opened.writer.reconcile(project.project_id, each.id)
                state, detail = now.state.value, str((now.failure or {}).get("message") or "")
            except Failure as failure:
                state, detail = each.state, failure.message
            words = _MEANINGS.get(state, state)
            told.append(
                {"id": str(each.id), "connection": each.connection, "object": each.object, "verb": each.verb,
                 "state": state, "detail": detail}
            )  # fmt: skip
            if loud:
                say(f"  {escape(each.verb)} {escape(each.object)} ({escape(each.connection)}): {words}")
                if detail and state != "confirmed":
                    say(f"    [dim]{escape(detail)}[/]")
    return told


_MEANINGS = {
    "confirmed": "[green]it was sent since the backup; nothing is sent again[/]",
    "waiting_for_approval": "waits for approval; it is looked for before it is sent",
    "planned": "not there; it is sent when writes go on",
    "uncertain": "not found yet; it is looked for again",
    "failed": "it did not take place",
    "needs_person": "[yellow]nobody can tell; look yourself, then `isthmus operations`[/]",
}


def _agreed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    answer = ask(f"{question} (yes/no)", otherwise="Add --yes, or use `isthmus restored resume`.")
    return answer.strip().casefold() in ("y", "yes")


def _print_since(each: Since) -> None:
    console = out()
    console.print(f"\n[bold]{escape(each.project)}[/]")
    if each.writes:
        console.print(f"  {counted(len(each.writes), 'write')} open at the backup, which may have been sent since")
    for write in each.writes[:20]:
        console.print(f"    {escape(write.verb)} {escape(write.object)} ({escape(write.connection)}), {write.state}")
    if each.sign_ins:
        words = "whose refresh tokens may have been replaced since"
        console.print(f"  {counted(len(each.sign_ins), 'sign-in')} of people, {words}")
    for sign_in in each.sign_ins[:20]:
        console.print(f"    {escape(sign_in.connection)}")
    if each.receivers:
        console.print(f"  {counted(len(each.receivers), 'destination')}, which may have more than is known here")
    for receiver in each.receivers[:20]:
        console.print(
            f"    {escape(receiver.name)} has everything up to {receiver.cursor:,} for certain; "
            "later changes come again under their old ids"
        )
    console.print(f"  Change feed: stood at {each.feed_before:,}, goes on above {each.feed_now:,}")
    if each.api_keys:
        console.print(f"  {counted(each.api_keys, 'API key')} valid again, also those revoked since the backup")
