"""What pages say when it is easy to say something untrue: freshness, links, secrets, losses, times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console.test_console_roles_and_forms import plant
from tests.console_people import Visitor, link_of, new_person, words

from isthmus.connections.integrations import IntegrationWish
from isthmus.console.asking import errors_of
from isthmus.console.words import lasted, request_line, who
from isthmus.delivery.registration import register_folder
from isthmus.kernel.failures import UnknownObject
from isthmus.kernel.ids import new_id
from isthmus.store import destinations, integrations, projects
from isthmus.store.audit import Author


async def test_data_that_was_never_read_is_not_fresh(admin: Visitor, served: Served) -> None:
    async with served.hub.db.project(served.hub.project.id) as tx:
        await plant(tx, "acme")
        await plant(tx, "other")
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "currencies")
    await served.house.run(served.hub, sync)
    text = words(await admin.text("/console"))
    assert "Mostly: 2 were never read" in text
    assert "Is the data fresh? Yes" not in text


async def test_a_used_link_says_what_helps(anybody: Visitor, served: Served) -> None:
    await new_person(served, f"Ada {new_id().hex[-6:]}", "admin")
    assert await link_of(served) is None
    answer = await anybody.get("/console/welcome/never-made-" + "x" * 20)
    assert answer.status_code == 410
    assert "Start the server again" not in words(answer.text)
    assert "ask an administrator to invite you again" in words(answer.text)


async def test_an_empty_project_loses_its_settings_and_not_nothing(admin: Visitor, served: Served) -> None:
    other = await projects.create(served.hub.db, f"other-{new_id().hex[-8:]}")
    text = words(await admin.text(f"/console/settings/projects/{other.id}"))
    assert "This will be lost: its audit log and settings" in text


async def test_a_link_is_sent_to_a_name_in_the_products_name(admin: Visitor, served: Served) -> None:
    wish = IntegrationWish(name=f"BC {new_id().hex[-6:]}", cloud=served.house.cloud)
    made = await served.hub.connect.integrations.create(wish, by=Author(actor="test"))
    base = f"/console/apps/integrations/{made.id}"
    sent = await admin.send(f"{base}/link", consumer="customer-4711", consumer_name="Contoso Ltd.")
    text = words(sent.text)
    assert "Send this link to Contoso Ltd. (customer-4711)" in text
    assert f"The page speaks of “{served.hub.project.name}”" in text
    async with served.hub.db.project(served.hub.project.id) as tx:
        page = await integrations.connect_page(tx)
        await integrations.save_connect_page(tx, type(page)(host_name="Acme Billing"))
    again = words((await admin.send(f"{base}/link", consumer="customer-4711")).text)
    assert "Send this link to Contoso Ltd. (customer-4711)" in again
    assert "The page speaks of" not in again
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute("UPDATE connect_sessions SET status = 'connected', ended_at = now() - interval '6 min'")
    assert "used 6 min ago" in words(await admin.text(base))


async def test_a_test_event_that_was_taken_wakes_what_waits(admin: Visitor, served: Served) -> None:
    folder = served.hub.settings.home
    name = f"folder {new_id().hex[-6:]}"
    await register_folder(served.hub.db, served.hub.project.id, name=name, folder=folder)
    later = datetime.now(UTC) + timedelta(hours=3)
    async with served.hub.db.project(served.hub.project.id) as tx:
        made = next(each for each in await destinations.every(tx) if each.name == name)
        await tx.execute(
            "UPDATE destinations SET failing_since = now(), next_attempt_at = %s WHERE id = %s", (later, made.id)
        )
    text = words((await admin.send(f"/console/deliveries/{made.id}/test")).text)
    assert "The test event was taken" in text
    assert "what waits is tried again now" in text
    async with served.hub.db.project(served.hub.project.id) as tx:
        now = await destinations.get(tx, made.id)
    assert now.next_attempt_at is None or now.next_attempt_at < later - timedelta(hours=1)


async def test_a_settings_page_with_an_error_keeps_its_tab(admin: Visitor) -> None:
    refused = await admin.send("/console/settings/look", accent="purple-ish")
    assert refused.status_code == 422
    assert '<a href="/console/settings" aria-current="page">Project</a>' in refused.text
    keys = await admin.text("/console/settings/keys")
    assert '<a href="/console/settings/keys" aria-current="page">' in keys
    assert '<a href="/console/settings" aria-current="page">Project</a>' not in keys


async def test_the_audit_log_names_what_was_done_to(signed_in: SignedIn, served: Served) -> None:
    admin = await signed_in("admin")
    wish = IntegrationWish(name=f"Named {new_id().hex[-6:]}", cloud=served.house.cloud)
    await served.hub.connect.integrations.create(wish, by=Author(actor="user:Ada"))
    page = await admin.text("/console/settings/audit")
    assert f"<strong>{wish.name}</strong>" in page
    assert '<code class="words">integration.create</code>' in page


def test_times_names_and_addresses_are_told_plainly() -> None:
    now = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
    assert lasted(now - timedelta(seconds=21), now) == "21 s"
    assert who("consumer:customer-4711") == "customer customer-4711"
    lines = {
        request_line(f"https://x/api/v2.0/companies({first}-f6f9-ef11-9344-6045bdc8c234)/items")
        for first in ("be3a6b9c", "c14a6b9c", "d25a6b9c")
    }
    assert len(lines) == 3, "three companies read as three"


def test_did_you_mean_is_asked_once() -> None:
    failure = UnknownObject("There is no object “custmers” here. Did you mean “customers”?", nearest=["customers"])
    (told,) = errors_of(failure).values()
    assert told.count("Did you mean") == 1
