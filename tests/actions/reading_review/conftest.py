"""An opened hub with a checked connection."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.hub_fixtures import House

from isthmus.app import Hub
from isthmus.store.rows import Connection


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    """An opened hub."""
    async with house.hub() as opened:
        yield opened


@pytest.fixture
async def connection(house: House, hub: Hub) -> Connection:
    """A checked connection."""
    return await house.connect(hub)
