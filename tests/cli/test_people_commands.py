"""`isthmus people`: who may sign in, and the way back in when nobody can."""

from __future__ import annotations

import re

from tests.hub_fixtures import House


def test_a_one_time_link_is_made_for_a_role_and_people_are_listed(house: House) -> None:
    made = house.type("people", "invite", "--role", "operator")
    assert made.code == 0, made.words
    assert re.search(r"/console/welcome/[\w-]{40,}$", made.out.strip())
    assert "operator" in made.words
    assert house.type("people", "invite", "--json").json["role"] == "admin"
    listed = house.type("people", "list", "--json")
    assert listed.code == 0
    assert all({"name", "role", "signs_in_with"} <= set(each) for each in listed.json)
    wrong = house.type("people", "invite", "--role", "emperor")
    assert wrong.code != 0
    assert "Use admin, operator, viewer" in wrong.words
