"""The how-to about writing: every request in it is sent as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api_server import Served

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "write.md"
BLOCK = re.compile(r"^```http\n(.*?)^```", re.MULTILINE | re.DOTALL)
KEPT = re.compile(r"([\w.]+) is \{(\w+)\}")


def blocks() -> list[str]:
    """The requests of the guide, in order."""
    return BLOCK.findall(GUIDE.read_text(encoding="utf-8"))


def member(document: Any, path: str) -> Any:
    """`record.number` of an answer."""
    for name in path.split("."):
        document = document[name]
    return document


async def send(text: str, known: dict[str, str], writer: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    """One request, and whether the answer is what the guide says."""
    text, _, promise = text.rpartition("# → ")
    for name, value in known.items():
        text = text.replace(f"{{{name}}}", value)
    head, _, body = text.strip("\n").partition("\n\n")
    first, *lines = head.splitlines()
    method, _, url = first.partition(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    client = admin if headers.pop("Authorization", "") == "admin" else writer
    path, _, query = url.partition("?")
    parameters = dict(pair.split("=", 1) for pair in query.split("&")) if query else {}
    answer = await client.request(method, path, params=parameters, headers=headers, content=body.encode() or None)
    status, _, more = promise.strip().partition(", ")
    assert answer.status_code == int(status), f"{first}: {answer.text}"
    for member_path, name in KEPT.findall(more):
        known[name] = member(json.loads(answer.content, parse_float=str), member_path)
    for name in (each for each in more.split(", ") if each and " is " not in each):
        assert answer.json()[name], f"{first}: {name} is empty"


@pytest.mark.timeout(300)
async def test_every_request_of_the_guide_is_answered_as_it_says(served: Served) -> None:
    admin, writer = await served.client(), await served.client("write", "read")
    connection = await served.connect(admin)
    known = {"connection": connection["id"]}
    found = blocks()
    assert len(found) > 15
    for block in found:
        await send(block, known, writer, admin)
