"""Health by API: one connection from a healthy start to its end, and rubbish on the way."""

from __future__ import annotations

import datetime as dt

from tests.api_server import Served

from isthmus_sandbox.worlds import identities

GOOD = identities.CONFIDENTIAL_APP_SECRET
NEXT = identities.CONFIDENTIAL_APP_NEXT_SECRET


async def test_a_connections_care_by_api_from_its_secret_to_its_end(served: Served) -> None:
    api = await served.client()
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(days=300)).isoformat()
    shown = await served.connect(api, secret_expires_at=later)
    assert shown["health"] == {
        **dict.fromkeys(("reason", "title", "turn", "message", "remedy", "fix", "button")),
        "state": "connected",
        "since": shown["since"],
    }
    path = f"/v1/connections/{shown['id']}"
    report = (await api.get(f"{path}/health")).json()
    assert report["secret"]["kind"] == "secret"
    assert report["secret"]["expires_at"][:10] == later[:10]
    assert [(each["before"], each["state"]) for each in report["history"]] == [("pending", "connected")]

    wrong = await api.put(f"{path}/secret", json={"client_secret": "wr0ng-canary"})
    assert (wrong.status_code, wrong.json()["code"]) == (424, "secret_wrong")
    assert "wr0ng-canary" not in wrong.text
    for rubbish in ({}, {"client_secret": ""}, {"certificate": "no base64"}, {"client_secret": "x", "more": 1}):
        assert (await api.put(f"{path}/secret", json=rubbish)).status_code in (400, 422)
    past = await api.put(f"{path}/secret", json={"client_secret": GOOD, "secret_expires_at": "2020-01-01T00:00:00Z"})
    assert (past.status_code, past.json()["code"]) == (422, "invalid_input")
    same = await api.put(f"{path}/staged-secret", json={"client_secret": GOOD, "from": later})
    assert (same.status_code, "in use already" in same.json()["message"]) == (422, True)
    staged = (await api.put(f"{path}/staged-secret", json={"client_secret": NEXT, "from": later})).json()
    assert (staged["accepted"], staged["secret"]["staged"]) == (True, True)
    assert NEXT not in str(staged)
    assert (await api.delete(f"{path}/staged-secret")).status_code == 204
    renewed = (await api.put(f"{path}/secret", json={"client_secret": GOOD})).json()
    assert renewed["connection"]["state"] == "connected"
    assert all(step["passed"] or step["optional"] for step in renewed["steps"])

    gone = await api.put(f"{path}/environment", json={"environment": "Prodution"})
    assert (gone.status_code, gone.json()["code"]) == (422, "environment_not_found")
    assert gone.json()["nearest"][0] == "Production"
    still = (await api.get(path)).json()
    assert (still["environment"], still["health"]["state"]) == ("Production", "connected")
    moved = (await api.put(f"{path}/environment", json={"environment": "Sandbox"})).json()["connection"]
    assert (moved["environment"], moved["health"]["reason"]) == ("Sandbox", None)
    assert (await api.put(f"{path}/environment", json={"environment": "Production"})).is_success

    sync = await served.synced(api, shown["id"], "customers")
    lost = (await api.get(f"{path}/losses")).json()
    assert lost["records"] > 0
    refused = await api.post(f"{path}/disconnect", json={"data": "keep", "confirm": "another"})
    assert refused.status_code == 422
    reader = await served.client("read")
    assert (await reader.post(f"{path}/disconnect", json={"data": "keep", "confirm": "cronus"})).status_code == 403
    ended = (await api.post(f"{path}/disconnect", json={"data": "keep", "confirm": "cronus"})).json()
    assert (ended["data"], ended["credentials_forgotten"], ended["losses"]) == ("kept", True, lost)
    now = (await api.get(path)).json()["health"]
    assert (now["state"], now["reason"], now["fix"]) == ("disconnected", "disconnected", "sign_in_again")
    headers = {"isthmus-connection": shown["id"]}
    assert (await api.get("/v1/proxy/api/v2.0/companies", headers=headers)).status_code in (424, 409, 422)
    assert (await api.get(f"/v1/syncs/{sync['id']}")).json()["records"], "what was kept is still read"
    erased = await api.post(f"{path}/disconnect", json={"data": "erase", "confirm": "cronus"})
    assert erased.json()["data"] == "erased"
    assert (await api.get(path)).status_code == 404
    events = (await api.get("/v1/events")).json()["result"]
    kinds = [each["type"] for each in events]
    assert kinds.count("connection.disconnected") == 2
    assert "connection.state_changed" in kinds
