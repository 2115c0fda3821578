"""Runs with their live progress, connecting by form, deliveries, as a browser without JavaScript meets them."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import Visitor, words

from isthmus.connections.given import SANDBOX_FILE
from isthmus.kernel.ids import new_id
from isthmus.store import connections, destinations, runs, syncs
from isthmus.store.rows import RunKind, RunState
from isthmus_sandbox.worlds import identities


def tell_where_the_sandbox_is(served: Served) -> None:
    """What `isthmus sandbox up` writes into the data folder."""
    sandbox = served.house.sandbox
    ready = sandbox.call(sandbox.running.summary)
    (served.hub.settings.home / SANDBOX_FILE).write_text(json.dumps(ready, default=str), encoding="utf-8")


def typed(**changed: str) -> dict[str, str]:
    """The connect form, filled in for the sandbox."""
    return {
        "way": "app",
        "name": "cronus",
        "cloud": "sandbox",
        "tenant": identities.TENANT_ID,
        "environment": "Production",
        "client_id": identities.CONFIDENTIAL_APP_ID,
        "client_secret": identities.CONFIDENTIAL_APP_SECRET,
    } | changed


async def test_the_form_connects_and_leads_on_to_the_companies(admin: Visitor, served: Served) -> None:
    tell_where_the_sandbox_is(served)
    answer = await admin.send("/console/apps/business_central/connect", **typed())
    assert answer.status_code == 303, words(answer.text)
    assert "/companies?step=3&notice=connected" in answer.headers["location"]
    page = words(await admin.text(answer.headers["location"]))
    assert "Which companies are read?" in page
    assert "CRONUS USA, Inc." in page


async def test_a_wrong_secret_is_told_with_its_remedy_and_whose_turn_it_is(admin: Visitor, served: Served) -> None:
    tell_where_the_sandbox_is(served)
    answer = await admin.send("/console/apps/business_central/connect", **typed(client_secret="wrong"))
    page = words(await admin.text(answer.headers["location"]))
    assert "The client secret is wrong." in page
    assert "What to do:" in page
    assert "Your turn" in page
    assert "Enter a new secret" in page


async def test_what_was_typed_is_kept_when_something_is_missing_but_never_the_secret(
    admin: Visitor, served: Served
) -> None:
    answer = await admin.send(
        "/console/apps/business_central/connect", **typed(cloud="public", tenant="", client_secret="my-own-secret")
    )
    assert answer.status_code == 422
    assert 'value="cronus"' in answer.text
    assert "my-own-secret" not in answer.text
    assert "Tenant ID" in words(answer.text)


async def test_a_person_signs_in_at_the_vendor_and_finds_the_connection_checked(admin: Visitor, served: Served) -> None:
    tell_where_the_sandbox_is(served)
    form = typed(way="person", client_id=identities.WEB_APP_ID, client_secret=identities.WEB_APP_SECRET, tenant="")
    page = await admin.send("/console/apps/business_central/connect", **form)
    found = re.search(r'href="(https://[^"]+/authorize[^"]+)"', page.text)
    assert found is not None, words(page.text)
    came_back = await served.house.browse(served.hub, unescape(found.group(1)))
    assert (await admin.get("/oauth/callback", **came_back)).status_code == 200
    async with served.hub.db.project(served.hub.project.id) as tx:
        (connection,) = await connections.every(tx)
    checked = await admin.send(f"/console/connections/{connection.id}/check")
    assert checked.headers["location"].endswith("notice=checked")
    shown = words(await admin.text(f"/console/connections/{connection.id}/settings"))
    assert "as the person who signed in" in shown


async def test_an_unknown_field_in_a_filter_is_refused_at_once_and_nothing_is_saved(
    admin: Visitor, served: Served
) -> None:
    connection = await served.house.connect(served.hub)
    path = f"/console/connections/{connection.id}/objects/customers"
    answer = await admin.send(path, route="v2.0", schedule="", backfill="full", filter="colour eq 'red'")
    assert answer.status_code == 422
    assert "colour" in words(answer.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert await syncs.every(tx) == []


async def test_a_second_sync_of_an_object_is_made_when_it_is_meant_and_never_by_mistake(
    admin: Visitor, served: Served
) -> None:
    connection = await served.house.connect(served.hub)
    path = f"/console/connections/{connection.id}/objects/customers"
    fields = {"route": "v2.0", "schedule": "", "backfill": "full", "filter": ""}
    assert "is kept in step already" not in words(await admin.text(path))
    assert (await admin.send(path, **fields)).status_code == 303
    shown = await admin.text(path)
    assert "customers is kept in step already" in words(shown)
    assert 'name="another" value="1">' in shown
    refused = await admin.send(path, **fields)
    assert refused.status_code == 409
    assert "say below that you want a second one" in words(refused.text)
    meant = await admin.send(path, another="1", **fields)
    assert meant.status_code == 303, words(meant.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert [each.object for each in await syncs.every(tx)] == ["customers", "customers"]


async def test_a_sync_is_set_up_run_and_its_story_told(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    path = f"/console/connections/{connection.id}/objects/customers"
    made = await admin.send(path, route="v2.0", schedule="every 10m", backfill="full", filter="", run="1")
    assert made.status_code == 303, words(made.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        (run,) = await runs.history(tx)
    waiting = words(await admin.text(f"/console/runs/{run.id}"))
    assert "queued" in waiting
    assert "Asked for" in waiting
    await served.hub.perform(run)
    told = words(await admin.text(f"/console/runs/{run.id}"))
    assert "requests to the vendor" in told
    assert "changes put into the feed" in told
    assert "the next run begins where this one ended" in told


async def test_live_progress_comes_as_events_and_ends_with_the_run(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "currencies")
    run, _ = await served.hub.begin_run(sync.id)
    async with admin.client.stream("GET", f"/console/runs/{run.id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        seen = []
        async for line in stream.aiter_lines():
            if line.startswith("event:"):
                seen.append(line.split(":", 1)[1].strip())
                if len(seen) == 1:
                    await served.hub.perform(run)
            if line.startswith("data:") and seen[-1:] == ["ended"]:
                news = json.loads(line.split(":", 1)[1])
    assert seen[0] == "progress"
    assert seen[-1] == "ended"
    assert "succeeded" in news["pill"]
    assert news["whole"]
    assert re.match(r"\d+ of \d+ records", news["words"]["done"])


async def test_a_failed_run_says_why_and_offers_to_retry(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers")
    async with served.hub.db.project(served.hub.project.id) as tx:
        await connections.update(tx, connection.id, environment="Nowhere")
    run, _ = await served.house.run(served.hub, sync, RunKind.BACKFILL)
    assert run.state is RunState.FAILED
    page = words(await admin.text(f"/console/runs/{run.id}"))
    assert "What to do:" in page
    assert "Retry" in page
    assert "cronus: blocked" in words(await admin.text("/console")), "the connection explains what follows from it"


async def test_a_webhooks_secret_is_shown_once(admin: Visitor, served: Served) -> None:
    answer = await admin.send("/console/deliveries/new", kind="webhook", name="erp", url="http://127.0.0.1:9/hook")
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", answer.text)
    assert found is not None
    async with served.hub.db.project(served.hub.project.id) as tx:
        (row,) = await destinations.every(tx)
    assert found.group() not in await admin.text(f"/console/deliveries/{row.id}")
    assert found.group() not in await admin.text("/console/settings/audit")


async def test_an_address_that_must_not_be_delivered_to_is_refused_at_its_field(admin: Visitor, served: Served) -> None:
    answer = await admin.send("/console/deliveries/new", kind="webhook", name="erp", url="ftp://example.com")
    assert answer.status_code == 422
    assert 'aria-describedby="h-url e-url"' in answer.text


async def test_a_paused_destination_is_resumed_by_one_button(
    signed_in: SignedIn, served: Served, tmp_path: Path
) -> None:
    operator = await signed_in("operator")
    made = await served.hub.create_folder("files", tmp_path)
    await operator.send(f"/console/deliveries/{made.id}/pause")
    assert "files is paused" in words(await operator.text("/console"))
    await operator.send(f"/console/deliveries/{made.id}/resume")
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert (await destinations.get(tx, made.id)).paused is None


def lines_in(folder: Path) -> int:
    """How many changes the files of a folder hold."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


async def test_changes_are_delivered_again_by_their_numbers(admin: Visitor, served: Served, tmp_path: Path) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "currencies")
    await served.house.run(served.hub, sync)
    made = await served.hub.create_folder("files", tmp_path)
    await served.hub.deliver()
    first = lines_in(tmp_path)
    answer = await admin.send(f"/console/deliveries/{made.id}/replay", first="1", last="2")
    assert answer.status_code == 303, words(answer.text)
    assert lines_in(tmp_path) == first + 2
    page = words(await admin.text(f"/console/deliveries/{made.id}"))
    assert "delivered" in page


async def test_a_test_event_shows_what_the_receiver_said_and_a_replay_may_name_a_time(
    signed_in: SignedIn, served: Served, tmp_path: Path
) -> None:
    operator = await signed_in("operator")
    good = await served.hub.create_folder("files", tmp_path, events=("run.failed",))
    address = f"/console/deliveries/{good.id}"
    answer = await operator.send(f"{address}/test")
    assert "The test event was taken" in words(answer.text)
    assert lines_in(tmp_path) == 1
    assert "Gets run.failed" in words(await operator.text(address))
    nobody, _ = await served.hub.create_webhook("nobody", "http://127.0.0.1:9/hook")
    answer = await operator.send(f"/console/deliveries/{nobody.id}/test")
    assert "The test event was not taken" in words(answer.text)
    assert (await operator.send(f"/console/deliveries/{nobody.id}/retry")).status_code == 303
    wrong = await operator.send(f"{address}/replay", since="yesterday")
    assert (wrong.status_code, "is not a time" in wrong.text) == (422, True)
    assert (await operator.send(f"{address}/replay", since="2020-01-01T00:00")).status_code == 303
    viewer = await signed_in("viewer")
    assert (await viewer.send(f"{address}/test")).status_code == 403


async def test_a_search_for_an_id_leads_straight_to_its_page(admin: Visitor, served: Served) -> None:
    made = await served.hub.create_folder(f"files {new_id().hex[-4:]}", served.hub.settings.home)
    answer = await admin.get("/console/search", q=made.id.hex[-8:])
    assert answer.headers["location"] == f"/console/deliveries/{made.id}"


async def test_the_records_copy_is_compared_with_the_vendors(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "currencies")
    await served.house.run(served.hub, sync)
    changed = served.house.change("currencies", 1)[0]
    async with served.hub.db.project(served.hub.project.id) as tx:
        company = await tx.value(
            "SELECT t.company FROM records r JOIN streams t ON t.id = r.stream_id WHERE r.remote_id = %s", (changed,)
        )
    page = await admin.text(f"/console/data/{sync.id}/record", company=company, id=changed, compare="1")
    assert "What differs at the vendor now" in words(page)
    assert "lastModifiedDateTime" in page
