"""`runs` and `requests`: what was done, and what the vendor was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from isthmus.cli.options import Home, Json
from isthmus.cli.output import ago, print_json, print_table, say
from isthmus.cli.remedies import told
from isthmus.cli.running import chosen, hub, run

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.rows import Progress, Run, Sync

RUN_TONES = {
    "succeeded": ("✓ succeeded", "green"),
    "running": ("◌ running", "cyan"),
    "queued": ("○ queued", "dim"),
    "failed": ("✗ failed", "red"),
    "held": ("‖ held", "yellow"),
    "cancelled": ("– cancelled", "dim"),
}


_FIGURES = ("Took", "Read", "Created", "Updated", "Deleted")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("runs")(list_runs)
    app.command("requests")(list_requests)


def list_runs(
    name: Annotated[str | None, typer.Option("--sync", help="Only this sync.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=500)] = 20,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""

    async def work() -> None:
        from isthmus.store import connections, runs, syncs

        async with hub(home) as opened:
            wanted = (await one_sync(opened, name)).id if name else None
            async with opened.db.project(opened.project.id) as tx:
                found = await runs.history(tx, wanted, limit)
                by_id = {sync.id: sync for sync in await syncs.every(tx)}
                names = {each.id: each.name for each in await connections.every(tx)}
                rows = [(each, by_id[each.sync_id], await runs.progress(tx, each.id)) for each in found]
        if as_json:
            print_json([run_plain(*row) for row in rows])
            return
        if not rows:
            say("No run yet. `isthmus sync run` starts one.")
            return
        print_table(
            ["Run", "Sync", "Connection", "Kind", "Result", "Started", *_FIGURES, "Why"],
            [
                [
                    each.id.hex[-8:],
                    sync.object,
                    names.get(sync.connection_id, "–"),
                    each.kind.value,
                    run_text(each.state),
                    ago(each.started_at),
                    _took(each),
                    done.seen,
                    done.created,
                    done.updated,
                    done.deleted,
                    (each.failure or {}).get("message", ""),
                ]
                for each, sync, done in rows
            ],
            right=_FIGURES,
            spare=["Started", "Connection", "Took", "Created", "Updated", "Deleted"],
        )

    run(work)


def list_requests(
    run_id: Annotated[str, typer.Argument(help="A run's id, or the end of it (`isthmus runs`).")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what a run asked the vendor, request by request; secrets are never kept."""

    async def work() -> None:
        from isthmus.store import runs

        async with hub(home) as opened, opened.db.project(opened.project.id) as tx:
            every = await runs.history(tx, None, 500)
            found = chosen(every, run_id, what="run", words=lambda each: [str(each.id), each.id.hex])
            entries = await runs.journal(tx, found.id)
        if as_json:
            print_json([each.entry for each in entries])
            return
        print_table(
            ["At", "For", "Status", "Took", "Bytes", "Try", "Request"],
            [
                [
                    f"{each.at:%H:%M:%S}",
                    each.entry["purpose"],
                    each.entry.get("failure") or each.entry["status"],
                    f"{each.entry['elapsed_s'] * 1000:,.0f} ms",
                    each.entry["bytes_received"],
                    each.entry["attempt"],
                    f"{each.entry['method']} {each.entry['url'].partition('/api/')[2] or each.entry['url']}",
                ]
                for each in entries
            ],
            right=["Took", "Bytes", "Try"],
            spare=["At", "Try", "Bytes"],
        )

    run(work)


def run_text(state: str) -> Text:
    """A run's state as a word with a shape, then a colour."""
    word, tone = RUN_TONES.get(state, (state, ""))
    return Text(word, style=tone)


async def one_sync(opened: Hub, name: str) -> Sync:
    """The sync that a person means. Raises InvalidInput."""
    from isthmus.store import syncs

    async with opened.db.project(opened.project.id) as tx:
        every = await syncs.every(tx)
    found: Sync = chosen(every, name, what="sync", words=lambda sync: [str(sync.id), sync.id.hex, sync.object])
    return found


def run_plain(row: Run, sync: Sync, progress: Progress) -> dict[str, Any]:
    """A run for programs."""
    return {
        "id": str(row.id),
        "sync": str(sync.id),
        "object": sync.object,
        "kind": row.kind.value,
        "state": row.state.value,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "total": row.total,
        "read": progress.seen,
        "created": progress.created,
        "updated": progress.updated,
        "deleted": progress.deleted,
        "notes": row.options,
        "failure": told(row.failure, object_name=sync.object),
    }


def _took(row: Run) -> str:
    if row.started_at is None or row.finished_at is None:
        return "–"
    seconds = (row.finished_at - row.started_at).total_seconds()
    return f"{seconds * 1_000:.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"
