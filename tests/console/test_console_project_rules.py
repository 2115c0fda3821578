"""What an operator sets without the API: schedules, what is read, approval, the proxy, destinations, customers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import Visitor, words

from isthmus.delivery.signing import check_secret
from isthmus.store import approvals, consumers, destinations, proxy_limits, schedules, syncs
from isthmus.store.rows import RunKind


async def test_a_sync_gets_its_three_schedules(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers")
    base = f"/console/syncs/{sync.id}"
    form = {"schedule": "every 5m", "sweep_schedule": "15 3 * * *", "refresh_schedule": "every 7d"}
    saved = await admin.send(f"{base}/schedule", **form)
    assert saved.status_code == 303, words(saved.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        due = {(each.kind, each.full): each.spec for each in await schedules.every(tx, sync.id)}
        kept = await syncs.get(tx, sync.id)
    assert due == {
        (RunKind.INCREMENTAL, False): "every 5m",
        (RunKind.SWEEP, False): "15 3 * * *",
        (RunKind.INCREMENTAL, True): "every 7d",
    }
    assert (kept.schedule, kept.sweep_schedule, kept.refresh_schedule) == ("every 5m", "15 3 * * *", "every 7d")
    refused = await admin.send(f"{base}/schedule", schedule="", sweep_schedule="", refresh_schedule="now and then")
    assert refused.status_code == 422
    assert "“now and then” is not a schedule" in words(refused.text)
    assert 'aria-describedby="h-refresh_schedule e-refresh_schedule"' in refused.text
    emptied = await admin.send(f"{base}/schedule", schedule="", sweep_schedule="", refresh_schedule="")
    assert emptied.status_code == 303
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert await schedules.every(tx, sync.id) == []


async def test_a_new_sync_may_be_refreshed_in_full_from_the_start(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    path = f"/console/connections/{connection.id}/objects/customers"
    form = {"route": "v2.0", "schedule": "every 10m", "sweep": "every 7d", "refresh": "every 1d", "backfill": "full"}
    made = await admin.send(path, **form)
    assert made.status_code == 303, words(made.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        (sync,) = await syncs.every(tx)
    assert (sync.sweep_schedule, sync.refresh_schedule) == ("every 7d", "every 1d")


async def test_what_a_sync_reads_is_changed_after_a_look_at_one_record(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "salesInvoices")
    base = f"/console/syncs/{sync.id}/change"
    page = words(await admin.text(base))
    assert "What salesInvoices reads" in page
    assert "salesInvoiceLines" in page
    form: dict[str, Any] = {
        "filter": "number ne ''",
        "expand": "salesInvoiceLines",
        "backfill": "30",
        "fields": ["number", "status"],
    }
    wrong = await admin.send(base, **(form | {"filter": "colour eq 'red'"}))
    assert wrong.status_code == 422
    assert "colour" in words(wrong.text)
    assert "salesInvoiceLines</textarea>" in wrong.text, "what was typed is kept"
    saved = await admin.send(base, **form)
    assert saved.status_code == 303, words(saved.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        kept = await syncs.get(tx, sync.id)
    assert (kept.filter, kept.expand, kept.backfill_days) == ("number ne ''", ["salesInvoiceLines"], 30)
    assert set(kept.fields) == {"number", "status"}
    assert "number ne ''" in words(await admin.text(f"/console/syncs/{sync.id}"))


async def test_a_rule_for_one_object_holds_before_the_projects(admin: Visitor, served: Served) -> None:
    path = "/console/settings/approval"
    made = await admin.send(path, object="vendors", required="1", hours="48")
    assert made.status_code == 303, words(made.text)
    page = await admin.text(path)
    assert "waits for approval" in words(page)
    assert "48 h" in words(page)
    assert "Some writes wait" in words(await admin.text("/console/settings"))
    connection = await served.house.connect(served.hub)
    await admin.send(path, connection=str(connection.id), required="0")
    async with served.hub.db.project(served.hub.project.id) as tx:
        rules = await approvals.rules(tx)
    assert [(each.object, each.connection_id, each.required, each.expires_s) for each in rules] == [
        ("vendors", None, True, 48 * 3_600.0),
        (None, connection.id, False, approvals.EXPIRES_S),
    ]
    assert {each.changed_by.partition(" ")[0] for each in rules} == {"user:admin"}
    for form, said in (
        ({"hours": "721"}, "A write waits for 1 to 720 hours."),
        ({"connection": "nobody"}, "That is not an id."),
    ):
        refused = await admin.send(path, required="1", **form)
        assert (refused.status_code, said in words(refused.text)) == (422, True), said
    removed = await admin.send(f"{path}/{rules[0].id}/remove")
    assert removed.status_code == 303
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert [each.id for each in await approvals.rules(tx)] == [rules[1].id]


async def test_only_administrators_change_rules_and_limits(signed_in: SignedIn) -> None:
    operator = await signed_in("operator")
    assert "Which writes wait" in words(await operator.text("/console/settings/approval"))
    assert "Largest request" in words(await operator.text("/console/settings"))
    for path in ("/console/settings/approval", "/console/settings/proxy"):
        assert (await operator.send(path, required="1")).status_code == 403, path


async def test_the_proxys_limits_are_set_in_megabytes_and_an_empty_one_is_the_usual(
    admin: Visitor, served: Served
) -> None:
    saved = await admin.send("/console/settings/proxy", request_bytes="8", timeout_s="60", pages="10")
    assert saved.status_code == 303, words(saved.text)
    usual = proxy_limits.ProxyLimits()
    async with served.hub.db.project(served.hub.project.id) as tx:
        limits = await proxy_limits.get(tx)
    assert (limits.request_bytes, limits.timeout_s, limits.pages) == (8 * 1024 * 1024, 60.0, 10)
    assert (limits.response_bytes, limits.records) == (usual.response_bytes, usual.records)
    for field, value, said in (("pages", "10001", "at most 10,000"), ("timeout_s", "-1", "Give a whole number")):
        refused = await admin.send("/console/settings/proxy", **{field: value})
        assert (refused.status_code, said in words(refused.text)) == (422, True), said


async def test_a_destination_is_changed_in_place_and_gets_a_second_secret(admin: Visitor, served: Served) -> None:
    made, first = await served.hub.create_webhook("erp", "http://127.0.0.1:9/hook")
    base = f"/console/deliveries/{made.id}"
    form: dict[str, Any] = {
        "name": "erp two",
        "url": "http://127.0.0.1:9/other",
        "kilobytes": "128",
        "events": ["run.failed"],
    }
    saved = await admin.send(f"{base}/change", **form)
    assert saved.status_code == 303, words(saved.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        row = await destinations.get(tx, made.id)
    assert (row.name, row.url, row.filter, row.settings["bytes_max"]) == (
        "erp two", "http://127.0.0.1:9/other", {"events": ["run.failed"]}, 128 * 1024,
    )  # fmt: skip
    for field, value, said in (("url", "ftp://x", "https"), ("kilobytes", "1", "Between 64"), ("name", "", "a name")):
        refused = await admin.send(f"{base}/change", **(form | {field: value}))
        assert (refused.status_code, said in words(refused.text)) == (422, True), said
    renewed = await admin.send(f"{base}/secret")
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", renewed.text)
    assert found is not None
    check_secret(found.group())
    assert found.group() != first
    assert "The one before signs too" in words(renewed.text)
    assert found.group() not in await admin.text(base)


async def test_a_folder_has_no_secret_to_renew(admin: Visitor, served: Served, tmp_path: Path) -> None:
    made = await served.hub.create_folder("files", tmp_path)
    assert "New signing secret" not in await admin.text(f"/console/deliveries/{made.id}")
    assert (await admin.send(f"/console/deliveries/{made.id}/secret")).status_code == 422


async def test_a_connection_is_given_to_a_customer_who_then_has_a_page(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    base = f"/console/connections/{connection.id}"
    refused = await admin.send(f"{base}/portal-link", life="3600")
    assert "Say in its settings whose it is" in words(refused.text)
    given = await admin.send(f"{base}/consumer", consumer="customer-7", consumer_name="Contoso Ltd.")
    assert given.status_code == 303
    async with served.hub.db.project(served.hub.project.id) as tx:
        (owner,) = await consumers.every(tx)
    assert (owner.external_id, owner.name) == ("customer-7", "Contoso Ltd.")
    assert "Contoso Ltd. (customer-7)" in words(await admin.text(f"{base}/settings"))
    made = await admin.send(f"{base}/portal-link", life="3600")
    assert "/portal/" in made.text
    await admin.send(f"{base}/consumer", consumer="")
    assert "Nobody’s yet." in words(await admin.text(f"{base}/settings"))
