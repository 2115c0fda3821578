"""A process to be killed: it writes without end and is told by nobody when that is.

Started once, it imports everything; every line on its input forks a child that writes until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from uuid import UUID

import msgspec

from isthmus.actions.writing import BatchWish, Verb, Writer, WriterSettings, WriteWish
from isthmus.app import Hub
from isthmus.kernel.failures import Failure
from isthmus.settings import load_settings
from isthmus.store.operations import OperationState


class Child:
    """Writes creates, changes, postings and batches, each with a key of its own."""

    def __init__(self, writer: Writer, job: dict[str, str], round_number: int) -> None:
        self._writer = writer
        self._project_id = UUID(job["project"])
        self._connection_id = UUID(job["connection"])
        self._job = job
        self._round = round_number

    async def work(self, lane: int) -> None:
        """One thing after another until killed."""
        number = 0
        chooser = random.Random(self._round * 100 + lane)
        while True:
            number += 1
            name = f"Crash {self._round}-{lane}-{number}"
            kind = chooser.choice(("invoice", "customer", "batch", "whole"))
            if kind == "invoice":
                await self._invoice(name)
            elif kind == "customer":
                await self._customer(name)
            else:
                await self._batch(name, whole=kind == "whole")

    async def warm_up(self) -> None:
        """Token and descriptions are there before the clock of the round starts."""
        wish = WriteWish(
            verb=Verb.CREATE, object="customers", company=self._job["company"], body=b'{"displayName": "never"}'
        )
        await self._writer.dry_run(self._project_id, self._connection_id, wish)

    async def _submit(self, verb: Verb, object: str, key: str, body: object = None, **more: str) -> str | None:
        """A write with the key as its name; the record's id once it is confirmed."""
        wish = WriteWish(
            verb=verb,
            object=object,
            company=self._job["company"],
            body=None if body is None else msgspec.json.encode(body),
            idempotency_key=key,
            **more,  # type: ignore[arg-type]  # record_id and action, which are text
        )
        done = await self._writer.submit(self._project_id, self._connection_id, wish)
        return done.remote_id if done.state is OperationState.CONFIRMED else None

    async def _invoice(self, name: str) -> None:
        body = {
            "externalDocumentNumber": name,
            "customerNumber": self._job["customer"],
            "salesInvoiceLines": [{"lineType": "Item", "lineObjectNumber": self._job["item"], "quantity": 1}],
        }
        made = await self._submit(Verb.CREATE, "salesInvoices", f"{name}-invoice", body)
        if made is not None:
            await self._submit(Verb.ACTION, "salesInvoices", f"{name}-post", record_id=made, action="post")

    async def _customer(self, name: str) -> None:
        made = await self._submit(Verb.CREATE, "customers", f"{name}-customer", {"displayName": name})
        if made is not None:
            await self._submit(Verb.UPDATE, "customers", f"{name}-change", {"city": name}, record_id=made)

    async def _batch(self, name: str, *, whole: bool) -> None:
        rows = tuple(
            WriteWish(
                verb=Verb.CREATE,
                object="vendors",
                company=self._job["company"],
                body=msgspec.json.encode({"displayName": f"{name} {n}"}),
            )
            for n in range(5)
        )
        wish = BatchWish(rows=rows, idempotency_key=f"{name}-batch", all_or_nothing=whole)
        await self._writer.submit_batch(self._project_id, self._connection_id, wish)


async def work(job: dict[str, str], round_number: int) -> None:
    """Open the hub as any process does, and write in three lanes."""
    settings = load_settings(home=Path(job["home"]))
    async with Hub.open(settings) as hub:
        patience = msgspec.json.decode(job["settings"], type=WriterSettings)
        child = Child(Writer(hub.db, hub.opener.open, hub.clock, patience), job, round_number)
        await child.warm_up()
        print("writing", os.getpid(), flush=True)
        results = await asyncio.gather(*(child.work(lane) for lane in range(3)), return_exceptions=True)
        print("stopped", [str(each) for each in results if isinstance(each, Failure)], file=sys.stderr, flush=True)


def main() -> None:
    """Fork a writer for every round that is asked for."""
    job = json.loads(sys.stdin.readline())
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(work(job, int(line)))
            os._exit(0)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
