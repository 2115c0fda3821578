"""Sign-ins that are abandoned, and what is learned late about a sign-in that has been replaced meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.hub_fixtures import US, House
from tests.patience import WAIT_MAX_S

from isthmus.actions.reading.journal import RunJournal
from isthmus.actions.reading.run import Opened, Reader
from isthmus.app import ForgetfulJournal, Hub
from isthmus.connections.signing_in import StartedSignIn, state_hash
from isthmus.kernel.failures import Failure, SignInAgain
from isthmus.store import connections, grants, runs
from isthmus.store.rows import Connection, Grant, Sync
from isthmus.vault.secrets import Secret
from isthmus_sandbox.worlds import identities

OTHER_APP = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    """An opened hub."""
    async with house.hub() as opened:
        yield opened


async def start(
    house: House, hub: Hub, *, client_id: str = identities.WEB_APP_ID, secret: str = identities.WEB_APP_SECRET
) -> StartedSignIn:
    return await hub.signing_in.start(
        house.wish(tenant="", name="person"),
        client_id=client_id,
        secret=Secret(secret),
        redirect_uri="http://localhost:1/",
    )


async def grant_of(hub: Hub, connection: Connection) -> Grant:
    async with hub.db.project(hub.project.id) as tx:
        return await grants.get(tx, connection.grant_id)


async def end_the_tokens_hour(hub: Hub, connection: Connection) -> None:
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE grants SET access_token_sealed = NULL WHERE id = %s", (connection.grant_id,))
    hub.opener.forget_tokens(connection.grant_id)


async def test_an_abandoned_sign_in_changes_nothing(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub, name="person")
    before = await grant_of(hub, connection)
    await start(house, hub, client_id=OTHER_APP, secret="typo")
    assert await grant_of(hub, connection) == before
    await end_the_tokens_hour(hub, connection)
    assert (await hub.check(connection)).connection.state == "connected"


async def test_a_sign_in_that_is_refused_leaves_the_working_one_alone(house: House, hub: Hub) -> None:
    connection = (await hub.check(await house.sign_in(hub, name="person"))).connection
    started = await start(house, hub, secret="typo")
    back = await house.browse(hub, started.url)
    with pytest.raises(Failure):
        await hub.signing_in.finish(back, ForgetfulJournal())
    await end_the_tokens_hour(hub, connection)
    assert (await hub.check(connection)).connection.state == "connected"


async def test_a_sign_in_that_comes_through_late_does_not_undo_a_disconnect(house: House, hub: Hub) -> None:
    """The vendor takes its time over the code, and meanwhile somebody ends the connection."""
    connection = (await hub.check(await house.sign_in(hub, name="person"))).connection
    started = await start(house, hub)
    back = await house.browse(hub, started.url)
    house.sandbox.switch("slow-refresh", 2)
    finishing = asyncio.create_task(hub.signing_in.finish(back, ForgetfulJournal()))
    async with asyncio.timeout(WAIT_MAX_S):
        while True:
            found = await grants.find_authorization(hub.db, state_hash(started.state))
            if found is not None and found.used_at is not None:
                break
            await asyncio.sleep(0.02)
    await hub.disconnect(connection.id, erase=False, actor="test")
    with pytest.raises(SignInAgain, match="disconnected while somebody signed in"):
        await finishing
    assert (await house.state(hub, connection)).state == "disconnected"
    assert (await grant_of(hub, connection)).refresh_token_sealed is None
    house.sandbox.clear_switch("slow-refresh")
    assert (await house.sign_in(hub, name="person")).state == "pending", "signing in anew brings it back"


async def test_a_finished_sign_in_brings_its_own_app_and_secret(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub, name="person")
    async with hub.db.project(hub.project.id) as tx:  # an earlier app, which is gone
        grant = await grants.get(tx, connection.grant_id)
        await grants.set_settings(tx, grant.id, tenant=grant.tenant, client_id=OTHER_APP, cloud=grant.cloud)
        await grants.set_secret(tx, grant.id)
    again = await house.sign_in(hub, name="person")
    await end_the_tokens_hour(hub, again)
    assert (await hub.check(again)).connection.state == "connected"
    assert (await grant_of(hub, again)).client_id == identities.WEB_APP_ID


@pytest.mark.parametrize(("anew", "state"), [(True, "pending"), (False, "needs_reauth")])
async def test_a_refusal_of_the_old_sign_in_does_not_undo_a_new_one(
    house: House, hub: Hub, anew: bool, state: str
) -> None:
    """A run's renewal with the old refresh token is under way while the person signs in anew; its answer comes last."""
    connection = await house.sign_in(hub, name="person")
    sync = await house.sync(hub, connection, "items", companies=(US,))

    @asynccontextmanager
    async def refused(sync: Sync, journal: RunJournal) -> AsyncIterator[Opened]:
        if anew:
            await house.sign_in(hub, name="person")
        raise SignInAgain
        yield

    run, _ = await hub.begin_run(sync.id)
    async with hub.db.project(hub.project.id) as tx:
        claimed = await runs.claim(tx, run.id, "worker-1")
    assert claimed is not None
    with pytest.raises(SignInAgain):
        await Reader(hub.db, refused, hub.clock).perform(claimed)
    assert (await house.state(hub, connection)).state == state


async def test_a_renewal_is_no_new_sign_in(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub, name="person")
    async with hub.db.project(hub.project.id) as tx:
        before = await connections.credential_number(tx, connection.id)
    await end_the_tokens_hour(hub, connection)
    await hub.check(connection)
    async with hub.db.project(hub.project.id) as tx:
        assert await connections.credential_number(tx, connection.id) == before
        await connections.set_state(tx, connection.id, "blocked", Failure(), credential=before)
        assert (await connections.get(tx, connection.id)).state == "blocked"
