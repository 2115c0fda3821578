"""A customer connects by a link, in a browser without JavaScript: the ways that work."""

from __future__ import annotations

import httpx
import pytest
from tests.connect.conftest import Acme, Person

from isthmus_sandbox.worlds import identities


async def test_a_person_signs_in_and_chooses_companies(acme: Acme, backend: httpx.AsyncClient, person: Person) -> None:
    await acme.integration("sign_in")
    session, url = await acme.link(backend)
    await person.open(url)
    assert "Connect Business Central to Acme Billing" in person.words
    assert "So that invoices carry the right name and address." in person.words
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    assert "Business Central is connected to Acme Billing" in person.words
    told = await acme.status(backend, session)
    assert told["status"] == "connected"
    shown = (await backend.get(f"/v1/consumers?external_id=c-1")).json()
    print(shown, told)
