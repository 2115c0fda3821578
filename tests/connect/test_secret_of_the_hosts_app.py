"""The secret of the host's own app: watched once for all its connections, tried, staged, and replaced."""

from __future__ import annotations

import asyncio
import datetime as dt
from datetime import timedelta
from importlib import resources
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from tests.connect.conftest import Acme, Person

from isthmus.app import ForgetfulJournal
from isthmus.client.watching import Watch, watched
from isthmus.connections.credentials import NewSecret
from isthmus.kernel.failures import InvalidInput, SecretWrong
from isthmus.store import app_secrets, connections, events, grants, integrations, listing, notices, vitals
from isthmus.store.audit import AuditEntry, Author
from isthmus.store.events import Event
from isthmus.store.integrations import Integration
from isthmus.store.rows import Connection, Grant
from isthmus.vault.secrets import Secret
from isthmus_sandbox.worlds import identities

OLD = identities.WEB_APP_SECRET
NEXT = "the-next-secret~of-the-web-app"
BAD = "wr0ng-canary"
BY = Author(actor="test")
IMPATIENT = Watch(deadline_max_s=1.0, tell=lambda words, attempt: None)


class Scene:
    """A host whose customers have connected through its app."""

    def __init__(self, acme: Acme, backend: httpx.AsyncClient, person: Person) -> None:
        self.acme = acme
        self.hub = acme.served.hub
        self.backend = backend
        self.person = person

    async def connected(self, consumer: str = "c-1") -> UUID:
        """A customer signs in through a link."""
        session, url = await self.acme.link(
            self.backend, consumer={"external_id": consumer, "name": f"{consumer} Ltd."}
        )
        await self.person.open(url)
        await self.person.press("/accept")
        await self.person.at_vendor()
        await self.person.until("Which companies?")
        await self.person.press("/companies", company=[identities.US_COMPANY_ID])
        return UUID((await self.acme.status(self.backend, session))["connection"])

    def at_the_vendor(self, *secrets: str) -> None:
        """From now on the app has these secrets and no others."""
        directory = self.acme.house.sandbox.directory

        def replaced() -> None:
            directory.apps[identities.WEB_APP_ID].secrets.clear()
            for each in secrets:
                directory.add_secret(identities.WEB_APP_ID, each)

        self.acme.house.sandbox.call(replaced)

    def tx(self) -> Any:
        return self.hub.db.project(self.hub.project.id)

    async def connection(self, connection_id: UUID) -> Connection:
        async with self.tx() as tx:
            return await connections.get(tx, connection_id)

    async def grant(self, connection_id: UUID) -> Grant:
        async with self.tx() as tx:
            return await grants.get(tx, (await connections.get(tx, connection_id)).grant_id)

    async def integration(self, integration_id: UUID) -> Integration:
        async with self.tx() as tx:
            return await integrations.get(tx, integration_id)

    async def told(self, ending: str = "secret_expiring") -> list[Event]:
        async with self.tx() as tx:
            return [each for each in (await events.read(tx, 0)).events if each.type.endswith(ending)]

    async def acts(self) -> list[str]:
        async with self.tx() as tx:
            rows, _ = await listing.page(tx, AuditEntry, 100)
            return [each.action for each in rows]

    async def look(self) -> int:
        """What a worker does when the time has come."""
        async with self.tx() as tx:
            await tx.execute("UPDATE integrations SET secret_look_at = now() WHERE secret_look_at IS NOT NULL")
        return await self.hub.caretaker.work()

    async def tokens_over(self) -> None:
        """As if every access token's hour were over."""
        async with self.tx() as tx:
            for grant in await grants.every(tx):
                await grants.expire_access_token(tx, grant.id)
                self.hub.opener.forget_tokens(grant.id)


@pytest.fixture
def scene(acme: Acme, backend: httpx.AsyncClient, person: Person) -> Scene:
    """Nobody has connected yet."""
    return Scene(acme, backend, person)


def in_days(days: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + timedelta(days=days)


# -- its end ---------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("OA-37")
async def test_the_end_of_the_hosts_secret_is_told_once_for_all_its_connections(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in", ends_at=in_days(6.5))
    made = [await scene.connected(consumer) for consumer in ("c-1", "c-2")]
    await scene.look()
    (told,) = await scene.told()
    assert (told.type, told.subject) == ("integration.secret_expiring", {"integration_id": str(offered.id)})
    assert (told.data["days"], told.data["connections"], told.data["staged"]) == (7, 2, False)
    async with scene.tx() as tx:
        (notice,) = await notices.history(tx)
        looked = next(
            each for each in (await vitals.vitals(scene.hub.db)).projects if each.project == scene.hub.project.name
        )
    assert (notice.kind, notice.detail["what"]) == ("secret_expiring", "Business Central")
    assert "client secret of your app ends in 7 days" in notice.detail["title"]
    assert "2 connections use it" in notice.detail["title"]
    assert notice.detail["place"] == f"/console/apps/integrations/{offered.id}#secret"
    assert looked.secret_ends_s is not None
    assert 6 * 86_400 < looked.secret_ends_s < 7 * 86_400, "the alert sees it"
    reader = await scene.acme.served.client("read")
    for each in made:
        secret = (await reader.get(f"/v1/connections/{each}/health")).json()["secret"]
        assert (secret["integration"], secret["expires_at"] is not None) == (str(offered.id), True)
    await scene.look()
    assert len(await scene.told()) == 1, "not again for the same step"


@pytest.mark.conformance("OA-37")
async def test_each_step_is_told_and_a_new_date_begins_anew(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in", ends_at=in_days(40))
    await scene.look()
    assert await scene.told() == []
    for days in (29.5, 29.0, 13.5, 6.5, 0.5, -0.5):
        async with scene.tx() as tx:  # the clock cannot be moved, so the end comes nearer
            warned = (await integrations.get(tx, offered.id)).warned_days
            await app_secrets.set_expiry(tx, offered.id, in_days(days))
            await tx.execute("UPDATE integrations SET warned_days = %s WHERE id = %s", (warned, offered.id))
        await scene.look()
    assert [each.data["days"] for each in await scene.told()] == [30, 14, 7, 1, 0], "29 days is the same step as 30"
    async with scene.tx() as tx:
        assert "no connection uses it yet" in (await notices.history(tx))[0].detail["title"]
        assert await tx.value("SELECT secret_look_at FROM integrations") is None, "nothing more to tell"
    await scene.hub.connect.app_secrets.set_expiry(offered.id, in_days(3), by=BY)
    await scene.look()
    assert (await scene.told())[-1].data["days"] == 3
    assert "integration.secret_expiry" in await scene.acts()


async def test_a_customers_own_secret_is_told_for_the_connection(scene: Scene) -> None:
    await scene.acme.integration("sign_in", ends_at=in_days(300))
    own = await scene.acme.house.connect(scene.hub)
    await scene.hub.renewing.set_expiry(own.id, in_days(3), actor="test")
    await scene.hub.caretaker.work()
    assert [each.type for each in await scene.told()] == ["connection.secret_expiring"]


# -- another one -----------------------------------------------------------------------------------------------------


async def test_what_stood_still_because_of_the_old_secret_is_healed_by_the_new_one(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in")
    made = [await scene.connected(consumer) for consumer in ("c-1", "c-2")]
    scene.at_the_vendor(NEXT)
    await scene.tokens_over()
    for each in made:
        ill = (await scene.hub.check(await scene.connection(each))).connection
        assert (ill.state, (ill.failure or {})["code"]) == ("needs_reauth", "secret_wrong")
    admin = await scene.acme.served.client("admin")
    answer = await admin.put(f"/v1/integrations/{offered.id}/secret", json={"client_secret": NEXT})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["sign_ins"], answer.json()["tried"]) == (2, True)
    async with asyncio.timeout(30):
        while {(await scene.connection(each)).state for each in made} != {"connected"}:
            await scene.hub.caretaker.work()
            await asyncio.sleep(0.1)


@pytest.mark.conformance("OA-38")
async def test_a_mistyped_secret_replaces_the_good_one_nowhere(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in")
    made = await scene.connected()
    before, kept = await scene.grant(made), await scene.integration(offered.id)
    admin = await scene.acme.served.client("admin")
    for path in ("secret", "staged-secret"):
        answer = await admin.put(f"/v1/integrations/{offered.id}/{path}", json={"client_secret": BAD})
        assert (answer.status_code, answer.json()["code"]) == (424, "secret_wrong"), answer.text
        assert BAD not in answer.text
    after = await scene.grant(made)
    assert (after.secret_sealed, after.staged_at) == (before.secret_sealed, None)
    assert (await scene.integration(offered.id)) == kept
    past = await admin.put(
        f"/v1/integrations/{offered.id}/secret",
        json={"client_secret": OLD, "secret_expires_at": "2020-01-01T00:00:00Z"},
    )
    assert past.status_code == 422
    await scene.tokens_over()
    assert (await scene.hub.check(await scene.connection(made))).failure is None


async def test_a_tenant_that_says_nothing_about_the_secret_does_not_decide(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in")
    await scene.connected()
    scene.acme.house.sandbox.switch("html-503")
    with watched(IMPATIENT), pytest.raises(Exception, match="could not be tried, so nothing was changed"):
        await scene.hub.connect.app_secrets.replace(
            offered.id, NewSecret(secret=Secret(NEXT)), ForgetfulJournal(), by=BY
        )
    scene.acme.house.sandbox.clear_switch("html-503")
    used = await scene.hub.connect.app_secrets.replace(
        offered.id, NewSecret(secret=Secret(OLD)), ForgetfulJournal(), by=BY
    )
    assert used.tried


async def test_with_nobody_connected_a_secret_cannot_be_tried_and_that_is_said(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in")
    admin = await scene.acme.served.client("admin")
    answer = await admin.put(f"/v1/integrations/{offered.id}/secret", json={"client_secret": NEXT})
    assert (answer.status_code, answer.json()["tried"], answer.json()["sign_ins"]) == (200, False, 0)


@pytest.mark.conformance("OA-38")
async def test_a_staged_secret_takes_over_everywhere_when_the_first_connection_needs_it(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in", ends_at=in_days(20))
    first = await scene.connected("c-1")
    scene.at_the_vendor(OLD, NEXT)
    ends = in_days(700).replace(microsecond=0)
    admin = await scene.acme.served.client("admin")
    answer = await admin.put(
        f"/v1/integrations/{offered.id}/staged-secret",
        json={"client_secret": NEXT, "secret_expires_at": ends.isoformat()},
    )
    assert (answer.status_code, answer.json()["accepted"]) == (200, True), answer.text
    assert answer.json()["integration"]["secret_staged"] is True
    later = await scene.connected("c-2")
    assert (await scene.grant(later)).staged_at is not None, "who connects meanwhile gets both"
    await scene.look()
    async with scene.tx() as tx:
        assert await notices.history(tx) == [], "a secret that waits takes the urgency out of it"
    scene.at_the_vendor(NEXT)
    await scene.tokens_over()
    assert (await scene.hub.check(await scene.connection(first))).failure is None, "nobody notices"
    await scene.look()
    after = await scene.integration(offered.id)
    assert (after.staged_at, after.secret_expires_at) == (None, ends)
    assert {"integration.secret_staged", "integration.staged_secret_promoted"} <= set(await scene.acts())
    before = scene.acme.house.token_requests(identities.WEB_APP_ID)
    assert (await scene.hub.check(await scene.connection(later))).failure is None
    assert scene.acme.house.token_requests(identities.WEB_APP_ID) - before == 1, "the new one is the one in use"
    for each in (first, later):
        assert ((await scene.grant(each)).staged_at, (await scene.grant(each)).secret_expires_at) == (None, None)


async def test_a_staged_secret_takes_over_at_its_date_or_is_told_to_be_refused(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in", ends_at=in_days(20))
    made = await scene.connected()
    staged = await scene.hub.connect.app_secrets.stage(
        offered.id, NewSecret(secret=Secret(NEXT)), ForgetfulJournal(), by=BY, from_at=in_days(1)
    )
    assert not staged, "it is not valid yet, which is fine for one that begins tomorrow"
    async with scene.tx() as tx:
        await tx.execute("UPDATE integrations SET staged_from = now()")
    await scene.look()
    refused = await scene.integration(offered.id)
    assert (refused.staged_at is not None, refused.staged_from) == (True, None)
    async with scene.tx() as tx:
        titles = [each.detail["title"] for each in await notices.history(tx)]
    assert any("was to take over and is not accepted" in each for each in titles), titles
    assert "integration.staged_secret_refused" in await scene.acts()
    scene.at_the_vendor(OLD, NEXT)
    async with scene.tx() as tx:
        await tx.execute("UPDATE integrations SET staged_from = now()")
    await scene.look()
    assert (await scene.integration(offered.id)).staged_at is None
    scene.at_the_vendor(NEXT)
    await scene.tokens_over()
    assert (await scene.hub.check(await scene.connection(made))).failure is None


async def test_a_vendor_that_cannot_be_asked_keeps_no_warning_back_and_is_asked_again(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in", ends_at=in_days(20))
    await scene.connected()
    scene.at_the_vendor(OLD, NEXT)
    await scene.hub.connect.app_secrets.stage(
        offered.id, NewSecret(secret=Secret(NEXT)), ForgetfulJournal(), by=BY, from_at=in_days(1)
    )
    async with scene.tx() as tx:
        await tx.execute("UPDATE integrations SET staged_from = now()")
    scene.acme.house.sandbox.switch("html-503")
    with watched(IMPATIENT):
        await scene.look()
    scene.acme.house.sandbox.clear_switch("html-503")
    assert [each.data["days"] for each in await scene.told()] == [20]
    async with scene.tx() as tx:
        again_at = await tx.value("SELECT secret_look_at FROM integrations WHERE id = %s", (offered.id,))
    assert timedelta(minutes=50) < again_at - dt.datetime.now(dt.UTC) < timedelta(minutes=70)
    assert (await scene.integration(offered.id)).staged_from is not None, "nothing was said against it"
    await scene.look()
    assert (await scene.integration(offered.id)).staged_at is None


async def test_a_staged_secret_is_forgotten_where_it_was_copied_to_and_nowhere_else(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in")
    first, second = await scene.connected("c-1"), await scene.connected("c-2")
    scene.at_the_vendor(OLD, NEXT, "a-third~one")
    secrets = scene.hub.connect.app_secrets
    await secrets.stage(offered.id, NewSecret(secret=Secret(NEXT)), ForgetfulJournal(), by=BY)
    own = NewSecret(secret=Secret("a-third~one"))
    await scene.hub.renewing.stage(second, own, ForgetfulJournal(), actor="test")
    await secrets.unstage(offered.id, by=BY)
    assert (await scene.integration(offered.id)).staged_at is None
    assert (await scene.grant(first)).staged_at is None
    assert (await scene.grant(second)).staged_at is not None
    await secrets.replace(offered.id, NewSecret(secret=Secret(NEXT)), ForgetfulJournal(), by=BY)
    assert (await scene.grant(second)).staged_secret_sealed is not None, "what was staged for one alone goes on waiting"


async def test_a_check_under_way_with_the_old_secret_says_nothing_about_the_new_one(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in")
    made = await scene.connected()
    scene.at_the_vendor(NEXT)
    await scene.tokens_over()
    before = grants.credential_number(await scene.grant(made))
    ill = (await scene.hub.check(await scene.connection(made))).connection
    assert ill.state == "needs_reauth"
    await scene.hub.connect.app_secrets.replace(offered.id, NewSecret(secret=Secret(NEXT)), ForgetfulJournal(), by=BY)
    await scene.hub.check(await scene.connection(made))
    async with scene.tx() as tx:
        await connections.set_state(tx, made, "needs_reauth", SecretWrong(), credential=before)
    assert (await scene.connection(made)).state == "connected"


async def test_signing_in_again_with_the_same_secret_keeps_what_waits_beside_it(scene: Scene) -> None:
    offered = await scene.acme.integration("sign_in")
    made = await scene.connected()
    scene.at_the_vendor(OLD, NEXT)
    await scene.hub.connect.app_secrets.stage(offered.id, NewSecret(secret=Secret(NEXT)), ForgetfulJournal(), by=BY)
    session, url = await scene.acme.link(scene.backend, connection=str(made))
    await scene.person.open(url)
    await scene.person.press("/accept")
    await scene.person.at_vendor()
    async with asyncio.timeout(30):
        while (await scene.acme.status(scene.backend, session))["status"] != "connected":
            await scene.person.open(scene.person.at)
    assert (await scene.grant(made)).staged_at is not None


async def test_another_app_wants_a_client_id(scene: Scene) -> None:
    offered = await scene.acme.integration("own_app", own_app=False)
    with pytest.raises(InvalidInput, match="no app of its own"):
        await scene.hub.connect.app_secrets.replace(
            offered.id, NewSecret(secret=Secret(NEXT)), ForgetfulJournal(), by=BY
        )


# -- what exists -----------------------------------------------------------------------------------------------------


async def test_dates_that_were_copied_to_connections_are_watched_at_the_integration(
    scene: Scene, database_url: str
) -> None:
    """What an earlier isthmus left behind is put right by the migration's own statements."""
    offered = await scene.acme.integration("sign_in", ends_at=in_days(6.5))
    made = await scene.connected()
    ends = (await scene.integration(offered.id)).secret_expires_at
    async with scene.tx() as tx:
        await tx.execute("UPDATE grants SET secret_expires_at = %s", (ends,))
        await tx.execute("UPDATE integrations SET secret_look_at = NULL")
    script = resources.files("isthmus.store.migrations.versions").joinpath("0015_app_secrets.sql").read_text()
    back_fill = script[script.index("UPDATE integrations i SET") : script.index("-- Who looks after all projects")]
    async with await psycopg.AsyncConnection.connect(database_url, options="-c search_path=isthmus") as connection:
        await connection.execute(back_fill.encode())
    assert (await scene.grant(made)).secret_expires_at is None
    await scene.hub.caretaker.work()
    assert [each.type for each in await scene.told()] == ["integration.secret_expiring"]
