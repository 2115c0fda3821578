"""A worker process to be killed: takes a run, stores one page, then waits for its end."""

from __future__ import annotations

import asyncio
import sys

from tests.engine.conftest import QUICK
from tests.store.conftest import page_of

from isthmus.engine import Engine
from isthmus.store.database import Database
from isthmus.store.pages import commit_page
from isthmus.store.rows import Run


async def main(url: str) -> None:
    """Work until killed."""
    async with await Database.open(url) as db:

        async def handle(run: Run) -> None:
            await commit_page(db, run.project_id, page_of(run, {"a": "1", "b": "2"}))
            print("stored", flush=True)
            await asyncio.sleep(600)

        async with Engine(db, run=handle, settings=QUICK) as engine:
            await engine.run_worker()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
