"""Health on the command line."""

from __future__ import annotations

import pytest
from tests.hub_fixtures import House, Typed

from isthmus_sandbox.worlds import identities


@pytest.fixture
def connected(house: House) -> House:
    """With one connection."""
    assert house.type_connect().code == 0
    return house


def refused(typed: Typed, code: int, says: str) -> None:
    assert (typed.code, says in typed.words) == (code, True), typed.words


def test_a_connection_tells_how_it_is_and_gets_a_new_secret(connected: House) -> None:
    well = connected.type("health", "--json").json
    assert (well["health"]["state"], well["health"]["fix"], well["secret"]["kind"]) == ("connected", None, "secret")
    connected.sandbox.switch("inapp-missing")
    connected.type("check")
    told = connected.type("health")
    assert "app_not_registered" in told.words
    assert "Whose turn: your customer's administrator" in told.words
    assert "connected → blocked" in told.words
    listed = connected.type("connections", "--json").json[0]["health"]
    assert (listed["reason"], listed["fix"]) == ("app_not_registered", "register_app")
    connected.sandbox.clear_switch("inapp-missing")
    refused(connected.type("secret", "set", "--client-secret", "wr0ng"), 4, "Paste the secret's Value")
    good = identities.CONFIDENTIAL_APP_SECRET
    done = connected.type("secret", "set", "--ends", "2031-01-01", ISTHMUS_CLIENT_SECRET=good)
    assert (done.code, "signs in with the new one" in done.words) == (0, True)
    assert "The secret ends in" in connected.type("health").words
    again = connected.type("secret", "stage", ISTHMUS_CLIENT_SECRET=good)
    refused(again, 2, "in use already")
    staged = connected.type("secret", "stage", ISTHMUS_CLIENT_SECRET=identities.CONFIDENTIAL_APP_NEXT_SECRET)
    assert "It was accepted already." in staged.words
    assert connected.type("secret", "unstage").code == 0
    assert connected.type("secret", "ends", "unknown").code == 0
    refused(connected.type("secret", "ends", "tomorrow"), 2, "no date")


def test_an_environment_is_chosen_and_a_connection_ended_without_its_data(connected: House) -> None:
    refused(connected.type("move", "Nowhere"), 5, "Nowhere")
    assert connected.type("move", "Production").code == 0
    refused(connected.type("disconnect", "cronus", "--keep-data"), 2, "--yes")
    ended = connected.type("disconnect", "cronus", "--keep-data", "--yes")
    assert (ended.code, "is disconnected" in ended.words, "Enterprise applications" in ended.words) == (0, True, True)
    assert connected.type("connections", "--json").json[0]["state"] == "disconnected"
    assert connected.type_connect().code == 0
    assert connected.type("connections", "--json").json[0]["state"] == "connected"


def test_addresses_and_links_by_command(house: House) -> None:
    assert "hears of everything" in house.type("notices", "add", "ops@acme.example").words
    refused(house.type("notices", "add", "nobody"), 2, "no mail address")
    assert house.type("notices", "list", "--json").json == [{"address": "ops@acme.example", "kinds": []}]
    refused(house.type("notices", "test", "ops@acme.example"), 3, "No mail server is set")
    assert house.type("notices", "log", "--json").json == []
    assert house.type("notices", "remove", "ops@acme.example").code == 0
    refused(house.type("portal-link", "nobody", "--url", "https://hub.example"), 2, "no consumer")
    refused(house.type("portal-link", "nobody"), 2, "ISTHMUS_PUBLIC_URL")
