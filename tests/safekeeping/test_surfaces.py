"""What people and programs can do about it: by API, by command, in the console."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest
from tests.api_server import Served, served
from tests.console_people import Visitor, new_person
from tests.hub_fixtures import House
from tests.plain_http import plain_client

from isthmus.kernel.ids import new_id
from isthmus.store import consumers, paused

__all__ = ["served"]


async def customer(served: Served, name: str) -> UUID:
    async with served.hub.db.project(served.hub.project.id) as tx:
        return (await consumers.create(tx, external_id=f"crm-{name}", name=name)).id


@pytest.fixture
async def admin(served: Served) -> AsyncIterator[Visitor]:
    """A signed-in administrator of the console."""
    async with plain_client(served.address) as client:
        visitor, name = Visitor(served, client), f"admin {new_id().hex[-6:]}"
        await new_person(served, name, "admin")
        assert (await visitor.sign_in(name)).status_code == 303
        yield visitor


async def test_the_api_keeps_changes_and_erases_for_admins_alone(served: Served) -> None:
    api, reader = await served.client(), await served.client("read")
    assert (await reader.get("/v1/retention")).status_code == 403
    shown = (await api.get("/v1/retention")).json()
    assert {"name": "audit", "days": 730} in [{k: each[k] for k in ("name", "days")} for each in shown["kept"]]
    changed = (await api.patch("/v1/retention", json={"records": 365, "audit": None})).json()
    assert {each["name"]: each["days"] for each in changed["kept"]} | {"records": 365, "audit": None} == {
        each["name"]: each["days"] for each in changed["kept"]
    }
    for wrong in ({"audit": 3}, {"runs": 0}, {"unknown": 1}, {"runs": "often"}):
        assert (await api.patch("/v1/retention", json=wrong)).status_code == 422, wrong

    consumer_id = await customer(served, "Erased by API")
    address = f"/v1/consumers/{consumer_id}/erase"
    assert (await reader.post(address, json={"confirm": "crm-Erased by API"})).status_code == 403
    refused = await api.post(address, json={"confirm": "Erased by API"})
    assert (refused.status_code, refused.json()["subject"]) == (422, "confirm")
    done = await api.post(address, json={"confirm": "crm-Erased by API"})
    assert done.status_code == 200
    assert done.json()["finished_at"] is not None
    assert (await api.post(address, json={"confirm": "crm-Erased by API"})).status_code == 404
    listed = (await api.get("/v1/erasures")).json()["result"]
    assert [each["consumer_id"] for each in listed] == [str(consumer_id)]
    acts = [each["action"] for each in (await api.get("/v1/audit")).json()["result"]]
    assert {"consumer.erased", "retention.change"} <= set(acts)


async def test_the_console_keeps_erases_and_tells_of_a_restore(
    served: Served, admin: Visitor, database_url: str
) -> None:
    consumer_id = await customer(served, "Erased by hand")
    page = await admin.text("/console/settings/data")
    assert "Erased by hand" in page
    fields = {"requests": "30", "runs": "", "records": "365", "changes": "90", "deliveries": "30", "operations": "90"}
    wrong = await admin.send("/console/settings/data", on="/console/settings/data", **fields, audit="soon")
    assert wrong.status_code == 422
    assert "whole number of days" in wrong.text
    saved = await admin.send("/console/settings/data", on="/console/settings/data", **fields, audit="60")
    assert saved.status_code == 303
    assert 'name="runs" type="text" value=""' in await admin.text("/console/settings/data")

    erase = "/console/settings/data/erase"
    wrong = await admin.send(erase, on="/console/settings/data", consumer=str(consumer_id), confirm="Erased by hand")
    assert wrong.status_code == 422
    assert "Nothing was erased" in wrong.text
    done = await admin.send(erase, on="/console/settings/data", consumer=str(consumer_id), confirm="crm-Erased by hand")
    assert done.headers["location"].endswith("notice=erased")
    assert "Erased by hand" not in await admin.text("/console/settings/data")

    assert "Never restored" in await admin.text("/console/settings/restored")
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO isthmus.pauses (what) VALUES ('writes'), ('deliveries')")
        owner.execute(
            """INSERT INTO isthmus.restored (backup_id, backup_made_at, restored_at, guard_until)
               VALUES ('bak', now() - interval '5 hours', now(), now() + interval '1 day')"""
        )
        try:
            assert "This database was restored from a backup" in await admin.text("/console/connections")
            assert "What may have happened since" in await admin.text("/console/settings/restored")
            resumed = await admin.send("/console/settings/restored/resume", what="writes")
            assert resumed.status_code == 303
            async with served.hub.db.unscoped() as tx:
                assert await paused.paused(tx) == {paused.Pause.DELIVERIES}
        finally:
            owner.execute("DELETE FROM isthmus.pauses")
            owner.execute("DELETE FROM isthmus.restored")


async def test_commands_show_and_set_what_is_kept_and_erase_after_asking(house: House) -> None:
    async with house.hub() as hub, hub.db.project(hub.project.id) as tx:
        await consumers.create(tx, external_id="crm-1", name="Erased by command")

    def walk() -> None:
        assert "audit" in house.type("retention", "show").out
        assert house.type("retention", "set", "runs", "forever").code == 0
        assert house.type("retention", "set", "audit", "3").code == 2
        assert house.type("retention", "set", "audit", "often").code == 2
        assert house.type("retention", "show", "--json").json["days"]["runs"] is None
        assert house.type("retention", "run").code == 0
        assert "Erased by command" in house.type("consumers", "list").out
        assert house.type("consumers", "erase", "nobody").code == 2
        assert "nobody is there to answer" in house.type("consumers", "erase", "Erased by command").words
        erased = house.type("consumers", "erase", "Erased by command", "--yes")
        assert erased.code == 0, erased.words
        assert "Not reached from here" in erased.words
        assert "No consumer yet" in house.type("consumers", "list").words
        assert house.type("vault", "status", "--json").json["data_keys"]
        assert "Nothing to do" in house.type("migrate", "--plan").words

    await asyncio.to_thread(walk)
