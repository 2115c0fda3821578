"""The whole way, as people live through it: the secret of the host's app ends, and all works again afterwards."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from tests.connect.conftest import Acme, Person
from tests.connect.test_secret_of_the_hosts_app import NEXT, OLD, Scene
from tests.console_people import Visitor, new_person, words
from tests.health.conftest import Mailbox, mail_server
from tests.plain_http import plain_client

from isthmus.store import app_secrets, integrations, notices
from isthmus_sandbox.worlds import identities


@pytest.fixture
async def post() -> AsyncIterator[Mailbox]:
    """A mail server."""
    async with mail_server() as box:
        yield box


@pytest.fixture
async def admin(acme: Acme) -> AsyncIterator[Visitor]:
    """The host's administrator in the console."""
    async with plain_client(acme.served.address) as client:
        visitor = Visitor(acme.served, client)
        name = f"admin {acme.served.hub.project.name}"
        await new_person(acme.served, name, "admin")
        assert (await visitor.sign_in(name)).status_code == 303
        yield visitor


async def new_mails(scene: Scene, post: Mailbox) -> list[str]:
    """What leaves now; nobody waits for the minute in which notices are gathered."""
    before = len(post.mails)
    async with scene.tx() as tx:
        await tx.execute("UPDATE notices SET due_at = now() WHERE told_at IS NULL")
    await scene.hub.notifier.work()
    return [" ".join(each.split()) for each in post.texts[before:]]


async def test_a_secret_ends_people_are_told_and_the_next_one_heals_everything(
    acme: Acme, backend: httpx.AsyncClient, person: Person, admin: Visitor, post: Mailbox
) -> None:
    scene = Scene(acme, backend, person)
    scene.hub.notifier.server, scene.hub.notifier.public_url = post.server, acme.served.address
    async with scene.tx() as tx:
        await notices.add_address(tx, "ops@acme.example")
    offered = await acme.integration("sign_in", ends_at=dt.datetime.now(dt.UTC) + timedelta(days=6.5))
    page = f"/console/apps/integrations/{offered.id}"
    made = [await scene.connected(consumer) for consumer in ("c-1", "c-2")]

    # A week before: one mail for the secret, not one for each customer.
    await scene.look()
    (mail,) = await new_mails(scene, post)
    assert "Business Central: The client secret of your app ends in 7 days" in mail
    assert "2 connections use it" in mail
    assert "Create a new client secret for your app in Entra and enter it at the integration" in mail
    assert "takes over when the old one ends" in mail
    assert f"{acme.served.address}{page}#secret" in mail
    home = await admin.text("/console")
    assert "Business Central: the client secret of your app ends in 7 days" in words(home)
    assert f'href="{page}#secret"' in home
    assert "The client secret of your app ends in 7 days" in words(await admin.text(page))
    assert "ends in 7 days" in words(await admin.text(f"/console/connections/{made[0]}"))

    # Nobody acts, and it ends.
    acme.house.sandbox.call(lambda: _end_at_the_vendor(acme))
    async with scene.tx() as tx:
        await app_secrets.set_expiry(tx, offered.id, dt.datetime.now(dt.UTC) - timedelta(hours=1))
        await tx.execute("UPDATE integrations SET warned_days = 1 WHERE id = %s", (offered.id,))
    await scene.tokens_over()
    for each in made:
        assert (await scene.hub.check(await scene.connection(each))).connection.state == "needs_reauth"
    await scene.look()
    mails = await new_mails(scene, post)
    ended = next(each for each in mails if "has ended" in each)
    ill = next(each for each in mails if "2 connections need somebody" in each)
    assert len(mails) == 2
    assert "The client secret of your app has ended" in ended
    assert "takes over when the old one ends" not in ended, "it has ended"
    assert "The client secret has expired" in ill
    assert "enter it at the integration, for all its connections" in ill
    assert ill.count(f"{acme.served.address}{page}#secret") >= 2
    home = await admin.text("/console")
    assert "the client secret of your app has ended" in words(home)
    assert home.count(f'href="{page}#secret"') >= 3, "every line leads to where the one secret is entered"
    shown = await admin.text(f"/console/connections/{made[0]}")
    assert f'href="{page}#secret"' in shown
    assert "enter it at the integration, for all its connections" in words(shown)
    assert "enter it here" not in words(shown)
    assert "secret has ended" in words(await admin.text(page))
    assert "kept, watched and replaced at the integration" in words(
        await admin.text(f"/console/connections/{made[0]}/settings")
    )

    # A mistyped one changes nothing; the right one is staged, tried, and takes over.
    wrong = await admin.send(f"{page}/secret", client_secret="wr0ng-canary", when="now")
    assert wrong.status_code == 424
    assert "wr0ng-canary" not in wrong.text
    assert "The client secret is wrong" in words(wrong.text)
    acme.house.sandbox.call(lambda: acme.house.sandbox.directory.add_secret(identities.WEB_APP_ID, NEXT))
    last_day = (dt.datetime.now(dt.UTC) + timedelta(days=700)).date()
    staged = await admin.send(f"{page}/secret", client_secret=NEXT, ends=str(last_day), when="later")
    assert staged.headers["location"] == f"{page}?notice=secret-staged", words(staged.text)
    assert "A new one waits already and takes over by itself" in words(await admin.text(page))
    async with asyncio.timeout(60):
        while {(await scene.connection(each)).state for each in made} != {"connected"}:
            await scene.hub.caretaker.work()
            await asyncio.sleep(0.2)
    async with scene.tx() as tx:
        after = await integrations.get(tx, offered.id)
    assert (after.staged_at, after.secret_expires_at is not None) == (None, True)
    assert after.secret_expires_at is not None
    assert after.secret_expires_at.date() == last_day
    (mail,) = await new_mails(scene, post)
    assert "2 connections work again" in mail
    home = words(await admin.text("/console"))
    assert "client secret" not in home
    assert "secret has ended" not in words(await admin.text(page))
    assert NEXT not in "".join(post.texts)
    assert OLD not in "".join(post.texts)


def _end_at_the_vendor(acme: Acme) -> None:
    directory = acme.house.sandbox.directory
    directory.apps[identities.WEB_APP_ID].secrets.clear()
    directory.add_secret(identities.WEB_APP_ID, OLD, expires_at_s=directory.clock.time_s() - 1)
