"""Settings → Projects: another one, its kind, and deleting one; a key's limit and folders in the console."""

from __future__ import annotations

import re

from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import Visitor, words

from isthmus.kernel.ids import new_id
from isthmus.store import api_keys, projects

PATH = "/console/settings/projects"


async def test_an_administrator_makes_a_project_and_is_in_it(admin: Visitor, served: Served) -> None:
    name = f"shop {new_id().hex[-12:]}"
    answer = await admin.send(PATH, name=name)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/settings/keys?notice=project-made")
    page = await admin.text("/console/settings/keys")
    assert f"<b>{name}</b>" in page
    assert "No API key yet" in page, "the first key comes next"
    assert re.search(rf"<option[^>]*>{name}</option>", page), "the switcher shows it"
    assert 'class="stripe"' not in page
    found = await projects.named(served.hub.db, name)
    assert found is not None
    assert found.development is False
    assert "project.create" in await admin.text("/console/settings/audit")
    twice = await admin.send(PATH, name=name)
    assert (twice.status_code, "already" in words(twice.text)) == (422, True)


async def test_development_projects_are_striped_and_change_their_kind(admin: Visitor, served: Served) -> None:
    name = f"shop {new_id().hex[-12:]}"
    await admin.send(PATH, name=name, kind="development")
    made = await projects.named(served.hub.db, name)
    assert made is not None
    assert 'class="stripe"' in await admin.text("/console")
    assert (await admin.send(f"{PATH}/{made.id}/kind", kind="production")).status_code == 303
    assert 'class="stripe"' not in await admin.text("/console")
    refused = await admin.send("/console/deliveries/new", name="inside", url="http://127.0.0.1:9/")
    assert (refused.status_code, "cannot receive deliveries" in words(refused.text)) == (422, True)


async def test_projects_are_for_administrators_alone(signed_in: SignedIn, served: Served) -> None:
    operator = await signed_in("operator")
    assert (await operator.get(PATH)).status_code == 403
    assert PATH not in await operator.text("/console/settings")
    name = f"shop {new_id().hex[-12:]}"
    own = served.hub.project.id
    for path, fields in (
        (PATH, {"name": name}),
        (f"{PATH}/{own}/kind", {"kind": "production"}),
        (f"{PATH}/{own}/delete", {"confirm": served.hub.project.name}),
    ):
        assert (await operator.send(path, **fields)).status_code == 403, path
    assert await projects.named(served.hub.db, name) is None


async def test_deleting_shows_what_is_lost_and_asks_for_the_name(admin: Visitor, served: Served) -> None:
    gone = await projects.create(served.hub.db, f"shop {new_id().hex[-12:]}")
    async with served.hub.db.project(gone.id) as tx:
        await api_keys.make(tx, name="me", scopes=["read"], development=False)
    page = words(await admin.text(f"{PATH}/{gone.id}"))
    assert "This will be lost: 1 key" in page
    wrong = await admin.send(f"{PATH}/{gone.id}/delete", confirm="shop")
    assert (wrong.status_code, "Type exactly" in words(wrong.text)) == (422, True)
    assert (await admin.send(f"{PATH}/{gone.id}/delete", confirm=gone.name)).status_code == 303
    assert await projects.named(served.hub.db, gone.name) is None
    assert "project.delete" in await admin.text("/console/settings/audit")


async def test_the_project_that_the_server_is_started_for_stays(admin: Visitor, served: Served) -> None:
    own = served.hub.project
    here = await admin.send(f"{PATH}/{own.id}/delete", confirm=own.name)
    assert (here.status_code, "switch to another one first" in words(here.text)) == (422, True)
    other = await projects.create(served.hub.db, f"other {new_id().hex[-12:]}")
    await admin.send("/console/project", project=str(other.id))
    refused = await admin.send(f"{PATH}/{own.id}/delete", confirm=own.name)
    assert (refused.status_code, "in use by server" in words(refused.text)) == (409, True)
    assert await projects.named(served.hub.db, own.name) is not None
