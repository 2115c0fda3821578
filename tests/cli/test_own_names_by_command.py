"""`sync create --rename`: the host's names in changes, the vendor's in the store."""

from __future__ import annotations

from tests.hub_fixtures import US, House


def test_a_field_has_the_hosts_name_in_changes_and_a_wrong_one_is_told(house: House) -> None:
    assert house.type_connect().code == 0
    create = ("sync", "create", "currencies", "--company", US)
    wrong = house.type(*create, "--rename", "code", "--json")
    assert (wrong.code, wrong.error["remedy"]) == (2, "Write --rename displayName=name.")
    unknown = house.type(*create, "--rename", "codee=iso", "--json")
    assert (unknown.code, unknown.error["nearest"][0]) == (5, "code")
    made = house.type(*create, "--rename", "Code=iso", "--refresh", "every 7d", "--json").json
    assert (made["rename"], made["refresh_schedule"]) == ({"code": "iso"}, "every 7d")
    assert house.type("sync", "run").code == 0
    (first, *_) = house.type("changes", "--json").lines
    assert "iso" in first["record"]
    assert "code" not in first["record"]
