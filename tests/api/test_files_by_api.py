"""Files as destinations by API: below the project's own folder, and nowhere else on the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.api_server import Served


async def test_files_are_written_below_the_projects_own_folder(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    await served.synced(client, connection["id"], "currencies")
    answer = await client.post("/v1/destinations", json={"name": "out", "kind": "files", "folder": "feed/changes"})
    assert (answer.status_code, answer.json()["secret"]) == (201, None)
    folder = Path(answer.json()["destination"]["url"])
    assert folder == served.hub.settings.files_dir / str(served.hub.project.id) / "feed" / "changes"
    await served.hub.deliver()
    assert b'"object":"currencies"' in written(folder)
    late = {"name": "late", "kind": "files", "folder": "late", "only_new": True}
    shown = (await client.post("/v1/destinations", json=late)).json()["destination"]
    assert (shown["behind"], shown["cursor"] > 0) == (0, True)


def written(folder: Path) -> bytes:
    """The one segment in a folder."""
    (segment,) = folder.glob("changes-*.jsonl")
    return segment.read_bytes()


@pytest.mark.parametrize("folder", ["..", "../x", "a/../../x", "/etc", "/tmp/x", "a\u0000b", "  ", "link/x", "x" * 300])
async def test_nobody_writes_anywhere_else_on_the_server(served: Served, folder: str, tmp_path: Path) -> None:
    client = await served.client()
    own = served.hub.settings.files_dir / str(served.hub.project.id)
    own.mkdir(parents=True)
    (own / "link").symlink_to("/tmp")
    before = sorted(served.hub.settings.home.rglob("*"))
    refused = await client.post("/v1/destinations", json={"name": "out", "kind": "files", "folder": folder})
    assert refused.status_code == 422, refused.text
    assert sorted(served.hub.settings.home.rglob("*")) == before
    assert (await client.get("/v1/destinations")).json()["result"] == []


@pytest.mark.parametrize(
    ("more", "subject"),
    [
        ({"kind": "files"}, "folder"),
        ({"kind": "files", "folder": "x", "url": "https://example.com"}, "url"),
        ({"kind": "files", "folder": "x", "payload_bytes": 100_000}, "payload_bytes"),
        ({"url": "https://example.com", "folder": "x"}, "folder"),
        ({}, "url"),
    ],
)
async def test_what_does_not_belong_to_a_kind_is_refused_by_its_name(
    served: Served, more: dict[str, Any], subject: str
) -> None:
    client = await served.client()
    refused = await client.post("/v1/destinations", json={"name": "out", **more})
    assert (refused.status_code, refused.json()["subject"]) == (422, subject)
