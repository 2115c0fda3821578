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
    from isthmus.store.api_keys import ApiKey

Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="read, write, proxy, connect or admin; may be given several times (default: read)."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(help="Keys for the HTTP API.", no_args_is_help=True)
    keys.command("create")(create)
    keys.command("list")(list_keys)
    keys.command("revoke")(revoke)
    app.add_typer(keys, name="keys")


def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Scopes = None,
    expires_days: Annotated[
        int | None, typer.Option("--expires", help="Days until it ends (default: never).", min=1, max=3_650)
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown once; only its hash is kept."""
    name = given(name, "name")

    async def work() -> None:
        from isthmus.kernel.key_text import digest_of, new_key, prefix_of
        from isthmus.store import api_keys, audit

        scopes = _scopes(scope)
        async with hub(home) as opened:
            text = new_key(development=opened.settings.development)
            ends = datetime.now(UTC) + timedelta(days=expires_days) if expires_days else None
            async with opened.db.project(opened.project.id) as tx:
                made = await api_keys.create(
                    tx, name=name, scopes=scopes, prefix=prefix_of(text), digest=digest_of(text), expires_at=ends
                )
                await audit.note(
                    tx, actor="cli", action="key.create", subject=str(made.id), detail={"name": name, "scopes": scopes}
                )
        if as_json:
            print_json(_plain(made) | {"secret": text})
            return
        say(f"[green]✓[/] Key {escape(name)} may {', '.join(scopes)}. Shown only now:")
        print(text)
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
            ["Key", "Id", "Begins", "May", "State", "Last used"],
            [
                [
                    each.name,
                    each.id.hex[-8:],
                    f"{each.prefix}…",
                    ", ".join(each.scopes),
                    _state(each),
                    ago(each.last_used_at),
                ]
                for each in every
            ],
        )

    run(work)


def revoke(
    name: Annotated[str, typer.Argument(help="A key's name, or the end of its id.")],
    home: Home = None,
) -> None:
    """End a key for good. Servers notice within five seconds."""

    async def work() -> None:
        from isthmus.store import api_keys, audit

        async with hub(home) as opened:
            async with opened.db.project(opened.project.id) as tx:
                every = [each for each in await api_keys.every(tx) if each.revoked_at is None]
            key: ApiKey = chosen(every, name, what="key", words=lambda each: [str(each.id), each.id.hex, each.name])
            async with opened.db.project(opened.project.id) as tx:
                await api_keys.revoke(tx, key.id)
                await audit.note(tx, actor="cli", action="key.revoke", subject=str(key.id), detail={"name": key.name})
        say(f"[green]✓[/] Key {escape(key.name)} is revoked.")

    run(work)


def _scopes(given: list[str] | None) -> list[str]:
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
    }
