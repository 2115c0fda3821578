"""`write`: making changes at the vendor's side, each of which happens once."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.operations import print_end
from isthmus.cli.options import ConnectionName, Home, Json, Route, listed
from isthmus.cli.output import err, out, print_json, say
from isthmus.cli.running import chosen_connection, hub, run
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from isthmus.actions.writing import DryRun, WriteWish
    from isthmus.app import Hub
    from isthmus.providers.base import ObjectInfo
    from isthmus.store.operations import Operation

PART_BYTES = 256 * 1024

ObjectName = Annotated[str, typer.Argument(help="The object; case does not matter.")]
RecordId = Annotated[str, typer.Argument(help="The record's id.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="FIELD=VALUE; may be given several times. An empty value is a blank."),
]
Body = Annotated[
    Path | None,
    typer.Option("--body", help="File with the JSON body, lines of a document included; - reads stdin."),
]
Company = Annotated[
    str | None, typer.Option("--company", help="Company name or id; not needed while there is only one.")
]
Key = Annotated[
    str | None, typer.Option("--key", help="Idempotency key: the same key never makes the same write twice.")
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Check, and show the exact request without sending it.")]
IfMatch = Annotated[str | None, typer.Option("--if-match", help="The version (etag) that the change relies on.")]
StreamName = Annotated[
    str,
    typer.Argument(
        metavar="STREAM", help="attachmentContent, picture/pictureContent or pdfDocument/pdfDocumentContent."
    ),
]


class Where:
    """The options that every write takes."""

    def __init__(
        self,
        company: Company = None,
        key: Key = None,
        dry_run: Dry = False,
        route: Route = "v2.0",
        connection: ConnectionName = None,
        home: Home = None,
        as_json: Json = False,
    ) -> None:
        self.company = company
        self.key = key
        self.dry_run = dry_run
        self.route = route
        self.connection = connection
        self.home = home
        self.as_json = as_json


def everywhere(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `Where` after its own; it gets them as `where`."""
    own = inspect.signature(command, eval_str=True)
    shared = [
        each for name, each in inspect.signature(Where.__init__, eval_str=True).parameters.items() if name != "self"
    ]

    def whole(**given: Any) -> None:
        where = Where(**{each.name: given.pop(each.name) for each in shared})
        command(**given, where=where)

    kept = [each for name, each in own.parameters.items() if name != "where"]
    whole.__name__, whole.__doc__ = command.__name__, command.__doc__
    whole.__signature__ = inspect.Signature([*kept, *shared])  # type: ignore[attr-defined]  # what typer reads
    return whole


def register(app: typer.Typer) -> None:
    """Add the commands."""
    write = typer.Typer(
        help="Create, change, delete and post records. Each write is an operation that happens once.",
        no_args_is_help=True,
    )
    for command in (create, update, upsert, delete, action, upload):
        write.command(command.__name__)(everywhere(command))
    write.command("download")(download)
    app.add_typer(write, name="write")


def create(name: ObjectName, where: Where, values: Set = None, body: Body = None) -> None:
    """Create a record, with the lines of a document if the body has them."""
    _write("create", name, where, values=values, body=body)


def update(
    name: ObjectName,
    record_id: RecordId,
    where: Where,
    values: Set = None,
    body: Body = None,
    if_match: IfMatch = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Change it whatever version is there: the last writer wins.")
    ] = False,
) -> None:
    """Change a record; only what differs is sent, and only to the version that was read. Lines in the body are changed
    (those with an id) or added."""
    _write("update", name, where, values=values, body=body, record_id=record_id, if_match=if_match, overwrite=overwrite)


def upsert(
    name: ObjectName,
    where: Where,
    match: Annotated[
        str | None,
        typer.Option(
            "--match", help="Fields by which the record is looked for, separated by commas (default: its key)."
        ),
    ] = None,
    values: Set = None,
    body: Body = None,
) -> None:
    """Change the record that matches, or create it."""
    _write("upsert", name, where, values=values, body=body, match=listed(match))


def delete(name: ObjectName, record_id: RecordId, where: Where, if_match: IfMatch = None) -> None:
    """Delete a record."""
    _write("delete", name, where, record_id=record_id, if_match=if_match)


def action(
    name: ObjectName,
    record_id: RecordId,
    action_name: Annotated[
        str, typer.Argument(metavar="ACTION", help="For example post; `isthmus describe` lists them.")
    ],
    where: Where,
) -> None:
    """Do something with a record: post an invoice, cancel it, turn a quote into an order."""
    _write("action", name, where, record_id=record_id, action=action_name)


def upload(
    name: ObjectName,
    record_id: RecordId,
    stream: StreamName,
    file: Annotated[Path, typer.Argument(help="The file with the bytes.", exists=True, dir_okay=False)],
    where: Where,
) -> None:
    """Put a file into a record: an attachment, a picture."""

    async def work() -> int:
        from isthmus.actions.writing import UploadWish

        if where.dry_run:
            raise InvalidInput("An upload has no dry run: its bytes are its request.")
        wish = UploadWish(
            object=name,
            record_id=record_id,
            stream=stream,
            route=where.route,
            company=where.company,
            idempotency_key=where.key,
        )
        async with hub(where.home) as opened:
            picked = await chosen_connection(opened, where.connection)
            done = await opened.writer.streams.upload(opened.project.id, picked.id, wish, _parts(file))
            return print_end(done, as_json=where.as_json)

    _end(run(work))


def download(
    name: ObjectName,
    record_id: RecordId,
    stream: StreamName,
    to: Annotated[Path, typer.Option("--to", help="The file to be written.", dir_okay=False)],
    company: Company = None,
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
) -> None:
    """Fetch a record's bytes: an attachment, a picture, an invoice as PDF."""

    async def work() -> int:
        from isthmus.actions.writing import DownloadWish

        wish = DownloadWish(object=name, record_id=record_id, stream=stream, route=route, company=company)
        async with hub(home) as opened:
            picked = await chosen_connection(opened, connection)
            half = to.with_name(f"{to.name}.part")
            try:
                with half.open("wb") as file:
                    async with opened.writer.streams.download(opened.project.id, picked.id, wish) as answer:
                        async for part in answer.parts():
                            file.write(part)
                half.replace(to)
            finally:
                half.unlink(missing_ok=True)
            return answer.bytes_received

    say(f"{run(work):,} bytes in {to}")


async def _parts(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part


def _write(
    verb: str, name: str, where: Where, *, values: list[str] | None = None, body: Path | None = None, **more: Any
) -> None:
    """One wish from the command line to its end."""
    given = _file(body)

    async def work() -> int:
        from isthmus.actions.writing import Verb, WriteWish

        async with hub(where.home) as opened:
            picked = await chosen_connection(opened, where.connection)
            text = given
            if values or (given is None and verb in ("create", "update", "upsert")):
                text = await _body(opened, picked.id, name, where.route, given, values or [])
            wish = WriteWish(
                verb=Verb(verb),
                object=name,
                route=where.route,
                company=where.company,
                body=text,
                idempotency_key=where.key,
                **more,
            )
            if where.dry_run:
                planned = await opened.writer.dry_run(opened.project.id, picked.id, wish)
                return _print_dry(planned, as_json=where.as_json)
            return max([print_end(each, as_json=where.as_json) for each in await _carried_out(opened, picked.id, wish)])

    _end(run(work))


async def _carried_out(opened: Hub, connection_id: UUID, wish: WriteWish) -> list[Operation]:
    """The operation, or those of a document and its lines."""
    parts = await opened.writer.split(opened.project.id, connection_id, wish)
    if parts is not None:
        return await opened.writer.submit_batch(opened.project.id, connection_id, parts)
    done = await opened.writer.submit(opened.project.id, connection_id, wish)
    if done.state.value == "uncertain":
        done = await opened.writer.reconcile(opened.project.id, done.id)
    return [done]


def _end(code: int) -> None:
    if code:
        raise typer.Exit(code)


def _file(path: Path | None) -> bytes | None:
    if path is None:
        return None
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()


async def _body(
    opened: Hub, connection_id: UUID, name: str, route: str, given: bytes | None, values: list[str]
) -> bytes:
    """The body with `--set` values in their fields' types: numbers stay the text that was typed."""
    import msgspec

    from isthmus.app import ForgetfulJournal

    if given is None and not values:
        raise InvalidInput("There is nothing to write.", remedy="Give --set FIELD=VALUE, or --body FILE.")
    async with opened.connection(connection_id, ForgetfulJournal()) as ready:
        obj = await ready.describe(name, ready.access.provider.parse_route(route))
    members: dict[str, Any] = msgspec.json.decode(given, type=dict[str, msgspec.Raw]) if given else {}
    for pair in values:
        field, equals, value = pair.partition("=")
        if not equals:
            raise InvalidInput(f"“{pair}” has no value.", remedy="Write it as FIELD=VALUE.")
        members[field.strip()] = _typed(obj, field.strip(), value)
    return msgspec.json.encode(members)


def _typed(obj: ObjectInfo, name: str, value: str) -> Any:
    import re

    import msgspec

    kind = next((field.type for field in obj.fields if field.name == name), "Edm.String")
    if kind == "Edm.Boolean" and value.casefold() in ("true", "false"):
        return value.casefold() == "true"
    number = kind.startswith(("Edm.Int", "Edm.Decimal", "Edm.Double")) and re.fullmatch(r"-?\d+(\.\d+)?", value)
    return msgspec.Raw(value.encode()) if number else value


def _print_dry(dry: DryRun, *, as_json: bool) -> int:
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(dry))
    elif dry.problems:
        for problem in dry.problems:
            err().print(f"✗ {problem.field}: {problem.message}", style="red", markup=False)
    elif not dry.requests:
        say("There is nothing to change: the record has these values already.")
    for request in () if as_json else dry.requests:
        out().print(f"{request.method} {request.url}", markup=False)
        for name, value in request.headers.items():
            out().print(f"{name}: {value}", markup=False)
        out().print(f"\n{request.body or ''}", markup=False)
        say("Nothing was sent.")
    return 5 if dry.problems else 0
