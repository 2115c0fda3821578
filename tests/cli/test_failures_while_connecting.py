"""What a person reads when a connection cannot be made: one command, one exit code, one remedy, no traceback."""

from __future__ import annotations

import pytest
from tests.hub_fixtures import House, Typed

from isthmus.auth.entra.clouds import CLOUDS
from isthmus_sandbox.worlds import identities


def connections_of(house: House) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = house.type("connections", "--json").json
    return listed


def assert_refused(answer: Typed, *, code: int, says: str) -> None:
    assert answer.code == code, answer
    assert says in answer.words
    assert "→" in answer.words
    assert "Traceback" not in answer.words
    assert "canary-secret" not in answer.words


@pytest.mark.parametrize("tenant", ["11111111-2222-3333-4444-555555555555", "nowhere.example"])
def test_a_wrong_tenant_is_named_as_the_thing_to_correct(house: House, tenant: str) -> None:
    answer = house.type_connect("--tenant", tenant)
    assert_refused(answer, code=4, says="tenant")
    assert "Whose turn: you" in answer.words
    assert "Nothing was saved" in answer.words
    assert connections_of(house) == []


@pytest.mark.conformance("OA-15")
def test_a_wrong_secret_asks_for_the_value_and_not_the_id(house: House) -> None:
    answer = house.type_connect("--client-secret", "00000000-1111-2222-3333-444444444444")
    assert_refused(answer, code=4, says="client secret is wrong")
    assert "Value, not its Secret ID" in answer.words
    assert house.type_connect().code == 0
    assert connections_of(house)[0]["state"] == "connected"


def test_a_wrong_client_id_is_named_as_the_thing_to_correct(house: House) -> None:
    answer = house.type_connect("--client-id", "11111111-2222-3333-4444-555555555555")
    assert_refused(answer, code=4, says="does not know the client id")


@pytest.mark.conformance("OA-35")
def test_a_missing_consent_sends_to_an_administrator(house: House) -> None:
    house.sandbox.switch("consent-required")
    answer = house.type_connect()
    assert_refused(answer, code=4, says="consent")
    assert "administrator" in answer.words
    assert "Saved all the same: it is the turn of your customer's administrator" in answer.words
    assert [each["name"] for each in connections_of(house)] == ["cronus"]
    house.sandbox.clear_switch("consent-required")
    assert house.type("check", "cronus").code == 0


@pytest.mark.conformance("OA-15")
def test_a_mistyped_new_secret_does_not_replace_the_one_that_works(house: House) -> None:
    assert house.type_connect().code == 0
    for again in (
        house.type_connect("--client-secret", "mistyped-one"),
        house.type("connect", "business-central", "--reconnect", "cronus", "--client-secret", "mistyped-two"),
    ):
        assert_refused(again, code=4, says="Not saved: the old credentials still work")
    assert connections_of(house)[0]["state"] == "connected"
    house.sandbox.advance(4_000)
    assert house.type("check", "cronus").code == 0, "a new token comes with the old secret"


@pytest.mark.conformance("OA-15")
def test_an_expired_secret_is_told_with_the_command_that_renews_it(house: House) -> None:
    assert house.type_connect("--name", "my customer").code == 0
    house.sandbox.advance(4_000)
    house.sandbox.switch("secret-expired")
    command = "isthmus connect business-central --reconnect 'my customer'"
    assert command in house.type("check").words
    for words in ([], ["connections"], ["doctor"]):
        assert command in house.type(*words).words, words


@pytest.mark.conformance("BC-17", "OA-18")
def test_an_app_without_a_record_in_business_central_is_told_where_to_put_it(house: House) -> None:
    answer = house.type_connect(
        "--client-id", identities.UNREGISTERED_APP_ID, "--client-secret", identities.UNREGISTERED_APP_SECRET
    )
    assert_refused(answer, code=4, says="Microsoft Entra Applications")
    assert "✓ The identity provider issues a token" in answer.words
    assert house.token_requests(identities.UNREGISTERED_APP_ID) <= 4, "a renewal per refused step, and no loop"
    assert connections_of(house)[0]["state"] == "blocked"


@pytest.mark.conformance("BC-05")
def test_an_unknown_environment_lists_those_that_there_are(house: House) -> None:
    answer = house.type_connect("--environment", "Prodution")
    assert_refused(answer, code=5, says="There is no environment “Prodution”")
    assert "“Production”" in answer.words
    assert "Nothing was saved" in answer.words
    assert connections_of(house) == []


@pytest.mark.conformance("BC-22")
def test_each_environment_has_a_status_of_its_own(house: House) -> None:
    def unregister() -> None:
        house.service.environment_named("Sandbox", None).apps.pop(identities.CONFIDENTIAL_APP_ID)

    house.sandbox.call(unregister)
    assert house.type_connect("--name", "live").code == 0
    assert house.type_connect("--name", "trial", "--environment", "Sandbox").code == 4
    states = {each["name"]: each["state"] for each in connections_of(house)}
    assert states == {"live": "connected", "trial": "blocked"}


@pytest.mark.conformance("BC-20")
def test_a_missing_automation_permission_is_told_and_spoils_nothing(house: House) -> None:
    answer = house.type_connect(
        "--client-id", identities.READ_ONLY_APP_ID, "--client-secret", identities.READ_ONLY_APP_SECRET
    )
    assert answer.code == 0
    assert "– The Automation API answers" in answer.words
    assert connections_of(house)[0]["state"] == "connected"


def test_a_connection_in_json_carries_the_failure_of_each_step(house: House) -> None:
    answer = house.type(
        "connect", "business-central", "--cloud", str(house.cloud_file()), "--tenant", identities.TENANT_ID,
        "--client-id", identities.CONFIDENTIAL_APP_ID, "--client-secret", identities.CONFIDENTIAL_APP_SECRET,
        "--environment", "Prodution", "--json",
    )  # fmt: skip
    assert answer.code == 5
    assert answer.json["saved"] is False
    failed = {step["name"]: step["failure"] for step in answer.json["steps"] if not step["passed"]}
    assert failed["companies"]["code"] == "environment_not_found"
    assert failed["environment"]["nearest"] == ["Production", "Sandbox"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tenant", ""], "The tenant is missing"),
        (["--client-id", ""], "The client id is missing"),
        (["--client-secret", ""], "ISTHMUS_CLIENT_SECRET"),
    ],
)
def test_what_was_not_typed_is_asked_for_by_name(house: House, arguments: list[str], says: str) -> None:
    assert_refused(house.type_connect(*arguments), code=2, says=says)


def test_a_tenant_that_cannot_be_one_is_refused_before_anything_is_sent(house: House) -> None:
    answer = house.type_connect("--tenant", "https://evil.example/?x=")
    assert answer.code in (2, 4)
    assert house.sandbox.journal() == []


@pytest.mark.conformance("OA-23")
def test_an_unknown_cloud_lists_the_known_ones_and_a_bad_file_says_what_it_lacks(house: House) -> None:
    answer = house.type("connect", "business-central", "--cloud", "moon", "--tenant", "x.example", "--client-id", "y")
    assert_refused(answer, code=2, says="moon")
    assert all(name in answer.words for name in CLOUDS)
    broken = house.settings.home / "broken.json"
    broken.write_text('{"name": "own"}')
    assert_refused(house.type("connect", "business-central", "--cloud", str(broken)), code=2, says="login_url")
    assert_refused(house.type("connect", "business-central", "--cloud", "absent.json"), code=2, says="cannot be read")


@pytest.mark.conformance("OA-23")
def test_a_tenant_of_another_cloud_is_recognised(house: House) -> None:
    elsewhere = house.cloud_named("us_gov" if "us_gov" in house.sandbox.addresses.login_urls else "china")
    path = house.settings.home / "elsewhere.json"
    import msgspec

    path.write_bytes(msgspec.json.encode(elsewhere))
    answer = house.type(
        "connect", "business-central", "--cloud", str(path), "--tenant", identities.TENANT_ID,
        "--client-id", identities.CONFIDENTIAL_APP_ID, "--client-secret", identities.CONFIDENTIAL_APP_SECRET,
    )  # fmt: skip
    assert_refused(answer, code=4, says="cloud")


def test_an_identity_provider_that_is_down_is_a_passing_problem(house: House) -> None:
    assert house.type_connect().code == 0
    house.sandbox.advance(4_000)
    house.sandbox.fault("status", server="entra-public", status=503, count=None, retry_after_s=3_000)
    answer = house.type("check", "--json")
    assert answer.code == 6
    assert answer.json["state"] == "connected", "trouble that passes does not move a connection"


def test_a_connection_is_forgotten_only_when_its_name_is_given(house: House) -> None:
    house.type_connect()
    assert_refused(house.type("disconnect", "cronus"), code=2, says="--yes")
    assert house.type("disconnect", "cronus", "--yes").code == 0
    assert connections_of(house) == []
