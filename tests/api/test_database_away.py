"""PostgreSQL is away while the server serves: whoever asks is told so within seconds, on every surface."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.api_server import Served, serving
from tests.console_people import Visitor, new_person, words
from tests.hub_fixtures import House
from tests.patience import WAIT_MAX_S, eventually

from isthmus.api.frame import DATABASE_WAIT_S
from isthmus.api.vitals import ANSWER_S_MAX
from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.kernel.hurry import hurried, unhurried
from isthmus.kernel.ids import new_id
from isthmus.store.database import PATIENCE_S, Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate

SOON_S = PATIENCE_S / 2
"""A busy machine is slow; the patience of work that nobody waits for is another matter."""


@pytest.fixture
async def own_server() -> AsyncIterator[EmbeddedPostgres]:
    """A server that a test may stop; to the hub it is one elsewhere, which it cannot start."""
    folder = Path(tempfile.mkdtemp(prefix="isthmus-away-"))
    server = EmbeddedPostgres(folder / "postgres")
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def own(own_server: EmbeddedPostgres, house: House) -> AsyncIterator[Served]:
    """A server over that database."""
    settings = msgspec.structs.replace(house.settings, database_url=own_server.url)
    async with serving(House(settings, house.sandbox, {})) as running:
        yield running
        await own_server.start()  # whoever leaves says so


@pytest.fixture
async def visitor(own: Served) -> AsyncIterator[Visitor]:
    """An administrator who is signed in already."""
    async with httpx.AsyncClient(base_url=own.address, timeout=WAIT_MAX_S, trust_env=False) as client:
        found = Visitor(own, client)
        await new_person(own, "ann", "admin")
        assert (await found.sign_in("ann")).status_code == 303
        yield found


async def test_every_surface_answers_503_within_seconds_and_says_when_to_come_back(
    own: Served, own_server: EmbeddedPostgres, visitor: Visitor
) -> None:
    api = await own.client()
    assert (await api.get("/v1/connections")).status_code == 200
    stranger = await own.bearing("isth_dev_" + "a" * 40)
    await own_server.stop()

    asked_s = time.monotonic()
    answers = await asyncio.gather(
        api.get("/v1/connections"),
        api.get("/v1/syncs"),
        stranger.get(f"/v1/proxy/{new_id()}/companies"),
        visitor.get("/console"),
        visitor.get("/console/connections"),
        visitor.client.get(f"/connect/{'t' * 40}"),
        visitor.client.get(f"/portal/{'t' * 40}"),
    )
    took_s = time.monotonic() - asked_s

    assert [each.status_code for each in answers] == [503] * len(answers), [str(each.url) for each in answers]
    assert all(int(each.headers["retry-after"]) >= 1 for each in answers)
    assert took_s < SOON_S
    problem = answers[0].json()
    assert problem["code"] == "database_unavailable"
    assert problem["message"] == f"The database has not answered for {DATABASE_WAIT_S:.0f} s."
    assert problem["retry_after"] >= 1


async def test_the_console_says_what_happened_and_whose_turn_it_is(
    own: Served, own_server: EmbeddedPostgres, visitor: Visitor
) -> None:
    await own_server.stop()

    page = words((await visitor.get("/console")).text)

    assert "The database does not answer" in page
    assert "has not answered for" in page
    assert "The turn of whoever runs this hub" in page


async def test_measurements_come_in_time_for_whoever_scrapes(own: Served, own_server: EmbeddedPostgres) -> None:
    api = await own.client()
    here = await own.bearing(None)
    await own_server.stop()

    asked_s = time.monotonic()
    local = await here.get("/metrics")
    took_s = time.monotonic() - asked_s
    remote = await api.get("/metrics", headers={"x-forwarded-for": "192.0.2.1"})
    nobody = await here.get("/metrics", headers={"x-forwarded-for": "192.0.2.1"})

    assert "isthmus_database_up 0.0" in local.text
    assert "isthmus_http_requests_total" in local.text
    assert took_s < ANSWER_S_MAX + 5.0, "Prometheus gives up after ten seconds"
    assert remote.status_code == 200
    assert remote.text.splitlines()[-1] == "isthmus_database_up 0.0"
    assert "isthmus_http_requests" not in remote.text
    assert nobody.status_code == 401


async def test_what_a_request_has_begun_at_a_vendor_keeps_the_long_patience(own_server: EmbeddedPostgres) -> None:
    await migrate(own_server.url)
    async with await Database.open(own_server.url, patience_s=WAIT_MAX_S) as db:

        async def work() -> int:
            async with db.unscoped() as tx:
                return int(await tx.value("SELECT 1"))

        assert await work() == 1
        await own_server.stop()
        with hurried(0.5):
            with pytest.raises(DatabaseUnavailable, match="has not answered for"):
                await work()
            with unhurried():
                noted = asyncio.create_task(work())
            await asyncio.sleep(1.0)
            assert not noted.done()
        await own_server.start()
        assert await noted == 1


async def test_an_embedded_database_that_is_killed_is_started_again_and_the_server_answers(house: House) -> None:
    home = Path(tempfile.mkdtemp(prefix="isthmus-killed-"))
    settings = msgspec.structs.replace(house.settings, database_url=None, home=home / "data")
    try:
        async with serving(House(settings, house.sandbox, {}), worker=True) as running:
            api = await running.client()
            assert (await api.post("/v1/consumers", json={"external_id": "acme", "name": "Acme"})).status_code == 201
            former = int((settings.postgres_dir / "postmaster.pid").read_text().splitlines()[0])
            os.kill(former, signal.SIGKILL)

            async def answers_again() -> bool:
                return (await api.get("/v1/consumers")).status_code == 200

            await eventually(answers_again, "nobody started the database again")
            listed = (await api.get("/v1/consumers")).json()["result"]
            assert [each["external_id"] for each in listed] == ["acme"]
            assert (await api.post("/v1/consumers", json={"external_id": "other", "name": "Other"})).status_code == 201
            now = int((settings.postgres_dir / "postmaster.pid").read_text().splitlines()[0])
            assert now != former
    finally:
        shutil.rmtree(home, ignore_errors=True)
