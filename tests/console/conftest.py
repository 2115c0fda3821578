"""The console over real HTTP: uvicorn on a free port, the test database, the sandbox, people with roles."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from tests.api_server import Served, served
from tests.console_people import Visitor, new_person
from tests.hub_fixtures import house, master_key
from tests.own_database import database_url
from tests.plain_http import plain_client
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus.kernel.ids import new_id

__all__ = ["database_url", "house", "master_key", "sandbox", "sandbox_server", "served"]

_NUMBERS = itertools.count(1)

SignedIn = Callable[[str], Awaitable[Visitor]]


@pytest.fixture
async def anybody(served: Served) -> AsyncIterator[Visitor]:
    """Somebody who is not signed in."""
    async with plain_client(served.address) as client:
        yield Visitor(served, client)


@pytest.fixture
async def visitors(served: Served) -> AsyncIterator[Callable[[], Visitor]]:
    """Makes browsers in which nobody has signed in yet."""
    async with AsyncExitStack() as stack:

        def another() -> Visitor:
            client = plain_client(served.address)
            stack.push_async_callback(client.aclose)
            return Visitor(served, client)

        yield another


@pytest.fixture
async def signed_in(served: Served) -> AsyncIterator[SignedIn]:
    """Makes a person of a role and signs in as that person."""
    async with AsyncExitStack() as stack:

        async def make(role: str) -> Visitor:
            client = plain_client(served.address)
            visitor = Visitor(served, await stack.enter_async_context(client))
            name = f"{role} {next(_NUMBERS)} {new_id().hex[-6:]}"
            await new_person(served, name, role)
            answer = await visitor.sign_in(name)
            assert answer.status_code == 303, answer.text
            return visitor

        yield make


@pytest.fixture
async def admin(signed_in: SignedIn) -> Visitor:
    """A signed-in administrator."""
    return await signed_in("admin")
