"""A sync to run, engines with short times, and waiting for something to become true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.own_database import database_url
from tests.patience import eventually
from tests.store.conftest import Place, make_place

from isthmus.engine import Engine, EngineSettings
from isthmus.store.database import Database

__all__ = ["database_url", "eventually"]

QUICK = EngineSettings(
    jobs=4, group_slots=2, heartbeat_s=0.2, silent_s=300.0, recover_s=0.2, tick_s=0.1, poll_s=0.2, stop_grace_s=0.1
)
"""Looks often and takes nobody for dead: a machine that is busy for a second is no dead worker."""

HASTY = msgspec.structs.replace(QUICK, silent_s=1.5)
"""Takes over what a dead worker has left."""


@pytest.fixture
async def place(database: Database) -> Place:
    """A fresh sync of a fresh project."""
    return await make_place(database)


@pytest.fixture
async def other_place(database: Database) -> Place:
    """Another one, in another project."""
    return await make_place(database)


@asynccontextmanager
async def working(engine: Engine) -> AsyncIterator[None]:
    """The engine's worker runs inside the block."""
    async with engine:
        task = asyncio.create_task(engine.run_worker())
        try:
            yield
        finally:
            engine.stop()
            await task
