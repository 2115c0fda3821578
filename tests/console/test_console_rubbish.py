"""Every address of the console: rubbish is refused in words, and viewers change nothing."""

from __future__ import annotations

import re
from typing import cast
from uuid import UUID

from litestar import Router
from litestar.routes import HTTPRoute
from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import Visitor, words

from isthmus.console.room import create_console
from isthmus.console.services import Services

RUBBISH = ("", "\x00", "’; DROP TABLE people --", "é" * 5_000, "-1", "9999-99-99T99:99", "{", "[1]", "../../etc/passwd")
FIELDS = (
    "name", "confirm", "release", "way", "since", "until", "names", "scope", "life", "role", "url", "folder", "kind",
    "first", "last", "from", "connection", "verb", "object", "route", "company", "record", "action", "body", "match",
    "key", "seen", "reason", "took_place", "remote_id", "host_name", "accent", "support", "privacy_url", "modes",
    "allowed_origins", "client_id", "client_secret", "cloud", "tenant", "environment", "schedule", "backfill", "ends",
    "filter", "current", "password", "again", "consumer", "consumer_name", "access", "project", "theme", "back", "days",
    "emails", "address", "q",
)  # fmt: skip
LEAVING = ("/console/sign-out", "/console/settings/you")
"""Acts that would end the visitor's own session half-way."""


def _addresses(served: Served, ids: dict[str, UUID]) -> list[tuple[str, set[str]]]:
    """Every address of the console with ids that are there, and its methods."""
    (room,) = [each for each in create_console(cast(Services, served.hub)) if isinstance(each, Router)]
    found = []
    for route in room.routes:
        assert isinstance(route, HTTPRoute)
        path = re.sub(r"\{(\w+):uuid\}", lambda name: str(ids.get(name[1], UUID(int=7))), route.path)
        path = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "customers", path))
        found.append((path, {str(each) for each in route.methods} - {"OPTIONS", "HEAD"}))
    return found


async def test_rubbish_is_refused_in_words_and_never_a_fault_of_ours(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "currencies")
    run, _ = await served.house.run(served.hub, sync)
    ids = {"connection_id": connection.id, "sync_id": sync.id, "run_id": run.id}
    proof = await admin.proof()
    tried, faults = 0, []
    for path, methods in sorted(_addresses(served, ids)):
        if path.startswith(LEAVING):
            continue
        for text in RUBBISH[:: 3 if "GET" in methods else 2]:
            for method in methods:
                if method == "GET":
                    answer = await admin.client.get(path, params=dict.fromkeys(FIELDS, text[:60]))
                else:
                    answer = await admin.client.post(path, data={"csrf": proof, **dict.fromkeys(FIELDS, text)})
                tried += 1
                if answer.status_code == 500:
                    faults.append((method, path, text[:40], words(answer.text)[-200:]))
    assert faults == []
    assert tried > 150


OWN: tuple[str, ...] = ("/console/sign-out", "/console/theme", "/console/project", "/console/settings/you")
"""What a viewer may send: acts about oneself. The pages of signing in are open to anybody."""


async def test_viewers_change_nothing_wherever_they_try(admin: Visitor, signed_in: SignedIn, served: Served) -> None:
    viewer = await signed_in("viewer")
    proof = await viewer.proof("/console/settings/you")
    tried = 0
    for path, methods in _addresses(served, {}):
        if "POST" not in methods or path.startswith((*OWN, "/console/sign-in", "/console/welcome")):
            continue
        answer = await viewer.client.post(path, data={"csrf": proof})
        assert answer.status_code == 403, path
        assert "Not with your role" in answer.text, path
        without = await admin.client.post(path, data={"name": "x"})
        assert without.status_code == 403, f"{path} takes a form without its proof"
        tried += 1
    assert tried > 40
