"""`operations`: looking after writes whose outcome is open, and deciding about those that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.options import ConnectionName, Home, Json
from isthmus.cli.output import ago, err, out, print_json, print_table, say
from isthmus.cli.remedies import remedy_of, told
from isthmus.cli.running import ask, chosen, chosen_connection, hub, run
from isthmus.kernel.failures import InvalidInput

if TYPE_CHECKING:
    from isthmus.actions.writing import Proposal
    from isthmus.app import Hub
    from isthmus.store.operations import Operation

OPERATIONS_DEFAULT = 20
SEARCHED_MAX = 1_000
"""Newest operations among which the end of an id is looked for."""

HOURS_MAX = 720

ROUND_BY_HAND_S = 600.0
"""How long a person waits for one round over everything that is due."""

OperationId = Annotated[str, typer.Argument(help="The operation's id, or the end of it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    operations = typer.Typer(
        help="List writes; look after those that are uncertain; approve those that wait.", invoke_without_command=True
    )
    operations.callback()(list_operations)
    operations.command("show")(show)
    operations.command("reconcile")(reconcile)
    operations.command("retry")(retry)
    operations.command("settle")(settle)
    operations.command("approve")(approve)
    operations.command("refuse")(refuse)
    operations.command("require-approval")(require_approval)
    app.add_typer(operations, name="operations")


def list_operations(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            help="waiting_for_approval, planned, sent, uncertain, confirmed, failed or needs_person; several times.",
        ),
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
    unapproved = sum(each.state.value == "waiting_for_approval" for each in found)
    if unapproved:
        say(f"{unapproved} wait for an approval: `isthmus operations approve ID` shows what would be sent.")


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
                settled = await opened.writer.reconcile_due(round_s=ROUND_BY_HAND_S)
                print_json({"settled": settled}) if as_json else say(f"{settled} settled.")
                return 0
            found = await _chosen(opened, operation)
            return print_end(await opened.writer.reconcile(opened.project.id, found.id), as_json=as_json)

    code = run(work)
    if code:
        raise typer.Exit(code)


def retry(operation: OperationId, home: Home = None, as_json: Json = False) -> None:
    """Send a failed write again, or one that waits for a person, when you know that it did not take place."""

    async def work() -> int:
        async with hub(home) as opened:
            found = await _chosen(opened, operation)
            return print_end(await opened.writer.retry(opened.project.id, found.id), as_json=as_json)

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
            print_end(done, as_json=as_json)

    run(work)


def approve(
    operation: OperationId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, once it was looked at.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Allow a write that waits, after a look at what it would send and change."""

    async def work() -> int:
        from isthmus.store.operations import Planner

        async with hub(home) as opened:
            found = await _chosen(opened, operation)
            proposal = await opened.writer.proposal(opened.project.id, found.id)
            if not as_json:
                _print_proposal(found, proposal)
            if not yes and ask("Send this? Type yes", otherwise="Look at it, then add --yes.") != "yes":
                raise InvalidInput("Nothing was sent; it goes on waiting.", remedy="Type yes, or refuse it.")
            done = await opened.writer.approve(opened.project.id, found.id, Planner(name="cli"), seen=proposal.digest)
            return print_end(done, as_json=as_json)

    code = run(work)
    if code:
        raise typer.Exit(code)


def refuse(
    operation: OperationId,
    reason: Annotated[str, typer.Option("--reason", help="Why not; whoever planned it reads this.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """End a write that waits. Nothing is sent."""

    async def work() -> None:
        from isthmus.store.operations import Planner

        async with hub(home) as opened:
            found = await _chosen(opened, operation)
            done = await opened.writer.refuse(opened.project.id, found.id, Planner(name="cli"), reason)
            print_end(done, as_json=as_json)

    run(work)


def require_approval(
    required: Annotated[
        bool | None, typer.Option("--on/--off", help="Without either the rules are shown.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option("--object", help="Only for this object.")] = None,
    hours: Annotated[float, typer.Option(help="How long a write waits.", min=0.1, max=HOURS_MAX)] = 72.0,
    connection: ConnectionName = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say which writes through the API wait for a person: all, or those to an object or a connection."""

    async def work() -> list[dict[str, Any]]:
        from isthmus.store import approvals, audit

        async with hub(home) as opened:
            picked = await chosen_connection(opened, connection) if connection else None
            async with opened.db.project(opened.project.id) as tx:
                if required is not None:
                    rule = await approvals.set_rule(
                        tx,
                        required=required,
                        connection_id=picked.id if picked else None,
                        object=name,
                        expires_s=hours * 3_600,
                        by="cli",
                    )
                    detail = {"required": required, "object": name}
                    await audit.note(tx, actor="cli", action="approvals.rule_set", subject=str(rule.id), detail=detail)
                return [
                    {
                        "required": rule.required,
                        "object": rule.object,
                        "connection": str(rule.connection_id) if rule.connection_id else None,
                        "integration": str(rule.integration_id) if rule.integration_id else None,
                        "hours": round(rule.expires_s / 3_600, 2),
                        "changed_by": rule.changed_by,
                    }
                    for rule in await approvals.rules(tx)
                ]

    found = run(work)
    if as_json:
        print_json(found)
    elif not found:
        say("No write waits for an approval. `isthmus operations require-approval --on` changes that.")
    else:
        rows = [
            [
                "waits" if rule["required"] else "goes through",
                rule["object"] or "every object",
                rule["connection"] or rule["integration"] or "everywhere",
                f"{rule['hours']:g} h",
                rule["changed_by"],
            ]
            for rule in found
        ]
        print_table(["A write", "to", "in", "for at most", "By"], rows)


async def _chosen(opened: Hub, text: str) -> Operation:
    every = await opened.writer.list(opened.project.id, limit=SEARCHED_MAX)
    found: Operation = chosen(every, text, what="operation", words=lambda each: (str(each.id), each.id.hex))
    return found


def _states(names: list[str]) -> list[Any]:
    from isthmus.store.operations import OperationState

    known = [state.value for state in OperationState]
    for name in names:
        if name not in known:
            raise InvalidInput(f"There is no state “{name}”.", remedy=f"Use one of: {', '.join(known)}.")
    return [OperationState(name) for name in names]


def print_end(done: Operation, *, as_json: bool) -> int:
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
        err().print(f"  → {remedy_of(done.failure)}", markup=False)
    if done.state.value in ("planned", "sent", "uncertain"):
        say("  A worker goes on with it; `isthmus operations reconcile` does it now. Do not send it again.")
    if done.state.value == "waiting_for_approval":
        say(f"  It waits until {done.approval_expires_at:%Y-%m-%d %H:%M} UTC for somebody to approve it.")


def _print_proposal(found: Operation, proposal: Proposal) -> None:
    out().print(f"{_what(found)}, planned by {found.planned_by or 'somebody'} {ago(found.created_at)}", markup=False)
    if proposal.nothing or proposal.request is None:
        say("The record has these values already: nothing would be sent.")
        return
    out().print(f"{proposal.request.method} {proposal.request.url}", markup=False)
    out().print(f"\n{proposal.request.body or ''}", markup=False)
    if proposal.changes:
        print_table(
            ["Field", "Now", "Then"], [[each.field, each.before or "–", each.after] for each in proposal.changes]
        )


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
        "planned_by": operation.planned_by,
        "decided_by": operation.decided_by,
        "approval_expires_at": operation.approval_expires_at,
        "failure": told(operation.failure),
    }
    if whole:
        plain["record"] = msgspec.Raw(operation.record) if operation.record else None
        plain["body"] = msgspec.Raw(operation.body) if operation.body else None
        plain["journal"] = operation.journal
        plain["proposal"] = operation.proposal
    return plain
