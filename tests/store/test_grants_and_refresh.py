"""Tokens: one refresh at a time over all processes, late results fenced off, sign-ins good once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from tests.store.conftest import Place

from isthmus.auth.entra.grants import TOKEN_DEADLINE_S
from isthmus.kernel.failures import InvalidInput, TransientFailure
from isthmus.kernel.ids import new_id
from isthmus.store import connections, grants
from isthmus.store.database import Database
from isthmus.store.rows import Grant

SOON = datetime(2030, 1, 1, tzinfo=UTC)


async def grant_of(place: Place) -> Grant:
    async with place.db.project(place.project_id) as tx:
        connection = await connections.get(tx, place.connection_id)
        return await grants.get(tx, connection.grant_id)


@pytest.mark.conformance("OA-29")
async def test_of_many_refreshes_at_once_one_asks_and_the_others_find_its_token(
    place: Place, database_url: str
) -> None:
    grant = await grant_of(place)
    asked = 0

    async def token(db: Database) -> bytes | None:
        nonlocal asked
        async with grants.refreshing(db, place.project_id, grant.id) as refreshing:
            if refreshing.grant.access_token_sealed is None:
                asked += 1
                await asyncio.sleep(0.05)
                assert await refreshing.store(access_token_sealed=b"new", access_expires_at=SOON)
                return b"new"
            return refreshing.grant.access_token_sealed

    async with await Database.open(database_url) as second:  # as another process would
        tokens = await asyncio.gather(*(token(db) for db in (place.db, second) * 6))
    assert asked == 1
    assert set(tokens) == {b"new"}


@pytest.mark.conformance("OA-29")
async def test_a_late_result_does_not_overwrite_a_newer_token(place: Place) -> None:
    slow = await grant_of(place)
    async with place.db.project(place.project_id) as tx:
        assert await grants.store_tokens(
            tx, slow.id, fence=slow.fence, access_token_sealed=b"newer", access_expires_at=SOON
        )
    async with place.db.project(place.project_id) as tx:
        assert not await grants.store_tokens(
            tx, slow.id, fence=slow.fence, access_token_sealed=b"older", access_expires_at=SOON
        )
    assert (await grant_of(place)).access_token_sealed == b"newer"


@pytest.mark.conformance("OA-30")
async def test_a_result_without_a_refresh_token_keeps_the_present_one(place: Place) -> None:
    grant = await grant_of(place)
    for fence, refresh in ((grant.fence, b"first"), (grant.fence + 1, None)):
        async with place.db.project(place.project_id) as tx:
            await grants.store_tokens(
                tx,
                grant.id,
                fence=fence,
                access_token_sealed=b"a",
                access_expires_at=SOON,
                refresh_token_sealed=refresh,
            )
    assert (await grant_of(place)).refresh_token_sealed == b"first"


async def test_a_stored_token_stays_when_its_user_fails_afterwards(place: Place) -> None:
    grant = await grant_of(place)

    async def refresh_and_fail() -> None:
        async with grants.refreshing(place.db, place.project_id, grant.id) as refreshing:
            await refreshing.store(access_token_sealed=b"kept", access_expires_at=SOON)
            raise RuntimeError("the caller crashed")

    with pytest.raises(RuntimeError):
        await refresh_and_fail()
    assert (await grant_of(place)).access_token_sealed == b"kept"


async def test_a_refresh_that_fails_lets_the_next_one_in(place: Place) -> None:
    grant = await grant_of(place)

    async def fail() -> None:
        async with grants.refreshing(place.db, place.project_id, grant.id):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with grants.refreshing(place.db, place.project_id, grant.id) as refreshing:
        assert refreshing.grant.fence == grant.fence


async def test_a_renewal_that_takes_too_long_elsewhere_is_passing_trouble(place: Place) -> None:
    grant = await grant_of(place)
    async with grants.refreshing(place.db, place.project_id, grant.id):
        with pytest.raises(TransientFailure, match="renewed by another process"):
            async with grants.refreshing(place.db, place.project_id, grant.id, wait_s=1):
                pytest.fail("two are inside")


def test_nobody_is_cut_while_others_wait_and_a_token_request_ends_before_they_give_up() -> None:
    assert TOKEN_DEADLINE_S < grants.REFRESH_WAIT_MAX_S < grants.REFRESH_IDLE_MAX_S


@pytest.mark.conformance("OA-30")
async def test_a_new_refresh_token_is_kept_although_the_locks_connection_has_broken(
    place: Place, database_url: str
) -> None:
    grant = await grant_of(place)
    async with grants.refreshing(place.db, place.project_id, grant.id) as refreshing:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
            await owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
        assert await refreshing.store(
            access_token_sealed=b"a", access_expires_at=SOON, refresh_token_sealed=b"the only one"
        )
    assert (await grant_of(place)).refresh_token_sealed == b"the only one"


async def test_a_new_secret_keeps_the_tokens(place: Place) -> None:
    grant = await grant_of(place)
    async with place.db.project(place.project_id) as tx:
        await grants.store_tokens(
            tx, grant.id, fence=0, access_token_sealed=b"a", access_expires_at=SOON, refresh_token_sealed=b"r"
        )
        await grants.set_secret(tx, grant.id, secret_sealed=b"s2", secret_expires_at=SOON)
        await grants.set_settings(tx, grant.id, tenant="fabrikam", client_id="app-2", cloud={"name": "public"})
    found = await grant_of(place)
    assert (found.secret_sealed, found.refresh_token_sealed, found.tenant) == (b"s2", b"r", "fabrikam")
    assert found.cloud == {"name": "public"}


async def begin(place: Place, state_hash: bytes, lifetime: timedelta = timedelta(minutes=10)) -> UUID:
    async with place.db.project(place.project_id) as tx:
        now: datetime = await tx.value("SELECT now()")
        return await grants.begin_authorization(
            tx, state_hash=state_hash, sealed=b"verifier", context={"step": "connect"}, expires_at=now + lifetime
        )


@pytest.mark.conformance("OA-22", "OA-25")
async def test_a_state_is_good_once(place: Place) -> None:
    state_hash = new_id().bytes
    identifier = await begin(place, state_hash)
    found = await grants.find_authorization(place.db, state_hash)
    assert found is not None
    assert (found.id, found.project_id, found.context) == (identifier, place.project_id, {"step": "connect"})

    for expected in (True, False):
        async with place.db.project(place.project_id) as tx:
            assert await grants.use_authorization(tx, identifier) is expected
    again = await grants.find_authorization(place.db, state_hash)
    assert again is not None
    assert again.used_at is not None


async def kept_of(place: Place, state_hash: bytes) -> bytes | None:
    """What is kept of a sign-in's secrets; None when nobody knows of it any more."""
    found = await grants.find_authorization(place.db, state_hash)
    return None if found is None else found.sealed


async def test_the_secrets_of_a_sign_in_are_kept_no_longer_than_it_is_under_way(place: Place) -> None:
    finished, given_up, under_way = (new_id().bytes for _ in range(3))
    used = await begin(place, finished)
    await begin(place, given_up, timedelta(seconds=-1))
    await begin(place, under_way)
    async with place.db.project(place.project_id) as tx:
        assert await grants.use_authorization(tx, used)
    assert await grants.forget_sign_ins(place.db) >= 1
    assert [await kept_of(place, each) for each in (finished, given_up, under_way)] == [b"", b"", b"verifier"]
    old = new_id().bytes
    await begin(place, old, timedelta(hours=-grants.SIGN_INS_KEPT_HOURS, seconds=-1))
    await begin(place, new_id().bytes)
    assert await kept_of(place, old) is None, "with time not even that it was there"


@pytest.mark.conformance("OA-22")
async def test_a_forged_or_expired_state_is_no_use(place: Place) -> None:
    assert await grants.find_authorization(place.db, b"never handed out") is None
    identifier = await begin(place, new_id().bytes, timedelta(seconds=-1))
    async with place.db.project(place.project_id) as tx:
        assert not await grants.use_authorization(tx, identifier)


async def test_an_unknown_grant_is_told(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        with pytest.raises(InvalidInput):
            await grants.get(tx, new_id())
        assert len(await grants.every(tx)) == 1
