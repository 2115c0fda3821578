"""`connect`, `connections`, `check`: getting in, and finding out why not."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.text import Text

from isthmus.cli.interactive import waiting
from isthmus.cli.options import ConnectionName, Home, Json
from isthmus.cli.output import ago, counted, exit_code, out, print_json, print_table, say
from isthmus.cli.remedies import command_for, remedy_of, told, with_command
from isthmus.cli.running import ask, chosen_connection, confirm, hub, run, settings
from isthmus.client.sandbox import example_app, read_sandbox, sandbox_cloud
from isthmus.kernel.failures import Failure, InvalidInput

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.auth.entra.clouds import Cloud
    from isthmus.connections.checking import Report
    from isthmus.connections.credentials import AppCredentials
    from isthmus.connections.making import Wish
    from isthmus.store.rows import Connection

STATE_TONES = {
    "connected": ("● connected", "green"),
    "pending": ("○ pending", "yellow"),
    "degraded": ("◐ degraded", "yellow"),
    "needs_reauth": ("✗ needs reauthorisation", "red"),
    "blocked": ("✗ blocked", "red"),
    "disconnected": ("○ disconnected", "dim"),
}


def state_text(state: str) -> Text:
    """A state as a word with a shape, then a colour: colour is never alone."""
    word, tone = STATE_TONES.get(state, (state, ""))
    return Text(word, style=tone)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    connect = typer.Typer(help="Connect a system.", no_args_is_help=True)
    connect.command("business-central")(connect_business_central)
    app.add_typer(connect, name="connect")
    app.command("connections")(list_connections)
    app.command("check")(check)
    app.command("disconnect")(disconnect)


def connect_business_central(
    tenant: Annotated[str, typer.Option(help="Tenant id or domain. Not needed for a sign-in in the browser.")] = "",
    environment: Annotated[str, typer.Option(help="Environment name as Business Central shows it.")] = "Production",
    client_id: Annotated[str, typer.Option(help="Application (client) id of the app registration.")] = "",
    client_secret: Annotated[
        str,
        typer.Option(
            help="The secret's value. Better: leave it out and type it when asked, or set the variable.",
            envvar="ISTHMUS_CLIENT_SECRET",
            show_envvar=True,
        ),
    ] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="PEM or PFX file with certificate and key, instead of a secret.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser", help="Sign in as a person in the browser.")] = False,
    cloud: Annotated[
        str, typer.Option(help="public, us_government, china, sandbox, or a JSON file that defines a cloud.")
    ] = "public",
    name: Annotated[str, typer.Option(help="How to call the connection (default: tenant and environment).")] = "",
    reconnect: Annotated[
        str | None,
        typer.Option(
            help="A connection, by name or id, that gets new credentials; what is not given stays as it was.",
            show_default=False,
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Connect Business Central with an app's credentials, or with a sign-in in the browser.

    The same name again, or --reconnect, replaces the credentials and keeps the data: this is also how an expired secret
    is renewed.
    """
    typed = Typed(
        tenant=tenant,
        environment=environment,
        client_id=client_id,
        client_secret=client_secret,
        certificate=certificate,
        browser=browser,
        cloud=None if reconnect is not None else _cloud(cloud, settings(home).home),
        name=name,
    )
    if cloud == "sandbox" and reconnect is None:
        typed = typed.filled(_sandbox_defaults(settings(home).home, browser=browser))

    async def work() -> None:
        async with hub(home) as opened:
            meant = typed if reconnect is None else await _as_before(opened, typed, reconnect)
            completed = meant.completed()
            fresh = await _named(opened, completed.name) is None
            with waiting():
                connection = await _connected(opened, completed)
            await _report(opened, connection, as_json=as_json, welcome=True, consented=meant.browser, fresh=fresh)

    run(work)


class Typed(msgspec.Struct, frozen=True, kw_only=True):
    """What a person typed to connect. Its repr hides the secret."""

    tenant: str
    environment: str
    client_id: str
    client_secret: str
    certificate: Path | None
    browser: bool
    cloud: Any
    name: str

    def __repr__(self) -> str:
        return f"Typed(name={self.name!r})"

    def filled(self, defaults: dict[str, str]) -> Typed:
        """With defaults where nothing was typed; a certificate stands instead of a secret."""
        secret = "" if self.certificate else defaults.get("client_secret", "")
        return msgspec.structs.replace(
            self,
            tenant=self.tenant or defaults.get("tenant", ""),
            client_id=self.client_id or defaults.get("client_id", ""),
            client_secret=self.client_secret or secret,
        )

    def completed(self) -> Typed:
        """Checked, with the secret asked for where a person can answer. Raises InvalidInput for what is missing."""
        if not self.client_id:
            raise InvalidInput(
                "The client id is missing.",
                remedy="Give --client-id: Entra admin centre → App registrations → your app → Application (client) ID.",
            )
        if not self.browser and not self.tenant:
            raise InvalidInput(
                "The tenant is missing.",
                remedy="Give --tenant: Entra admin centre → Overview → Tenant ID, or its domain.",
            )
        secret = self.client_secret
        if not self.browser and not self.certificate and not secret:
            secret = ask("Client secret (its value, not its id)", otherwise="Set ISTHMUS_CLIENT_SECRET.", hidden=True)
        name = self.name or f"{self.tenant or 'browser'} / {self.environment}"
        return msgspec.structs.replace(self, client_secret=secret, name=name)


async def _as_before(opened: Hub, typed: Typed, name: str) -> Typed:
    """What was typed, on top of what the connection leads to already."""
    from isthmus.connections.credentials import GrantKind, cloud_of
    from isthmus.store import grants

    connection = await chosen_connection(opened, name, argument=True)
    async with opened.db.project(opened.project.id) as tx:
        grant = await grants.get(tx, connection.grant_id)
    person = grant.kind == GrantKind.PERSON
    return msgspec.structs.replace(
        typed.filled({"tenant": "" if person else grant.tenant, "client_id": grant.client_id}),
        environment=connection.environment,
        browser=person,
        cloud=cloud_of(grant),
        name=connection.name,
    )


async def _named(opened: Hub, name: str) -> Connection | None:
    from isthmus.store import connections

    async with opened.db.project(opened.project.id) as tx:
        return next((each for each in await connections.every(tx) if each.name == name), None)


async def _connected(opened: Hub, typed: Typed) -> Connection:
    """The connection, made or renewed; not checked yet. Credentials that are refused replace nothing."""
    from isthmus.connections.credentials import AppCredentials, CertificateFile
    from isthmus.connections.making import Wish
    from isthmus.vault.secrets import Secret

    wish = Wish(
        provider="business_central",
        cloud=typed.cloud,
        tenant=typed.tenant,
        environment=typed.environment,
        name=typed.name,
    )
    secret = Secret(typed.client_secret) if typed.client_secret and typed.certificate is None else None
    if typed.browser:
        from isthmus.cli.loopback import sign_in

        return await sign_in(opened, wish, client_id=typed.client_id, secret=secret)
    content = None
    if typed.certificate is not None:
        password = os.environ.get("ISTHMUS_CERTIFICATE_PASSWORD") or None
        content = CertificateFile(content=_read(typed.certificate), password=password)
    app = AppCredentials(client_id=typed.client_id, secret=secret, certificate=content)
    await _tried(opened, wish, app)
    return await opened.connecting.with_app(wish, app)


async def _tried(opened: Hub, wish: Wish, app: AppCredentials) -> None:
    """Raise what the identity provider says against the credentials, unless they only wait for somebody else."""
    from isthmus.app import ForgetfulJournal
    from isthmus.connections.trial import SOMEBODY_ELSE, try_app

    present = await _named(opened, wish.name)
    try:
        await try_app(opened.opener, opened.clock, wish, app, ForgetfulJournal())
    except SOMEBODY_ELSE:
        if present is not None and present.state == "connected":
            raise
    except Failure as failure:
        if present is None:
            failure.message += " Nothing was saved."
        elif present.state == "connected":
            failure.message += " Not saved: the old credentials still work and stay in use."
        else:
            failure.message += " Not saved: the connection keeps what it had."
        raise


def disconnect(
    name: Annotated[str, typer.Argument(help="The connection's name.")],
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Keep syncs and records; connecting again goes on with them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """End a connection: its credentials are forgotten, its work stops, and its data is erased, or kept as asked."""

    async def work() -> None:
        from isthmus.connections.disconnecting import losses

        async with hub(home) as opened:
            connection = await chosen_connection(opened, name, argument=True)
            lost = await losses(opened.db, opened.project.id, connection.id)
            stops = f"This forgets the credentials and stops {counted(lost.syncs, 'sync')}"
            waiting = f" and {counted(lost.writes, 'write')} not sent yet" if lost.writes else ""
            erases = (
                "Records stay."
                if keep_data
                else f"It erases {counted(lost.records, 'record')} and {counted(lost.changes, 'change')} in the feed."
            )
            confirm(f"{stops}{waiting}. {erases}", connection.name, yes=yes)
            ended = await opened.disconnect(connection.id, erase=not keep_data, actor="cli")
        say(f"[green]✓[/] {escape(connection.name)} is {'disconnected' if keep_data else 'gone'}.")
        say(ended.at_the_vendor)

    run(work)


def list_connections(home: Home = None, as_json: Json = False) -> None:
    """List connections with their state; trouble comes first."""

    async def work() -> None:
        from isthmus.store import connections

        async with hub(home) as opened:
            async with opened.db.project(opened.project.id) as tx:
                every = await connections.every(tx)
                companies = {each.id: await connections.companies_of(tx, each.id) for each in every}
            every.sort(key=lambda each: (each.state == "connected", each.name.casefold()))
            if as_json:
                print_json([_plain(each, companies[each.id]) for each in every])
                return
            if not every:
                say("No connection yet. `isthmus connect business-central` makes one.")
                return
            print_table(
                ["Connection", "State", "Since", "Environment", "Companies", "What now"],
                [
                    [
                        each.name,
                        state_text(each.state),
                        ago(each.since),
                        each.environment,
                        sum(row.selected for row in companies[each.id]),
                        with_command(each.failure, each.name),
                    ]
                    for each in every
                ],
                right=["Companies"],
            )

    run(work)


def check(
    name: Annotated[str | None, typer.Argument(help="The connection's name.", show_default=False)] = None,
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check a connection step by step; each failure comes with its remedy."""

    async def work() -> None:
        async with hub(home) as opened:
            await _report(opened, await chosen_connection(opened, name or connection, argument=True), as_json=as_json)

    run(work)


async def _report(
    opened: Hub,
    connection: Connection,
    *,
    as_json: bool,
    welcome: bool = False,
    consented: bool = False,
    fresh: bool = False,
) -> None:
    """Check and tell. A `fresh` connection that was typed wrongly is forgotten again; who else must act is told."""
    from isthmus.connections.trial import worth_keeping
    from isthmus.store import connections

    with waiting():
        report = await opened.check(connection, just_consented=consented)
    failure = report.failure
    forgotten = fresh and failure is not None and not worth_keeping(failure)
    if forgotten:
        async with opened.db.project(opened.project.id) as tx:
            await connections.delete(tx, connection.id)
    if as_json:
        print_json(_report_plain(report) | ({"saved": not forgotten} if welcome else {}))
    else:
        _print_report(report)
        if forgotten:
            say("Nothing was saved. Correct the command and run it again.")
        elif fresh and failure is not None:
            name = escape(shlex.quote(connection.name))
            say(f"Saved all the same: it is the turn of {failure.whose_turn.value}. Afterwards: isthmus check {name}")
        if welcome and failure is None:
            say("Next: `isthmus objects` lists what can be read, `isthmus sync create customers` keeps it in step.")
    if failure is not None:
        raise typer.Exit(exit_code(failure))


def _print_report(report: Report) -> None:
    console = out()
    console.print(Text.assemble((report.connection.name, "bold"), "  ", state_text(report.connection.state)))
    for step in report.steps:
        mark = "[green]✓[/]" if step.passed else ("[yellow]–[/]" if step.optional else "[bold red]✗[/]")
        console.print(f"  {mark} {step.title}", end="")
        console.print(Text(f"  {step.detail}", style="dim"))
        if step.failure is not None:
            console.print(Text(f"    → {remedy_of(step.failure)}", style="bold" if not step.optional else ""))
            command = command_for(step.failure.code, report.connection.name)
            if command is not None and not step.optional:
                console.print(Text(f"    → {command}", style="bold"))
            console.print(Text(f"      Whose turn: {step.failure.whose_turn.value}", style="dim"))
            vendor = step.failure.vendor
            if vendor is not None and vendor.correlation_id:
                console.print(Text(f"      Reference: {vendor.correlation_id}", style="dim"))


def _report_plain(report: Report) -> dict[str, Any]:
    return {
        "connection": report.connection.name,
        "state": report.connection.state,
        "steps": [
            {
                "name": step.name,
                "title": step.title,
                "passed": step.passed,
                "optional": step.optional,
                "detail": step.detail,
                "failure": told(step.failure),
            }
            for step in report.steps
        ],
    }


def _plain(connection: Connection, companies: list[Any]) -> dict[str, Any]:
    return {
        "id": str(connection.id),
        "name": connection.name,
        "provider": connection.provider,
        "environment": connection.environment,
        "state": connection.state,
        "since": connection.since.isoformat(),
        "failure": told(connection.failure),
        "health": _health(connection),
        "companies": [{"id": row.remote_id, "name": row.name, "selected": row.selected} for row in companies],
    }


def _health(connection: Connection) -> dict[str, Any]:
    from isthmus.connections.health import health_of

    plain: dict[str, Any] = msgspec.to_builtins(health_of(connection))
    return plain


def _cloud(name: str, home: Path) -> Cloud:
    from isthmus.auth.entra.clouds import Cloud, find_cloud

    if name == "sandbox":
        return sandbox_cloud(read_sandbox(home))
    if name.endswith(".json"):
        try:
            return msgspec.json.decode(_read(Path(name)), type=Cloud)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise InvalidInput(
                f"{name} does not define a cloud: {error}",
                remedy="It needs name, title, login_url and business_central_url; ca_file is optional.",
            ) from error
    return find_cloud(name, also=("sandbox",))


def _sandbox_defaults(home: Path, *, browser: bool) -> dict[str, str]:
    """The sandbox's ready-made app for this way of signing in."""
    app: dict[str, str] = msgspec.to_builtins(example_app(read_sandbox(home), person=browser))
    return app


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
