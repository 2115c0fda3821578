"""`objects`, `describe`, `read`, `changes`: looking at data."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from isthmus.cli.named import given, synced_objects
from isthmus.cli.options import (
    CompanyNames,
    ConnectionName,
    Expand,
    Filter,
    Home,
    Json,
    Route,
    Select,
    listed,
    moment_of,
    not_blank,
)
from isthmus.cli.output import out, print_json, print_json_lines, print_table, say
from isthmus.cli.running import chosen_connection, hub, run
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from isthmus.app import Hub
    from isthmus.connections.opening import OpenConnection
    from isthmus.providers.base import ObjectInfo, Page, ReadSpec

TABLE_RECORDS_DEFAULT = 20
"""A screenful; a table is for looking, not for taking along."""

TABLE_COLUMNS_MAX = 6
CHANGES_DEFAULT = 100


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("objects")(objects)
    app.command("describe")(describe)
    app.command("read")(read)
    app.command("changes")(changes)


def objects(
    matching: Annotated[str | None, typer.Argument(help="Only names that contain this.", show_default=False)] = None,
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List what the environment offers, as it describes itself today."""

    async def work() -> None:
        from isthmus.app import ForgetfulJournal

        async with hub(home) as opened:
            chosen = await chosen_connection(opened, connection)
            async with opened.connection(chosen.id, ForgetfulJournal()) as ready:
                found = await ready.objects(ready.access.provider.parse_route(route), fresh=True)
        found = [each for each in found if matching is None or matching.casefold() in each.name.casefold()]
        if as_json:
            print_json([_object_plain(each) for each in found])
            return
        print_table(
            ["Object", "Fields", "Reading", "Changes by", "Deletions"],
            [
                [
                    each.name,
                    len(each.fields),
                    each.reading.value.replace("_", " ") if each.bulk else "one at a time",
                    each.stamp or "comparison",
                    each.deletions and each.bulk,
                ]
                for each in found
            ],
            right=["Fields"],
        )
        say(f"{len(found)} objects. `isthmus describe OBJECT` shows one.")

    run(work)


def describe(
    name: Annotated[str, typer.Argument(help="The object; case does not matter.")],
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show one object: fields with type, length and members, related objects, actions."""

    async def work() -> None:
        from isthmus.app import ForgetfulJournal

        async with hub(home) as opened:
            chosen = await chosen_connection(opened, connection)
            async with opened.connection(chosen.id, ForgetfulJournal()) as ready:
                obj = await ready.describe(name, ready.access.provider.parse_route(route), fresh=True)
        if as_json:
            print_json(_object_plain(obj, whole=True))
            return
        _print_object(obj)

    run(work)


def read(
    name: Annotated[str, typer.Argument(help="The object; case does not matter.")],
    select: Select = None,
    filter_text: Filter = None,
    since: Annotated[
        str | None, typer.Option(help="Only records modified since, for example 2026-01-31.", show_default=False)
    ] = None,
    company: CompanyNames = None,
    expand: Expand = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many records (table: 20).", min=1, show_default=False)
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, jsonl or csv.")] = "table",
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read an object once, straight from the vendor; nothing is stored."""
    form = "jsonl" if as_json else form
    if form not in ("table", "jsonl", "csv"):
        raise InvalidInput(f"There is no format “{form}”.", remedy="Use table, jsonl or csv.")
    if form == "table" and limit is None:
        limit = TABLE_RECORDS_DEFAULT

    async def work() -> None:
        from isthmus.cli.printing import RecordPrinter

        async with hub(home) as opened:
            chosen = await chosen_connection(opened, connection)
            async with ready_connection(opened, chosen.id) as ready:
                obj, spec = await wished(ready, name, route, select, filter_text, since, expand, limit)
                printer = RecordPrinter(obj, spec.select, form, columns_max=TABLE_COLUMNS_MAX)
                async for company_name, page in pages_of(ready, obj, spec, company):
                    printer.add(company_name, page.raws)
                printer.finish()

    run(work)


def changes(
    since: Annotated[str, typer.Option(help="The next_cursor of an earlier answer; 0 is the beginning.")] = "0",
    limit: Annotated[int, typer.Option(help="At most so many changes.", min=1, max=5_000)] = CHANGES_DEFAULT,
    object_name: Annotated[str | None, typer.Option("--object", help="Only this object.", show_default=False)] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read the change feed: what was created, updated or deleted, in order."""

    async def work() -> None:
        from isthmus.kernel.cursors import decode_cursor, encode_cursor
        from isthmus.store import feed

        after = decode_cursor(given(since, "cursor"))
        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            only = await synced_objects(tx, () if object_name is None else (object_name,))
            page = await feed.read(tx, after, limit, feed.FeedFilter(objects=only or None))
        cursor = encode_cursor(page.next_number)
        if as_json:
            print_json_lines(_change_plain(each) for each in page.changes)
            print_json({"next_cursor": cursor, "more": page.more})
            return
        if page.changes:
            print_table(
                ["Number", "When", "Kind", "Object", "Company", "Record"],
                [
                    [
                        each.number,
                        f"{each.at:%Y-%m-%d %H:%M:%S}",
                        each.kind.value,
                        each.object,
                        each.company[:8],
                        each.remote_id,
                    ]
                    for each in page.changes
                ],
                right=["Number"],
                spare=["Company", "When"],
            )
        else:
            say("No changes after this cursor. They appear when a sync runs (`isthmus sync run`).")
        say(f"next_cursor: {cursor}{'  (there is more)' if page.more else ''}")

    run(work)


async def wished(
    ready: OpenConnection,
    name: str,
    route: str,
    select: str | None,
    filter_text: str | None,
    since: str | None,
    expand: str | None,
    limit: int | None,
) -> tuple[ObjectInfo, ReadSpec]:
    """What a person typed, checked against the object."""
    from isthmus.actions.reading.setup import field_name, navigation_name
    from isthmus.providers.base import ReadSpec

    not_blank(filter_text, "--filter")
    not_blank(since, "--since")
    moment = moment_of(since) if since is not None else None
    fields, related = listed(select), listed(expand)
    provider = ready.access.provider
    obj = await ready.describe(name, provider.parse_route(route))
    return obj, ReadSpec(
        select=tuple(field_name(obj, each) for each in fields),
        filter=provider.checked_filter(obj, filter_text) if filter_text else None,
        expand=tuple(navigation_name(obj, each) for each in related),
        since=moment,
        limit=limit,
    )


async def pages_of(
    ready: OpenConnection, obj: ObjectInfo, spec: ReadSpec, companies: list[str] | None
) -> AsyncIterator[tuple[str, Page]]:
    """Pages with their company's name, company by company."""
    import msgspec

    names = {row.remote_id: row.name for row in ready.companies}
    left = spec.limit
    for part in ready.access.provider.parts(obj, company_ids(ready, companies)):
        part_spec = msgspec.structs.replace(spec, limit=left)
        async for fetched in ready.access.reader(obj, part_spec, part, hashed=False).pages():
            if len(fetched.page):
                yield names.get(part.company_id or "", ""), fetched.page
            if left is not None:
                left -= len(fetched.page)
        if left is not None and left <= 0:
            return


def company_ids(ready: OpenConnection, names: list[str] | None) -> list[str]:
    """The companies that were typed, or all. Raises CompanyNotFound."""
    from isthmus.actions.reading.setup import company_id

    return [company_id(ready.companies, name) for name in names] if names else ready.company_ids


def ready_connection(opened: Hub, connection_id: UUID) -> AbstractAsyncContextManager[OpenConnection]:
    """An open connection whose companies are known."""
    from contextlib import asynccontextmanager

    from isthmus.app import ForgetfulJournal
    from isthmus.connections.checking import save_companies

    @asynccontextmanager
    async def ready() -> AsyncIterator[OpenConnection]:
        async with opened.connection(connection_id, ForgetfulJournal()) as connection:
            if not connection.companies:
                await save_companies(opened.db, connection)
            yield connection

    return ready()


def _object_plain(obj: ObjectInfo, *, whole: bool = False) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(obj)
    plain |= {"incremental": obj.incremental, "deletions": obj.deletions}
    if not whole:
        plain["fields"] = len(obj.fields)
        for name in ("navigation", "actions", "parents", "calculated"):
            plain.pop(name, None)
    return plain


def _print_object(obj: ObjectInfo) -> None:
    console = out()
    console.print(
        f"[bold]{obj.name}[/]  {escape(obj.label)}  [dim]route {obj.route}, key {', '.join(obj.key) or 'none'}[/]"
    )
    print_table(
        ["Field", "Type", "Length", "Read-only", "Members"],
        [
            [
                field.name,
                field.type.removeprefix("Edm.").removeprefix("Microsoft.NAV."),
                field.max_length,
                field.read_only,
                ", ".join(member.label or "(blank)" for member in field.members),
            ]
            for field in obj.fields
        ],
        right=["Length"],
    )
    if obj.navigation:
        many = ", ".join(f"{nav.name}{'[]' if nav.many else ''}" for nav in obj.navigation)
        console.print(f"[bold]Expand:[/] {many}", markup=True)
    if obj.actions:
        console.print(f"[bold]Actions:[/] {', '.join(obj.actions)}")
    if not sys.stdout.isatty():
        return
    say(f"Next: `isthmus read {obj.name}` or `isthmus sync create {obj.name}`.")


def _change_plain(change: Any) -> dict[str, Any]:
    import msgspec

    return {
        "number": change.number,
        "id": change.id,
        "kind": change.kind.value,
        "connection": str(change.connection_id),
        "object": change.object,
        "company": change.company,
        "remote_id": change.remote_id,
        "at": change.at.isoformat(),
        "record": msgspec.Raw(change.raw) if change.raw else None,
    }
