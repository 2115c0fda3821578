"""`health`, `secret` and `move`: how a connection is, and what keeps it well."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text

from isthmus.cli.named import given
from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, counted, exit_code, out, print_json, say
from isthmus.cli.remedies import command_for, remedy_of
from isthmus.cli.running import ask, chosen_connection, hub, run
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from isthmus.connections.credentials import NewSecret
    from isthmus.store.rows import Connection

Name = Annotated[
    str | None,
    typer.Argument(help="The connection's name; not needed while there is only one.", show_default=False),
]
Certificate = Annotated[
    Path | None, typer.Option(help="PEM or PFX file with certificate and key, instead of a secret.")
]
Ends = Annotated[
    str | None,
    typer.Option("--ends", metavar="DATE", help="Its last day as Entra shows it: 2027-11-30.", show_default=False),
]
SecretText = Annotated[
    str,
    typer.Option(
        "--client-secret",
        help="The secret's value. Better: leave it out and type it when asked, or set the variable.",
        envvar="ISTHMUS_CLIENT_SECRET",
        show_envvar=True,
        show_default=False,
    ),
]
HISTORY_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands."""
    secret = typer.Typer(help="What a connection signs in with.", no_args_is_help=True)
    secret.command("set")(set_secret)
    secret.command("stage")(stage_secret)
    secret.command("unstage")(unstage_secret)
    secret.command("ends")(secret_ends)
    app.command("health")(show_health)
    app.add_typer(secret, name="secret")
    app.command("move")(move)


def show_health(name: Name = None, home: Home = None, as_json: Json = False) -> None:
    """How a connection is: why, since when, whose turn, what fixes it, when its secret ends, and what happened."""

    async def work() -> None:
        from isthmus.connections.ending import end_of
        from isthmus.connections.health import health_of
        from isthmus.store import grants, health

        async with hub(home) as opened:
            connection = await chosen_connection(opened, name, argument=True)
            async with opened.db.project(opened.project.id) as tx:
                grant = await grants.get(tx, connection.grant_id)
                ends = await end_of(tx, connection, grant)
                changes = await health.history(tx, connection.id, HISTORY_SHOWN)
        now = health_of(connection)
        if as_json:
            print_json(_plain(connection, now, grant, ends, changes))
            return
        _print(connection, now, grant, ends, changes)

    run(work)


def set_secret(
    name: Name = None,
    client_secret: SecretText = "",
    certificate: Certificate = None,
    ends: Ends = None,
    home: Home = None,
) -> None:
    """Use another secret or certificate of the same app from now on. It is tried first; nobody has to consent again."""

    async def work() -> None:
        async with hub(home) as opened:
            connection = await chosen_connection(opened, name, argument=True)
            new = _given(client_secret, certificate, ends)
            renewed = await opened.renewing.replace(connection.id, new, _journal(), actor="cli")
            report = await opened.check(renewed)
        say(f"[green]✓[/] {escape(connection.name)} signs in with the new one.")
        if report.failure is not None:
            say(f"But: {escape(report.failure.message)} {escape(remedy_of(report.failure))}")
            raise typer.Exit(exit_code(report.failure))

    run(work)


def stage_secret(
    name: Name = None,
    client_secret: SecretText = "",
    certificate: Certificate = None,
    ends: Ends = None,
    first_from: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="From then on it is tried first.", show_default=False)
    ] = None,
    home: Home = None,
) -> None:
    """Keep a second secret beside the one in use. It takes over when that one is refused, or from a date on."""

    async def work() -> None:
        async with hub(home) as opened:
            connection = await chosen_connection(opened, name, argument=True)
            new = _given(client_secret, certificate, ends)
            accepted = await opened.renewing.stage(
                connection.id, new, _journal(), actor="cli", from_at=_date(first_from) if first_from else None
            )
        tried = "It was accepted already." if accepted else "It is tried when its turn comes."
        say(f"[green]✓[/] A second secret waits for {escape(connection.name)}. {tried}")

    run(work)


def unstage_secret(name: Name = None, home: Home = None) -> None:
    """Forget a secret that waits; the one in use stays."""

    async def work() -> None:
        async with hub(home) as opened:
            connection = await chosen_connection(opened, name, argument=True)
            await opened.renewing.unstage(connection.id, actor="cli")
        say(f"[green]✓[/] No secret waits for {escape(connection.name)}.")

    run(work)


def secret_ends(
    date: Annotated[
        str, typer.Argument(metavar="DATE", help="As Entra shows it: 2027-11-30; “unknown” takes it away.")
    ],
    name: Name = None,
    home: Home = None,
) -> None:
    """Say when the secret in use ends. Warnings come 30, 14, 7 and 1 days before, by event and by mail."""
    ends_at = None if date == "unknown" else _date(date)

    async def work() -> None:
        async with hub(home) as opened:
            connection = await chosen_connection(opened, name, argument=True)
            await opened.renewing.set_expiry(connection.id, ends_at, actor="cli")
        when = f"ends {ago(ends_at)}" if ends_at else "has no known end"
        say(f"[green]✓[/] The secret of {escape(connection.name)} {when}.")

    run(work)


def move(
    environment: Annotated[str, typer.Argument(help="The environment's name as Business Central shows it.")],
    name: Name = None,
    home: Home = None,
) -> None:
    """Point a connection to another environment of its tenant, for example after it was renamed, and check it."""
    environment = given(environment, "environment")

    async def work() -> None:
        async with hub(home) as opened:
            connection = await chosen_connection(opened, name, argument=True)
            moved = await opened.move(connection.id, environment, actor="cli")
            report = await opened.check(moved)
        if report.failure is not None:
            say(f"{escape(connection.name)} leads to {escape(environment)}, and that does not work.")
            raise report.failure
        say(f"[green]✓[/] {escape(connection.name)} works in {escape(environment)}. Syncs and records stayed.")

    run(work)


def _given(secret: str, certificate: Path | None, ends: str | None) -> NewSecret:
    from isthmus.connections.credentials import CertificateFile, NewSecret
    from isthmus.vault.secrets import Secret

    if certificate is not None:
        try:
            content = certificate.read_bytes()
        except OSError as error:
            raise InvalidInput(f"{certificate} cannot be read: {error.strerror}.", remedy="Check the path.") from error
        password = os.environ.get("ISTHMUS_CERTIFICATE_PASSWORD") or None
        return NewSecret(certificate=CertificateFile(content=content, password=password))
    text = secret or ask("Client secret (its value, not its id)", otherwise="Set ISTHMUS_CLIENT_SECRET.", hidden=True)
    return NewSecret(secret=Secret(text), ends_at=_date(ends) if ends else None)


def _date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput(f"“{text}” is no date.", remedy="Write it as 2027-11-30.", subject=text) from error


def _journal() -> Any:
    from isthmus.app import ForgetfulJournal

    return ForgetfulJournal()


def _print(connection: Connection, now: Any, grant: Any, ends: Any, changes: list[Any]) -> None:
    from isthmus.cli.connections import state_text

    console = out()
    console.print(Text.assemble((connection.name, "bold"), "  ", state_text(now.state), f"  since {ago(now.since)}"))
    if now.ill:
        console.print(f"  {escape(now.message or '')}  [dim]{now.reason}[/]")
        console.print(Text(f"  → {remedy_of(connection.failure or {}) or now.remedy}", style="bold"))
        command = command_for((connection.failure or {}).get("code"), connection.name)
        if command:
            console.print(Text(f"  → {command}", style="bold"))
        console.print(f"    [dim]Whose turn: {escape(now.turn or '')}[/]")
    ends_at, integration = ends
    if ends_at is not None:
        waits = "; a new one waits" if grant.staged_at else ""
        what = "certificate" if grant.certificate_sealed else "secret"
        where = f" (your app’s, kept at the integration {escape(integration.name)})" if integration else ""
        console.print(f"  The {what} ends {ago(ends_at)}{waits}{where}")
    elif grant.staged_at is not None:
        console.print("  A second secret waits")
    if changes:
        console.print(f"  {counted(len(changes), 'change')}, newest first:")
    for each in changes:
        console.print(f"    {ago(each.at):>12}  {each.before} → {each.state}  [dim]{each.reason or ''}[/]")


def _plain(connection: Connection, now: Any, grant: Any, ends: Any, changes: list[Any]) -> dict[str, Any]:
    import msgspec

    ends_at, _ = ends
    return {
        "connection": connection.name,
        "health": msgspec.to_builtins(now),
        "secret": {
            "kind": "certificate" if grant.certificate_sealed else "secret" if grant.secret_sealed else "none",
            "expires_at": ends_at.isoformat() if ends_at else None,
            "staged": grant.staged_at is not None,
        },
        "history": [
            {"at": each.at.isoformat(), "state": each.state, "before": each.before, "reason": each.reason}
            for each in changes
        ],
    }
