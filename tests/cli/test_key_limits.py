"""`isthmus keys`: how many requests a key may send."""

from __future__ import annotations

from tests.hub_fixtures import House


def test_a_keys_limit_is_set_by_command(house: House) -> None:
    made = house.type("keys", "create", "slow", "--requests-per-s", "2.5", "--json").json
    assert made["requests_per_s"] == 2.5
    assert house.type("keys", "limit", "slow").code == 0
    (key,) = house.type("keys", "list", "--json").json
    assert key["requests_per_s"] is None
