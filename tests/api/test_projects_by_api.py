"""Projects by API: for keys with the scope `hub`, which opens nothing inside a project."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import msgspec
from tests.api_server import Served, serving
from tests.delivery.conftest import Receiver, receiver
from tests.hub_fixtures import House

from isthmus.kernel.ids import new_id
from isthmus.store import projects

__all__ = ["receiver"]


def name_of_one() -> str:
    """A name that no other test has."""
    return f"shop {new_id().hex[-12:]}"


async def made(hub: httpx.AsyncClient, **wish: Any) -> dict[str, Any]:
    """A new project with its first key."""
    answer = await hub.post("/v1/projects", json={"name": name_of_one(), **wish})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_project_is_made_with_its_first_key_and_that_key_ends_with_it(served: Served) -> None:
    hub = await served.client("hub")
    new = await made(hub)
    assert new["project"]["development"] is False
    assert new["key"]["scopes"] == ["admin"]
    admin = await served.bearing(new["secret"])
    assert (await admin.post("/v1/consumers", json={"external_id": "a", "name": "A"})).status_code == 201
    acts = (await admin.get("/v1/audit")).json()["result"]
    assert [each["action"] for each in acts] == ["consumer.create", "project.create"]
    assert (await admin.get("/v1/projects")).status_code == 403, "what is beyond the project needs the scope hub"
    listed = (await hub.get("/v1/projects")).json()["result"]
    assert new["project"] in listed
    shown = (await hub.get(f"/v1/projects/{new['project']['id']}")).json()
    assert (shown["contents"]["consumers"], shown["contents"]["keys"]) == (1, 1)
    for path in ("/v1/consumers", "/v1/connections", "/v1/keys"):
        assert (await hub.get(path)).status_code == 403, "a hub key sees nothing inside, not even of its own project"


async def test_a_name_is_given_once_and_has_to_be_one(served: Served) -> None:
    hub = await served.client("hub")
    taken = (await made(hub))["project"]["name"]
    again = await hub.post("/v1/projects", json={"name": taken})
    assert (again.status_code, again.json()["subject"]) == (422, "name")
    assert (await hub.post("/v1/projects", json={"name": " "})).status_code == 422


async def test_the_scope_hub_is_passed_on_by_keys_that_have_it_alone(served: Served) -> None:
    wish = {"name": "more", "scopes": ["hub"]}
    admin = await served.client("admin")
    refused = await admin.post("/v1/keys", json=wish)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    both = await served.client("admin", "hub")
    passed = (await both.post("/v1/keys", json=wish)).json()
    assert (await (await served.bearing(passed["secret"])).get("/v1/projects")).status_code == 200


async def test_deleting_tells_what_is_lost_and_asks_for_the_name(served: Served) -> None:
    hub = await served.client("hub")
    new = await made(hub)
    admin, path = await served.bearing(new["secret"]), f"/v1/projects/{new['project']['id']}"
    await admin.post("/v1/consumers", json={"external_id": "a", "name": "A"})
    asked = await hub.delete(path)
    assert (asked.status_code, "1 consumer, 1 key" in asked.json()["message"]) == (409, True)
    assert (await hub.delete(path, params={"name": "another"})).status_code == 409
    assert (await admin.get("/v1/consumers")).json()["result"]
    gone = await hub.delete(path, params={"name": new["project"]["name"]})
    assert (gone.status_code, gone.json()["contents"]["consumers"]) == (200, 1)
    assert (await hub.get(path)).status_code == 404
    assert (await admin.get("/v1/consumers")).status_code in (401, 404)
    acts = (await (await served.client("admin")).get("/v1/audit")).json()["result"]
    assert "1 consumer, 1 key" in acts[0]["detail"]["lost"]


async def test_the_project_in_use_is_not_deleted(served: Served) -> None:
    stranger = await served.client("hub", project=name_of_one())
    own = served.hub.project
    for hub in (stranger, await served.client("hub")):
        refused = await hub.delete(f"/v1/projects/{own.id}", params={"name": own.name})
        assert refused.status_code == 409, refused.text
        assert (await hub.get(f"/v1/projects/{own.id}")).status_code == 200
    assert "in use by server" in (await stranger.delete(f"/v1/projects/{own.id}")).json()["message"]


async def test_a_project_with_an_open_write_is_not_deleted(served: Served) -> None:
    hub, own = await served.client("hub"), await served.client("admin")
    new = await made(hub, development=True)
    admin = await served.bearing(new["secret"])
    connection = await served.connect(admin)
    body = {"verb": "create", "object": "customers", "company": "CRONUS USA, Inc.", "body": {"displayName": "A"}}
    answer = await admin.post(f"/v1/connections/{connection['id']}/operations", json=body)
    assert answer.status_code < 300, answer.text
    project = await projects.get(served.hub.db, UUID(new["project"]["id"]))
    async with served.hub.db.project(project.id) as tx:
        await tx.execute("UPDATE operations SET state = 'uncertain', next_attempt_at = now() + interval '1 day'")
    refused = await hub.delete(f"/v1/projects/{project.id}", params={"name": project.name})
    assert (refused.status_code, "not known yet: 1" in refused.json()["message"]) == (409, True)
    assert (await own.get("/v1/audit")).status_code == 200


async def test_production_and_development_live_on_one_hub_by_their_own_rules(
    served: Served, receiver: Receiver
) -> None:
    hub = await served.client("hub")
    production, development = await made(hub), await made(hub, development=True)
    assert production["secret"].startswith("isth_live_")
    assert development["secret"].startswith("isth_dev_")
    wish = {"name": "inside", "url": receiver.url}
    closed, open_ = await served.bearing(production["secret"]), await served.bearing(development["secret"])
    refused = await closed.post("/v1/destinations", json=wish)
    assert (refused.status_code, refused.json()["subject"]) == (422, "url")
    registered = (await open_.post("/v1/destinations", json=wish)).json()
    own_cloud = await closed.post("/v1/connections", json=served.connecting())
    assert (own_cloud.status_code, own_cloud.json()["subject"]) == (422, "cloud")
    page = {"allowed_origins": ["http://localhost:3000"]}
    assert (await closed.put("/v1/connect-page", json=page)).status_code == 422
    assert (await open_.put("/v1/connect-page", json=page)).status_code == 200

    receiver.secret = registered["secret"]
    path = f"/v1/destinations/{registered['destination']['id']}/test"
    assert (await open_.post(path)).json()["delivered"] is True
    changed = await hub.patch(f"/v1/projects/{development['project']['id']}", json={"development": False})
    assert changed.json()["development"] is False
    assert (await open_.post(path)).json()["delivered"] is False, "decided when it is delivered, not when it was made"
    assert (await open_.patch(path.removesuffix("/test"), json={"url": receiver.url})).status_code == 422
    assert len(receiver.bodies) == 1


async def test_a_hub_that_allows_no_development_makes_no_such_project(house: House) -> None:
    house.settings = msgspec.structs.replace(house.settings, development=False)
    async with serving(house) as served:
        hub = await served.client("hub")
        refused = await hub.post("/v1/projects", json={"name": name_of_one(), "development": True})
        assert (refused.status_code, "ISTHMUS_DEVELOPMENT" in refused.json()["remedy"]) == (422, True)
        project = (await made(hub))["project"]["id"]
        assert (await hub.patch(f"/v1/projects/{project}", json={"development": True})).status_code == 422


async def test_another_process_learns_of_a_new_name_within_seconds(served: Served) -> None:
    hub = await served.client("hub")
    new = await made(hub)
    name = name_of_one()
    renamed = await hub.patch(f"/v1/projects/{new['project']['id']}", json={"name": name})
    assert (renamed.status_code, renamed.json()["name"]) == (200, name)
    own = f"/v1/projects/{served.hub.project.id}"
    assert "ISTHMUS_PROJECT" in (await hub.patch(own, json={"name": name_of_one()})).json()["message"]
