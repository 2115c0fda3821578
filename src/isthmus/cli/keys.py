"""`keys`: who may call the API of this project."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text

from isthmus.cli.named import given
from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, print_json, print_table, say
from isthmus.cli.running import chosen, hub, run
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.api_keys import ApiKey

Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope", help="read, write, proxy, connect, admin or hub; may be given several times (default: read)."
    ),
]


RequestsPerS = Annotated[
    float | None,
    typer.Option(
        "--requests-per-s",
        help="Requests a second to one server, twice as many at once (default: the server's own limit).",
        min=0.1,
        max=100_000,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(help="Keys for the HTTP API.", no_args_is_help=True)
    keys.command("create")(create)
    keys.command("list")(list_keys)
    keys.command("limit")(limit)
    keys.command("revoke")(revoke)
    app.add_typer(keys, name="keys")


def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Scopes = None,
    expires_days: Annotated[
        int | None, typer.Option("--expires", help="Days until it ends (default: never).", min=1, max=3_650)
    ] = None,
    requests_per_s: RequestsPerS = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown once; only its hash is kept."""
    name = given(name, "name")

    async def work() -> None:
        from isthmus.store import api_keys, audit

        scopes = chosen_scopes(scope)
        async with hub(home) as opened:
            ends = datetime.now(UTC) + timedelta(days=expires_days) if expires_days else None
            async with opened.db.project(opened.project.id) as tx:
                made = await api_keys.make(
                    tx,
                    name=name,
                    scopes=scopes,
                    development=opened.project.development,
                    expires_at=ends,
                    requests_per_s=requests_per_s,
                )
                detail = {"name": name, "scopes": scopes}
                await audit.note(tx, actor="cli", action="key.create", subject=str(made.key.id), detail=detail)
        if as_json:
            print_json(_plain(made.key) | {"secret": made.text})
            return
        say(f"[green]✓[/] Key {escape(name)} may {', '.join(scopes)}. Shown only now:")
        print(made.text)
        say("Send it as “Authorization: Bearer …”; `isthmus serve` answers.")

    run(work)


def list_keys(home: Home = None, as_json: Json = False) -> None:
    """List keys, never the keys themselves."""

    async def work() -> None:
        from isthmus.store import api_keys

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            every = await api_keys.every(tx)
        if as_json:
            print_json([_plain(each) for each in every])
            return
        if not every:
            say("No key yet. `isthmus keys create NAME --scope admin` makes one.")
            return
        print_table(
            ["Key", "Id", "Begins", "May", "Requests/s", "State", "Last used"],
            [
                [
                    each.name,
                    each.id.hex[-8:],
                    f"{each.prefix}…",
                    ", ".join(each.scopes),
                    "–" if each.requests_per_s is None else f"{each.requests_per_s:g}",
                    _state(each),
                    ago(each.last_used_at),
                ]
                for each in every
            ],
        )

    run(work)


def limit(
    name: Annotated[str, typer.Argument(help="A key's name, or the end of its id.")],
    requests_per_s: RequestsPerS = None,
    home: Home = None,
) -> None:
    """Change how many requests a key may send. Servers notice within five seconds."""

    async def work() -> None:
        from isthmus.store import api_keys, audit

        async with hub(home) as opened:
            key = await _living(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                await api_keys.limit(tx, key.id, requests_per_s)
                detail = {"name": key.name, "requests_per_s": requests_per_s}
                await audit.note(tx, actor="cli", action="key.limit", subject=str(key.id), detail=detail)
        words = (
            "what the server allows every key" if requests_per_s is None else f"{requests_per_s:g} requests a second"
        )
        say(f"[green]✓[/] Key {escape(key.name)} may send {words}.")

    run(work)


def revoke(
    name: Annotated[str, typer.Argument(help="A key's name, or the end of its id.")],
    home: Home = None,
) -> None:
    """End a key for good. Servers notice within five seconds."""

    async def work() -> None:
        from isthmus.store import api_keys, audit

        async with hub(home) as opened:
            key = await _living(opened, name)
            async with opened.db.project(opened.project.id) as tx:
                await api_keys.revoke(tx, key.id)
                await audit.note(tx, actor="cli", action="key.revoke", subject=str(key.id), detail={"name": key.name})
        say(f"[green]✓[/] Key {escape(key.name)} is revoked.")

    run(work)


async def _living(opened: Hub, name: str) -> ApiKey:
    """The key that a person means, of those that are not revoked. Raises InvalidInput."""
    from isthmus.store import api_keys

    async with opened.db.project(opened.project.id) as tx:
        every = [each for each in await api_keys.every(tx) if each.revoked_at is None]
    key: ApiKey = chosen(every, name, what="key", words=lambda each: [str(each.id), each.id.hex, each.name])
    return key


def chosen_scopes(given: list[str] | None) -> list[str]:
    """The scopes that were typed. Raises InvalidInput."""
    from isthmus.kernel.key_text import SCOPES

    known = {scope.value for scope in SCOPES}
    for each in given or ():
        if each not in known:
            raise InvalidInput(f"There is no scope “{each}”.", remedy=f"Use {', '.join(sorted(known))}.")
    return sorted(set(given or ["read"]))


def _state(key: ApiKey) -> Text:
    if key.revoked_at is not None:
        return Text("✗ revoked", style="red")
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return Text("✗ expired", style="red")
    return Text("● good", style="green")


def _plain(key: ApiKey) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "name": key.name,
        "scopes": key.scopes,
        "prefix": key.prefix,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "requests_per_s": key.requests_per_s,
    }
