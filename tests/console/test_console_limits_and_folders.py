"""What the console lets through: a key's own limit, and folders below the project's own one."""

from __future__ import annotations

from tests.api_server import Served
from tests.console_people import Visitor, words

from isthmus.store import api_keys, destinations


async def test_a_key_gets_a_limit_of_its_own(admin: Visitor, served: Served) -> None:
    path = "/console/settings/keys"
    wrong = await admin.send(path, name="slow", scope="read", life="", requests_per_s="many")
    assert (wrong.status_code, "no number of requests" in words(wrong.text)) == (422, True)
    assert (await admin.send(path, name="slow", scope="read", life="", requests_per_s="2.5")).status_code == 200
    async with served.hub.db.project(served.hub.project.id) as tx:
        (key,) = [each for each in await api_keys.every(tx) if each.name == "slow"]
    assert key.requests_per_s == 2.5
    assert (await admin.send(f"{path}/{key.id}/limit", requests_per_s="")).status_code == 303
    assert "500 as every key" in words(await admin.text(path))


async def test_a_folder_is_below_the_projects_own_and_may_begin_now(admin: Visitor, served: Served) -> None:
    path = "/console/deliveries/new"
    form = await admin.text(path, kind="folder")
    own = served.hub.settings.files_dir / str(served.hub.project.id)
    assert str(own) in form
    assert "changes from now on" in form
    for outside in ("/etc", "../x", "/tmp"):
        refused = await admin.send(path, kind="folder", name="out", folder=outside)
        assert (refused.status_code, "cannot be written" in words(refused.text)) == (422, True), outside
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute("UPDATE feed_counters SET last_number = 7")
    made = await admin.send(path, kind="folder", name="out", folder="changes", **{"from": "now"})
    assert made.status_code == 303, words(made.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        (row,) = await destinations.every(tx)
    assert (row.url, row.cursor) == (str(own / "changes"), 7)
