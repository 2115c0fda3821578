"""`connect-sessions` and `portal-link`: links that are given to customers, to connect and to look after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text

from isthmus.cli.named import given, nearest
from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, counted, print_json, print_table, say
from isthmus.cli.remedies import told
from isthmus.cli.running import chosen, chosen_connection, hub, run
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from uuid import UUID

    from isthmus.app import Hub
    from isthmus.store.connect_sessions import ConnectSession
    from isthmus.store.consumers import Consumer

Reached = Annotated[
    str | None,
    typer.Option("--url", help="Where people reach `isthmus serve` (default: ISTHMUS_PUBLIC_URL).", show_default=False),
]
OwnId = Annotated[str, typer.Argument(help="Your own id of the customer.")]
SHOWN_DEFAULT = 50
_OVER = ("connected", "cancelled", "expired")
_STYLES = {"connected": "green", "failed": "red", "opened": "yellow", "pending": "yellow"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    sessions = typer.Typer(help="Links by which your customers connect.", no_args_is_help=True)
    sessions.command("create")(create)
    sessions.command("list")(list_sessions)
    sessions.command("cancel")(cancel)
    app.add_typer(sessions, name="connect-sessions")
    app.command("portal-link")(portal_link)


def create(
    consumer: Annotated[str, typer.Argument(help="Your own id of the customer, who is added when new.")],
    name: Annotated[str, typer.Option(help="The customer's name.", show_default=False)] = "",
    integration: Annotated[
        str | None, typer.Option(help="Its name; not needed while there is only one.", show_default=False)
    ] = None,
    connection: Annotated[
        str | None,
        typer.Option("--connection", "-c", help="Connect this one again instead of a new one.", show_default=False),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            metavar="WHAT=VALUE",
            help="What you know already: mode, tenant, environment or client_id; may be given several times.",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[int, typer.Option(help="How long the link may wait to be opened.", min=1, max=1_440)] = 30,
    return_url: Annotated[
        str, typer.Option("--return-url", help="Where the person goes afterwards.", show_default=False)
    ] = "",
    url: Reached = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a link for a customer: they open it, agree, sign in, and pick companies. It is shown once."""

    async def work() -> None:
        from isthmus.connections.sessions import SessionWish

        external_id = given(consumer, "consumer")
        async with hub(home) as opened:
            base = _reached(opened, url)
            wish = SessionWish(
                consumer=external_id,
                consumer_name=name.strip(),
                integration_id=await _integration(opened, integration, needed=connection is None),
                connection_id=(await chosen_connection(opened, connection)).id if connection else None,
                return_url=return_url,
                preset=dict(_preset(each) for each in preset or ()),
                expires_in_s=minutes * 60,
            )
            made = await opened.connect.sessions.create(wish, actor="cli")
        link = f"{base}/connect/{made.token}"
        if as_json:
            print_json({"session": _plain(made.session, external_id), "url": link})
            return
        say(f"[green]✓[/] A link for {escape(external_id)}, good for {counted(minutes, 'minute')}. Shown only now:")
        print(link)
        say("`isthmus connect-sessions list` tells how it fares; `isthmus serve` answers it.")

    run(work)


def list_sessions(
    consumer: Annotated[
        str | None, typer.Option(help="Only those of this customer, by your own id.", show_default=False)
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(help="pending, opened, connected, cancelled, failed or expired.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1_000)] = SHOWN_DEFAULT,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List connect sessions, newest first: who connects, how far they are, and why one failed. Never the links."""

    async def work() -> None:
        from isthmus.store import consumers, listing
        from isthmus.store.connect_sessions import ConnectSession

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            wanted = (await _consumer(opened, consumer)).id if consumer is not None else None
            rows, more = await listing.page(
                tx, ConnectSession, limit, None, consumer_id=wanted, status=_known_status(status)
            )
            names = {row.consumer_id: await consumers.get(tx, row.consumer_id) for row in rows}
        if as_json:
            print_json([_plain(row, names[row.consumer_id].external_id) for row in rows])
            return
        if not rows:
            say("No such session. `isthmus connect-sessions create CONSUMER` makes a link.")
            return
        print_table(
            ["Consumer", "Name", "Session", "Status", "Step", "Made", "Ends", "Why"],
            [_line(row, names[row.consumer_id]) for row in rows],
            spare=["Name", "Made"],
        )
        if more:
            say(f"The newest {limit} are shown; --limit shows more.")

    run(work)


def cancel(
    session: Annotated[str, typer.Argument(help="A session's id, or the end of it.")],
    home: Home = None,
) -> None:
    """Take a link back: nobody can use it any more. What was begun is forgotten."""

    async def work() -> None:
        from isthmus.store import audit, listing
        from isthmus.store.connect_sessions import ConnectSession

        async with hub(home) as opened:
            async with opened.db.project(opened.project.id) as tx:
                rows, _ = await listing.page(tx, ConnectSession, listing.PAGE_ROWS_MAX)
            found = chosen(rows, session, what="connect session", words=lambda each: [str(each.id), each.id.hex])
            ended = await opened.connect.sessions.revoke(found.id)
            async with opened.db.project(opened.project.id) as tx:
                await audit.note(tx, actor="cli", action="connect_session.cancel", subject=str(found.id))
        if ended.status != "cancelled":
            say(f"It is {ended.status} already and stays so.")
            return
        say("[green]✓[/] The link is taken back.")

    run(work)


def portal_link(
    consumer: OwnId,
    hours: Annotated[int, typer.Option(help="How long the link works.", min=1, max=720)] = 24,
    url: Reached = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a link to a customer's own page: their connections, a new secret, sign in again, disconnect."""

    async def work() -> None:
        from isthmus.connections.portal_links import make_link

        async with hub(home) as opened:
            base, found = _reached(opened, url), await _consumer(opened, consumer)
            made = await make_link(
                opened.db, opened.project.id, opened.clock, found.id, base, life_s=hours * 3_600, actor="cli"
            )
        if as_json:
            print_json({"url": made.url, "expires_at": made.link.expires_at.isoformat()})
            return
        say(f"Works until {made.link.expires_at:%Y-%m-%d %H:%M} UTC for whoever has it. Shown only now:")
        print(made.url)

    run(work)


def _reached(opened: Hub, url: str | None) -> str:
    """Where the pages of this hub are. Raises InvalidInput when nobody has said."""
    base = url or opened.settings.public_url
    if base is None:
        raise InvalidInput(
            "It is not known where people reach this hub.",
            remedy="Set ISTHMUS_PUBLIC_URL, or give --url https://hub.example.com.",
        )
    return base.rstrip("/")


async def _consumer(opened: Hub, external_id: str) -> Consumer:
    """A customer by the host's own id. Raises InvalidInput."""
    from isthmus.store import listing
    from isthmus.store.consumers import Consumer

    async with opened.db.project(opened.project.id) as tx:
        found, _ = await listing.page(tx, Consumer, 1, None, external_id=external_id)
    if not found:
        raise InvalidInput(
            f"There is no consumer “{external_id}”.",
            remedy="`isthmus consumers list` lists them; `isthmus connect-sessions create` adds one with its link.",
            subject=external_id,
        )
    return found[0]


async def _integration(opened: Hub, name: str | None, *, needed: bool) -> UUID | None:
    """An integration by name, or the only one. Raises InvalidInput."""
    from isthmus.store import integrations

    async with opened.db.project(opened.project.id) as tx:
        every = await integrations.every(tx)
    names = {each.name.casefold(): each.id for each in every}
    if name is not None and name.casefold() in names:
        return names[name.casefold()]
    if name is None and (len(every) == 1 or not needed):
        return every[0].id if len(every) == 1 else None
    if not every:
        raise InvalidInput(
            "There is no integration yet, so nobody can connect by a link.",
            remedy="Describe one in isthmus.yaml and run `isthmus apply`, or add it in the console under Apps.",
        )
    raise InvalidInput(
        "There are several integrations." if name is None else f"There is no integration “{name}”.",
        remedy=f"Choose one with --integration: {', '.join(each.name for each in every)}.",
        nearest=nearest(name or "", [each.name for each in every]),
        subject=name,
    )


def _preset(text: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise InvalidInput(f"“{text[:100]}” presets nothing.", remedy="Write --preset environment=Production.")
    return name, value


def _known_status(text: str | None) -> str | None:
    from isthmus.store.connect_sessions import STATUSES

    if text is None or text in STATUSES:
        return text
    raise InvalidInput(
        f"There is no status “{text}”.", remedy=f"Use one of: {', '.join(STATUSES)}.", nearest=nearest(text, STATUSES)
    )


def _line(row: ConnectSession, consumer: Consumer) -> list[object]:
    failure: dict[str, Any] = row.failure or {}
    over = row.status in _OVER
    return [
        consumer.external_id,
        consumer.name,
        row.id.hex[-8:],
        Text(row.status, style=_STYLES.get(row.status, "dim")),
        "–" if over else row.step,
        ago(row.created_at),
        ago(row.ended_at or row.expires_at),
        failure.get("message", "–") if row.status == "failed" else "–",
    ]


def _plain(row: ConnectSession, external_id: str) -> dict[str, Any]:
    """A session for programs: neither what was typed in it nor a way into it."""
    finished = row.status == "connected" or row.reconnect
    return {
        "id": str(row.id),
        "status": row.status,
        "step": row.step,
        "consumer": external_id,
        "integration": str(row.integration_id),
        "connection": str(row.connection_id) if finished and row.connection_id else None,
        "reconnect": row.reconnect,
        "failure": told(row.failure) if row.status == "failed" else None,
        "created_at": row.created_at,
        "opened_at": row.opened_at,
        "ended_at": row.ended_at,
        "expires_at": row.expires_at,
    }
