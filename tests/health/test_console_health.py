"""Health in the console: the one button, the history, secrets that end or wait, notices, links for customers."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest
from tests.api_server import Served
from tests.console_people import Visitor, new_person, words
from tests.health.conftest import Mailbox
from tests.plain_http import plain_client

from isthmus.store import connections, grants
from isthmus.store.rows import Grant
from isthmus_sandbox.worlds import identities


@pytest.fixture
async def admin(served: Served) -> AsyncIterator[Visitor]:
    """A signed-in administrator."""
    async with plain_client(served.address) as client:
        visitor = Visitor(served, client)
        await new_person(served, f"admin {served.hub.project.name}", "admin")
        assert (await visitor.sign_in(f"admin {served.hub.project.name}")).status_code == 303
        yield visitor


async def grant(served: Served, connection_id: str) -> Grant:
    from uuid import UUID

    async with served.hub.db.project(served.hub.project.id) as tx:
        return await grants.get(tx, (await connections.get(tx, UUID(connection_id))).grant_id)


async def test_a_connection_says_whose_turn_it_is_and_offers_the_one_button(served: Served, admin: Visitor) -> None:
    api = await served.client()
    shown = await served.connect(api)
    path = f"/console/connections/{shown['id']}"
    served.house.sandbox.switch("inapp-missing")
    await admin.send(f"{path}/check")
    page = words(await admin.text(path))
    assert "Show how to register the app" in page
    assert "Your customer's administrator's turn" in page
    listed = words(await admin.text("/console/connections"))
    assert "The app is not registered in Business Central" in listed
    assert "Show how to register the app" in listed
    home = words(await admin.text("/console"))
    assert "cronus: blocked" in home
    assert "Show how to register the app" in home
    served.house.sandbox.clear_switch("inapp-missing")
    await admin.send(f"{path}/check")
    story = words(await admin.text(f"{path}/history"))
    assert story.index("connected after blocked") < story.index("blocked after connected")
    assert "app_not_registered" in story


async def test_the_next_secret_is_entered_before_the_old_one_ends(served: Served, admin: Visitor) -> None:
    api = await served.client()
    shown = await served.connect(api)
    path = f"/console/connections/{shown['id']}"
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(days=6)).date()
    assert (await admin.send(f"{path}/secret-date", ends=str(soon))).status_code == 303
    assert "The client secret ends in 6 days" in words(await admin.text(path))
    home = words(await admin.text("/console"))
    assert "cronus: the client secret ends in 6 days" in home, "in the words of the connection's own page"
    assert "Enter the next secret" in home
    wrong = await admin.send(f"{path}/secret", client_secret="wr0ng-canary", when="later")
    assert wrong.status_code == 424, "as the API answers it"
    assert "wr0ng-canary" not in wrong.text
    past = await admin.send(f"{path}/secret", client_secret="x", ends="2020-01-01", when="now")
    assert "ended on 2020-01-01 already" in words(past.text)
    same = await admin.send(f"{path}/secret", client_secret=identities.CONFIDENTIAL_APP_SECRET, when="later")
    assert "That is the secret that is in use already." in words(same.text)
    staged = await admin.send(
        f"{path}/secret", client_secret=identities.CONFIDENTIAL_APP_NEXT_SECRET, ends="2031-01-01", when="later"
    )
    assert staged.headers["location"].endswith("notice=secret-staged")
    page = words(await admin.text(path))
    assert "A new one waits already" in page
    settings = words(await admin.text(f"{path}/settings"))
    assert "a new one waits since" in settings
    assert "its own last day is 01 Jan 2031" in settings
    assert (await grant(served, shown["id"])).staged_secret_sealed is not None
    assert (await admin.send(f"{path}/unstage")).status_code == 303
    assert (await grant(served, shown["id"])).staged_at is None


async def test_an_environment_that_was_renamed_is_chosen_and_a_connection_ended_without_its_data(
    served: Served, admin: Visitor
) -> None:
    api = await served.client()
    await api.post("/v1/consumers", json={"external_id": "contoso", "name": "Contoso Ltd."})
    owner = (await api.get("/v1/consumers")).json()["result"][0]["id"]
    shown = await served.connect(api, environment="Renamed", consumer=owner)
    assert shown["health"]["fix"] == "choose_environment"
    path = f"/console/connections/{shown['id']}"
    assert "Choose the environment" in words(await admin.text(path))
    moved = await admin.send(f"{path}/environment", environment="Production")
    assert moved.headers["location"].endswith("notice=checked")
    made = await admin.send(f"{path}/portal-link", life="3600")
    assert "/portal/" in made.text
    assert "Copy the link now" in words(made.text)
    ended = await admin.send(f"{path}/disconnect", confirm="cronus", data="keep")
    assert ended.headers["location"].endswith(f"{path}?notice=disconnected-kept")
    page = words(await admin.text(path))
    assert "Connect again" in page
    assert "Its credentials are forgotten" in page
    again = await admin.send(f"{path}/secret", client_secret=identities.CONFIDENTIAL_APP_SECRET, when="now")
    assert again.headers["location"].endswith("notice=checked")
    assert (await api.get(f"/v1/connections/{shown['id']}")).json()["state"] == "connected"


async def test_addresses_are_set_and_a_test_mail_is_sent(served: Served, admin: Visitor, post: Mailbox) -> None:
    path = "/console/settings/notices"
    assert "No mail can be sent" in words(await admin.text(path))
    served.hub.notifier.server = post.server
    bad = await admin.send(path, address="nobody")
    assert "is no mail address" in words(bad.text)
    assert (await admin.send(path, address="ops@acme.example", kind="secret_expiring")).status_code == 303
    listed = words(await admin.text(path))
    assert "ops@acme.example secret expiring" in listed
    api = await served.client()
    told = (await api.get("/v1/notices/addresses")).json()
    assert [(each["address"], each["kinds"]) for each in told["result"]] == [("ops@acme.example", ["secret_expiring"])]
    assert told["can_mail"] is True
    sent = await api.post("/v1/notices/test", json={"address": "ops@acme.example"})
    assert sent.json() == {"address": "ops@acme.example", "accepted": True}
    post.refuse = {"gone@acme.example": "550 nobody here"}
    refused = await api.post("/v1/notices/test", json={"address": "gone@acme.example"})
    assert refused.status_code >= 400
    assert "was refused" in refused.text
    assert len(post.mails) == 1
    (address,) = told["result"]
    assert (await admin.send(f"{path}/{address['id']}/remove")).status_code == 303
    assert (await api.get("/v1/notices/addresses")).json()["result"] == []
    assert (await (await served.client("read")).get("/v1/notices/addresses")).status_code == 403
    acts = [each["action"] for each in (await api.get("/v1/audit")).json()["result"]]
    assert {"notice.address_added", "notice.address_removed", "notice.test"} <= set(acts)
