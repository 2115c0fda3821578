"""Signing in: the first administrator, passwords, pauses, sessions."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
from argon2 import extract_parameters
from litestar import Router
from litestar.routes import HTTPRoute
from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import PASSWORD, Visitor, link_of, new_person, words

from isthmus.console import create_console
from isthmus.console.sessions import (
    BROWSER_COOKIE,
    FAILURES_FREE,
    NOBODY,
    SESSION_COOKIE,
    browser_mark,
    browser_number,
    hash_password,
)
from isthmus.kernel.ids import new_id
from isthmus.server import ServedHub
from isthmus.store import console_people

MEASURES = ("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy")


async def test_a_page_sends_strangers_to_the_sign_in_and_back_afterwards(anybody: Visitor, served: Served) -> None:
    answer = await anybody.get("/console/data", q="x")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/sign-in?next=/console/data%3Fq%3Dx"


async def test_every_handler_is_closed_unless_it_says_open(anybody: Visitor, served: Served) -> None:
    (room,) = [each for each in create_console(ServedHub(served.hub, served.address)) if isinstance(each, Router)]
    routes = [each for each in room.routes if isinstance(each, HTTPRoute) and "static" not in each.path]
    assert len(routes) > 30
    for route in routes:
        path = re.sub(r"\{[^:}]+:uuid\}", str(new_id()), route.path)
        path = re.sub(r"\{[^:}]+:int\}", "1", re.sub(r"\{[^:}]+:str\}", "x", path))
        if "/sign-in" in path or "/welcome" in path:
            continue
        for method in set(route.methods) - {"OPTIONS", "HEAD"}:
            answer = await anybody.client.request(method, path)
            assert answer.status_code == 303, (method, path, answer.status_code)
            assert answer.headers["location"].startswith("/console/sign-in")


async def test_a_link_makes_one_person_and_is_used_up(signed_in: SignedIn, anybody: Visitor, served: Served) -> None:
    admin = await signed_in("admin")
    shown = await admin.send("/console/settings/people/invite", role="operator")
    found = re.search(r"/console/welcome/[\w-]+", shown.text)
    assert found is not None
    name = f"Grace {new_id().hex[-6:]}"
    proof = await anybody.proof(found.group())
    form = {"csrf": proof, "name": name, "password": PASSWORD, "again": PASSWORD}
    answer = await anybody.client.post(found.group(), data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert f"{name} operator" in words(await anybody.text("/console"))
    assert (await admin.get(found.group())).status_code == 410


async def test_an_unknown_name_is_checked_against_a_hash_as_costly_as_anybodys() -> None:
    assert extract_parameters(NOBODY) == extract_parameters(await hash_password(PASSWORD))


async def test_nobody_can_make_a_second_first_administrator(signed_in: SignedIn, served: Served) -> None:
    await signed_in("viewer")
    assert await link_of(served) is None


async def test_a_short_password_or_a_taken_name_is_refused_at_its_field(
    signed_in: SignedIn, anybody: Visitor, served: Served
) -> None:
    admin = await signed_in("admin")
    shown = await admin.send("/console/settings/people/invite", role="viewer")
    found = re.search(r"/console/welcome/[\w-]+", shown.text)
    assert found is not None
    taken = (await console_people.every(served.hub.db))[0].name
    proof = await anybody.proof(found.group())
    short = await anybody.client.post(
        found.group(), data={"csrf": proof, "name": "Kurz", "password": "short", "again": "short"}
    )
    assert short.status_code == 422
    assert "at least 12 characters" in words(short.text)
    double = await anybody.client.post(
        found.group(), data={"csrf": proof, "name": taken.upper(), "password": PASSWORD, "again": PASSWORD}
    )
    assert double.status_code == 422
    assert "already" in words(double.text)


async def test_wrong_passwords_in_a_row_close_the_sign_in_for_a_while(anybody: Visitor, served: Served) -> None:
    name = f"Eve {new_id().hex[-6:]}"
    await new_person(served, name, "viewer")
    codes = [(await anybody.sign_in(name, "wrong password")).status_code for _ in range(FAILURES_FREE + 1)]
    assert codes[:FAILURES_FREE] == [401] * FAILURES_FREE
    answer = await anybody.sign_in(name)
    assert answer.status_code == 429, "even the right password has to wait"
    assert "Try again in" in words(answer.text)


async def test_a_stranger_who_guesses_keeps_nobody_out_of_their_own_browser(
    visitors: Callable[[], Visitor], served: Served
) -> None:
    name, own, stranger = f"Mia {new_id().hex[-6:]}", visitors(), visitors()
    await new_person(served, name, "admin")
    assert (await own.sign_in(name)).status_code == 303
    await own.send("/console/sign-out")
    for _ in range(FAILURES_FREE + 1):
        await stranger.sign_in(name, "wrong password")
    assert (await stranger.sign_in(name)).status_code == 429
    assert (await own.sign_in(name)).status_code == 303

    stranger.client.cookies.set(BROWSER_COOKIE, "made-up." + "0" * 64, domain="127.0.0.1", path="/console")
    assert (await stranger.sign_in(name)).status_code == 429, "a mark that we have not made counts for nothing"


async def test_a_known_browser_that_guesses_has_to_wait_too(visitors: Callable[[], Visitor], served: Served) -> None:
    name, own = f"Noa {new_id().hex[-6:]}", visitors()
    await new_person(served, name, "admin")
    await own.sign_in(name)
    await own.send("/console/sign-out")
    codes = [(await own.sign_in(name, "wrong password")).status_code for _ in range(FAILURES_FREE + 1)]
    assert codes[:FAILURES_FREE] == [401] * FAILURES_FREE
    assert (await own.sign_in(name)).status_code == 429
    assert (await visitors().sign_in(name)).status_code == 303, "and nobody else does"


def test_a_mark_ends_with_the_password_that_it_was_made_with() -> None:
    mark = browser_mark("one hash")
    assert browser_number(mark, "one hash") == mark.partition(".")[0]
    assert browser_number(mark, "another hash") is None
    assert browser_number(mark, "") is None
    assert browser_number("", "one hash") is None
    assert browser_number("ü.ü", "one hash") is None


async def test_an_unknown_name_gets_the_same_words_as_a_wrong_password(anybody: Visitor, served: Served) -> None:
    await new_person(served, "Known Person", "viewer") if await console_people.named(
        served.hub.db, "Known Person"
    ) is None else None
    known = words((await anybody.sign_in("Known Person", "wrong password")).text)
    unknown = words((await anybody.sign_in("Nobody At All", "wrong password")).text)
    assert "Name or password is wrong." in known
    assert known.count("wrong") == unknown.count("wrong")


async def test_signing_out_ends_the_session_on_the_server(admin: Visitor) -> None:
    before = admin.client.cookies[SESSION_COOKIE]
    await admin.send("/console/sign-out")
    admin.client.cookies.set(SESSION_COOKIE, before, domain="127.0.0.1", path="/console")
    assert (await admin.get("/console")).status_code == 303


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(anybody: Visitor, served: Served) -> None:
    name = f"Ida {new_id().hex[-6:]}"
    await new_person(served, name, "viewer")
    answer = await anybody.sign_in(name)
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(SESSION_COOKIE))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    async with served.hub.db.system() as tx:
        kept = await tx.tuples("SELECT token_hash FROM console_sessions")
    token = answer.cookies[SESSION_COOKIE].encode()
    assert all(token not in bytes(each) for (each,) in kept)


async def test_the_sign_in_leads_only_into_the_console(anybody: Visitor, served: Served) -> None:
    name = f"Jo {new_id().hex[-6:]}"
    await new_person(served, name, "viewer")
    for aim in (
        "https://evil.example",
        "//evil.example",
        "/console/../x\\evil",
        "/consoleevil",
        "/console//evil.example",
    ):
        proof = await anybody.proof("/console/sign-in")
        form = {"csrf": proof, "name": name, "password": PASSWORD, "next": aim}
        answer = await anybody.client.post("/console/sign-in", data=form)
        assert answer.headers["location"] == "/console", aim


async def test_answers_carry_the_security_measures_whatever_they_are(anybody: Visitor, admin: Visitor) -> None:
    answers: list[httpx.Response] = [
        await anybody.get("/console"),
        await anybody.get("/console/sign-in"),
        await admin.get("/console"),
        await admin.get(f"/console/runs/{new_id()}"),
        await admin.client.post("/console/theme", data={}),
    ]
    for answer in answers:
        assert all(name in answer.headers for name in MEASURES), (answer.url, answer.headers)
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
