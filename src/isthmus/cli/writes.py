"""`write` and `operations`: making changes at the vendor's side, and looking after those whose outcome is open."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.options import ConnectionName, Home, Json, Route, listed
from isthmus.cli.output import ago, err, out, print_json, print_table, say
from isthmus.cli.running import chosen, chosen_connection, hub, run
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from uuid import UUID

    from isthmus.actions.writing import DryRun, WriteWish
    from isthmus.app import Hub
    from isthmus.providers.base import ObjectInfo
    from isthmus.store.operations import Operation

OPERATIONS_DEFAULT = 20
SEARCHED_MAX = 1_000
"""Newest operations among which the end of an id is looked for."""

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
OperationId = Annotated[str, typer.Argument(help="The operation's id, or the end of it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    write = typer.Typer(
        help="Create, change, delete and post records. Each write is an operation that happens once.",
        no_args_is_help=True,
    )
    write.command("create")(create)
    write.command("update")(update)
    write.command("upsert")(upsert)
    write.command("delete")(delete)
    write.command("action")(action)
    app.add_typer(write, name="write")
    operations = typer.Typer(help="List writes; look after those that are uncertain.", invoke_without_command=True)
    operations.callback()(list_operations)
    operations.command("show")(show)
    operations.command("reconcile")(reconcile)
    operations.command("retry")(retry)
    operations.command("settle")(settle)
    app.add_typer(operations, name="operations")


def create(
    name: ObjectName,
    values: Set = None,
    body: Body = None,
    company: Company = None,
    key: Key = None,
    dry_run: Dry = False,
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Create a record, with the lines of a document if the body has them."""
    more = {"idempotency_key": key, "company": company}
    _write("create", name, route, connection, home, values=values, body=body, more=more, dry=dry_run, as_json=as_json)


def update(
    name: ObjectName,
    record_id: RecordId,
    values: Set = None,
    body: Body = None,
    if_match: IfMatch = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Change it whatever version is there: the last writer wins.")
    ] = False,
    company: Company = None,
    key: Key = None,
    dry_run: Dry = False,
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Change a record; only what differs is sent, and only to the version that was read."""
    more = {
        "record_id": record_id,
        "if_match": if_match,
        "overwrite": overwrite,
        "idempotency_key": key,
        "company": company,
    }
    _write("update", name, route, connection, home, values=values, body=body, more=more, dry=dry_run, as_json=as_json)


def upsert(
    name: ObjectName,
    match: Annotated[
        str | None,
        typer.Option(
            "--match", help="Fields by which the record is looked for, separated by commas (default: its key)."
        ),
    ] = None,
    values: Set = None,
    body: Body = None,
    company: Company = None,
    key: Key = None,
    dry_run: Dry = False,
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Change the record that matches, or create it."""
    more = {"match": listed(match), "idempotency_key": key, "company": company}
    _write("upsert", name, route, connection, home, values=values, body=body, more=more, dry=dry_run, as_json=as_json)


def delete(
    name: ObjectName,
    record_id: RecordId,
    if_match: IfMatch = None,
    company: Company = None,
    key: Key = None,
    dry_run: Dry = False,
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete a record."""
    more = {"record_id": record_id, "if_match": if_match, "idempotency_key": key, "company": company}
    _write("delete", name, route, connection, home, more=more, dry=dry_run, as_json=as_json)


def action(
    name: ObjectName,
    record_id: RecordId,
    action_name: Annotated[
        str, typer.Argument(metavar="ACTION", help="For example post; `isthmus describe` lists them.")
    ],
    company: Company = None,
    key: Key = None,
    dry_run: Dry = False,
    route: Route = "v2.0",
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Do something with a record: post an invoice, cancel it, turn a quote into an order."""
    more = {"record_id": record_id, "action": action_name, "idempotency_key": key, "company": company}
    _write("action", name, route, connection, home, more=more, dry=dry_run, as_json=as_json)


def _write(
    verb: str,
    name: str,
    route: str,
    connection: str | None,
    home: Path | None,
    *,
    more: dict[str, Any],
    dry: bool,
    as_json: bool,
    values: list[str] | None = None,
    body: Path | None = None,
) -> None:
    """One wish from the command line to its end."""
    given = _file(body)

    async def work() -> int:
        from isthmus.actions.writing import Verb, WriteWish

        async with hub(home) as opened:
            picked = await chosen_connection(opened, connection)
            text = given
            if values or (given is None and verb in ("create", "update", "upsert")):
                text = await _body(opened, picked.id, name, route, given, values or [])
            wish = WriteWish(verb=Verb(verb), object=name, route=route, body=text, **more)
            if dry:
                return _print_dry(await opened.writer.dry_run(opened.project.id, picked.id, wish), as_json=as_json)
            return await _carried_out(opened, picked.id, wish, as_json=as_json)

    code = run(work)
    if code:
        raise typer.Exit(code)


async def _carried_out(opened: Hub, connection_id: UUID, wish: WriteWish, *, as_json: bool) -> int:
    done = await opened.writer.submit(opened.project.id, connection_id, wish)
    if done.state.value == "uncertain":
        done = await opened.writer.reconcile(opened.project.id, done.id)
    return _print_end(done, as_json=as_json)


def list_operations(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="planned, sent, uncertain, confirmed, failed or needs_person; several times."),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=SEARCHED_MAX)] = OPERATIONS_DEFAULT,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List writes, newest first."""
    if context.invoked_subcommand is not None:
        return

    async def work() -> list[Operation]:
        async with hub(home) as opened:
            return await opened.writer.list(opened.project.id, states=_states(state or []), limit=limit)

    found = run(work)
    if as_json:
        print_json([_plain(each) for each in found])
        return
    if not found:
        say("No operations. `isthmus write create OBJECT --set FIELD=VALUE` makes one.")
        return
    print_table(
        ["Operation", "When", "What", "Record", "State", "Why"],
        [
            [each.id.hex[-8:], ago(each.created_at), _what(each), each.remote_id, each.state.value, _why(each)]
            for each in found
        ],
    )
    waiting = sum(each.state.value == "needs_person" for each in found)
    if waiting:
        say(f"{waiting} wait for a person: `isthmus operations show ID` tells why.")


def show(operation: OperationId, home: Home = None, as_json: Json = False) -> None:
    """Show one write: what was wished, what was sent, what came back, what to do."""

    async def work() -> Operation:
        async with hub(home) as opened:
            return await _chosen(opened, operation)

    found = run(work)
    if as_json:
        print_json(_plain(found, whole=True))
        return
    _print_operation(found)


def reconcile(
    operation: Annotated[
        str | None, typer.Argument(help="The operation's id, or the end of it (default: all that are due).")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Look for uncertain writes at the vendor's side now. Workers do it by themselves."""

    async def work() -> int:
        async with hub(home) as opened:
            if operation is None:
                settled = await opened.writer.reconcile_due()
                print_json({"settled": settled}) if as_json else say(f"{settled} settled.")
                return 0
            found = await _chosen(opened, operation)
            return _print_end(await opened.writer.reconcile(opened.project.id, found.id), as_json=as_json)

    code = run(work)
    if code:
        raise typer.Exit(code)


def retry(operation: OperationId, home: Home = None, as_json: Json = False) -> None:
    """Send a failed write again, or one that waits for a person, when you know that it did not take place."""

    async def work() -> int:
        async with hub(home) as opened:
            found = await _chosen(opened, operation)
            return _print_end(await opened.writer.retry(opened.project.id, found.id), as_json=as_json)

    code = run(work)
    if code:
        raise typer.Exit(code)


def settle(
    operation: OperationId,
    took_place: Annotated[
        bool, typer.Option("--took-place/--did-not", help="What you found in the vendor's system.", show_default=False)
    ],
    record_id: Annotated[
        str | None, typer.Option("--record", help="The id of the record, when it was created.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what became of a write that waits for a person."""

    async def work() -> None:
        async with hub(home) as opened:
            found = await _chosen(opened, operation)
            done = await opened.writer.decide(opened.project.id, found.id, took_place=took_place, remote_id=record_id)
            _print_end(done, as_json=as_json)

    run(work)


async def _chosen(opened: Hub, text: str) -> Operation:
    every = await opened.writer.list(opened.project.id, limit=SEARCHED_MAX)
    found: Operation = chosen(every, text, what="operation", words=lambda each: (str(each.id), each.id.hex))
    return found


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


def _states(names: list[str]) -> list[Any]:
    from isthmus.store.operations import OperationState

    known = [state.value for state in OperationState]
    for name in names:
        if name not in known:
            raise InvalidInput(f"There is no state “{name}”.", remedy=f"Use one of: {', '.join(known)}.")
    return [OperationState(name) for name in names]


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


def _print_end(done: Operation, *, as_json: bool) -> int:
    """How a write stands; the exit code."""
    if as_json:
        print_json(_plain(done, whole=True))
    else:
        _print_state(done)
    return {"confirmed": 0, "failed": 5, "needs_person": 5}.get(done.state.value, 6)


def _print_state(done: Operation) -> None:
    mark = {"confirmed": "[green]✓[/]", "failed": "[bold red]✗[/]"}.get(done.state.value, "[yellow]…[/]")
    record = f"  {done.remote_id}" if done.remote_id else ""
    out().print(f"{mark} {_what(done)}: {done.state.value.replace('_', ' ')}{record}")
    say(f"  Operation {done.id}")
    if done.failure is not None and done.state.value != "confirmed":
        err().print(f"  {done.failure['message']}", markup=False)
        vendor = done.failure.get("vendor") or {}
        if vendor.get("correlation_id"):
            err().print(f"  Reference: {vendor['correlation_id']}", markup=False)
        err().print(f"  → {done.failure['remedy']}", markup=False)
    if done.state.value in ("planned", "sent", "uncertain"):
        say("  A worker goes on with it; `isthmus operations reconcile` does it now. Do not send it again.")


def _print_operation(done: Operation) -> None:
    _print_state(done)
    rows: list[list[object]] = [
        ["Planned", str(done.created_at)],
        ["Sent", f"{done.sent_at or 'never'} ({done.attempts} times)"],
        ["Ended", str(done.finished_at or "not yet")],
        ["Looked for", f"{done.looks} times" + (f", next {ago(done.next_attempt_at)}" if done.next_attempt_at else "")],
        ["Certain at the latest", str(done.certain_at or "–")],
        ["Company", done.company],
        ["Idempotency key", done.idempotency_key],
        ["Body", (done.sent_body or done.body or b"").decode("utf-8", "replace")],
        ["Record", (done.record or b"").decode("utf-8", "replace")],
    ]
    print_table(["", ""], rows)
    print_table(
        ["Request", "Status", "Reference"],
        [[f"{each['method']} {each['url']}", each.get("status"), each.get("correlation_id")] for each in done.journal],
    )


def _what(operation: Operation) -> str:
    verb = operation.wish.get("action") or operation.verb
    return f"{verb} {operation.object}"


def _why(operation: Operation) -> str:
    return "" if operation.failure is None else str(operation.failure["message"])[:80]


def _plain(operation: Operation, *, whole: bool = False) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = {
        "id": str(operation.id),
        "verb": operation.verb,
        "action": operation.wish.get("action"),
        "object": operation.object,
        "company": operation.company,
        "remote_id": operation.remote_id,
        "state": operation.state.value,
        "etag": operation.etag,
        "attempts": operation.attempts,
        "created_at": operation.created_at,
        "sent_at": operation.sent_at,
        "finished_at": operation.finished_at,
        "next_attempt_at": operation.next_attempt_at,
        "idempotency_key": operation.idempotency_key,
        "failure": operation.failure,
    }
    if whole:
        plain["record"] = msgspec.Raw(operation.record) if operation.record else None
        plain["body"] = msgspec.Raw(operation.body) if operation.body else None
        plain["journal"] = operation.journal
    return plain
