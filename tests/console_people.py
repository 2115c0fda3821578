"""A person in front of the console: over plain HTTP, with cookies, forms and their proofs."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import httpx
from argon2 import PasswordHasher
from tests.api_server import Served

from isthmus.console import first_administrator_link
from isthmus.console.sessions import hashed as token_hash
from isthmus.store import console_people

PASSWORD = "correct horse battery"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""Cheap to check: a password that the product has hashed takes its time on purpose, at each sign-in."""

_PROOF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class Visitor:
    """One browser without JavaScript."""

    def __init__(self, served: Served, client: httpx.AsyncClient) -> None:
        self.served = served
        self.client = client

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Open a page, without following redirects."""
        return await self.client.get(path, params=parameters or None)

    async def text(self, path: str, **parameters: Any) -> str:
        """A page that has to be there, as its visible and hidden text."""
        answer = await self.get(path, **parameters)
        assert answer.status_code == 200, (path, answer.status_code, answer.headers.get("location"), answer.text[:2000])
        return answer.text

    async def proof(self, path: str = "/console/settings") -> str:
        """The form proof of a page."""
        found = _PROOF.search(await self.text(path))
        assert found is not None, f"no form on {path}"
        return found.group(1)

    async def send(self, path: str, *, on: str = "/console/settings", **fields: Any) -> httpx.Response:
        """Fill a form in and send it, with the proof of the page `on`."""
        return await self.client.post(path, data={"csrf": await self.proof(on), **fields})

    async def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        """Use the sign-in form."""
        proof = await self.proof("/console/sign-in")
        return await self.client.post("/console/sign-in", data={"csrf": proof, "name": name, "password": password})


def words(page: str) -> str:
    """What a person reads: tags out, blanks folded."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


async def new_person(served: Served, name: str, role: str) -> None:
    """Somebody who may sign in, made by an invitation as the console does."""
    token = f"{name}-{role}"
    await console_people.invite(served.hub.db, token_hash(token), role, 1)
    await console_people.accept(served.hub.db, token_hash(token), name, PASSWORD_HASH)


async def link_of(served: Served) -> str | None:
    """What the server prints at its first start."""
    return await first_administrator_link(served.hub, served.address)
