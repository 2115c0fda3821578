"""`export`: taking an object along as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.data import company_ids, pages_of, ready_connection, wished
from isthmus.cli.options import CompanyNames, ConnectionName, Expand, Filter, Home, Json, Route, Select
from isthmus.cli.output import print_json, say
from isthmus.cli.running import chosen_connection, hub, run
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from uuid import UUID

    from isthmus.app import Hub
    from isthmus.connections.opening import OpenConnection
    from isthmus.providers.base import ObjectInfo, ReadSpec


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    name: Annotated[str, typer.Argument(help="The object; case does not matter.")],
    to: Annotated[Path, typer.Option("--to", help="A file ending in .parquet, .jsonl, .csv or .duckdb.")],
    select: Select = None,
    filter_text: Filter = None,
    since: Annotated[str | None, typer.Option(help="Only records modified since.", show_default=False)] = None,
    company: CompanyNames = None,
    expand: Expand = None,
    vendor_names: Annotated[
        bool, typer.Option("--vendor-names", help="Keep the vendor's names, whatever a sync calls its fields.")
    ] = False,
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take a whole object along as one file, which appears only when it is complete.

    Fields have the names that a sync of the object gives them.
    """

    async def work() -> None:
        from isthmus.cli.progress import counting
        from isthmus.delivery.export import ExportOptions, check_destination, export_pages

        check_destination(to)
        async with hub(home) as opened:
            chosen = await chosen_connection(opened, connection)
            async with ready_connection(opened, chosen.id) as ready:
                obj, spec = await wished(ready, name, route, select, filter_text, since, expand, None)
                names = {} if vendor_names else await _own_names(opened, chosen.id, obj, spec)
                with counting(f"Exporting {obj.name}", await _total(ready, obj, spec, company)) as advance:
                    report = await export_pages(
                        _exported(ready, obj, spec, company, advance),
                        _fields(obj, spec),
                        to,
                        ExportOptions(names=names, company=not obj.tenant_level, expanded=spec.expand),
                    )
        if as_json:
            print_json({"path": str(report.path), "records": report.records, "bytes": report.bytes})
        else:
            say(f"[green]✓[/] {report.records:,} records, {report.bytes:,} bytes in {report.path}")

    run(work)


async def _own_names(opened: Hub, connection_id: UUID, obj: ObjectInfo, spec: ReadSpec) -> dict[str, str]:
    """The host's names for what is exported, as the syncs of the object give them. Raises InvalidInput."""
    from isthmus.store import syncs

    async with opened.db.project(opened.project.id) as tx:
        every = await syncs.every(tx, connection_id)
    given = [sync.names for sync in every if (sync.object, sync.route) == (obj.name, obj.route) and sync.names]
    if any(names != given[0] for names in given):
        raise InvalidInput(
            f"Several syncs of {obj.name} give its fields different names.",
            remedy="Add --vendor-names, or give the fields the same names in all of them.",
            subject=obj.name,
        )
    exported = {*(field.name for field in _fields(obj, spec)), *(each.partition("(")[0] for each in spec.expand)}
    return {name: own for name, own in (given[0] if given else {}).items() if name in exported}


async def _exported(
    ready: OpenConnection, obj: ObjectInfo, spec: ReadSpec, companies: list[str] | None, advance: Any
) -> AsyncIterator[Any]:
    from isthmus.delivery.export import CompanyPage

    async for company, page in pages_of(ready, obj, spec, companies):
        advance(len(page))
        yield CompanyPage(company=company, raws=page.raws)


async def _total(ready: OpenConnection, obj: ObjectInfo, spec: ReadSpec, companies: list[str] | None) -> int | None:
    parts = ready.access.provider.parts(obj, company_ids(ready, companies))
    counts = [await ready.access.count(obj, spec, part) for part in parts]
    return None if any(count is None for count in counts) else sum(count or 0 for count in counts)


def _fields(obj: ObjectInfo, spec: ReadSpec) -> list[Any]:
    wanted = {*spec.select, *obj.key, obj.stamp} if spec.select else None
    return [field for field in obj.fields if wanted is None or field.name in wanted]
