"""What a person reads when reading fails, by `read`, `sync create`, `sync run` and `export`."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from tests.hub_fixtures import US, House, Typed
from tests.patience import eventually

from isthmus_sandbox.business_central import changes
from isthmus_sandbox.worlds import identities


@pytest.fixture
def connected(house: House) -> House:
    """A house with a working connection."""
    assert house.type_connect().code == 0
    return house


def create(house: House, name: str, *options: str, company: str = US) -> None:
    answer = house.type("sync", "create", name, "--company", company, *options)
    assert answer.code == 0, answer


def run_sync(house: House, *arguments: str) -> tuple[int, dict[str, Any]]:
    answer = house.type("sync", "run", *arguments, "--json")
    assert "Traceback" not in answer.err
    return answer.code, answer.lines[0]


def refused(answer: Typed, *, code: int, kind: str) -> dict[str, Any]:
    assert answer.code == code, answer
    assert answer.error["code"] == kind, answer
    assert answer.error["remedy"]
    return answer.error


# -- what was asked for ------------------------------------------------------------------------------------------------


def test_an_unknown_object_suggests_the_nearest_names(connected: House) -> None:
    assert (
        "customers" in refused(connected.type("read", "custmers", "--json"), code=5, kind="unknown_object")["nearest"]
    )
    words = connected.type("sync", "create", "custmers").words
    assert "Did you mean “customers”" in words
    assert "isthmus objects" in words


@pytest.mark.conformance("BC-34")
def test_an_unknown_field_suggests_the_nearest_names(connected: House) -> None:
    for command in (
        ["read", "customers", "--select", "displayNam"],
        ["sync", "create", "customers", "--select", "displayNam"],
    ):
        failure = refused(connected.type(*command, "--json"), code=5, kind="unknown_field")
        assert "displayName" in failure["nearest"]
    words = connected.type("read", "customers", "--filter", "displayNam eq 'x'").words
    assert "displayName" in words


@pytest.mark.conformance("BC-33", "BC-35")
@pytest.mark.parametrize(
    "text",
    ["displayName eq", "displayName eq 'x' or number eq 'y'", "(((", "displayName like 'x'", "balanceDue gt 'x'"],
)
def test_a_filter_that_cannot_work_is_refused_before_anything_is_sent(connected: House, text: str) -> None:
    before = len(connected.requests("/customers"))
    failure = refused(connected.type("read", "customers", "--filter", text, "--json"), code=5, kind="filter_refused")
    assert failure["turn"] == "you"
    assert len(connected.requests("/customers")) == before


def test_an_unknown_company_suggests_the_nearest_names(connected: House) -> None:
    answer = connected.type("read", "customers", "--company", "CRONUS US", "--json")
    assert US in refused(answer, code=5, kind="company_not_found")["nearest"]


def test_what_cannot_be_read_in_bulk_says_so(connected: House) -> None:
    refused(connected.type("read", "pdfDocument", "--json"), code=5, kind="unsupported")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["read", "customers", "--since", "yesterday"], "is not a date"),
        (["read", "customers", "--format", "xml"], "There is no format “xml”"),
        (["read", "customers", "--route", "a/b"], "a/b"),
        (["sync", "create", "customers", "--schedule", "now and then"], "now and then"),
        (["sync", "create", "customers", "--backfill", "some"], "is no backfill window"),
        (["sync", "create", "salesInvoiceLines", "--backfill", "none"], "comes with its documents"),
        (["sync", "create", "customerContacts", "--backfill", "7"], "no modification stamp"),
        (["sync", "run", "vendors"], "vendors"),
        (["sync", "run"], "There is no sync to run"),
        (["changes", "--since", "rubbish"], "rubbish"),
        (["export", "customers", "--to", "customers.xlsx"], ".parquet"),
        (["requests", "12345678"], "12345678"),
    ],
)  # fmt: skip
def test_input_that_cannot_be_used_is_repeated_with_what_to_type_instead(
    connected: House, arguments: list[str], says: str
) -> None:
    answer = connected.type(*arguments)
    assert answer.code == 2, answer
    assert says in answer.words
    assert "→" in answer.words


# -- credentials that die later ----------------------------------------------------------------------------------------


@pytest.mark.conformance("OA-15", "BC-19")
def test_an_expired_secret_is_replaced_without_consent_and_the_sync_goes_on_where_it_was(connected: House) -> None:
    create(connected, "vendors")
    assert run_sync(connected)[1]["created"] == connected.count("vendors", US)
    connected.insert("vendors", 2)
    connected.sandbox.advance(4_000)
    connected.sandbox.switch("secret-expired")

    code, ended = run_sync(connected)
    assert (code, ended["failure"]["code"]) == (4, "secret_expired")
    assert connected.type("connections", "--json").json[0]["state"] == "needs_reauth"
    assert "Create a new client secret" in connected.type("connections").words

    def renew() -> None:
        connected.sandbox.directory.add_secret(identities.CONFIDENTIAL_APP_ID, "canary-secret~brand-new")

    connected.sandbox.clear_switch("secret-expired")
    connected.sandbox.call(renew)
    again = connected.type(
        "connect", "business-central", "--reconnect", "cronus", "--client-secret", "canary-secret~brand-new"
    )
    assert again.code == 0, again
    code, ended = run_sync(connected)
    assert (code, ended["kind"], ended["created"], ended["updated"]) == (0, "incremental", 2, 0)


@pytest.mark.conformance("BC-17")
def test_an_app_that_is_taken_off_inside_business_central_ends_the_run_without_a_loop(connected: House) -> None:
    create(connected, "vendors")
    before = connected.token_requests()
    connected.sandbox.switch("inapp-missing")
    code, ended = run_sync(connected)
    assert (code, ended["failure"]["code"]) == (4, "app_not_registered")
    assert connected.token_requests() - before == 1, "one renewal, then the failure"


@pytest.mark.conformance("BC-21")
def test_an_object_without_permission_leaves_the_others_running(connected: House) -> None:
    create(connected, "vendors")
    create(connected, "currencies")
    connected.switch(refused_sets=["vendors"])
    answer = connected.type("sync", "run", "--json")
    ended = {each["object"]: each for each in answer.lines}
    assert answer.code == 4
    assert ended["vendors"]["failure"]["code"] == "permission_missing"
    assert ended["currencies"]["state"] == "succeeded"
    state = connected.type("connections", "--json").json[0]
    assert (state["state"], state["failure"]["turn"]) == ("degraded", "your customer's administrator")
    connected.switch(refused_sets=[])
    assert connected.type("sync", "run").code == 0
    assert connected.type("connections", "--json").json[0]["state"] == "connected"


# -- trouble that passes -----------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-84")
@pytest.mark.parametrize("named", [{"retry_after_s": 1}, {"retry_after_s": 1, "retry_after_form": "date"}, {}])
def test_a_429_is_waited_out_with_and_without_retry_after(connected: House, named: dict[str, Any]) -> None:
    create(connected, "vendors")
    connected.sandbox.fault("status", status=429, path="/vendors", count=1, **named)
    code, ended = run_sync(connected)
    assert (code, ended["state"]) == (0, "succeeded")
    asked = connected.type("requests", ended["id"], "--json").json
    assert [each["failure"] for each in asked].count("rate_limited") == 1


def test_a_429_that_names_a_time_beyond_the_deadline_ends_the_command_as_passing(connected: House) -> None:
    connected.sandbox.fault("status", status=429, path="/vendors", count=None, retry_after_s=3_000)
    refused(connected.type("read", "vendors", "--json"), code=6, kind="rate_limited")


@pytest.mark.conformance("BC-31", "BC-86")
@pytest.mark.parametrize("status", [504, 408])
def test_pages_shrink_on_time_outs_and_the_size_is_remembered(connected: House, status: int) -> None:
    connected.seed("customers", 1_500)
    create(connected, "customers")
    connected.switch(row_threshold=700, row_threshold_status=status)
    code, ended = run_sync(connected)
    assert (code, ended["created"]) == (0, connected.count("customers", US))
    refusals = [each for each in connected.requests("/customers") if each["status"] == status]
    assert refusals
    connected.type("sync", "reset", "customers")
    assert run_sync(connected)[0] == 0
    again = [each for each in connected.requests("/customers") if each["status"] == status]
    assert len(again) == len(refusals), "the size that worked is where the next run begins"


def test_a_503_is_repeated_and_a_lasting_one_ends_as_passing(connected: House) -> None:
    create(connected, "vendors")
    connected.sandbox.fault("status", status=503, path="/vendors", count=1)
    assert run_sync(connected)[0] == 0
    connected.sandbox.fault("status", status=503, path="/vendors", count=None, retry_after_s=3_000)
    code, ended = run_sync(connected)
    assert (code, ended["failure"]["code"], ended["failure"]["turn"]) == (6, "vendor_unavailable", "the vendor")


@pytest.mark.conformance("BC-49")
@pytest.mark.parametrize("action", ["truncate", "corrupt_json"])
def test_a_page_that_is_cut_off_is_fetched_again_and_never_stored_in_part(connected: House, action: str) -> None:
    create(connected, "vendors")
    connected.sandbox.fault(action, path="/vendors$", count=1)
    code, ended = run_sync(connected)
    assert (code, ended["created"]) == (0, connected.count("vendors", US))


@pytest.mark.conformance("BC-30")
def test_an_empty_page_with_a_link_is_not_the_end(connected: House) -> None:
    connected.seed("customers", 1_000)
    create(connected, "customers")
    connected.switch(empty_page_every=2, page_records_max=300)
    code, ended = run_sync(connected)
    assert (code, ended["created"]) == (0, connected.count("customers", US))


@pytest.mark.conformance("BC-29")
def test_a_link_to_another_host_ends_the_run_and_nobody_there_gets_the_token(connected: House) -> None:
    connected.seed("customers", 600)
    create(connected, "customers")
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.2)
        connected.switch(next_link_origin=f"https://localhost:{elsewhere.getsockname()[1]}", page_records_max=300)
        code, ended = run_sync(connected)
        assert (code, ended["failure"]["code"]) == (1, "unsafe_link")
        with pytest.raises(TimeoutError):
            elsewhere.accept()


@pytest.mark.conformance("BC-18")
def test_a_token_that_dies_in_the_middle_of_a_run_is_renewed_once_and_nobody_notices(connected: House) -> None:
    connected.seed("customers", 1_000)
    create(connected, "customers")
    connected.switch(page_records_max=300)
    before = connected.token_requests()
    connected.sandbox.fault("status", status=401, path="/customers$", skip=2, count=1)
    code, ended = run_sync(connected)
    assert (code, ended["created"]) == (0, connected.count("customers", US))
    assert connected.token_requests() - before == 1


def test_a_connection_that_breaks_is_tried_again(connected: House) -> None:
    create(connected, "vendors")
    connected.sandbox.fault("drop", path="/vendors$", count=1)
    assert run_sync(connected)[0] == 0


# -- two at once, and fields that come and go --------------------------------------------------------------------------


def test_a_second_command_on_a_sync_that_is_running_steps_back(connected: House) -> None:
    create(connected, "vendors")
    connected.sandbox.fault("delay", path="/vendors$", delay_s=60.0, count=1)
    first: list[Typed] = []

    async def both() -> None:
        from isthmus.actions.reading.setup import next_kind
        from isthmus.store import syncs

        async with connected.hub() as hub:
            async with hub.db.project(hub.project.id) as tx:
                (sync,) = await syncs.every(tx)
                assert (await next_kind(tx, sync.id)).value == "backfill"
            requested, _ = await hub.begin_run(sync.id)
            task = asyncio.create_task(hub.perform(requested))

            async def at_work() -> bool:
                active = await hub.active_run(sync.id)
                return active is not None and active.state == "running"

            await eventually(at_work)
            first.append(await asyncio.to_thread(connected.type, "sync", "run"))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(both())
    assert first[0].code == 8, "what was asked for was not done"
    assert "another worker is at it" in first[0].words


@pytest.mark.conformance("BC-11", "BC-16")
def test_a_new_field_is_noticed_and_told(connected: House) -> None:
    create(connected, "vendors")
    assert run_sync(connected)[0] == 0
    gain(connected, "vendors", "loyaltyTier")
    assert "loyaltyTier" in connected.type("describe", "vendors").words
    answer = connected.type("sync", "run")
    assert answer.code == 0
    assert "new fields: loyaltyTier" in answer.words
    assert "new fields" not in connected.type("sync", "run").words, "told once"


def test_a_field_that_is_gone_but_was_not_selected_is_told_and_the_run_succeeds(connected: House) -> None:
    create(connected, "vendors", "--select", "number,displayName")
    assert run_sync(connected)[0] == 0
    lose(connected, "vendors", "website")
    connected.type("objects")
    code, ended = run_sync(connected)
    assert (code, ended["notes"]["drift"]["vanished"]) == (0, ["website"])


@pytest.mark.parametrize("known", [True, False], ids=["description renewed", "description an hour old"])
def test_a_selected_field_that_is_gone_ends_the_run_with_what_to_do(connected: House, known: bool) -> None:
    create(connected, "vendors", "--select", "number,website")
    assert run_sync(connected)[0] == 0
    lose(connected, "vendors", "website")
    if known:
        connected.type("objects")
    code, ended = run_sync(connected)
    assert (code, ended["failure"]["code"], ended["failure"]["subject"]) == (1, "schema_drift", "website")
    remedy = ended["failure"]["remedy"]
    assert "isthmus describe vendors" in remedy
    assert "isthmus apply" in remedy
    assert "delete" not in remedy, "the sync goes on with what it has"


def gain(house: House, set_name: str, field: str) -> None:
    """A field appears in the vendor's object."""
    house.sandbox.call(lambda: changes.gain_field(house.service, house.place(set_name), field))


def lose(house: House, set_name: str, field: str) -> None:
    """A field disappears from the vendor's object."""
    house.sandbox.call(lambda: changes.lose_field(house.service, house.place(set_name), field))
