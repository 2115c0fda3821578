"""`isthmus projects`: made, listed, changed and deleted by name; and a mistyped ISTHMUS_PROJECT makes none."""

from __future__ import annotations

from typing import Any

import pytest
from tests.database_copies import copied
from tests.hub_fixtures import House

from isthmus.kernel.ids import new_id
from isthmus.store.embedded import EmbeddedPostgres


def fresh(word: str = "shop") -> str:
    """A name that no other test has."""
    return f"{word} {new_id().hex[-12:]}"


def listed(house: House) -> dict[str, dict[str, Any]]:
    """The projects, by name."""
    return {each["name"]: each for each in house.type("projects", "list", "--json").json}


def test_a_project_is_made_with_its_first_key_and_commands_can_work_on_it(house: House) -> None:
    name = fresh()
    made = house.type("projects", "create", name, "--key", "me", "--json").json
    assert (made["name"], made["development"], made["here"]) == (name, False, False)
    assert made["secret"].startswith("isth_live_")
    (key,) = house.type("keys", "list", "--json", ISTHMUS_PROJECT=name).json
    assert (key["name"], key["scopes"]) == ("me", ["admin"])
    assert house.type("keys", "list", "--json").json == [], "the key belongs to the new project alone"
    again = house.type("projects", "create", name)
    assert (again.code, "already" in again.words) == (2, True)
    assert listed(house)[house.settings.project]["here"] is True


def test_a_first_project_needs_no_other_one(postgres: EmbeddedPostgres, house: House) -> None:
    with copied(postgres, "template0") as url:
        assert house.type("projects", "create", "shop", ISTHMUS_DATABASE_URL=url).code == 0
        found = house.type("projects", "list", "--json", ISTHMUS_DATABASE_URL=url).json
        assert [each["name"] for each in found] == ["shop"], "and no project “default” came along"


@pytest.mark.parametrize("command", [("keys", "list"), ("sync", "list"), ("destination", "list"), ("people", "list")])
def test_a_mistyped_project_makes_none_and_is_told_what_was_meant(house: House, command: tuple[str, ...]) -> None:
    name = fresh("production")
    house.type("projects", "create", name)
    typo = name.replace("production", "prodution")
    refused = house.type(*command, ISTHMUS_PROJECT=typo)
    assert refused.code == 3, refused.words
    assert f"There is no project “{typo}” here." in refused.words
    assert f"Set ISTHMUS_PROJECT to {name}" in refused.words
    assert f"isthmus projects create '{typo}'" in refused.words
    assert typo not in listed(house)


def test_doctor_tells_of_a_mistyped_project_too(house: House) -> None:
    sick = house.type("doctor", ISTHMUS_PROJECT=fresh("nowhere"))
    assert sick.code == 3
    assert "✗ The project is there" in sick.words
    assert "isthmus projects create" in sick.words


def test_a_kind_is_chosen_where_the_hub_allows_it(house: House) -> None:
    name = fresh()
    refused = house.type("projects", "create", name, "--development", ISTHMUS_DEVELOPMENT="0")
    assert (refused.code, "ISTHMUS_DEVELOPMENT=1" in refused.words) == (2, True)
    assert name not in listed(house)
    assert house.type("projects", "create", name, "--development").code == 0
    inside = ("destination", "webhook", "hook", "http://127.0.0.1:9/")
    assert house.type(*inside, ISTHMUS_PROJECT=name).code == 0
    assert house.type("projects", "change", name, "--production").code == 0
    assert listed(house)[name]["development"] is False
    refused = house.type("destination", "webhook", "two", "http://127.0.0.1:9/", ISTHMUS_PROJECT=name)
    assert (refused.code, "changes a project's kind" in refused.words) == (2, True)
    assert house.type("projects", "change", name).code == 2, "nothing to change was given"


def test_a_project_is_renamed(house: House) -> None:
    name, other = fresh(), fresh("other")
    house.type("projects", "create", name)
    assert house.type("projects", "change", name, "--name", other).code == 0
    assert (name in listed(house), other in listed(house)) == (False, True)
    own = house.type("projects", "change", house.settings.project, "--name", fresh())
    assert "ISTHMUS_PROJECT names it still" in own.words


def test_deleting_tells_what_would_be_lost_and_asks_for_the_name(house: House) -> None:
    name = fresh()
    house.type("projects", "create", name, "--development", "--key", "me")
    house.type("destination", "webhook", "hook", "http://127.0.0.1:9/", ISTHMUS_PROJECT=name)
    asked = house.type("projects", "delete", name)
    assert asked.code == 2, "nobody is there to answer"
    assert "1 destination, 1 key" in asked.words
    assert name in listed(house)
    gone = house.type("projects", "delete", name, "--yes")
    assert (gone.code, "1 destination, 1 key" in gone.words) == (0, True)
    assert name not in listed(house)
    near = house.type("projects", "delete", name + "x", "--yes")
    assert (near.code, "isthmus projects list" in near.words) == (2, True)


def test_the_project_that_commands_work_on_is_not_deleted(house: House) -> None:
    refused = house.type("projects", "delete", house.settings.project, "--yes")
    assert (refused.code, "Set ISTHMUS_PROJECT to another project first" in refused.words) == (2, True)
    assert house.settings.project in listed(house)


async def test_the_project_of_a_worker_at_work_is_not_deleted(house: House) -> None:
    import asyncio

    other = await asyncio.to_thread(house.type, "projects", "create", fresh(), "--json")
    async with house.hub() as hub:
        await hub.presence.beat()
        elsewhere = {"ISTHMUS_PROJECT": other.json["name"]}
        refused = await asyncio.to_thread(house.type, "projects", "delete", hub.project.name, "--yes", **elsewhere)
        assert (refused.code != 0, "in use by worker" in refused.words) == (True, True)
