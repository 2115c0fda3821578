"""After the demo: the server stays, with its console, its sandbox, and somebody who keeps changing things in there."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from isthmus.cli.demo.sandbox import DemoSandbox
from isthmus.cli.output import out
from isthmus.kernel.failures import ConfigurationFailure, Failure

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.rows import Sync

PORT: Final = 8080
CHANGE_EVERY_S: Final = 20.0
SCHEDULE: Final = "every 30s"
FOLLOWED: Final = ("customers", "vendors", "items")
KEY_NAME: Final = "demo"

_log = logging.getLogger(__name__)


async def stay(hub: Hub, syncs: list[Sync], sandbox: DemoSandbox, company: str, folder: Path) -> None:
    """Serve until somebody stops it."""
    from isthmus.cli.serving import serve_until_told

    await _follow(hub, syncs)
    key = await _key(hub)

    async def welcome(address: str) -> None:
        await _invite(hub, address, key, folder)

    life = asyncio.create_task(_live(sandbox, company))
    try:
        try:
            await serve_until_told(hub, "127.0.0.1", PORT, worker=True, welcome=welcome)
        except ConfigurationFailure:  # somebody else has the usual port
            await serve_until_told(hub, "127.0.0.1", 0, worker=True, welcome=welcome)
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def _follow(hub: Hub, syncs: list[Sync]) -> None:
    """The objects that change are read on a schedule."""
    from isthmus.store import schedules
    from isthmus.store import syncs as rows
    from isthmus.store.rows import RunKind

    async with hub.db.project(hub.project.id) as tx:
        for sync in syncs:
            if sync.object in FOLLOWED:
                await schedules.set_schedule(tx, sync.id, RunKind.INCREMENTAL, SCHEDULE)
                await rows.set_schedules(tx, sync.id, schedule=SCHEDULE, sweep_schedule=sync.sweep_schedule)


async def _key(hub: Hub) -> str:
    """A key that may do everything; the one of an earlier demo ends."""
    from isthmus.kernel.key_text import digest_of, new_key, prefix_of
    from isthmus.store import api_keys

    text = new_key(development=True)
    async with hub.db.project(hub.project.id) as tx:
        for each in await api_keys.every(tx):
            if each.name == KEY_NAME and each.revoked_at is None:
                await api_keys.revoke(tx, each.id)
        await api_keys.create(tx, name=KEY_NAME, scopes=("admin",), prefix=prefix_of(text), digest=digest_of(text))
    return text


async def _live(sandbox: DemoSandbox, company: str) -> None:
    """Somebody edits a customer now and then, and adds an item."""
    turn = 0
    while True:
        await asyncio.sleep(CHANGE_EVERY_S)
        turn += 1
        what, name = ("insert", "items") if turn % 5 == 0 else ("change", "customers")
        with suppress(Failure):  # the sandbox is being stopped
            await sandbox.control(f"business-central/{what}", {"company": company, "set": name, "count": 1})


async def _invite(hub: Hub, address: str, key: str, folder: Path) -> None:
    from isthmus.console import first_administrator_link, invitation_link

    link = await first_administrator_link(hub, address) or await invitation_link(hub, "admin", address)
    console = out()
    console.print("\n[bold]The console is open[/]  This link makes you an administrator; it works once.\n")
    console.print(Text(f"  {link}", style="bold cyan"), soft_wrap=True)
    console.print("\n[bold]And the API[/]\n")
    console.print(Text(f'  curl -H "Authorization: Bearer {key}" {address}/v1/connections'), soft_wrap=True)
    console.print(
        f"\nIn the sandbox somebody edits a customer every {CHANGE_EVERY_S:.0f} s; customers, vendors and items are "
        f"read {SCHEDULE}.\nCtrl-C stops everything. The data stays in {folder}.",
        soft_wrap=True,
    )
